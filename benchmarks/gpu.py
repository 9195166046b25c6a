"""Whole training steps on a GPU: `python -m benchmarks.gpu`; `--toy` tries it on a CPU.

What the pipeline runs, from `Batches` through `Learner.step`: images gathered and augmented, the
passes, the update, the average. Supervised, FixMatch and Meta Pseudo Labels, at 128 labelled and
896 unlabelled images of 32x32 (supervised: 1,024 labelled ones in the strong view), on WRN-28-2 and
resnet_9; in bf16 and channels_last; as it is, with compiled networks, and as a CUDA graph (not Meta
Pseudo Labels). Images per second count an image of the batch once, whatever its views and passes.
Behind each row: what one step waited for. Labels are noise, only the time counts.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import photographs
from benchmarks.fixmatch_step import CLASSES, MEAN, STD, our_batches, recipe
from benchmarks.timing import machine, spread, take_turns
from pipeline.core.machine import Machine, configure
from pipeline.data.batches import Batches
from pipeline.meta.options import MetaPseudoLabels
from pipeline.meta.pair import ConsistentTeacher, Pair
from pipeline.meta.train import PAIRS
from pipeline.methods.semi_supervised.fixmatch import FixMatch
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.capture import WARM_UP, Captured
from pipeline.training.learner import Learner

RATIO = 7  # unlabelled images for each labelled one
# the device's own synchronisation is left out: the profiler ends with one
WAITS = {
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "aten::_local_scalar_dense",
    "aten::nonzero",
}

Step = Callable[[int], object]


class Bench:
    """Makes the learners and batches to time.

    Args:
        images: uint8 (N, 3, H, W), on the device.
        labelled: images in a step.
        toy: thin networks; nothing is compiled or captured, else all is as it would be.
    """

    def __init__(self, images: Tensor, labelled: int, *, toy: bool):
        self.labelled, self.toy = labelled, toy
        self.training = recipe(labelled, RATIO * labelled)
        self.batches = our_batches(images, self.training)

    def network(self, name: str) -> tuple[Classifier, Callable]:
        """On the device, as the machine's settings have it, and what makes its number format."""
        torch.manual_seed(0)
        backbone = NETWORKS[name].build(3, 0.25 if self.toy else 1.0, 0.0)
        made = Classifier(backbone, {"base": CLASSES}, MEAN, STD).to(self.batches.device)
        return made, configure(Machine(dtype="bfloat16"), made, 32 * 32)

    def supervised(self, name: str) -> tuple[Learner, Batches]:
        """All images labelled, in the strong view."""
        network, autocast = self.network(name)
        streams = self.batches.streams
        labelled = replace(
            streams["labelled"], num=(1 + RATIO) * self.labelled, view=streams["unlabelled"].view
        )
        batches = Batches({"labelled": labelled}, seed=0, model="bench")
        return Learner(network, self.training, autocast=autocast), batches

    def fixmatch(self, name: str) -> tuple[Learner, Batches]:
        """Labelled images, and both views of unlabelled ones."""
        network, autocast = self.network(name)
        methods = {"fixmatch": FixMatch(FixMatch.Options())}
        return Learner(network, self.training, autocast=autocast, methods=methods), self.batches

    def meta_pseudo_labels(self, name: str) -> tuple[Learner, Batches]:
        """A student and its teacher, of one network."""
        (student, autocast), (network, theirs) = self.network(name), self.network(name)
        options = MetaPseudoLabels(teacher="teacher")
        teacher = ConsistentTeacher(network, self.training, options, theirs)
        kind = PAIRS[options.labels, options.corrected_by]
        return kind(student, self.training, options, teacher, autocast), self.batches

    def arms(self, name: str) -> dict[str, Callable[[], object]]:
        """The next step of each recipe, in each form that it has; of one network."""
        recipes = {
            "supervised": self.supervised,
            "FixMatch": self.fixmatch,
            "Meta Pseudo Labels": self.meta_pseudo_labels,
        }
        calls = {}
        for title, make in recipes.items():
            calls[f"{title}, eager"] = following(*eager(*make(name)))
            calls[f"{title}, compiled"] = following(*self.compiled(*make(name)))
            if title != "Meta Pseudo Labels":
                calls[f"{title}, captured"] = following(*self.captured(*make(name)))
        return calls

    def compiled(self, learner: Learner, batches: Batches) -> tuple[Learner, Step]:
        """With its networks compiled, as `compile: true` does."""
        learner.network.compile(disable=self.toy)
        if isinstance(learner, Pair):
            learner.teacher.network.compile(disable=self.toy)
        return eager(learner, batches)

    def captured(self, learner: Learner, batches: Batches) -> tuple[Learner, Step]:
        """As `capture: true` does; on a CPU the call itself in the place of its graph."""
        return learner, Captured(learner, batches, (lambda update: update) if self.toy else None)


def eager(learner: Learner, batches: Batches) -> tuple[Learner, Step]:
    """As it is."""
    return learner, lambda step: learner.step(batches(step))


def following(learner: Learner, step: Step) -> Callable[[], object]:
    """The learner's next step, whichever that is."""
    return lambda: step(learner.num_steps)


def finished(call: Callable[[], object], device: str) -> None:
    """The call, and then the device's end of it, so that a clock sees all."""
    call()
    if device == "cuda":
        torch.cuda.synchronize()


def waits(call: Callable[[], object], device: str) -> dict[str, int]:
    """How often each thing that waits for the device happened in one call.

    A CPU reads a captured step's learning rate, once for each group of weights; a GPU does not.
    """
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        call()
    return {event.key: event.count for event in profile.key_averages() if event.key in WAITS}


def report(bench: Bench, name: str, rounds: int, device: str) -> None:
    """Print the rows of a network."""
    arms = {title: partial(finished, call, device) for title, call in bench.arms(name).items()}
    draw = iter(range(10**9))
    arms["FixMatch's batch alone"] = partial(finished, lambda: bench.batches(next(draw)), device)
    for title, call in arms.items():
        for _ in range(WARM_UP if title.endswith("captured") else 0):
            call()  # and once more before the clock starts
    print(f"\n{name}")
    for title, times in take_turns(arms, rounds).items():
        rate = [(1 + RATIO) * bench.labelled / one for one in times]
        said = waits(arms[title].args[0], device) or "none"
        row = f"{spread(times, 1e-3):>24} ms   {spread(rate, 1e3):>24} k images/s"
        print(f"  {title:30} {row}   waits: {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of images; default: built-in photos")
    parser.add_argument("--toy", action="store_true", help="thin networks, few images, on the CPU")
    parser.add_argument("--labelled", type=int, default=128, help="labelled images in a step")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    if not options.toy and not torch.cuda.is_available():
        raise SystemExit("error: no GPU is visible; fix: run where there is one, or pass --toy")
    device = "cpu" if options.toy else "cuda"
    torch.backends.cudnn.benchmark = True  # as all training here
    num, size = (64, 16) if options.toy else (8192, 32)
    images = photographs.load(num, size, options.images).to(device)
    bench = Bench(images, 2 if options.toy else options.labelled, toy=options.toy)
    print(f"{machine()}; {bench.labelled} + {RATIO * bench.labelled} images of {size}x{size}")
    for name in ("wrn_28_2", "resnet_9"):
        report(bench, name, 2 if options.toy else options.rounds, device)


if __name__ == "__main__":
    main()
