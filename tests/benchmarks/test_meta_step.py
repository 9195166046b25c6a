"""What the benchmark of a Meta Pseudo Labels step compares: the same update, at counted cost."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.meta_step import Conventional, ours
from pipeline.data.batches import Part
from pipeline.meta.options import Consistency
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import Pair
from pipeline.networks.classifier import Classifier
from pipeline.networks.wide_resnet import WideResNet

CLASSES, LABELLED, UNLABELLED = 3, 2, 14
WAYS = [ours, Conventional]


class Tiny(nn.Module):
    """A backbone without BatchNorm, so that an answer does not depend on what shares its pass."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Tanh(), nn.Conv2d(5, 5, 1), nn.Tanh())

    def forward(self, images):
        return self.layers(images).mean((2, 3))


def network(backbone: type[nn.Module]) -> Classifier:
    """In float64, with answers that differ from image to image."""
    made = Classifier(backbone(), {"base": CLASSES}, [0.1, -0.1], [0.8, 1.1]).double()
    made.newest_head.weight.data *= 10
    return made


@pytest.fixture
def pair(tiny):
    """Makes a student and its teacher in float64 that learn in one of the two ways."""
    changes = {"dropout": 0.0, "warmup_steps": 0, "ema": 0.9, "weight_decay": 1e-3}
    training = tiny.training.model_copy(update=changes)
    uda = Consistency(weight=2.0, threshold=0.63, temperature=0.7)

    def make(way, backbone=Tiny, **options):
        torch.manual_seed(0)
        student, teacher = network(backbone), network(backbone)
        options = Options(teacher="t", teacher_learning_rate=0.2, **options)
        return way(student, training, options.model_copy(update={"uda": uda}), teacher)

    return make


def batches(num: int, side: int = 2) -> list[dict[str, Part]]:
    torch.manual_seed(1)
    labels = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(LABELLED)]

    def part(images, targets=None):
        return Part(3 * torch.randn(images, 2, side, side).double(), targets, None, None)

    return [
        {
            "labelled": part(LABELLED, labels),
            "unlabelled": part(UNLABELLED),
            "weak": part(UNLABELLED),
        }
        for _ in range(num)
    ]


def learners(pair) -> list:
    """The student's and the teacher's."""
    return [pair if isinstance(pair, Pair) else pair.student, pair.teacher]


@pytest.mark.parametrize("feedback", ["loss_difference", "inner_product"])
def test_both_ways_make_the_same_update(feedback, pair):
    ours, theirs = (pair(way, feedback=feedback, baseline_decay=0.5) for way in WAYS)
    for step, batch in enumerate(batches(2)):
        torch.manual_seed(step)
        noted = ours.step(batch)
        torch.manual_seed(step)
        theirs.step(batch)
        assert 0 < noted["uda_kept"] < 1 and noted["feedback"] != 0
    for one, other in zip(learners(ours), learners(theirs)):
        for mine, yours in [(one.network, other.network), (one.ema, other.ema)]:
            torch.testing.assert_close(mine.state_dict(), yours.state_dict())


class Count:
    """Images that went through a network's first layer; those whose gradient came back down to it
    count two more."""

    def __init__(self, network: Classifier):
        self.images = 0
        network.backbone.layers[0].register_forward_hook(self._forward)

    def _forward(self, layer, inputs, output):
        self.images += len(output)
        if output.requires_grad:
            output.register_hook(self._backward)

    def _backward(self, gradient):
        self.images += 2 * len(gradient)


@pytest.mark.parametrize(
    ("way", "feedback", "teacher", "student"),
    [
        (ours, "loss_difference", 3 * 8 + 7, 3 * 7 + 2),
        (ours, "inner_product", 3 * 8 + 7, 3 * 7 + 3),
        (Conventional, "loss_difference", 3 * 15, 3 * 8 + 1),
        (Conventional, "inner_product", 3 * 15, 3 * 7 + 3),
    ],
)
def test_forward_passes_of_the_labelled_batch(way, feedback, teacher, student, pair):
    """54 and 55 of ours, 70 and 69 of the conventional way, a backward pass counted as two."""
    made = pair(way, feedback=feedback)
    counts = [Count(learner.network) for learner in learners(made)]
    made.step(batches(1)[0])
    assert [count.images / LABELLED for count in counts] == [student, teacher]


@pytest.mark.parametrize(
    ("way", "options", "least", "most"),
    [
        (ours, {"feedback": "loss_difference"}, 53.5, 54),
        (ours, {"feedback": "inner_product"}, 54.5, 55),
        (ours, {"labels": "soft"}, 82, 86),
        (Conventional, {"feedback": "loss_difference"}, 69.5, 70),
        (Conventional, {"feedback": "inner_product"}, 68.5, 69),
    ],
)
def test_operations_of_a_step_in_those_of_the_labelled_batch(way, options, least, most, pair):
    """As torch counts them; a little below, since the first layer passes no gradient on."""
    made = pair(way, lambda: WideResNet(10, 2, in_channels=2), **options)
    [batch] = batches(1, side=8)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        made.teacher.network(batch["labelled"].images)
    with FlopCounterMode(display=False) as step:
        made.step(batch)
    assert least < step.get_total_flops() / forward.get_total_flops() < most
