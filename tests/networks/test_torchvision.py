"""torchvision's networks as backbones: every name's shapes, and what was changed in them."""

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision.models import SwinTransformer, VisionTransformer, get_model
from torchvision.ops import StochasticDepth

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.networks import NETWORKS, checkpoint
from pipeline.networks.checkpoint import check_images
from pipeline.networks.classifier import Classifier
from pipeline.networks.servable import Servable
from pipeline.networks.torchvision import LEAST_SIDE, NAMES, TORCHVISION, _strip, build

EVERY = pytest.mark.parametrize("name", NAMES)
SMALLEST = """
    resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 mobilenet_v2 mobilenet_v3_small
    efficientnet_b0 efficientnet_v2_s convnext_tiny regnet_y_400mf shufflenet_v2_x0_5 vgg11_bn
    vit_b_32 swin_t swin_v2_t maxvit_t
""".split()  # noqa: SIM905 (as in `NAMES`)


def of_each_kind(names: list[str]) -> pytest.MarkDecorator:
    """Larger ones are the same code, by the same rules of ours."""
    marked = [pytest.param(n, marks=() if n in SMALLEST else pytest.mark.slow) for n in names]
    return pytest.mark.parametrize("name", marked)


OF_EACH_KIND = of_each_kind(NAMES)
OF_ONE_SIZE = [name for name in NAMES if TORCHVISION[f"torchvision/{name}"].exact_side]
FEW = pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])


class Unset(TorchFunctionMode):
    """Leaves weights as they are allocated: their numbers would cost more than their shapes."""

    def __torch_function__(self, call, types, given=(), named=None):
        if getattr(call, "__module__", None) == "torch.nn.init":
            return (given or tuple(named.values()))[0]
        return call(*given, **(named or {}))


@cache
def outline(name: str, depth: float = 0.0) -> nn.Module:
    """The network without numbers: shapes alone, in eval mode. Read only."""
    if name.startswith("regnet"):  # computes its widths with tensors, which must hold numbers
        with Unset():
            return build(name, 3, 1, depth).to("meta").eval()
    with Unset(), torch.device("meta"):
        return build(name, 3, 1, depth).eval()


def features(name: str, height: int, width: int) -> torch.Tensor:
    return outline(name)(torch.empty(2, 3, height, width, device="meta"))


