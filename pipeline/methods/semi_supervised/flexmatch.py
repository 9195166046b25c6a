"""FlexMatch (Zhang et al. 2021, arXiv:2110.08263).

    L = weight * mean over all unlabelled of 1[max p_w >= T(argmax p_w)] * H(argmax p_w, p_s)
    T(c) = threshold * beta(c) / (2 - beta(c)),   beta(c) = n(c) / max(max n, N - sum n)

n(c) of the N unlabelled images were last seen above the threshold as class c: a class that few are
sure to be is learnt from less sure ones. While most images have not been seen above it at all, the
second term of the maximum keeps all thresholds low (`warm_up`). Thresholds are those before the
step; then its images' labels are noted. Where all classes have as many images and none is left, it
is FixMatch.

An image twice in a batch, at the end of an epoch and the beginning of the next, is noted once: the
later view counts. Public code leaves that to chance.
"""

import torch
from pydantic import Field
from torch import Tensor

from pipeline.methods.semi_supervised.consistency import Consistency, top
from pipeline.training.method import Setting


class FlexMatch(Consistency):
    """FlexMatch (Zhang et al. 2021): FixMatch with a threshold for each class, lower for those that
    are learnt slowly.

    Alone, or with methods that do not compare two views themselves.
    """

    class Options(Consistency.Options):
        """Of FlexMatch."""

        threshold: float = Field(0.95, ge=0, le=1, description="of a class that is learnt best")
        warm_up: bool = Field(
            True, description="keep thresholds low while most images have never been above it"
        )

    name = "flexmatch"

    def start(self, setting: Setting) -> None:
        """No image has been seen above the threshold: its label is -1."""
        super().start(setting)
        num = len(setting.images.images("unlabelled"))
        self.state = {"label": torch.full((num,), -1, device=setting.images.device)}

    def thresholds(self, num_classes: int) -> Tensor:
        """Of each class (K,), in 0..1, by what has been noted so far."""
        labels = self.state["label"]
        counts = torch.zeros(num_classes + 1, dtype=labels.dtype, device=labels.device)
        counts.scatter_add_(0, labels + 1, torch.ones_like(labels))
        unused, counts = counts[0], counts[1:]
        most = counts[self.own].max()
        most = torch.maximum(most, unused) if self.options.warm_up else most.clamp_min(1)
        learnt = torch.ones(num_classes, device=labels.device)
        learnt[self.own] = counts[self.own] / most
        return self.options.threshold * learnt / (2 - learnt)

    def targets(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        confidence, hard = top(self.aligned(weak).softmax(1))
        label = hard.argmax(1)
        kept = confidence >= self.thresholds(weak.shape[1])[label]
        self._note(label, confidence >= self.options.threshold)
        return hard, kept.to(weak.dtype)

    def _note(self, label: Tensor, sure: Tensor) -> None:
        noted = self.state["label"]
        places = torch.arange(len(label), device=label.device)
        latest = torch.full_like(noted, -1)  # of each image, the last place in the batch
        latest.scatter_reduce_(0, self.rows, torch.where(sure, places, -1), "amax")
        noted.copy_(torch.where(latest >= 0, label[latest], noted))
