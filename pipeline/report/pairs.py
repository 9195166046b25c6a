"""Meta Pseudo Labels: what the student's feedback said, and what it made of the teacher."""

from pipeline.report import plots
from pipeline.report.figures import Drawing, canvas, svg
from pipeline.report.results import Results

DRAWN = {
    "feedback": (plots.feedback, "Mean feedback over the steps"),
    "val": (plots.both_accuracies, "Val accuracy of student and teacher over the steps"),
    "agreement": (plots.agreement, "How often feedback is positive and both networks agree"),
    "losses": (plots.teachers_losses, "The parts of the teacher's loss over the steps"),
}
ROLES = ("teacher before", "teacher after", "student")


def section(results: Results) -> dict | None:
    """The curves of every pair; its teacher before and after."""
    pairs = results.lineage.pairs()
    if not pairs:
        return None
    return {
        "split": results.split,
        "pairs": [_drawings(results.measured[student].card) for student in pairs],
        "rows": [row for student in pairs for row in _rows(results, student)],
        "known": _known(results),
    }


def _known(results: Results) -> int | None:
    """Unlabelled images whose truth the models are compared with; None where they are not."""
    if all(model.unlabelled is None for model in results.measured.values()):
        return None
    return results.data[0].images("unlabelled") - results.data[0].without_label


def _drawings(card: dict) -> list[Drawing]:
    name, curve, drawn = card["name"], plots.curve(card), []
    for key, (draw, label) in DRAWN.items():
        figure, axes = canvas(4.6, 3.1)
        draw(axes, curve)
        axes.set_title(name, loc="right", fontweight="bold")
        drawn.append(svg(figure, f"{key}-{name}", f"{label}, {name}"))
    return drawn


def _rows(results: Results, student: str) -> list[dict]:
    names = results.lineage.pairs()[student]
    before, card = results.measured[names[0]], results.measured[student].card
    rows = []
    for name, role in zip(names, ROLES):
        model = results.measured[name]
        row = {"name": name, "role": role, "feedback": card["model"]["feedback"]}
        row |= {"accuracy": model.shown.accuracy, "right": model.unlabelled, "change": None}
        if model.unlabelled is not None and name != names[0]:
            row["change"] = model.unlabelled - before.unlabelled
        rows.append(row)
    return rows
