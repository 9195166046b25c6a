"""Reduced Meta Pseudo Labels (Pham et al. 2021, arXiv:2003.10580, section 4 and appendix E), for a
teacher too large to train together with a student.

The large teacher answers every labelled and every unlabelled image once, without augmentation, in
evaluation mode, and is put away. What labels from then on, and is corrected by the student, is a
small network (`networks.Calibrator`) that takes an answer q and gives a calibrated distribution
c(q). It descends

    h * sum over images of H(y, c(q)) + cross-entropy of c(q) on the labelled images,

h as in `meta.py`, y sampled from c(q) (or c(q) itself: `labels: soft`). There is no consistency
term: no image, weak or strong, passes through the teacher. Labels and gradient are of the same
view by construction, since what the calibrator sees of an image is the recorded q and nothing
else: one pass of it, without noise, makes both. The student alone sees the strong view.

c begins as the identity. It has the student's recipe but for the learning rate, and no frozen
weights.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.data.batches import Part
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import Teacher
from pipeline.networks.calibrator import Calibrator
from pipeline.networks.classifier import Output
from pipeline.training.recipe import Training


class ReducedTeacher(Teacher):
    """The calibrator of a large teacher's recorded answers.

    Args:
        network: the calibrator, on its device.
        training: the student's recipe.
        options: of Meta Pseudo Labels.
        answers: by part (`labelled`, `unlabelled`) the large teacher's logits (M, K), a row for
            each image; on the device or not.
    """

    def __init__(
        self,
        network: Calibrator,
        training: Training,
        options: Options,
        answers: Mapping[str, Tensor],
    ):
        super().__init__(network, training.model_copy(update={"train": "all"}), options)
        self.answers = answers

    def images_seen(self, sizes: Mapping[str, int]) -> int:
        """Those that the large teacher answered."""
        return sum(len(table) for table in self.answers.values())

    def ask(self, batch: dict[str, Part]) -> tuple[Tensor, dict[str, Tensor]]:
        """Its logits (N, K) of the unlabelled images, and its loss on the labelled ones."""
        return super().ask(
            {
                name: batch[name]._replace(images=_rows(table, batch[name].rows))
                for name, table in self.answers.items()
            }
        )

    def forward(self, images: list[Tensor]) -> Output:
        """The calibrator on recorded answers in the place of images."""
        answers = torch.cat(images)
        return Output(self.network(answers), answers)


def _rows(table: Tensor, rows: Tensor) -> Tensor:
    return table[rows.to(table.device)].to(rows.device)
