"""Two moons with six labels: what labels alone, pseudo-labels and Meta Pseudo Labels make of them.

`python -m benchmarks.two_moons` prints accuracies on test points over seeds 0 to 9 (a minute or two
on one thread) and draws what the first three arms learnt at seed 0 into `docs/two_moons.png`.
`--feedback` asks instead what the student's feedback is worth by itself: where the teacher has
little consistency loss or none, and where feedback is all that it hears of the labels. `--val`
prints either table for a validation draw of seeds 1000 to 1009; settings were chosen by such draws.

The toy is that of Pham et al. 2021 (arXiv:2003.10580), section 3.1: three labelled points a moon,
drawn at random, and here 1,000 unlabelled ones; noise 0.1. Network, optimiser, rate and steps are
the same in every arm, the noise on labelled points is what is best for the arm, and no arm knows
more than the six labels. The teacher's consistency loss (UDA) compares a point with the point moved
a little, so a boundary costs by the points that it passes and is cheapest in the gap: it is this
loss that finds the moons, as the arms without feedback show.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.study import mean_interval
from pipeline.core import randomness
from pipeline.data.batches import Batches, Stream
from pipeline.meta.options import Consistency
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import ConsistentTeacher
from pipeline.meta.train import PAIRS
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.training.learner import Learner
from pipeline.training.recipe import Training

LABELLED, UNLABELLED, VAL, TEST, NOISE = 3, 1000, 1000, 1000, 0.1
JITTER = {"labelled": 0.2, "pseudo": 0.1}
JITTER_OF_PAIR = {"labelled": 0.05, "unlabelled": 0.1, "weak": 0.0}
WEAK = 0.1  # weight of the teacher's consistency loss where it has little
RATE_BY_FEEDBACK = 0.001  # of a teacher that has nothing else; the other is too much


@dataclass(frozen=True)
class Toy:
    """Network and recipe of every arm.

    Attributes:
        units: of each of two hidden layers.
        activation: behind them, of `torch.nn`.
        optimizer: of params.yaml.
        rate: at its peak.
        constant: whether the rate stays there.
        steps: of every network.
        batch: unlabelled points of a step.
        scale: of the teacher's correction.
        consistency: weight of the teacher's loss.
        wait: part of the steps in which the teacher alone learns.
    """

    units: int = 64
    activation: str = "ReLU"
    optimizer: str = "adamw"
    rate: float = 0.01
    constant: bool = False
    steps: int = 1000
    batch: int = 256
    scale: str = "mean"
    consistency: float = 20.0
    wait: float = 0.25

    @property
    def recipe(self) -> Training:
        """A rate stays constant in the beginning of a schedule that is far longer."""
        steps = self.steps * (1000 if self.constant else 1)
        changes = {"optimizer": self.optimizer, "learning_rate": self.rate, "steps": steps}
        changes |= {"warmup_steps": 0, "clip_norm": 0.0, "label_smoothing": 0.0, "dropout": 0.0}
        changes |= {"weight_decay": 1e-4, "ema": 0.0, "train": "all"}
        return load().training.model_copy(update=changes)


class Points(nn.Module):
    """Two hidden layers for points (N, 2, 1, 1): images of one pixel with x and y as channels."""

    def __init__(self, units: int, activation: str):
        super().__init__()
        self.num_features = units
        self.layers = nn.Sequential(
            *(nn.Flatten(), nn.Linear(2, units), getattr(nn, activation)()),
            *(nn.Linear(units, units), getattr(nn, activation)()),
        )

    def forward(self, points: Tensor) -> Tensor:
        return self.layers(points)


class Jitter:
    """The view of a point: Gaussian noise of standard deviation `size`."""

    def __init__(self, size: float):
        self.size = size

    def draw(self, rng: np.random.Generator, num: int) -> dict[str, np.ndarray]:
        """The noise of `num` points."""
        return {"noise": rng.normal(0, self.size, (num, 2, 1, 1)).astype(np.float32)}

    def __call__(self, points: Tensor, drawn: dict[str, np.ndarray]) -> Tensor:
        """Points (N, 2, 1, 1), moved."""
        return points + torch.from_numpy(drawn["noise"])


class Moons:
    """The points of a seed, and those of them that networks are measured on.

    Args:
        seed: of the draw.
        split: `test`, or `val` to choose settings by.
    """

    def __init__(self, seed: int, split: str = "test"):
        from sklearn.datasets import make_moons

        num = 2 * LABELLED + UNLABELLED + VAL + TEST
        points, label = make_moons(num, noise=NOISE, random_state=seed)
        points = torch.from_numpy(points.astype(np.float32)).reshape(-1, 2, 1, 1)
        label = torch.from_numpy(label)
        rows = torch.cat([(label == c).nonzero()[:LABELLED, 0] for c in (0, 1)])
        rest = torch.ones(num, dtype=torch.bool)
        rest[rows] = False
        self.labelled, self.label = points[rows], label[rows]
        sizes = [UNLABELLED, VAL, TEST]
        self.unlabelled, *asked = points[rest].split(sizes)
        _, *truth = label[rest].split(sizes)
        which = ("val", "test").index(split)
        self._asked, self._truth = asked[which], truth[which]

    def accuracy(self, network: Classifier) -> float:
        """Share of the split's points that it gets right, 0..1."""
        return float((says(network, self._asked).argmax(1) == self._truth).double().mean())


