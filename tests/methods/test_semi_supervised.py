"""What compares two views, and online pseudo-labels: against their formulas, gradient and state
included."""

import copy

import numpy as np
import pytest
import torch
from learners import FewImages, setting
from torch.nn import functional as F

from pipeline.data.batches import Batches, Part, Stream
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.methods.semi_supervised.consistency import Consistency, predict, ramp
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.classifier import Classifier
from pipeline.networks.small_cnn import SmallCNN
from pipeline.training.learner import Learner

CALM = {"ema": 0.0, "dropout": 0.0, "label_smoothing": 0.0}


@pytest.fixture
def training(tiny):
    return tiny.training.model_copy(update=CALM)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Classifier(SmallCNN(1, 0.25), {"base": 4}, [0.3], [0.4])


def batch(num: int = 12) -> dict[str, Part]:
    def images(count):
        return torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8)

    torch.manual_seed(1)
    return {
        "labelled": Part(images(6), torch.eye(4)[torch.arange(6) % 4], None, None),
        "unlabelled": Part(images(num), None, None, torch.arange(num)),
        "weak": Part(images(num), None, None, torch.arange(num)),
    }


def batch_of(name: str) -> dict[str, Part]:
    """With the parts that a method brings, and no others."""
    parts = batch()
    again = parts["labelled"]._replace(targets=None)
    brought = {"pseudo_label": {"weak": None}, "mean_teacher": {"labelled_weak": again}}
    return {k: part for k, part in (parts | brought.get(name, {})).items() if part}


OPTIONS = {
    "uda": {"weight": 2.0, "threshold": 0.3, "temperature": 0.4},
    "fixmatch": {"weight": 2.0, "threshold": 0.3},
    "flexmatch": {"weight": 2.0, "threshold": 0.3},
    "freematch": {"weight": 2.0, "momentum": 0.5},
    "softmatch": {"weight": 2.0, "momentum": 0.5},
    "mean_teacher": {"weight": 2.0, "ramp": 0.0},
    "pseudo_label": {"weight": 2.0, "threshold": 0.3, "start_step": 0, "ramp_steps": 0},
}
TWO_VIEWS = pytest.mark.parametrize("name", ["uda", "fixmatch"])
CONSISTENT = [name for name, kind in SEMI_SUPERVISED.items() if issubclass(kind, Consistency)]


def method(name: str, **changes):
    """A method with the options above but for some."""
    kind = SEMI_SUPERVISED[name]
    return kind(kind.Options(**OPTIONS[name] | changes))


def learner_with(name: str, network, training, **changes) -> Learner:
    made = method(name, **changes)
    made.start(setting(network, images=FewImages(unlabelled=12)))
    return Learner(network, training, methods={name: made})


def losses_of(learner: Learner, parts: dict[str, Part]) -> dict[str, torch.Tensor]:
    """The losses of a step, with the gradients they give."""
    for each in learner.methods.values():
        parts = each.batch(parts)
    _, losses = learner.losses(parts)
    losses["loss"].backward()
    return losses


