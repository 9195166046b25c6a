"""A Meta Pseudo Labels step of two WRN-28-2, 8 labelled and 56 unlabelled images, against the
conventional way.

`OMP_NUM_THREADS=1 python -m benchmarks.meta_step`. Conventional is the same scheme as public ports
write it: PIL images through torchvision's transforms in a DataLoader, float32, every view of a
network in one pass with a graph. In forward passes of the labelled batch that is, for the loss
difference, 3 * (1 + 7 + 7) of the teacher, 3 * (1 + 7) of the student, whose old labelled loss
comes with it, and 1 for the new one: 70. Each arm between takes one thing of ours into it; each has
a process of its own. Labels are noise, only the time counts.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import transforms

from benchmarks.fixmatch_step import (
    CLASSES,
    LABELLED,
    UNLABELLED,
    Pictures,
    classifier,
    endless,
    made,
    our_batches,
    picture_views,
    recipe,
)
from benchmarks.timing import Arm, apart, clock, machine, parser, ratios, spread
from pipeline.core.machine import Machine, configure
from pipeline.data.batches import Part
from pipeline.meta.options import MetaPseudoLabels as Options
from pipeline.meta.pair import ConsistentTeacher, Pair
from pipeline.meta.train import PAIRS
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import Learner, full
from pipeline.training.recipe import Training

Batch = dict[str, Part]
FEEDBACKS = ("loss_difference", "inner_product")


class Conventional:
    """The update of a `Pair` (hard labels) as public ports write it.

    Optimiser, schedule and average are the learner's. Without BatchNorm the weights come out the
    same; with it, images that share a pass share its statistics, as they do in the ports.
    """

    def __init__(
        self,
        network: Classifier,
        training: Training,
        options: Options,
        teacher: Classifier,
        autocast: Callable[[], AbstractContextManager] = nullcontext,
    ):
        recipe = training.model_copy(update={"learning_rate": options.teacher_learning_rate})
        self.student, self.teacher = Learner(network, training), Learner(teacher, recipe)
        self.options, self.autocast = options, autocast
        self.baseline, self.num_steps = 0.0, 0

    def step(self, batch: Batch) -> None:
        """One update of both networks."""
        labelled, weak, strong = (batch[name] for name in ("labelled", "weak", "unlabelled"))
        mine, calm, noisy = self._ask(self.teacher, labelled, weak, strong)
        guess = torch.multinomial(noisy.detach().softmax(1), 1).squeeze(1)
        products = self.options.feedback == "inner_product"
        feedback = (self._product if products else self._difference)(labelled, strong, guess)
        loss = (feedback - self.baseline) * F.cross_entropy(noisy, guess)
        decay = self.options.baseline_decay
        self.baseline = decay * self.baseline + (1 - decay) * feedback
        loss = loss + F.cross_entropy(mine, labelled.targets) + self._consistency(calm, noisy)
        self._move(self.teacher, loss)
        self.num_steps += 1

    def _ask(self, learner: Learner, *parts: Part) -> tuple[Tensor, ...]:
        """The logits of some parts, in one pass."""
        learner.train_mode()
        with self.autocast():
            logits = learner.network(torch.cat([part.images for part in parts])).logits
        return full(logits).split([len(part.images) for part in parts])

    def _move(self, learner: Learner, loss: Tensor) -> None:
        learner.optimizer.zero_grad()
        loss.backward()
        learner.apply()

    def _consistency(self, weak: Tensor, strong: Tensor) -> Tensor:
        uda = self.options.uda
        wanted = (weak.detach() / uda.temperature).softmax(1)
        kept = wanted.max(1).values >= uda.threshold
        return uda.weight * (F.cross_entropy(strong, wanted, reduction="none") * kept).mean()

    def _difference(self, labelled: Part, strong: Part, guess: Tensor) -> Tensor:
        """The student's step, and how much less it loses on labelled images then."""
        before, learnt = self._ask(self.student, labelled, strong)
        old = F.cross_entropy(before.detach(), labelled.targets)
        self._move(self.student, F.cross_entropy(learnt, guess))
        with torch.no_grad():
            [after] = self._ask(self.student, labelled)
        return old - F.cross_entropy(after, labelled.targets)

    def _product(self, labelled: Part, strong: Part, guess: Tensor) -> Tensor:
        """The student's step, and its inner product with the labelled loss's gradient then."""
        [learnt] = self._ask(self.student, strong)
        weights = list(self.student.network.parameters())
        step = torch.autograd.grad(F.cross_entropy(learnt, guess), weights)
        for weight, grad in zip(weights, step):
            weight.grad = grad.clone()
        self.student.apply()
        [after] = self._ask(self.student, labelled)
        downhill = torch.autograd.grad(F.cross_entropy(after, labelled.targets), weights)
        [group, *_] = self.student.optimizer.param_groups
        product = sum((one * other).sum() for one, other in zip(downhill, step))
        return group["lr"] * (1 + group["momentum"]) * product


