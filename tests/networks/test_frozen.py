"""What a recipe does not train stays, bit for bit: weights, averages, BatchNorm's statistics."""

import pytest
import torch
from learners import TRAINING, equal_states
from torch import nn
from torchvision.models.vgg import VGG, make_layers

from pipeline.data.batches import Part
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.networks.torchvision import _strip
from pipeline.training.learner import HeadLearner, Learner

TRAIN = pytest.mark.parametrize("train", ["all", "fc", "new_head"])


def thin_vgg(_: str) -> nn.Module:
    """vgg's own class with a single convolution and thin hidden layers."""
    with torch.device("meta"):  # its own hidden layers have a hundred million weights
        network = VGG(nn.Sequential(), num_classes=2, init_weights=False)
    network.features = make_layers([4, "M"], batch_norm=True)
    layers = [nn.Linear(4 * 49, 8), nn.ReLU(), nn.Dropout()]
    layers += [nn.Linear(8, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 2)]
    network.classifier = nn.Sequential(*layers)
    _strip(network)
    return network


def of_networks(name: str) -> nn.Module:
    return NETWORKS[name].build(3, 1.0 if "/" in name else 0.125, 0.0)


BACKBONES = {  # how to build it, and which of its parts are fully connected
    "small_cnn": (of_networks, ()),
    "thin_vgg": (thin_vgg, ("backbone.classifier.0.", "backbone.classifier.3.")),
    "torchvision/shufflenet_v2_x0_5": (of_networks, ()),
    "torchvision/mobilenet_v3_small": (of_networks, ("backbone.classifier.0.",)),
}
EVERY = pytest.mark.parametrize("name", BACKBONES)


def network(name: str) -> Classifier:
    torch.manual_seed(0)
    backbone = BACKBONES[name][0](name)
    return Classifier(backbone, {"base": 3, "t1": 2}, [0.5] * 3, [0.3] * 3, dropout=0.3)


def learner(name: str, train: str, **recipe) -> Learner:
    return Learner(network(name), TRAINING.model_copy(update=recipe | {"train": train}))


def batch(step: int = 0) -> dict[str, Part]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8, generator=generator)
    targets = torch.rand(6, 5, generator=generator).softmax(1)
    return {"labelled": Part(images, targets, None, torch.arange(6))}


def steps(made: Learner, num: int = 3) -> None:
    for step in range(num):
        torch.manual_seed(step)
        made.step(batch(step))


def trained(name: str, train: str, keys: list[str]) -> set[str]:
    """The tensors that `train` lets move: all but the normalisation, or what it names."""
    parts = {
        "all": ("backbone.", "heads."),
        "fc": (*BACKBONES[name][1], "heads."),
        "new_head": ("heads.task_t1.",),
    }
    return {key for key in keys if key.startswith(parts[train])}


@EVERY
@TRAIN
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_frozen_stays_bit_for_bit_and_all_else_moves(name, train, optimizer):
    before = network(name).state_dict()
    made = learner(name, train, optimizer=optimizer, weight_decay=0.1)
    steps(made)
    for shipped in (made.network, made.weights):
        after = shipped.state_dict()
        moved = {key for key in after if not torch.equal(after[key], before[key])}
        assert moved == trained(name, train, list(before))
    assert made.weights is not made.network


@EVERY
def test_the_frozen_part_takes_no_gradient_forward_either(name):
    for train, wanted in {"all": True, "fc": bool(BACKBONES[name][1]), "new_head": False}.items():
        made = learner(name, train)
        output, _ = made.losses(batch())
        assert output.features.requires_grad is wanted and output.logits.requires_grad


def test_convolutions_before_trained_layers_take_no_gradient_forward():
    made, seen = learner("thin_vgg", "fc"), []
    made.network.backbone.features.register_forward_hook(lambda *given: seen.append(given[2]))
    made.losses(batch())
    assert not seen[0].requires_grad


@TRAIN
def test_noise_is_on_where_weights_train_alone(train):
    made = learner("thin_vgg", train)
    made.train_mode()
    backbone = made.network.backbone
    assert made.network.training  # dropout before the heads
    assert backbone.features.training is (train == "all")
    assert backbone.classifier[2].training is (train != "new_head")


@TRAIN
def test_an_evaluation_between_two_steps_leaves_what_is_frozen_frozen(train):
    ones = [learner("thin_vgg", train) for _ in range(2)]
    steps(ones[0], 4)
    for step in range(4):
        ones[1].network.eval().train()  # as `infer` leaves it
        torch.manual_seed(step)
        ones[1].step(batch(step))
    assert equal_states(*[made.state() for made in ones])


def test_another_learner_of_the_same_network_trains_what_its_own_recipe_says():
    made = learner("thin_vgg", "new_head")
    again = Learner(made.network, TRAINING)
    assert all(weight.requires_grad for weight in made.network.parameters())
    again.train_mode()
    assert all(module.training for module in made.network.modules())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_warm_up_is_new_head_without_dropout(dropout):
    made = [HeadLearner(network("small_cnn"), TRAINING), learner("small_cnn", "new_head")]
    for each in made:
        each.network.dropout = dropout
        steps(each)
    assert equal_states(*[each.state() for each in made]) is (dropout == 0)


@TRAIN
def test_a_restored_learner_goes_on_bit_for_bit(train):
    whole, restored = (learner("thin_vgg", train) for _ in range(2))
    steps(whole, 2)
    restored.load_state({key: value.clone() for key, value in whole.state().items()})
    for made in (whole, restored):
        torch.manual_seed(9)
        made.step(batch(9))
    assert equal_states(whole.state(), restored.state())
