"""Which weights a recipe trains (`training.train`), and which stay as they are."""

from collections.abc import Collection

from torch import nn

from pipeline.networks.classifier import Classifier


def freeze(network: Classifier, train: str, fixed: Collection[str] = ()) -> list[nn.Module]:
    """Let the weights that `train` names take gradients, and no others.

    Args:
        network: changed in place.
        train: `all`; `fc`, the heads, the Linear layers that the backbone has behind its pooling,
            and the calibrator; `new_head`, the head added last; `masks`, that head and its masks.
        fixed: tasks whose heads are not trained.

    Returns:
        the outermost parts without a weight to train. They are to be in eval mode, or BatchNorm's
        statistics would move; dropout inside them is off then too.
    """
    network.requires_grad_(False)
    for part in _trained(network, train):
        part.requires_grad_(True)
    for task in fixed:
        network.head(task).requires_grad_(False)
    return _frozen(network)


def _trained(network: Classifier, train: str) -> list[nn.Module]:
    if train == "all":
        return [network]
    if train == "new_head":
        return [network.newest_head]
    if train == "masks":
        return [network.newest_head, list(network.masks.values())[-1]]
    # not every Linear: convnext has them inside its blocks, where they are 1x1 convolutions
    fully_connected = [*getattr(network.backbone, "fully_connected", ()), *network.heads.values()]
    return fully_connected + ([network.calibrator] if network.calibrator else [])


def _frozen(module: nn.Module) -> list[nn.Module]:
    weights = list(module.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        return [module]
    return [part for child in module.children() for part in _frozen(child)]
