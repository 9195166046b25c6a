"""Learning without Memorizing (Dhar et al. 2019, arXiv:1811.08051).

    L = L of LwF + weight * mean over images of ||Q / ||Q||_2 - Q_old / ||Q_old||_2||_1
    Q = ReLU(sum over channels k of a_k A_k), a_k = mean over places of dy_c / dA_k

This file is the paper's attention loss; its other two terms are those of `lwf`, which it stands on.
Q is the Grad-CAM map (Selvaraju et al. 2017) of the last layer that has places: of the network in
training for Q, of the old model, frozen in eval mode, for Q_old, on the same augmented view. Both
are of the same old class c, the one that the network in training ranks first among all old units.
The gradient flows through A and through a, so it is a gradient of a gradient. A map that is 0
everywhere is left 0 by the norm.

A layer is the last with places by what it puts out, which is a convolution's map in convolutional
networks; what transformers have of that kind are the patches of the image.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.core.errors import UserError
from pipeline.data.batches import Part, in_floats
from pipeline.networks.classifier import Classifier, Output
from pipeline.networks.feature_maps import FeatureMaps, last_spatial
from pipeline.training.learner import full
from pipeline.training.method import Method, Setting


class LearningWithoutMemorizing(Method):
    """Learning without Memorizing (Dhar et al. 2019): keeps where in an image the old classes are
    seen.

    With LwF, whose loss is a part of the paper's.
    """

    class Options(Block):
        """Of Learning without Memorizing."""

        weight: float = Field(1.0, ge=0, le=1000, description="of the attention loss")

    needs = ("lwf",)
    passes = 1  # the old model's, for its maps

    def __init__(self, options: Options):
        super().__init__(options)
        self._old: Classifier | None = None

    def start(self, setting: Setting) -> None:
        """Take the base as the old model, if there is one, and find the layer to look at.

        Raises:
            UserError: the passes of a step are separate or compiled.
        """
        if not setting.blocks.old:
            return
        check(setting)
        [self._old] = setting.teachers.values()
        self._num_old = max(block.stop for block in setting.blocks.old)
        self.layers = (last_spatial(self._old, setting.images.dataset.image_shape),)
        self._maps = FeatureMaps(self._old, self.layers)

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`lwm`: the weighted attention loss; nothing without an old task."""
        if self._old is None:
            return {}
        [layer] = self.layers
        images = torch.cat([part.images for part in batch.values()])
        # the images' gradient is asked for so that maps have one; the old model's weights have none
        old = self._old(in_floats(images).detach().requires_grad_()).logits
        theirs = self._maps.take()[layer]
        mine = output.logits[:, : self._num_old]
        first = mine.argmax(1)
        wanted = attention(old, theirs, first).detach()
        given = attention(mine, output.maps[layer], first, create_graph=True)
        return {"lwm": self.options.weight * (given - wanted).abs().sum(1).mean()}


def attention(logits: Tensor, maps: Tensor, classes: Tensor, create_graph: bool = False) -> Tensor:
    """Grad-CAM maps of length 1, or all 0, (N, H * W).

    Args:
        logits: (N, C), made of the maps.
        maps: (N, K, H, W).
        classes: the class of each image, int64 (N,).
        create_graph: whether gradients are to flow through the result.
    """
    chosen = logits.gather(1, classes[:, None]).sum()
    [slopes] = torch.autograd.grad(chosen, maps, retain_graph=True, create_graph=create_graph)
    seen = (full(slopes).mean((2, 3), keepdim=True) * full(maps)).sum(1).relu()
    return F.normalize(seen.flatten(1), dim=1)


def check(setting: Setting) -> None:
    """Refuse what leaves the maps of a step no gradient of a gradient.

    Raises:
        UserError: the passes of a step are separate or compiled.
    """
    if setting.training.batch_norm == "separate":
        what = "lwm looks at the maps of one pass over all images of a step"
        raise UserError("training.batch_norm", what, "set it to joint")
    if setting.images.machine.compile:
        what = "lwm takes gradients of gradients, which compiled networks do not have"
        raise UserError("machine.yaml (compile)", what, "set it to false")