def by_hand(name: str, weak: torch.Tensor, strong: torch.Tensor, threshold: float) -> torch.Tensor:
    """The papers' formulas, image by image, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for z_weak, z_strong in zip(weak.detach().double(), strong.double()):
        p = torch.softmax(z_weak, 0)
        if p.max() < threshold:
            continue
        log_q = torch.log_softmax(z_strong, 0)
        if name == "uda":
            target = torch.softmax(z_weak / 0.4, 0)
            total = total - (target * log_q).sum()
        else:
            total = total - log_q[p.argmax()]
    return 2.0 * total / len(weak)


@TWO_VIEWS
def test_the_loss_and_its_gradient_are_the_formula(name, training, network):
    """Weak view apart: by its own batch statistics, without noise, without gradient."""
    twin = copy.deepcopy(network)
    learner, parts = learner_with(name, network, training), batch()
    losses = losses_of(learner, parts)

    twin.train()
    joint = twin(torch.cat([parts["labelled"].images, parts["unlabelled"].images])).logits
    with torch.no_grad():
        weak = twin(parts["weak"].images).logits
    wanted = by_hand(name, weak, joint[6:], 0.3)
    total = F.cross_entropy(joint[:6], parts["labelled"].targets).double() + wanted
    total.backward()
    assert 0 < float(learner.methods[name].notes[f"{name}_kept"]) < 1
    torch.testing.assert_close(losses[name].double(), wanted, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(network.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CONSISTENT)
@pytest.mark.parametrize("weak_view", ["apart", "joint"])
def test_the_gradient_is_that_of_the_strong_view_towards_what_the_method_asks(
    name, training, network, weak_view
):
    """Of every method that compares views, its weights and targets being what it says itself."""
    twin = copy.deepcopy(network)
    learner, parts = learner_with(name, network, training, weak_view=weak_view), batch()
    oracle = copy.deepcopy(learner.methods[name])
    losses = losses_of(learner, parts)

    twin.train()
    with torch.no_grad():
        weak = twin(parts["weak"].images).logits
    seen = list(parts.values())[: 2 if weak_view == "apart" else 3]
    joint = twin(torch.cat([part.images for part in seen])).logits
    oracle.rows = parts["unlabelled"].rows
    targets, kept = oracle.targets(weak if weak_view == "apart" else joint[18:].detach())
    strong = joint[6:18]
    wanted = -2.0 * (kept * (targets * strong.log_softmax(1)).sum(1)).mean()
    rest = sum(oracle.others(strong, kept).values())
    (F.cross_entropy(joint[:6], parts["labelled"].targets) + wanted + rest).backward()
    assert float(kept.sum()) > 0
    torch.testing.assert_close(losses[name], wanted, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(network.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@TWO_VIEWS
def test_the_joint_weak_view_is_one_pass_with_the_others(name, training, network):
    twin = copy.deepcopy(network)
    parts = batch()
    losses = losses_of(learner_with(name, network, training, weak_view="joint"), parts)
    twin.train()
    logits = twin(torch.cat([part.images for part in parts.values()])).logits
    wanted = by_hand(name, logits[18:].detach(), logits[6:18], 0.3)
    (F.cross_entropy(logits[:6], parts["labelled"].targets).double() + wanted).backward()
    torch.testing.assert_close(losses[name].double(), wanted, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(network.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_the_mask_reads_the_confidence_before_sharpening():
    """At temperature 0.4 every answer is above the threshold; before it none is."""
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    calm = {"temperature": 0.1}
    targets, kept = method("uda", threshold=0.6, **calm).targets(logits)
    assert float(targets.max()) > 0.99 and kept.tolist() == [0.0]
    assert method("uda", threshold=0.4, **calm).targets(logits)[1].tolist() == [1.0]
    sharp = method("uda", threshold=0.6, confidence="sharpened", **calm).targets(logits)
    assert sharp[1].tolist() == [1.0]


def test_the_online_label_is_that_of_the_pass_that_is_trained(training, network):
    twin = copy.deepcopy(network)
    parts = {name: part for name, part in batch().items() if name != "weak"}
    losses = losses_of(learner_with("pseudo_label", network, training), parts)
    twin.train()
    logits = twin(torch.cat([part.images for part in parts.values()])).logits
    wanted = by_hand("fixmatch", logits[6:], logits[6:], 0.3)
    (F.cross_entropy(logits[:6], parts["labelled"].targets).double() + wanted).backward()
    torch.testing.assert_close(losses["pseudo_label"].double(), wanted, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(network.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "start", "length", "wanted"),
    [(0, 0, 0, 1), (0, 0, 10, 0), (5, 0, 10, 0.5), (20, 0, 10, 1), (4, 5, 0, 0), (7, 5, 4, 0.5)],
)
def test_weights_rise_linearly(step, start, length, wanted):
    assert ramp(step, start, length) == wanted


@pytest.mark.parametrize("name", ["uda", "pseudo_label"])
def test_the_weight_follows_the_learners_steps(name, training, network):
    learner = learner_with(name, network, training, threshold=0.0, ramp_steps=4)
    assert float(learner.step(batch())[name]) == 0.0
    learner.num_steps = 8
    assert float(learner.step(batch())[name]) > 0.1


def test_a_weak_pass_leaves_the_network_as_it_was(training):
    torch.manual_seed(0)
    network = Classifier(SmallCNN(1, 0.25), {"base": 4}, [0.3], [0.4], dropout=0.5).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    images = batch()["weak"].images
    one, two = predict(network, images), predict(network, images)
    assert torch.equal(one, two) and not one.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(module.training for module in network.modules())
    with torch.no_grad():
        assert not torch.allclose(one, network.eval()(images).logits)


def test_frozen_statistics_stay_frozen_in_the_weak_pass(network):
    network.eval()
    images = batch()["weak"].images
    with torch.no_grad(), batch_statistics(network):
        inside = network(images).logits
    assert torch.equal(inside, network(images).logits)


def test_the_two_views_are_of_the_same_images():
    images = torch.arange(50, dtype=torch.uint8).reshape(50, 1, 1, 1)

    class Same:
        def draw(self, rng, num):
            return {}

        def __call__(self, images, drawn):
            return images

    streams = {
        name: Stream(images, None, 12, Same(), order="unlabelled")
        for name in ("unlabelled", "weak")
    }
    batches = Batches(streams | {"other": Stream(images, None, 12, Same())}, seed=0, model="b")
    seen = set()
    for step in range(9):
        parts = batches(step)
        assert torch.equal(parts["unlabelled"].images, parts["weak"].images)
        assert torch.equal(parts["unlabelled"].rows, parts["weak"].rows)
        assert not torch.equal(parts["unlabelled"].rows, parts["other"].rows)
        seen |= set(parts["weak"].rows.tolist())
    assert seen == set(range(50))


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_unlabelled_images_of_a_task_speak_of_the_classes_it_trains(name, training):
    torch.manual_seed(0)
    network = Classifier(SmallCNN(1, 0.25), {"base": 3, "t": 4}, [0.3], [0.4])
    made = method(name)
    made.start(setting(network, [slice(0, 3)], slice(3, 7), images=FewImages(unlabelled=12)))
    learner = Learner(network, training, methods={name: made})
    parts = batch_of(name)
    parts["labelled"] = parts["labelled"]._replace(columns=slice(3, 7))
    learner.step(parts)
    first = list(network.heads.values())[0]
    assert float(first.weight.grad.abs().max()) == 0


def test_separate_batch_norm_is_a_pass_for_each_part(training, network):
    twin = copy.deepcopy(network)
    recipe = training.model_copy(update={"batch_norm": "separate"})
    parts = {name: part for name, part in batch().items() if name != "weak"}
    output = Learner(network, recipe).forward([part.images for part in parts.values()])
    twin.train()
    each = [twin(part.images).logits for part in parts.values()]
    assert torch.equal(output.logits, torch.cat(each))
    joint = Learner(copy.deepcopy(twin), training)
    together = joint.forward([part.images for part in parts.values()]).logits
    assert not torch.allclose(output.logits, together, atol=1e-3)


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_a_step_asks_the_device_for_nothing(name, training, network):
    """What a log interval may read back is one tensor; the steps between read nothing."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        reads = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.reads += "_local_scalar_dense" in str(func)
            return func(*args, **(kwargs or {}))

    learner = learner_with(name, network, training)
    parts = batch_of(name)
    with Count() as count:
        float(torch.ones(()))
        assert count.reads == 1  # it does count
        for _ in range(5):
            learner.step(parts)
    assert count.reads == 1
    assert np.isfinite(float(learner.step(parts)["loss"]))
