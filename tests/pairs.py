"""Small pairs of Meta Pseudo Labels in float64, and the true gradient of their teacher: by
enumeration of all labels, and by autograd through the student's step."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.meta.options import Consistency
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import ConsistentTeacher, Pair
from pipeline.meta.reduced import ReducedTeacher
from pipeline.meta.train import PAIRS
from pipeline.networks.batch_norm import batch_statistics
from pipeline.networks.calibrator import Calibrator
from pipeline.networks.classifier import Classifier
from pipeline.training.recipe import Training

CLASSES, IMAGES = 3, 4  # 3^4 draws of labels
OFF = Consistency(weight=0.0, threshold=0.0, temperature=1.0, confidence="plain")


class Tiny(nn.Module):
    """A backbone with a hidden layer and BatchNorm."""

    num_features = 5

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 5, 1), nn.BatchNorm2d(5), nn.Tanh(), nn.Conv2d(5, 5, 1), nn.Tanh()
        )

    def forward(self, images):
        return self.layers(images).mean((2, 3))


def network(seed: int) -> Classifier:
    """A classifier in float64."""
    torch.manual_seed(seed)
    made = Classifier(Tiny(), {"base": CLASSES}, [0.1, -0.1], [0.8, 1.1])
    return made.double()


def batch() -> dict[str, Part]:
    """6 labelled images, and both views of 4 unlabelled ones."""
    torch.manual_seed(3)

    def images(num):
        return torch.randn(num, 2, 2, 2, dtype=torch.float64)

    labels = torch.eye(CLASSES, dtype=torch.float64)[torch.arange(6) % CLASSES]
    return {
        "labelled": Part(images(6), labels, None, torch.tensor([4, 1, 0, 5, 2, 3])),
        "unlabelled": Part(images(IMAGES), None, None, torch.tensor([6, 2, 7, 2])),
        "weak": Part(images(IMAGES), None, None, None),
    }


def recipe(training: Training) -> Training:
    """Without noise, without average, at a constant rate."""
    calm = {"ema": 0.0, "dropout": 0.0, "label_smoothing": 0.0, "warmup_steps": 0, "steps": 10**9}
    return training.model_copy(update=calm | {"weight_decay": 0.0, "clip_norm": 0.0})


def whole(training, options: Options) -> ConsistentTeacher:
    """A teacher that is a network of its own."""
    return ConsistentTeacher(network(2), training, options)


def learner(
    training, rate: float, momentum: float = 0.0, past: bool = False, teach=whole, **options
) -> Pair:
    """A pair in float64; `past`: the momentum buffers hold an earlier step's gradient; `teach`
    makes the teacher."""
    defaults = {"teacher": "t", "network": "small_cnn", "teacher_learning_rate": 1e-9, "uda": OFF}
    defaults |= {"baseline_decay": 1.0, "scale": "sum"}
    training = training.model_copy(update={"learning_rate": rate})
    chosen = Options.model_construct(**{**Options(**defaults).__dict__, **options})
    kind = PAIRS[chosen.labels, chosen.corrected_by]
    made = kind(network(1), training, chosen, teach(training, chosen))
    made.optimizer = torch.optim.SGD(
        made.network.parameters(), lr=rate, momentum=momentum, nesterov=momentum > 0
    )
    if past:
        torch.manual_seed(9)
        for weight in made.network.parameters():
            made.optimizer.state[weight]["momentum_buffer"] = 0.1 * torch.randn_like(weight)
    return made


def stirred(made: Calibrator) -> Calibrator:
    """The calibrator with a last layer that says something."""
    torch.manual_seed(4)
    torch.nn.init.normal_(made.layers[2].weight, std=0.5)
    torch.nn.init.normal_(made.layers[2].bias, std=0.5)
    return made


def flat(gradients) -> torch.Tensor:
    """All of them as one vector."""
    return torch.cat([g.flatten() for g in gradients])


def student_after(pair: Pair, batch, targets) -> torch.Tensor:
    """The labelled loss after the student's step on `targets`, as plain autograd sees it."""
    weights = {n: w for n, w in pair.network.named_parameters() if w.requires_grad}
    group = pair.optimizer.param_groups[0]

    def loss(weights, part, targets):
        pair.train_mode()
        state = weights | {"mean": pair.network.mean, "std": pair.network.std}
        with batch_statistics(pair.network):
            logits = torch.func.functional_call(pair.network, state, (part.images,)).logits
        return F.cross_entropy(logits, targets)

    grads = torch.autograd.grad(
        loss(weights, batch["unlabelled"], targets), list(weights.values()), create_graph=True
    )
    moved = {}
    for (name, weight), grad in zip(weights.items(), grads):
        step = grad
        if group["momentum"]:
            buffer = pair.optimizer.state[weight].get("momentum_buffer")
            buffer = grad if buffer is None else group["momentum"] * buffer + grad
            step = grad + group["momentum"] * buffer
        moved[name] = weight - group["lr"] * step
    return loss(moved, batch["labelled"], batch["labelled"].targets)


