"""RandAugment and WRN-28-2 on a GPU: `python -m benchmarks.gpu`; `--toy` tries it on a CPU.

Images per second of the strong view (eager, compiled, and as a CUDA graph), of training without and
with it, what it takes of a step, and what the profiler saw that waits for the device in a step.
Steps per second of Meta Pseudo Labels at 128 + 896 images of 32x32, views included, eager and with
both networks compiled; bf16 and channels_last, as all training here.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import photographs
from benchmarks.fixmatch_step import our_batches, recipe
from benchmarks.meta_step import FEEDBACKS, learning, ours
from benchmarks.timing import machine, spread, take_turns
from benchmarks.train_step import training_step
from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.augment.view import to_device
from pipeline.core.machine import Machine

# the device's own synchronisation is left out: the profiler ends with one
WAITS = {
    "cudaStreamSynchronize",
    "cudaEventSynchronize",
    "aten::_local_scalar_dense",
    "aten::nonzero",
}


def waiting(call: Callable[[], object], device: str) -> Callable[[], None]:
    """The call, and then the device's end of it, so that a clock sees all."""

    def finished() -> None:
        call()
        if device == "cuda":
            torch.cuda.synchronize()

    return finished


def in_a_graph(augment: RandAugment, images: Tensor) -> Callable[[], Tensor]:
    """The fixed form captured once; replayed on new draws copied into its input."""
    rng = np.random.default_rng(0)
    kinds = to_device(augment.draw(rng, len(images))["kind"], images.device)
    augment.fixed(images, kinds)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = augment.fixed(images, kinds)

    def replay() -> Tensor:
        kinds.copy_(to_device(augment.draw(rng, len(images))["kind"], images.device))
        graph.replay()
        return result

    return replay


def arms(images: Tensor) -> dict[str, Callable[[], object]]:
    """Calls to time, each on the whole batch."""
    augment, rng = RandAugment(2, 9), np.random.default_rng(0)
    strong = StrongView(WeakView(shift=max(1, images.shape[-1] // 8)), augment)
    kinds = to_device(augment.draw(rng, len(images))["kind"], images.device)
    expected = augment.fixed(images, kinds)
    calls = {
        "draw on the host": lambda: augment.draw(rng, len(images)),
        "RandAugment": lambda: augment(images, augment.draw(rng, len(images))),
        "weak view, then RandAugment": lambda: strong(images, strong.draw(rng, len(images))),
        "training step": training_step(images, "channels_last", bf16=True),
    }
    if images.device.type == "cuda":
        compiled = torch.compile(augment.fixed, fullgraph=True)
        assert (compiled(images, kinds).int() - expected.int()).abs().max() <= 1
        calls["RandAugment, compiled"] = lambda: compiled(images, kinds)
        calls["RandAugment, in a graph"] = in_a_graph(augment, images)
    return calls


def step_with_views(images: Tensor) -> Callable[[], None]:
    """A training step whose images are gathered and augmented on the device first."""
    view, rng = StrongView(WeakView(shift=1), RandAugment(2, 9)), np.random.default_rng(0)
    batch = images.clone()
    step = training_step(batch, "channels_last", bf16=True)

    def whole() -> None:
        rows = to_device(rng.permutation(len(images)), images.device)
        batch.copy_(view(images.index_select(0, rows), view.draw(rng, len(images))))
        step()

    return whole


def meta_steps(images: Tensor, labelled: int) -> dict[str, Callable[[], object]]:
    """Steps of Meta Pseudo Labels on batches of so many labelled images and seven times as many
    unlabelled ones."""
    training, settings = recipe(labelled, 7 * labelled), Machine(dtype="bfloat16")
    batches = our_batches(images, training)

    def steps(feedback: str, *, compiled: bool) -> Callable[[], object]:
        pair = learning(ours, training, feedback, settings, images.device)
        if compiled:
            pair.network.compile()
            pair.teacher.network.compile()
        return lambda: pair.step(batches(pair.num_steps))

    calls = {feedback: steps(feedback, compiled=False) for feedback in FEEDBACKS}
    if images.device.type == "cuda":
        calls |= {f"{name}, compiled": steps(name, compiled=True) for name in FEEDBACKS}
    return calls


def waits(call: Callable[[], object], device: str) -> dict[str, int]:
    """How often each thing that waits for the device happened in one call; torch raises at most."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.set_sync_debug_mode("error")
    with torch.profiler.profile(activities=kinds) as profile:
        call()
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("default")
    return {event.key: event.count for event in profile.key_averages() if event.key in WAITS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder of images; default: built-in photos")
    parser.add_argument("--toy", action="store_true", help="a small batch on the CPU")
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    if not options.toy and not torch.cuda.is_available():
        raise SystemExit("error: no GPU is visible; fix: run where there is one, or pass --toy")
    device = "cpu" if options.toy else "cuda"
    num = 32 if options.toy else options.batch
    images = photographs.load(num, options.size, options.images).to(device)
    whole = step_with_views(images)
    calls = arms(images) | {"training step with both views": whole}
    timed = {name: waiting(call, device) for name, call in calls.items()}
    rounds = 3 if options.toy else options.rounds
    seconds = take_turns(timed, rounds)
    print(machine(), f"batch {num} of {options.size}x{options.size}", sep="; ")
    for name, times in seconds.items():
        rate = [num / one for one in times]
        print(f"  {name:32} {spread(times, 1e-3):>24} ms   {spread(rate, 1e3):>24} k images/s")
    pairs = zip(seconds["training step with both views"], seconds["training step"])
    print(f"  share of augmentation in a step: {spread([1 - b / a for a, b in pairs], 0.01)} %")
    print(f"  waits in one step: {waits(whole, device) or 'none'}")
    report_meta_steps(options.images, 2 if options.toy else 128, rounds, device)


def report_meta_steps(folder: Path | None, labelled: int, rounds: int, device: str) -> None:
    """Print their times and steps per second."""
    steps = meta_steps(photographs.load(4096, 32, folder).to(device), labelled)
    timed = {name: waiting(step, device) for name, step in steps.items()}
    print(f"Meta Pseudo Labels, {labelled} + {7 * labelled} images of 32x32")
    for name, times in take_turns(timed, rounds).items():
        rate = [1 / one for one in times]
        print(f"  {name:32} {spread(times, 1e-3):>24} ms   {spread(rate):>24} steps/s")


if __name__ == "__main__":
    main()
