"""What the estimators of Meta Pseudo Labels' feedback say of labels, from one frozen state.

A pair is frozen before a step, with one batch and one dropout mask; labels alone are drawn anew.
For each draw the student makes its step, and every condition measures the feedback h of that step:

    reference   h* = L(theta) - L(theta'), losses in float64, of the very step that was made
    G           mean over labels of h * d/dphi sum of H(y, T): what the teacher descends

G is a mean over hundreds of labels, each with noise of its own. Therefore h is split into a part
that is linear in the labels, c . y, whose mean is known in closed form, and a small rest, whose
mean is taken over draws (a control variate: it changes no expectation). c is the derivative of h:

    of h*             coefficient * <grad L(theta'), d/dy grad H(y, S)>
    of inner_product  coefficient * <grad L(theta') - coefficient * hessian L(theta') grad H, ...>
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.data.batches import Part
from pipeline.meta.pair import Pair
from pipeline.networks.batch_norm import batch_statistics
from pipeline.training.learner import cross_entropy, full

EXACT = "exact"
ESTIMATORS = ("loss_difference", "inner_product")
BF16_PASS = " (bf16 pass)"  # the student's gradient is of a pass under autocast
BF16_LOSSES = "mistake: bf16 losses"  # both labelled losses under autocast
OTHER_BATCH = "mistake: other batch"  # old loss in one BatchNorm batch with the unlabelled images
CONDITIONS = (
    *ESTIMATORS,
    *(f"{name}{BF16_PASS}" for name in ESTIMATORS),
    BF16_LOSSES,
    OTHER_BATCH,
)


Autocast = Callable[[], AbstractContextManager]


class Setting(NamedTuple):
    """How the student steps."""

    rate: float
    momentum: float


class Found(NamedTuple):
    """One condition in one setting on one batch, over M draws of labels."""

    setting: Setting
    condition: str
    h: Tensor  # float64 (M,)
    reference: Tensor  # float64 (M,)
    scores: Tensor  # (M,): squared norm of d/dphi sum of H(y, T)
    gram: Tensor  # (2, 2): inner products of G and that of the reference
    noise: Tensor  # (2, 2): what the draws' noise adds to `gram` in the mean


class Teacher:
    """The teacher's one pass: labels to draw, and the way back to its weights."""

    def __init__(self, pair: Pair, batch: dict[str, Part]):
        self.draw = lambda: pair.targets(self.logits)
        self.logits, _ = pair.teacher.ask(batch)
        self.probs = self.logits.detach().softmax(1)  # (N, K)
        self._weights = [w for w in pair.teacher.network.parameters() if w.requires_grad]

    def pull(self, gradient: Tensor) -> Tensor:
        """From d/dlogits (N, K) to d/dphi, flat."""
        grads = torch.autograd.grad(self.logits, self._weights, gradient, retain_graph=True)
        return torch.cat([grad.flatten() for grad in grads])

    def expected(self, slopes: Tensor) -> Tensor:
        """The mean over labels of (slopes . y) * d/dlogits sum of H(y, T), (N, K)."""
        return self.probs * ((self.probs * slopes).sum(1, keepdim=True) - slopes)


