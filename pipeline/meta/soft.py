"""Meta Pseudo Labels with the teacher's probabilities in the place of sampled labels.

The student's new labelled loss is differentiable in q = T(x) then, and the teacher descends that
gradient, which is exact for SGD at any rate, in the place of a feedback.
"""

import torch
from torch import Tensor
from torch.func import functional_call

from pipeline.data.batches import Part
from pipeline.meta.pair import Pair
from pipeline.networks.classifier import Output


class Probabilities(Pair):
    """Soft labels without feedback."""

    soft = True

    def targets(self, logits: Tensor) -> Tensor:
        return logits.detach().softmax(1)


class GradientOfLabels(Probabilities):
    """Soft labels, corrected by the gradient of the student's new labelled loss."""

    measurements = 1

    def targets(self, logits: Tensor) -> Tensor:
        return super().targets(logits).requires_grad_()

    def _pass(self, images: Tensor) -> Output:
        """By weights that the optimiser's step in place leaves alone: the graph is needed after."""
        trained = [(n, w) for n, w in self.network.named_parameters() if w.requires_grad]
        self._weights = {n: w.detach().clone().requires_grad_() for n, w in trained}
        with self.autocast():
            output = functional_call(self.network, self._weights, (images,))
        return output._replace(maps=self.maps.take())

    def backward(self, loss: Tensor) -> None:
        grads = torch.autograd.grad(loss, list(self._weights.values()), create_graph=True)
        self._grads = dict(zip(self._weights, grads))
        ours = {n: w for n, w in self.network.named_parameters() if n in self._grads}
        # what methods say of the weights themselves does not depend on the labels
        kept = {"retain_graph": True, "allow_unused": True}
        added = torch.autograd.grad(loss, list(ours.values()), **kept)
        for (name, weight), more in zip(ours.items(), added):
            grad = self._grads[name].detach().clone()
            weight.grad = grad if more is None else grad + more

    def correction(self, labelled: Part, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        loss = -self.downhill(labelled, self._grads)
        [gradient] = torch.autograd.grad(loss, [targets])
        correction = (logits.softmax(1) * gradient).sum()
        return -correction.detach(), correction