def teacher_logits(pair: Pair, batch) -> tuple[list, torch.Tensor]:
    """The teacher's pass that gets the gradient: its weights to train, the strong view's logits."""
    weights, logits = teacher_pass(pair, batch)
    return weights, logits[len(batch["labelled"].images) :]


def teacher_pass(pair: Pair, batch) -> tuple[list, torch.Tensor]:
    """The weights to train of a copy, and its logits of labelled and strong images together."""
    teacher = copy.deepcopy(pair.teacher)
    teacher.train_mode()
    parts = [batch["labelled"], batch["unlabelled"]]
    weights = [weight for weight in teacher.network.parameters() if weight.requires_grad]
    if isinstance(teacher, ReducedTeacher):
        tables = [teacher.answers["labelled"], teacher.answers["unlabelled"]]
        answers = [table[part.rows] for part, table in zip(parts, tables)]
        return weights, teacher.network(torch.cat(answers))
    return weights, teacher.network(torch.cat([part.images for part in parts])).logits


def correction(pair: Pair, batch, targets=None) -> torch.Tensor:
    """The gradient that one step adds to the teacher's, for given labels."""
    return step_gradient(pair, batch, targets) - own_gradient(pair, batch)


def step_gradient(pair: Pair, batch, targets=None) -> torch.Tensor:
    """The whole gradient of the teacher in one step, for given labels."""
    pair = copy.deepcopy(pair)
    seen = {}
    if targets is not None:
        pair.targets = lambda logits: targets
    pair.teacher.apply = lambda: seen.update(
        grads=[w.grad.clone() for w in pair.teacher.network.parameters() if w.requires_grad]
    )
    pair.step(batch)
    return flat(seen["grads"])


def own_gradient(pair: Pair, batch) -> torch.Tensor:
    """The gradient of the teacher's own loss on the labelled images."""
    weights, logits = teacher_pass(pair, batch)
    own = F.cross_entropy(logits[:6], batch["labelled"].targets)
    return flat(torch.autograd.grad(own, weights))


def all_labels():
    """Every draw of the images' labels."""
    for labels in itertools.product(range(CLASSES), repeat=IMAGES):
        yield torch.tensor(labels)


def truth_for_hard_labels(pair, batch) -> torch.Tensor:
    """grad over phi of E over labels of the labelled loss after the step, all draws enumerated."""
    weights, logits = teacher_logits(pair, batch)
    log_p = logits.log_softmax(1)
    expected = torch.zeros((), dtype=torch.float64)
    for labels in all_labels():
        targets = F.one_hot(labels, CLASSES).double()
        chance = log_p[torch.arange(IMAGES), labels].sum().exp()
        expected = expected + chance * student_after(pair, batch, targets).detach()
    return flat(torch.autograd.grad(expected, weights))


def expected_correction(pair, batch) -> torch.Tensor:
    """The mean over all draws of what the learner adds to the teacher's gradient."""
    _, logits = teacher_logits(pair, batch)
    p = logits.detach().softmax(1)
    total = torch.zeros(())
    for labels in all_labels():
        chance = p[torch.arange(IMAGES), labels].prod()
        targets = F.one_hot(labels, CLASSES).double()
        total = total + chance * step_gradient(pair, batch, targets)
    return total - own_gradient(pair, batch)


def compare(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """Cosine, and ratio of norms."""
    return float(F.cosine_similarity(one, other, dim=0)), float(one.norm() / other.norm())


def comes_back(training, batch, **options) -> tuple[dict, Pair]:
    """Six steps at a stretch, and three, a new pair from their state, and three: bit for bit the
    same. Returns the state and the pair."""
    training = training.model_copy(update={"ema": 0.9})
    options |= {"teacher_learning_rate": 0.05, "baseline_decay": 0.9}
    whole, cut, fresh = (learner(training, 0.1, 0.9, **options) for _ in range(3))

    def go(pair, steps):
        for step in steps:
            torch.manual_seed(step)
            pair.step(batch)

    go(whole, range(6))
    go(cut, range(3))
    fresh.load_state({name: value.clone() for name, value in cut.state().items()})
    go(fresh, range(3, 6))
    one, two = whole.state(), fresh.state()
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    return one, whole