class Student:
    """The student's step from one state on one batch, for any labels, rate and momentum.

    Args:
        pair: is moved about.
        batch: of the step.
        seed: of the dropout mask.
    """

    def __init__(self, pair: Pair, batch: dict[str, Part], seed: int):
        self.pair, self.labelled = pair, batch["labelled"]
        self.joint = torch.cat([part.images for part in (self.labelled, batch["unlabelled"])])
        self.exact = copy.deepcopy(pair.network).double()
        self._weights = list(pair.network.parameters())
        slots = [pair.optimizer.state[weight] for weight in self._weights]
        for slot, weight in zip(slots, self._weights):
            if slot.get("momentum_buffer") is None:  # before the first step: SGD would begin one
                slot["momentum_buffer"] = torch.zeros_like(weight)
        self._moved = [*self._weights, *(slot["momentum_buffer"] for slot in slots)]
        self._start = [value.detach().clone() for value in self._moved]
        torch.manual_seed(seed)
        pair.train_mode()
        # by weights that the optimiser's steps in place leave alone
        copies = {
            n: w.detach().clone().requires_grad_() for n, w in pair.network.named_parameters()
        }
        with pair.autocast():
            output = functional_call(pair.network, copies, (batch["unlabelled"].images,))
        logits = full(output.logits)
        self._log_p, self._points = logits.log_softmax(1), list(copies.values())
        self._labels = torch.zeros_like(logits).requires_grad_()

    def gradient(self, targets: Tensor) -> list[Tensor]:
        """Of H(y, S) at the old weights."""
        return self._gradient(targets, retain_graph=True)

    def _gradient(self, targets: Tensor, **options) -> list[Tensor]:
        loss = -(targets * self._log_p).sum(1).mean()
        return torch.autograd.grad(loss, self._points, **options)

    @cached_property
    def _graph(self) -> list[Tensor]:
        return self._gradient(self._labels, create_graph=True)

    def slopes(self, direction: Sequence[Tensor]) -> Tensor:
        """The derivative of <direction, gradient> with respect to the labels, (N, K)."""
        return torch.autograd.grad(_dot(self._graph, direction), self._labels, retain_graph=True)[0]

    def restore(self) -> None:
        """Back to the state before the step."""
        with torch.no_grad():
            torch._foreach_copy_(self._moved, self._start)

    def step(self, gradient: Sequence[Tensor], setting: Setting) -> None:
        """The step that the optimiser makes by this gradient from the frozen state."""
        self.restore()
        for group in self.pair.optimizer.param_groups:
            group |= {"lr": setting.rate, "momentum": setting.momentum}
            group["nesterov"] = setting.momentum > 0
        for weight, grad in zip(self._weights, gradient):
            weight.grad = grad.clone()  # Nesterov's momentum is added in place
        self.pair.optimizer.step()

    def losses(self, autocast: Autocast | None, images: Tensor) -> dict[str, float]:
        """The labelled loss at the weights of now, by what it is for.

        Args:
            autocast: of bf16; None leaves the mistakes out.
            images: the BatchNorm batch of the mistake.
        """
        with torch.no_grad():
            torch._foreach_copy_(list(self.exact.parameters()), self._weights)
        results = {
            EXACT: _loss(self.exact, self.labelled, self.labelled.images),
            "loss_difference": float(self.pair.labelled_loss(self.labelled).detach()),
        }
        if autocast is None:
            return results
        with autocast():
            results[BF16_LOSSES] = _loss(self.pair.network, self.labelled, self.labelled.images)
        return results | {OTHER_BATCH: _loss(self.pair.network, self.labelled, images)}

    def labelled_gradient(self) -> list[Tensor]:
        """Of the labelled loss at the weights of now."""
        return list(torch.autograd.grad(self.pair.labelled_loss(self.labelled), self._weights))

    def product(self, gradient: Sequence[Tensor]) -> float:
        """The inner product after the step by this gradient."""
        names = [name for name, _ in self.pair.network.named_parameters()]
        return float(self.pair.downhill(self.labelled, dict(zip(names, gradient))))

    @property
    def coefficient(self) -> float:
        """d theta' / d gradient, with the sign turned."""
        group = self.pair.optimizer.param_groups[0]
        return group["lr"] * (1 + (group["momentum"] if group["nesterov"] else 0.0))

    def curvature(self, direction: Sequence[Tensor]) -> list[Tensor]:
        """The Hessian of the labelled loss at the weights of now, times `direction`."""
        loss = self.pair.labelled_loss(self.labelled)
        slope = torch.autograd.grad(loss, self._weights, create_graph=True)
        return torch.autograd.grad(_dot(slope, direction), self._weights)


