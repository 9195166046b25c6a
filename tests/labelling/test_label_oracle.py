"""Labels made in sorts and in pieces, against a loop over the classes and NumPy's own cast."""

import numpy as np
import pytest

from pipeline.labelling import pseudo_labels
from pipeline.labelling.pseudo_labels import PIECE, _by_class, _half, make
from pipeline.labelling.rule import Labels

PLAIN = Labels(threshold=0.0, share=1.0, temperature=1.0, kind="soft", balance="none")


def generators(num: int) -> list[np.random.Generator]:
    return [np.random.default_rng(c) for c in range(num)]


def in_a_loop(confidence, label, kept, share, num_classes) -> list[list[int]]:
    """The rows of each class, found one class at a time."""
    rows = []
    for c in range(num_classes):
        own = np.flatnonzero((label == c) & kept)
        own = own[np.argsort(-confidence[own], kind="stable")]
        rows.append(own[: int(np.ceil(round(share * len(own), 9)))].tolist())
    return rows


@pytest.mark.parametrize("num_classes", [1, 3, 300])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_rows_of_each_class_are_those_of_a_loop(rng, num_classes, share):
    confidence = rng.integers(0, 20, 2000) / 20  # many are equal
    label = rng.integers(0, num_classes, 2000)
    label[label == 2] = 0  # a class that nothing is labelled as
    kept = confidence > 0.4
    results = _by_class(confidence, label, kept, share, num_classes)
    assert [rows.tolist() for rows in results] == in_a_loop(
        confidence, label, kept, share, num_classes
    )


def test_halves_are_those_of_numpy(rng):
    """Every half in 0..1, the middle between each two, and what is next to the middle, where two
    roundings would err; and numbers of every size."""
    half = np.arange(0, 0x3C01, dtype=np.uint16).view(np.float16).astype(np.float64)
    middle = (half[1:] + half[:-1]) / 2
    close = [middle * (1 + error) for error in (1e-9, -1e-9, 1e-12, -1e-12)]
    next_to = [np.nextafter(middle, 0), np.nextafter(middle, 1)]
    powers = [rng.random(20_000) ** power for power in (1, 8, 30, 1000)]
    values = np.concatenate([half, middle, *close, *next_to, *powers])
    with np.errstate(under="ignore"):
        assert np.array_equal(_half(values).view(np.uint16), values.astype(np.float16).view("u2"))


@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("align", ["none", "uniform"])
def test_the_size_of_a_piece_changes_no_bit(rng, monkeypatch, kind, align):
    probs = rng.dirichlet(np.full(7, 0.3), 500)
    rule = {"threshold": 0.5, "temperature": 0.5, "balance": "equal", "align": align, "kind": kind}
    digests = set()
    for piece in (1, 50, PIECE):
        monkeypatch.setattr(pseudo_labels, "PIECE", piece)
        labels = make(probs, PLAIN.model_copy(update=rule), generators(7))
        digests.add(labels.digest())
    assert len(digests) == 1
