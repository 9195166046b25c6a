"""What cards of models say, for tests that build a model from one."""

from __future__ import annotations


def card(name: str = "small_cnn") -> dict:
    """Of a thin model for grey images 8x8, with two tasks."""
    return {
        "name": "g1",
        "network": {
            "name": name,
            "width": 0.125,
            "stochastic_depth": 0.0,
            "dropout": 0.3,
            "image_size": 0,
        },
        "heads": [{"task": "base", "classes": ["a", "b"]}, {"task": "t1", "classes": ["é"]}],
        "image_shape": [1, 8, 8],
        "normalisation": {"mean": [0.5], "std": [0.25]},
        "parents": {"teacher": "0" * 64},
        "metrics": {"val_acc": 0.1 + 0.2, "val_loss": 1e-05},
    }
