"""torchvision's networks by name, as backbones: their layers up to the last Linear.

Names are `torchvision/<name>`, weights begin random (see `pretrained`). A backbone is torchvision's
own module, so its weights have torchvision's names.
"""

from functools import partial

from torch import Tensor, nn

from pipeline.networks.architecture import Architecture

NAMES = """
    resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext101_32x8d
    wide_resnet50_2 wide_resnet101_2 densenet121 densenet169 densenet201 mobilenet_v2
    mobilenet_v3_small mobilenet_v3_large efficientnet_b0 efficientnet_b1 efficientnet_b2
    efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6 efficientnet_b7
    efficientnet_v2_s efficientnet_v2_m efficientnet_v2_l convnext_tiny convnext_small
    convnext_base convnext_large regnet_y_400mf regnet_y_800mf regnet_y_1_6gf regnet_y_3_2gf
    shufflenet_v2_x0_5 shufflenet_v2_x1_0 vgg11_bn vgg16_bn vgg19_bn vit_b_16 vit_b_32 vit_l_16
    vit_l_32 vit_h_14 swin_t swin_s swin_b swin_v2_t swin_v2_s swin_v2_b maxvit_t
""".split()  # noqa: SIM905 (a list takes a line for each)
PREFIX = "torchvision/"
# Families that halve the image without padding, and the least side that leaves a pixel.
LEAST_SIDE = {"densenet": 29, "convnext": 32, "vgg": 32, "swin": 4}
EXACT_SIDE = {"vit": 224, "maxvit": 224}  # whose positions are learnt
OWN_DEPTH = ("efficientnet", "convnext")  # have a `stochastic_depth_prob`
SET_DEPTH = ("swin", "maxvit")  # have stochastic depth, at a rate that they set themselves
RESIDUAL_FAMILIES = ("resnet", "resnext", "wide_resnet", "regnet", *OWN_DEPTH, *SET_DEPTH)
# Elsewhere: the part of a residual block, by its class, that ends its residual.
RESIDUAL = {"BasicBlock": "bn2", "Bottleneck": "bn3", "ResBottleneckBlock": "f"}


def build(name: str, in_channels: int, width: float, stochastic_depth: float) -> nn.Module:
    """Torchvision's network `name` without its classifier.

    The module also says what it is: `num_features`; `fully_connected`, its Linear layers behind
    the pooling (vgg's and mobilenet_v3's hidden ones); `stripped`, the name of the Linear that is
    gone. The dropout before that one is gone as well: a `Classifier` has its own there.

    Args:
        name: one of `NAMES`.
        in_channels: of the images. 3 as they are, 1 repeated to three (so that weights learnt on
            colour fit), else the first convolution is another one.
        width: 1.
        stochastic_depth: drop rate of the last residual block, rising linearly from the first.
            efficientnet, convnext, swin and maxvit have a rule of their own; efficientnet's ends a
            step below.

    Raises:
        ValueError: another width, or stochastic depth where there is no residual block.
    """
    from torchvision.models import get_model  # takes a second that other networks need not wait

    if width != 1:
        raise ValueError(f"width: '{name}' has one width, 1, is {width}")
    own = {"stochastic_depth_prob": stochastic_depth} if name.startswith(OWN_DEPTH) else {}
    network = get_model(name, weights=None, num_classes=1, **own)
    _strip(network)
    _take_channels(network, in_channels)
    if name.startswith(SET_DEPTH):
        _scale_depth(network, stochastic_depth)
    elif stochastic_depth and not own:
        _drop_residuals(network, stochastic_depth)
    return network


def _architecture(name: str) -> Architecture:
    residual = name.startswith(RESIDUAL_FAMILIES)
    sides = {"least_side": _of_family(LEAST_SIDE, name, 1), "exact_side": exact_side(name)}
    return Architecture(partial(build, name), residual, any_width=False, **sides)


def exact_side(name: str) -> int:
    """Of the only images that a network takes; 0 = it takes others as well."""
    return _of_family(EXACT_SIDE, name, 0)


def _of_family(table: dict[str, int], name: str, other: int) -> int:
    return next((side for family, side in table.items() if name.startswith(family)), other)


TORCHVISION = {PREFIX + name: _architecture(name) for name in NAMES}


def _strip(network: nn.Module) -> None:
    linears = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)]
    name, last = linears[-1]
    place = name.rpartition(".")[0]
    network.set_submodule(name, nn.Identity())
    network.num_features, network.stripped, network.fully_connected = last.in_features, name, []
    if not place:
        return
    head = network.get_submodule(place)
    network.fully_connected = [layer for layer in head if isinstance(layer, nn.Linear)]
    if len(head) > 1 and isinstance(head[-2], nn.Dropout):
        head[-2] = nn.Identity()


def _take_channels(network: nn.Module, in_channels: int) -> None:
    if in_channels == 1:
        network.register_forward_pre_hook(repeat_grey)
    elif in_channels != 3:
        modules = network.named_modules()
        name, old = next((n, m) for n, m in modules if isinstance(m, nn.Conv2d))
        shape = (old.out_channels, old.kernel_size, old.stride, old.padding)
        new = nn.Conv2d(in_channels, *shape, bias=old.bias is not None)
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        network.set_submodule(name, new)


def repeat_grey(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """A hook before a network of colour images: (N, 1, H, W) -> (N, 3, H, W)."""
    # a normalisation of three channels has made three of one already
    (images,) = inputs
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _drop_residuals(network: nn.Module, last_rate: float) -> None:
    blocks = [module for module in network.modules() if type(module).__name__ in RESIDUAL]
    if not blocks:
        raise ValueError(f"stochastic_depth: no residual blocks, must be 0, is {last_rate}")
    for number, block in enumerate(blocks, start=1):
        end = block.get_submodule(RESIDUAL[type(block).__name__])
        end.register_forward_hook(partial(_drop, rate=last_rate * number / len(blocks)))


def _scale_depth(network: nn.Module, last_rate: float) -> None:
    from torchvision.ops import StochasticDepth

    drops = [module for module in network.modules() if isinstance(module, StochasticDepth)]
    highest = max(drop.p for drop in drops)
    for drop in drops:
        drop.p *= last_rate / highest


def _drop(module: nn.Module, _: tuple, residual: Tensor, rate: float) -> Tensor:
    from torchvision.ops import stochastic_depth

    return stochastic_depth(residual, rate, "row", module.training)
