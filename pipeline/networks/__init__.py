"""Networks by the names that params.yaml has for them.

A network is a function of the images' channels, a width that multiplies its own, and the drop rate
of its last residual block; it gives a backbone: float images (N, C, H, W) to pooled features
(N, num_features).
"""

from pipeline.networks import timm
from pipeline.networks.architecture import Architecture
from pipeline.networks.resnet9 import resnet_9
from pipeline.networks.small_cnn import small_cnn, wide_cnn
from pipeline.networks.torchvision import TORCHVISION
from pipeline.networks.wide_resnet import wrn_28_2

NETWORKS: dict[str, Architecture] = {
    "small_cnn": Architecture(small_cnn),
    "wide_cnn": Architecture(wide_cnn),
    "resnet_9": Architecture(resnet_9, residual=True),
    "wrn_28_2": Architecture(wrn_28_2, residual=True),
    **TORCHVISION,
}


def architecture_of(name: str) -> Architecture:
    """The network of that name: one of these, or one of timm's (`timm/<name>`).

    Raises:
        UserError: timm is not installed, or has no such network.
    """
    return timm.architecture(name) if name.startswith(timm.PREFIX) else NETWORKS[name]