@torch.no_grad()
def says(network: Classifier, points: Tensor) -> Tensor:
    """Class probabilities (N, 2)."""
    return network.eval()(points).logits.softmax(1)


# --- the arms


def network(toy: Toy, seed: int, name: str) -> Classifier:
    """Fresh weights; the moons' own mean and spread are known."""
    randomness.seed_torch(seed, name, "init")
    backbone = Points(toy.units, toy.activation)
    return Classifier(backbone, {"base": 2}, mean=[0.5, 0.25], std=[0.87, 0.5])


def train(learner: Learner, streams: dict[str, Stream], seed: int, name: str, steps: int) -> None:
    """All steps, as the pipeline's loop makes them."""
    batches = Batches(streams, seed=seed, model=name)
    for step in range(steps):
        randomness.seed_torch(seed, name, "dropout", step)
        learner.step(batches(step))


def labelled(moons: Moons, size: float) -> Stream:
    """All six labelled points at every step."""
    targets = torch.eye(2)[moons.label]
    return Stream(moons.labelled, targets, 2 * LABELLED, Jitter(size))


def supervised(toy: Toy, moons: Moons, seed: int) -> Classifier:
    """Labels alone."""
    learner = Learner(network(toy, seed, "teacher"), toy.recipe)
    streams = {"labelled": labelled(moons, JITTER["labelled"])}
    train(learner, streams, seed, "teacher", toy.steps)
    return learner.network


def student_of(toy: Toy, teacher: Classifier, moons: Moons, seed: int) -> Classifier:
    """Of its hard pseudo-labels and the labels."""
    targets = torch.eye(2)[says(teacher, moons.unlabelled).argmax(1)]
    streams = {
        "labelled": labelled(moons, JITTER["labelled"]),
        "pseudo": Stream(moons.unlabelled, targets, toy.batch, Jitter(JITTER["pseudo"])),
    }
    learner = Learner(network(toy, seed, "student"), toy.recipe)
    train(learner, streams, seed, "student", toy.steps)
    return learner.network


def pair(
    toy: Toy, moons: Moons, seed: int, feedback: str = "loss_difference", labelled_loss: bool = True
) -> tuple[Classifier, Classifier]:
    """A student by Meta Pseudo Labels, never fine-tuned on the labels, and its teacher.

    Args:
        feedback: `loss_difference` or `none`.
        labelled_loss: whether the teacher has one; else labels reach it by feedback only.
    """
    uda = Consistency(weight=toy.consistency, threshold=0.0, temperature=1.0)
    options = Options(
        teacher="t",
        teacher_learning_rate=toy.rate if labelled_loss else RATE_BY_FEEDBACK,
        feedback=feedback,
        student_wait=int(toy.wait * toy.steps),
        uda=uda,
    )
    if feedback != "none":
        options = options.model_copy(update={"scale": toy.scale})
    student, teacher = network(toy, seed, "student"), network(toy, seed, "teacher")
    labels = ConsistentTeacher(teacher, toy.recipe, options)
    labels.loss_weights["labelled"] = float(labelled_loss)
    kind = PAIRS[options.labels, options.corrected_by]
    learner = kind(student, toy.recipe, options, labels)
    sizes = dict(JITTER_OF_PAIR)
    streams = {"labelled": labelled(moons, sizes.pop("labelled"))}
    for name, size in sizes.items():
        streams[name] = Stream(moons.unlabelled, None, toy.batch, Jitter(size), order="unlabelled")
    train(learner, streams, seed, "pair", toy.steps)
    return student, teacher