def real(name: str, channels: int = 3, depth: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return build(name, channels, 1, depth).eval()


def pictures(channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(0))


def card(name: str, shape=(3, 32, 32), dropout=0.0) -> dict:
    return {
        "name": "g1",
        "network": {
            "name": name,
            "width": 1.0,
            "stochastic_depth": 0.0,
            "dropout": dropout,
            "image_size": 0,
        },
        "heads": [{"task": "base", "classes": ["a", "b"]}],
        "image_shape": list(shape),
        "normalisation": {"mean": [0.5] * shape[0], "std": [0.25] * shape[0]},
    }


@of_each_kind([name for name in NAMES if name not in OF_ONE_SIZE])
def test_a_network_of_any_size_gives_its_features_down_to_its_least_side(name):
    sides = [least for family, least in LEAST_SIDE.items() if name.startswith(family)]
    least = sides[0] if sides else 1
    assert features(name, least, 64).shape == (2, outline(name).num_features)
    check_images(card(f"torchvision/{name}", (3, least, least)), 0)
    if sides:
        with pytest.raises(RuntimeError):
            features(name, 64, least - 1)
        for shape in [(3, least - 1, 64), (3, 64, least - 1)]:
            with pytest.raises(UserError, match=f"network of g1: .* at least {least}x{least}"):
                checkpoint.build(card(f"torchvision/{name}", shape))


@of_each_kind(OF_ONE_SIZE)
def test_a_network_of_one_size_gives_its_features_at_that_and_no_other(name):
    side = TORCHVISION[f"torchvision/{name}"].exact_side
    assert features(name, side, side).shape == (2, outline(name).num_features)
    check_images(card(f"torchvision/{name}", (3, 32, 32)), side)
    for height, width in [(side + 32, side), (side, side - 32), (32, 32)]:
        with pytest.raises((RuntimeError, AssertionError, ValueError)):
            features(name, height, width)
        what = f"takes images of {side}x{side} alone, these are {height}x{width}; fix: set image_si"
        with pytest.raises(UserError, match=what):
            checkpoint.build(card(f"torchvision/{name}", (3, height, width)))


@pytest.mark.parametrize(
    "name", [n if n in SMALLEST else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_weights_have_torchvisions_names_and_shapes(name):
    with Unset(), torch.device("cpu" if name.startswith("regnet") else "meta"):
        theirs = get_model(name, weights=None).state_dict()
    gone = outline(name).stripped
    kept = {k: v.shape for k, v in theirs.items() if k not in (f"{gone}.weight", f"{gone}.bias")}
    assert len(kept) == len(theirs) - (1 if name == "maxvit_t" else 2)  # whose last has no bias
    assert {k: v.shape for k, v in outline(name).state_dict().items()} == kept


@FEW
def test_features_are_what_torchvisions_classifier_stands_on(name):
    ours, seen = real(name), []
    theirs = get_model(name, weights=None).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    last = theirs.get_submodule(ours.stripped)
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    theirs(pictures())
    assert torch.equal(ours(pictures()), seen[0])


@FEW
def test_grey_images_are_repeated_to_three_channels(name):
    grey = pictures(1)
    assert torch.equal(real(name, 1)(grey), real(name)(grey.repeat(1, 3, 1, 1)))


def test_a_grey_image_with_a_normalisation_of_three_channels_is_three_channels():
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    ours = Classifier(real("shufflenet_v2_x0_5", 1), {"base": 2}, mean, std).eval()
    theirs = Classifier(real("shufflenet_v2_x0_5"), {"base": 2}, mean, std).eval()
    grey = pictures(1)
    assert torch.equal(ours(grey).features, theirs(grey.repeat(1, 3, 1, 1)).features)


@FEW
@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_take_another_first_convolution(name, channels):
    network, plain = real(name, channels), real(name)
    assert network(pictures(channels)).shape == (4, network.num_features)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (network, plain)]
    changed = {key for key in shapes[1] if shapes[0][key] != shapes[1][key]}
    assert shapes[0].keys() == shapes[1].keys() and changed == {next(iter(shapes[1]))}


def test_only_the_first_is_another_convolution_in_stride_and_padding_too():
    ours, theirs = real("resnet18", 4).conv1, real("resnet18").conv1
    for setting in ("out_channels", "kernel_size", "stride", "padding"):
        assert getattr(ours, setting) == getattr(theirs, setting)
    assert ours.bias is None and ours.in_channels == 4


# --- noise ------------------------------------------------------------------------------------


def test_dropout_inside_a_backbone_is_that_of_the_recipe_and_none_stands_twice():
    inside = {"vgg11_bn": 1, "mobilenet_v2": 0, "mobilenet_v3_small": 0, "vit_b_32": 0, "swin_t": 0}
    for name, places in inside.items():
        with torch.device("meta"):
            network = checkpoint.build(card(f"torchvision/{name}", (3, 224, 224), dropout=0.3))
        rates = [m.p for m in network.modules() if isinstance(m, nn.Dropout) and m.p]
        assert rates == [0.3] * places and network.dropout == 0.3


def test_fully_connected_are_the_linear_layers_behind_the_pooling():
    sizes = {
        name: [layer.out_features for layer in outline(name).fully_connected] for name in NAMES
    }
    assert {name: results for name, results in sizes.items() if results} == {
        "mobilenet_v3_small": [1024],
        "mobilenet_v3_large": [1280],
        **dict.fromkeys(["vgg11_bn", "vgg16_bn", "vgg19_bn"], [4096, 4096]),
        "maxvit_t": [512],
    }


@OF_EACH_KIND
def test_stochastic_depth_is_for_networks_with_residual_blocks(name):
    if TORCHVISION[f"torchvision/{name}"].residual:
        outline(name, 0.2)
    else:
        with pytest.raises(ValueError, match="no residual blocks"):
            outline(name, 0.2)


@pytest.mark.parametrize(
    ("name", "num"), [("resnet18", 8), ("resnet50", 16), ("regnet_y_400mf", 16)]
)
def test_where_torchvision_has_none_the_rate_rises_linearly_to_the_last_block(name, num):
    hooks = [h for m in outline(name, 0.4).modules() for h in m._forward_hooks.values()]
    expected = [0.4 * (i + 1) / num for i in range(num)]
    assert [hook.keywords["rate"] for hook in hooks] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("efficientnet_b0", 15 / 16),
        ("convnext_tiny", 1.0),
        ("swin_t", 1.0),
        ("swin_v2_b", 1.0),
        ("maxvit_t", 1.0),
    ],
)
def test_where_torchvision_has_its_own_the_rate_is_given_to_it(name, last):
    for depth in (0.0, 0.4):
        rates = [m.p for m in outline(name, depth).modules() if isinstance(m, StochasticDepth)]
        assert rates[0] == 0 and rates == sorted(rates)
        assert rates[-1] == pytest.approx(depth * last)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "regnet_y_400mf"])
def test_a_dropped_residual_leaves_the_shortcut_and_evaluation_has_none(name):
    network, plain = real(name, depth=0.999), real(name)
    assert torch.equal(network(pictures()), plain(pictures()))
    end = [m for m in network.modules() if m._forward_hooks][-1]  # its rate is 0.999
    seen = []
    end.register_forward_hook(lambda _, inputs, output: seen.append(output.clone()))
    torch.manual_seed(0)
    network.train()(pictures())
    network.eval()(pictures())
    assert not seen[0].any() and seen[1].any()


