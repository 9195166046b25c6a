"""What MLflow hears of a data set: images whose class nobody knows are images too."""

from pathlib import Path

from pipeline import tracking
from pipeline.tracking.tracker import NullTracker


class Heard(NullTracker):
    """Keeps the numbers."""

    def __init__(self):
        self.numbers = {}

    def metrics(self, values, *rest):
        self.numbers |= values


def test_unlabelled_images_of_no_known_class_are_counted():
    counts = {"labelled": {"a": 2, "b": 3}, "unlabelled": {"a": 1, "b": 0}}
    heard = Heard()
    card = {"counts": counts, "without_label": 40, "seal": "0"}
    tracking.record_data(heard, {}, card, Path("data"))
    assert heard.numbers == {"images/labelled": 5, "images/unlabelled": 41}
