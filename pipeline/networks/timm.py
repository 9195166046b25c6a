"""timm's networks (Wightman 2019, PyTorch Image Models) by name, as backbones: `timm/<name>`, where
timm is installed. A backbone is timm's own module, so its weights have timm's names."""

from functools import partial

from torch import nn

from pipeline.core.block import Fault
from pipeline.core.errors import UserError, nearest
from pipeline.networks.architecture import Architecture
from pipeline.networks.torchvision import repeat_grey

PREFIX = "timm/"
LEAST_SIDE = 32  # they halve an image five times, some without padding


def fault(name: str) -> Fault | None:
    """What is wrong with the name `timm/<name>`, if anything is."""
    try:
        import timm
    except ModuleNotFoundError:
        return Fault("network", f"'{name}' is timm's, which is not installed", "pip install timm")
    known = [PREFIX + other for other in timm.list_models()]
    if name in known:
        return None
    near = nearest(name.partition(".")[0], known)  # without the tag of weights
    fix = near if "did you mean" in near else "see `timm.list_models()`"
    return Fault("network", f"timm has no network '{name}'", fix)


def architecture(name: str) -> Architecture:
    """Of `timm/<name>`. Whether it has residual blocks to drop is seen when it is built.

    Raises:
        UserError: timm is not installed, or has no such network.
    """
    if wrong := fault(name):
        raise UserError(*wrong)
    import timm

    seen = timm.get_pretrained_cfg(name.removeprefix(PREFIX))
    exact = seen.input_size[-1] if seen and seen.fixed_input_size else 0
    least = max(LEAST_SIDE, seen.min_input_size[-1] if seen and seen.min_input_size else 0)
    built = partial(build, name)
    return Architecture(built, residual=True, any_width=False, least_side=least, exact_side=exact)


def build(name: str, in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """timm's network without its classifier, with random weights.

    It says what it is as torchvision's do: `num_features`, `stripped`. Its own dropout is off: a
    `Classifier` has one behind it.

    Args:
        in_channels: of the images; 1 repeated to three, so that weights learnt on colour fit.
        width: 1.
        stochastic_depth: timm's `drop_path_rate`.

    Raises:
        UserError: stochastic depth for a network that has none.
        ValueError: another width.
    """
    if width != 1:
        raise ValueError(f"width: '{name}' has one width, 1, is {width}")
    import timm

    options = {"num_classes": 0, "in_chans": 3 if in_channels == 1 else in_channels}
    options |= {"drop_path_rate": stochastic_depth} if stochastic_depth else {}
    try:
        network = timm.create_model(name.removeprefix(PREFIX), pretrained=False, **options)
    except TypeError:
        if not stochastic_depth:
            raise
        what = f"'{name}' has none to set to {stochastic_depth:g}"
        raise UserError("training.stochastic_depth", what, "set it to 0 for this model") from None
    network.num_features = network.head_hidden_size
    network.stripped = network.pretrained_cfg.get("classifier")
    if in_channels == 1:
        network.register_forward_pre_hook(repeat_grey)
    return network
