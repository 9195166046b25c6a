"""A whole step as one CUDA graph: views, passes, update and average, launched at once.

A graph repeats the same work on the same memory, so what changes from step to step is written into
that memory first: what the host drew for the batch, in one buffer; the learning rate; the average's
share. Dropout follows `torch.manual_seed`, as it does without a graph.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.core.machine import Machine
from pipeline.data.batches import Batches
from pipeline.training.learner import Learner
from pipeline.training.sgd import SGD

WARM_UP = 3  # steps as they are, at first: kernels are chosen, buffers and tables made

Losses = dict[str, Tensor]
Record = Callable[[Callable[[], None]], Callable[[], None]]


def stepping(learner: Learner, batches: Batches, machine: Machine) -> Callable[[int], Losses]:
    """What makes the update of a step: from a graph if the machine asks for it and the training can
    be captured, which a line on stderr denies otherwise."""
    if not machine.capture:
        return lambda step: learner.step(batches(step))
    why = obstacle(learner, batches.device)
    if why:
        text = f"warning: machine.yaml (capture): {why}; its steps are not captured"
        print(text, file=sys.stderr, flush=True)  # noqa: T201 (as the loop's own)
        return lambda step: learner.step(batches(step))
    return Captured(learner, batches)


def obstacle(learner: Learner, device: torch.device) -> str:
    """Why a learner's step cannot be captured; "" if it can."""
    if device.type != "cuda":
        return f"a {device.type} has no graphs"
    if type(learner).step is not Learner.step:
        return "Meta Pseudo Labels decide on the host from step to step"
    if not isinstance(learner.optimizer, SGD):
        return f"optimizer '{learner.training.optimizer}' counts its steps on the host"
    names = [name for name, method in learner.methods.items() if not method.capturable]
    return f"{', '.join(names)} changes with the step, or draws at each" if names else ""


class Captured:
    """Makes the updates of a learner from a graph.

    Args:
        learner: one without an `obstacle`; its weights stay where they are from now on.
        batches: of its streams.
        record: captures a call, which it may run or not, and returns what repeats it.
    """

    def __init__(self, learner: Learner, batches: Batches, record: Record | None = None):
        self._learner, self._batches = learner, batches
        self._record = record or cuda_graph
        self._buffer = torch.empty_like(batches.pack(0), device=batches.device)
        self._warm = 0
        self._replay: Callable[[], None] | None = None
        self._losses: Losses = {}
        for group in learner.optimizer.param_groups:
            group["lr"] = torch.zeros((), device=batches.device)
        if learner.average:
            learner.average.share = torch.zeros((), device=batches.device)

    def __call__(self, step: int) -> Losses:
        """The update of that step, which is the learner's next; its losses, as `Learner.step`'s."""
        self._buffer.copy_(self._batches.pack(step), non_blocking=True)
        self._learner.set_pace()
        if self._warm < WARM_UP:
            self._warm += 1
            _aside(self._update, self._batches.device)
        else:
            self._replay = self._replay or self._record(self._update)
            self._replay()
        self._learner.num_steps += 1
        return {name: value.clone() for name, value in self._losses.items()}

    def _update(self) -> None:
        self._learner.replayed = True
        self._losses = self._learner.step(self._batches.unpack(self._buffer))
        self._learner.replayed = False


def _aside(update: Callable[[], None], device: torch.device) -> None:
    """Call it on a stream of its own, as torch asks for what is captured later."""
    if device.type != "cuda":
        update()
        return
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        update()
    torch.cuda.current_stream(device).wait_stream(stream)


def cuda_graph(update: Callable[[], None]) -> Callable[[], None]:
    """The update as a graph that has not run yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        update()
    return graph.replay
