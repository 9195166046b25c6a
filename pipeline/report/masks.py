"""Val images with what each pixel is and what it is answered with; val and not test, as in
`gallery`."""

import numpy as np
from matplotlib import colormaps

from pipeline.pages.thumbnails import thumbnail
from pipeline.report.dense import DenseAnswers
from pipeline.report.results import Results

SHOWN = 8  # images a group
COLOURS = np.array(colormaps["tab20"].colors)[[*range(0, 20, 2), *range(1, 20, 2)]]


def section(results: Results) -> dict | None:
    """The best and the worst answers of the model that ships; None where images are classified."""
    model = results.measured[results.ships]
    answers = model.answers["val"]
    if not isinstance(answers, DenseAnswers):
        return None
    scores, answered = answers.scores, answers.logits.argmax(1).numpy()
    order = np.argsort(scores, kind="stable").tolist()

    def tile(row: int) -> dict:
        return {
            "image": thumbnail(answers.images[row].numpy()),
            "truth": thumbnail(painted(answers.labels[row].numpy())),
            "answer": thumbnail(painted(answered[row])),
            "score": scores[row],
        }

    return {
        "name": results.ships,
        "key": [(name, hexadecimal(place)) for place, name in enumerate(model.classes)],
        "worst": [tile(row) for row in order[:SHOWN]],
        "best": [tile(row) for row in order[::-1][:SHOWN]],
    }


def painted(mask: np.ndarray) -> np.ndarray:
    """A colour for each class: (H, W) -> uint8 (3, H, W); the first class is black."""
    colours = np.array([colour(place) for place in range(int(mask.max()) + 1)], dtype=np.uint8)
    return colours[mask].transpose(2, 0, 1)


def colour(place: int) -> list[int]:
    """Red, green, blue of a class, 0..255; twenty differ."""
    if not place:
        return [0, 0, 0]
    return np.rint(255 * COLOURS[(place - 1) % len(COLOURS)]).astype(int).tolist()


def hexadecimal(place: int) -> str:
    """The colour of a class as CSS has it."""
    return "#" + "".join(f"{value:02x}" for value in colour(place))