def test_a_kept_residual_is_scaled_to_keep_its_mean():
    network = real("resnet18", depth=0.4)
    (drop,) = network.layer4[1].bn2._forward_hooks.values()
    given = torch.ones(20_000, 4, 1, 1)
    torch.manual_seed(0)
    dropped = drop(network.train(), (), given)
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 1 / 0.6])
    assert (dropped == dropped[:, :1]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)


def test_the_size_that_images_are_resized_to_is_what_counts():
    check_images(card("torchvision/vgg16_bn", (1, 8, 8)), 32)
    with pytest.raises(UserError, match="these are 31x31; fix: raise image_size"):
        check_images(card("torchvision/vgg16_bn", (1, 64, 64)), 31)


@pytest.mark.parametrize(("side", "bf16"), [(16, False), (32, True)])
def test_on_a_cpu_small_images_go_in_full_precision(monkeypatch, side, bf16):
    """In bf16 torch leaves gradients unset where a strided convolution sees a single pixel."""
    monkeypatch.setattr(machine, "_fast_bf16", lambda device: True)
    network = checkpoint.build(card("torchvision/resnet50"))
    for settings in (Machine(threads=1), Machine(threads=1, dtype="bfloat16")):
        with machine.configure(settings, network, side**2)():
            assert torch.is_autocast_enabled("cpu") is bf16


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="one width"):
        build("resnet18", 3, 0.5, 0.0)


# --- transformers -----------------------------------------------------------------------------


def thin(name: str) -> nn.Module:
    """torchvision's own class of a transformer, thin, as a backbone."""
    torch.manual_seed(0)
    if name == "vit":
        network = VisionTransformer(224, 32, 2, 2, 32, 64, num_classes=2)
    else:
        network = SwinTransformer([4, 4], 16, [2, 2], [2, 2], [7, 7], num_classes=2)
    network.whole = [copy.deepcopy(network).eval()]  # in a list, so that it is no part
    _strip(network)
    return network.eval()


THIN = pytest.mark.parametrize("name", ["vit", "swin"])


@THIN
def test_features_of_a_transformer_are_what_its_classifier_stands_on(name):
    ours, seen = thin(name), []
    [theirs] = ours.whole
    last = theirs.get_submodule(ours.stripped)
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    theirs(pictures(size=224))
    assert torch.equal(ours(pictures(size=224)), seen[0])
    assert seen[0].shape[1] == ours.num_features and ours.fully_connected == []


@THIN
def test_a_transformer_trains_in_bf16_and_channels_last_to_about_the_same(name, monkeypatch):
    monkeypatch.setattr(machine, "_fast_bf16", lambda device: True)
    monkeypatch.setattr(machine, "MEDIUM", 0)
    backbone = thin(name)
    network = Classifier(backbone, {"base": 2}, [0.5] * 3, [0.25] * 3).eval()
    plain = network(pictures(size=224)).features
    with machine.configure(Machine(threads=1), network, 224**2)():
        assert torch.is_autocast_enabled("cpu")
        features = network(pictures(size=224)).features
    assert (features.float() - plain).norm() < 0.05 * plain.norm()
    features.float().square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


# --- as a model -------------------------------------------------------------------------------


def test_they_are_among_the_networks():
    assert [name for name in NETWORKS if "/" in name] == [f"torchvision/{name}" for name in NAMES]
    assert all(NETWORKS[name] is results for name, results in TORCHVISION.items())
    assert not any(results.any_width for results in TORCHVISION.values())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_model_comes_back_bit_for_bit(tmp_path, channels):
    given = card("torchvision/shufflenet_v2_x0_5", (channels, 8, 8), dropout=0.3)
    network = checkpoint.build(given)
    images = torch.randint(0, 256, (4, channels, 8, 8), dtype=torch.uint8)
    network(images)  # moves the statistics of BatchNorm
    checkpoint.save(tmp_path, network, given)
    assert torch.equal(checkpoint.load(tmp_path)[0](images).logits, network.eval()(images).logits)


def test_every_weight_of_a_model_gets_a_gradient():
    network = checkpoint.build(card("torchvision/resnet18") | {"name": "g1"})
    network(pictures()).logits.square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_what_is_served_can_be_exported_with_any_number_of_grey_images():
    given = card("torchvision/resnet18", (1, 8, 8))
    network = Servable(checkpoint.build(given), given)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    batch = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(network, (images,), dynamic_shapes=batch).module()
    more = torch.cat([images, images])
    assert torch.allclose(exported(more), network(more), atol=1e-5)
