"""A prepared data set as a training reads it: on the device, in the recipe's views."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.data.batches import Stream, View
from pipeline.data.store import Dataset
from pipeline.training.features_view import EitherView
from pipeline.training.recipe import Training

NO_ROWS = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class TrainingImages:
    """The splits of a data set and the recipe's views of them.

    Attributes:
        dataset: the prepared images.
        training: the recipe.
        machine: says what may lie on the device; the rest is read from the disk batch by batch.
        device: torch's.
    """

    dataset: Dataset
    training: Training
    machine: Machine
    device: torch.device
    _read: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def weak(self) -> View:
        """Shift, perhaps flip; of frozen features, perhaps those of the mirrored image.

        Raises:
            UserError: the shift is not smaller than the images.
        """
        if self.training.features == "frozen":
            return EitherView(self.training.flip)
        from pipeline.augment import WeakView  # kornia takes a second that `check` need not wait

        _, height, width = self.dataset.image_shape
        if self.training.shift >= min(height, width):
            what = f"{self.training.shift} pixels, the images are {height}x{width}"
            raise UserError("training.shift", what, "keep it under their smaller side")
        return WeakView(flip=self.training.flip, shift=self.training.shift)

    @cached_property
    def strong(self) -> View:
        """The weak view, then RandAugment, which frozen features cannot have."""
        recipe = self.training
        if not recipe.num_ops or recipe.features == "frozen":
            return self.weak
        from pipeline.augment import RandAugment, StrongView

        noise = {"magnitude_std": recipe.magnitude_std, "cutout": recipe.cutout}
        return StrongView(self.weak, RandAugment(n=recipe.num_ops, m=recipe.magnitude, **noise))

    def still(self, view: View) -> bool:
        """Whether a view of these leaves every image as it is."""
        return view is self.weak and not self.training.flip and not self.training.shift

    @property
    def labelled_view(self) -> View:
        """The view of labelled images in training."""
        return self.strong if self.training.labelled_view == "strong" else self.weak

    def labelled(
        self, targets: Tensor | None, view: View | None = None, held_out: np.ndarray = NO_ROWS
    ) -> Stream:
        """The labelled images.

        Args:
            targets: probabilities (M, K) or (M, K, H, W); None where images are wanted alone.
            view: other than the recipe's.
            held_out: rows, int64, that are left out.
        """
        images, index = self.images("labelled"), None
        if len(held_out):
            index = np.setdiff1d(np.arange(len(images)), held_out)
            targets = None if targets is None else targets[torch.from_numpy(index)]
        return Stream(
            images=images,
            targets=None if targets is None else targets.to(self.device),
            num=self.training.batch_size,
            view=view or self.labelled_view,
            index=index,
            device=self.device,
        )

    def unlabelled(self, view: View) -> Stream:
        """The unlabelled images without targets, all such streams in one order.

        Raises:
            UserError: there are none.
        """
        if not self.dataset.num("unlabelled"):
            fix = "lower labels_per_class, val or test, or add images"
            raise UserError(str(self.dataset.folder), "there are no unlabelled images", fix)
        return Stream(
            images=self.images("unlabelled"),
            targets=None,
            num=self.training.num_unlabelled,
            view=view,
            device=self.device,
            order="unlabelled",
        )

    def images(self, split: str) -> Tensor | np.ndarray:
        """uint8 (M, C, H, W): on the device where they fit, else the memory map itself; read once,
        for all streams."""
        if split not in self._read:
            array = self.dataset.array(split)
            self._read[split] = within_reach(array, self.machine, self.device)
        return self._read[split]

    def labels(self, split: str = "labelled") -> Tensor:
        """int64 (M,), of a segmentation (M, H, W), on the device."""
        return on(self.dataset.array(split, "label"), self.device).long()


def on(array: np.ndarray, device: torch.device) -> Tensor:
    """A NumPy array, perhaps memory-mapped, as a tensor on `device`."""
    return torch.from_numpy(array.copy()).to(device)


def one_hot(labels: Tensor, first: int, total: int) -> Tensor:
    """Targets (M, total), or (M, total, H, W), of labels 0, 1, ... whose class 0 is column
    `first`."""
    return torch.eye(total, device=labels.device)[labels + first].movedim(-1, 1)


def within_reach(array: np.ndarray, machine: Machine, device: torch.device):
    """Rows to draw from: on the device where they fit, else the array itself."""
    fits = array.nbytes <= machine.resident_gigabytes * 1e9
    return on(array, device) if fits else array
