"""Small projects whose images are scenes, each pixel with a class."""

from __future__ import annotations

from conftest import tiny_values

CLASSES = ["0", "3", "8"]
SMALL = {"network": "small_cnn", "width": 0.25}


def scene_values(**blocks) -> dict:
    """Params of a teacher, a generation, and a student of that, on scenes of three digits."""
    values = tiny_values()
    values["data"] |= {"source": "digit_scenes", "classes": CLASSES, "labels_per_class": 10}
    values["training"] |= {"steps": 24, "evaluate_every": 12, "shift": 1}
    values["labels"] |= {"balance": "none", "share": 1.0}
    values |= {
        "teacher": {"network": "wide_cnn", "width": 0.25},
        "generations": {"g1": {"teacher": "teacher", "network": "wide_cnn", "width": 0.25}},
        "meta_pseudo_labels": {},
        "baselines": {},
        "distilled": {"d1": SMALL | {"teacher": "g1", "methods": {"kd": {}}}},
        "tasks": {},
        "final": "d1",
        "report": {"test": True, "register": False},
    }
    return values | blocks