def ours(
    network: Classifier,
    training: Training,
    options: Options,
    teacher: Classifier,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Pair:
    """The pair as the pipeline makes it."""
    labels = ConsistentTeacher(teacher, training, options, autocast)
    kind = PAIRS[options.labels, options.corrected_by]
    return kind(network, training, options, labels, autocast)


def pictures(images: Tensor) -> Callable[[int], Batch]:
    """Batches of PIL images from DataLoaders, floats in 0..1."""
    weak, strong = picture_views(images.shape[-1], [transforms.ToTensor()])
    labelled = endless(Pictures(images, [weak]), LABELLED)
    unlabelled = endless(Pictures(images, [weak, strong]), UNLABELLED)

    def batch(step: int) -> Batch:
        mine, labels = next(labelled)
        calm, noisy, _ = next(unlabelled)
        return {
            "labelled": Part(mine, F.one_hot(labels, CLASSES).float(), None, labels),
            "unlabelled": Part(noisy, None, None, labels),
            "weak": Part(calm, None, None, labels),
        }

    return batch


def learning(
    way: Callable[..., Pair | Conventional],
    training: Training,
    feedback: str,
    settings: Machine,
    device: torch.device | str = "cpu",
) -> Pair | Conventional:
    """A student and a teacher on their device, as the machine's settings have them."""
    student, teacher = (classifier(torch.contiguous_format).to(device) for _ in range(2))
    autocast, _ = (configure(settings, network, 32 * 32) for network in (student, teacher))
    options = Options(teacher="teacher", feedback=feedback)
    return way(student, training, options, teacher, autocast)


def step(
    images: Tensor, way: Callable, feedback: str, settings: Machine, *, drawn: bool
) -> Callable[[], object]:
    """A step of a way, on our batches (`drawn`) or on pictures."""
    training = recipe()
    batches = our_batches(images, training) if drawn else pictures(images)
    pair = learning(way, training, feedback, settings)
    return lambda: pair.step(batches(pair.num_steps))


def arms(folder: Path | None, feedback: str, threads: int) -> dict[str, Arm]:
    """The conventional step, with one thing of ours, and ours."""
    plain, fitted = (Machine(threads=threads, dtype=dtype) for dtype in ("float32", "auto"))

    def arm(way: Callable, settings: Machine, *, drawn: bool, keeps: bool = False) -> Arm:
        how = {"way": way, "feedback": feedback, "settings": settings, "drawn": drawn}
        return Arm(partial(made, partial(step, **how), folder), keeps)

    return {
        "conventional": arm(Conventional, plain, drawn=False),
        "with our views on uint8": arm(Conventional, plain, drawn=True),
        "with our passes": arm(ours, plain, drawn=False),
        "with our number format": arm(Conventional, fitted, drawn=False),
        "with freed memory kept": arm(Conventional, plain, drawn=False, keeps=True),
        "with all four: ours": arm(ours, fitted, drawn=True, keeps=True),
    }


def main() -> None:
    options = parser(__doc__, rounds=11).parse_args()
    torch.set_num_threads(options.threads)
    kind, _ = clock()
    print(machine())
    print(f"{LABELLED} + {UNLABELLED} images, {options.rounds} rounds, {kind}: median [quartiles]")
    for feedback in FEEDBACKS:
        print(f"\n{feedback}")
        timed = arms(options.images, feedback, options.threads)
        seconds = apart(timed, options.rounds, options.threads)
        for name, ratio in ratios(seconds, next(iter(seconds))).items():
            print(f"  {name:28} {spread(ratio):>22} x   {spread(seconds[name], 1e-3):>22} ms")


if __name__ == "__main__":
    main()