def measure(
    pair: Pair,
    batch: dict[str, Part],
    seed: int,
    settings: Sequence[Setting],
    draws: int,
    bf16: Callable[[nn.Module], Autocast] | None = None,
) -> list[Found]:
    """Every condition in every setting, on the same draws of labels.

    Args:
        pair: before the step; is left as it is.
        batch: of the step.
        seed: of labels and dropout.
        settings: how the student steps.
        draws: of labels.
        bf16: fits a network to bf16; without it the conditions with bf16 are left out.
    """
    pair = copy.deepcopy(pair)
    other = copy.deepcopy(pair)
    torch.manual_seed(seed)
    teacher = Teacher(pair, batch)
    labels = torch.stack([teacher.draw() for _ in range(draws)])
    scores = torch.stack([teacher.pull(s).square().sum() for s in teacher.probs - labels])
    students = {"": Student(pair, batch, seed)}
    if bf16:
        other.autocast = bf16(other.network)
        students[BF16_PASS] = Student(other, batch, seed)
    gradients = {name: [s.gradient(y) for y in labels] for name, s in students.items()}
    results = []
    for setting in settings:
        plain = students[""]
        slopes = _slopes(plain, gradients[""], setting)
        for name, student in students.items():
            autocast = other.autocast if bf16 and not name else None
            h = _feedback(student, gradients[name], setting, autocast)
            kinds = {k: slopes["inner_product" if k == "inner_product" else EXACT] for k in h}
            means = {k: _mean(teacher, kinds[k], h[k], labels) for k in h}
            for kind, mean in means.items():
                vectors, rests = (torch.stack(both) for both in zip(mean, means[EXACT]))
                noise = (1 - 1 / draws) * (rests * scores) @ rests.T
                gram = vectors @ vectors.T
                label = f"{kind}{name}"
                results.append(Found(setting, label, h[kind], h[EXACT], scores, gram, noise))
    return results


def _slopes(
    student: Student, gradients: Sequence[list[Tensor]], setting: Setting
) -> dict[str, Tensor]:
    """The derivatives of h* and of the inner product by the labels (N, K), at the mean gradient."""
    mean = [torch.stack(grads).mean(0) for grads in zip(*gradients)]
    student.step(mean, setting)
    coefficient = student.coefficient
    downhill = student.labelled_gradient()
    bend = student.curvature(mean)
    early = [slope - coefficient * more for slope, more in zip(downhill, bend)]
    results = {EXACT: downhill, "inner_product": early}
    return {name: coefficient * student.slopes(direction) for name, direction in results.items()}


def _feedback(
    student: Student,
    gradients: Sequence[list[Tensor]],
    setting: Setting,
    autocast: Autocast | None,
) -> dict[str, Tensor]:
    """h of every draw by condition, float64 (M,); the mistakes too if `autocast` is given."""
    student.restore()
    old = student.losses(autocast, student.joint)
    rows = []
    for gradient in gradients:
        student.step(gradient, setting)
        new = student.losses(autocast, student.labelled.images)
        row = {name: old[name] - new[name] for name in new}
        rows.append(row | {"inner_product": student.product(gradient)})
    return {name: torch.tensor([row[name] for row in rows]).double() for name in rows[0]}


def _mean(teacher: Teacher, slopes: Tensor, h: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """G, flat, and the weight (M,) that each draw's score has in it besides the linear part."""
    rest = h.to(labels) - (slopes * labels).sum((1, 2))
    rest = (rest - rest.mean()) / (len(h) - 1)
    drawn = (rest[:, None, None] * (teacher.probs - labels)).sum(0)
    return teacher.pull(teacher.expected(slopes) + drawn), rest


def _loss(network: nn.Module, part: Part, images: Tensor) -> float:
    """Of the labelled images, which come first in `images`, in the state that the project has."""
    network.train()
    with torch.no_grad(), batch_statistics(network):
        logits = full(network(images).logits)[: len(part.images)]
    return float(cross_entropy(logits, part.targets.to(logits)))


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(one, other)]).sum()
