"""A task and the model that is to learn it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.continual.options import Task
from pipeline.data.store import Dataset
from pipeline.labelling.rule import Labels
from pipeline.networks import checkpoint
from pipeline.running.run import Run
from pipeline.training.images import TrainingImages
from pipeline.training.model import ModelConfig


@dataclass(frozen=True)
class Extension:
    """A task to learn.

    Attributes:
        config: the model that it makes, and the task's options.
        dataset: its images.
        run: of its stage.
        rule: how its own model labels its unlabelled images, if that is asked for.
    """

    config: ModelConfig
    dataset: Dataset
    run: Run
    rule: Labels | None = None

    @property
    def task(self) -> Task:
        """The task's block of params."""
        return self.config.options

    @cached_property
    def images(self) -> TrainingImages:
        """The task's images in the recipe's views."""
        return TrainingImages(self.dataset, self.config.training, self.run.machine, self.run.device)

    @property
    def folder(self) -> Path:
        """Of the base model."""
        return Path("models") / self.task.base

    @cached_property
    def base(self) -> dict:
        """The card of the base model."""
        return checkpoint.read_card(self.folder)