def arms(toy: Toy, moons: Moons, seed: int) -> dict[str, Classifier]:
    """The three of the picture, and where the last one's accuracy comes from."""
    teacher = supervised(toy, moons, seed)
    student, corrected = pair(toy, moons, seed)
    untaught, alone = pair(toy, moons, seed, feedback="none")
    return {
        "labels alone": teacher,
        "pseudo-labels": student_of(toy, teacher, moons, seed),
        "Meta Pseudo Labels": student,
        "its teacher": corrected,
        "student, feedback: none": untaught,
        "its teacher: UDA alone": alone,
    }


def feedback_arms(toy: Toy, moons: Moons, seed: int) -> dict[str, Classifier]:
    """Students of teachers with little or no consistency, with feedback and without."""
    little, none = replace(toy, consistency=WEAK), replace(toy, consistency=0.0)
    settings = {
        f"consistency {WEAK}": (little, {}),
        "no consistency": (none, {}),
        "no consistency, teacher has no labels": (none, {"labelled_loss": False}),
    }
    return {
        f"{name}; feedback: {feedback}": pair(one, moons, seed, feedback, **options)[0]
        for name, (one, options) in settings.items()
        for feedback in ("loss_difference", "none")
    }


# --- what is shown


def line(name: str, results: list[float]) -> str:
    """Mean, 95 % interval and least of accuracies, then each, in %."""
    mean, half = mean_interval(100 * np.array(results))
    each = " ".join(f"{100 * value:5.1f}" for value in results)
    return f"{name:62} {mean:5.1f} ± {half:4.1f}   least {100 * min(results):5.1f}   {each}"


def draw(path: Path, moons: Moons, networks: dict[str, Classifier], results: list[float]) -> None:
    """What networks say of the plane, side by side, each with its accuracy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(networks), 2.9), layout="constrained")
    x, y = np.meshgrid(np.linspace(-1.6, 2.6, 420), np.linspace(-1.15, 1.65, 280))
    plane = torch.from_numpy(np.stack([x.ravel(), y.ravel()], 1).astype(np.float32))
    panels = figure.subplots(1, len(networks), sharex=True, sharey=True)
    for axes, (name, network), accuracy in zip(panels, networks.items(), results):
        chance = says(network, plane.reshape(-1, 2, 1, 1))[:, 1].reshape(x.shape)
        pale = {"cmap": "RdBu_r", "vmin": -0.5, "vmax": 1.5}
        axes.contourf(x, y, chance, levels=np.linspace(0, 1, 21), **pale)
        axes.contour(x, y, chance, levels=[0.5], colors="0.15", linewidths=1.2)
        axes.scatter(*moons.unlabelled.flatten(1).T, s=3, color="0.2", alpha=0.35, linewidths=0)
        for label, color, marker in ((0, "#1b4f91", "o"), (1, "#a31f2c", "D")):
            own = moons.labelled[moons.label == label].flatten(1).T
            axes.scatter(*own, s=70, color=color, marker=marker, edgecolors="white", zorder=3)
        axes.set_title(f"{name}: {100 * accuracy:.1f} %", fontsize=11)
        axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=120)


def main(arguments: Iterable[str] | None = None) -> dict[str, list[float]]:
    """Print the table; returns accuracies (0..1) by arm, one a seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--feedback", action="store_true", help="what the feedback is worth")
    parser.add_argument("--val", action="store_true", help="validation draw, seeds 1000 to 1009")
    parser.add_argument("--seeds", type=int, default=10, help="how many, at least 2")
    parser.add_argument("--steps", type=int, default=Toy.steps)
    parser.add_argument("--out", type=Path, default=Path("docs/two_moons.png"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    split, first = ("val", 1000) if options.val else ("test", 0)
    make = feedback_arms if options.feedback else arms
    table: dict[str, list[float]] = {}
    for seed in range(first, first + options.seeds):
        moons = Moons(seed, split)
        made = make(Toy(steps=options.steps), moons, seed)
        for name, network in made.items():
            table.setdefault(name, []).append(moons.accuracy(network))
        if seed == first and not options.val and not options.feedback:
            shown = dict(list(made.items())[:3])
            draw(options.out, moons, shown, [table[name][0] for name in shown])
    print(f"{split} accuracy in %, {options.seeds} seeds from {first}, 95 % interval")
    print("\n".join(line(name, results) for name, results in table.items()))
    if not options.feedback:
        both = np.array([table["Meta Pseudo Labels"], table["student, feedback: none"]])
        mean, half = mean_interval(100 * (both[0] - both[1]))
        print(f"the feedback by itself: {mean:+.2f} ± {half:.2f} points for the student, paired")
    return table


if __name__ == "__main__":
    main()
