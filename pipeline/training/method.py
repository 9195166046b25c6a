"""What a method may add to a learner: hooks that return what they add, and a state.

A method is one file: its class, with its options as a nested `Options`, whose defaults are the
paper's values; and one line in its family's dict.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, create_model
from torch import Tensor, nn

from pipeline.core import randomness
from pipeline.core.block import Block, Fault
from pipeline.data.batches import Part, Stream
from pipeline.data.kinds import CLASSIFICATION
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.images import TrainingImages
from pipeline.training.recipe import Training
from pipeline.training.teaching import Teaching


class Blocks(NamedTuple):
    """Where the logits of the tasks are, when a new one begins.

    `old` holds one slice per softmax over old units: all of them as one where a single head grows
    (scenario `class`) or stays (`domain`), one per earlier task where the task of an image is known
    (`task`). `new` are the classes of the task: the last logits, or of a `domain` the old ones that
    it has images of. `trained` is what the cross-entropy of new images ranges over.
    """

    old: list[slice]
    new: slice
    trained: slice

    @property
    def total(self) -> int:
        """Logits in all, those of the new task among them."""
        return max(block.stop for block in (self.new, *self.old))


@dataclass(frozen=True)
class Setting:
    """What a method works in.

    Attributes:
        name, seed: of the model: what random draws depend on.
        network: the one that is trained; when it is over, the one that ships.
        blocks: where the logits of the tasks are.
        training: the recipe.
        images: the task's own, in the recipe's views.
        teachers: earlier models by name, frozen, in evaluation mode: the base of a task.
        methods: all that are on, by name.
        held_out: rows of the labelled images that are kept from the training, int64.
        scenario: of the task: `class`, `task` or `domain`.
        teaching: the teacher whose answers a distilled model learns from; None without one.
    """

    name: str
    seed: int
    network: Classifier
    blocks: Blocks
    training: Training
    images: TrainingImages
    teachers: Mapping[str, Classifier] = field(default_factory=dict)
    methods: Mapping[str, "Method"] = field(default_factory=dict)
    held_out: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    scenario: str = "class"
    teaching: Teaching | None = None


class Method:
    """Adds nothing. Subclasses override the hooks that they need.

    Attributes:
        consolidates: whether the method learns from the base model's own images; if so and its
            state is empty, `finish` is called for each earlier task before the first extension.
        rehearses: whether its streams bring images of earlier tasks, so that the cross-entropy
            ranges over all logits (`ce_over: auto`).
        reads_unlabelled: whether it learns from the task's unlabelled images.
        excludes: names of methods that it makes no sense with.
        asks: what it asks of which images, where one method alone may; others of the same name are
            excluded.
        needs: names of methods that it makes no sense without.
        scenarios: those it makes sense in.
        kinds: of answers that it makes sense for.
        one_per_class: names of options that are at least the number of classes learnt so far.
        holds_out: share of the labelled images of each class, new and old, that it asks to be kept
            from the training, 0..1.
        fixes_old_heads: whether the heads of earlier tasks are not to be trained.
        trains: what of the network learns, in the place of the recipe's `train`, see `freeze`; "" =
            what the recipe says.
        ce_weight: multiplies the cross-entropies of all parts.
        head: what the card says of the new head besides its classes: structure that the method gave
            it.
        layers: names of the network's inner layers whose outputs it wants in `output.maps`.
        passes: further forward passes over the images of the joint pass at each step, by other
            networks; they count as images seen.
        adds: images of each part that it makes itself, by name: `batch` adds them.
        apart: its parts whose images are not in the joint pass, but in one of their own.
        capturable: whether a step is the same work on the device every time: no hook reads `step`,
            decides by a tensor's value, or puts a new tensor in the place of one it kept.
        warmup_steps: steps that train the new head alone, before all others.
        alone_steps: steps that train by this method's losses alone, before all others; it is off
            after them.
        state: named tensors: all that a resumed training, or the next task, needs of it.
        module: weights of its own, trained with the network's by its optimiser; or None.
        notes: named scalars to record with the losses; the same names at every step.
        step: the update being made, 0, 1, ...; the learner sets it.
    """

    class Options(Block):
        """Takes no options."""

    consolidates = False
    rehearses = False
    reads_unlabelled = False
    excludes: tuple[str, ...] = ()
    asks = ""
    needs: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ("class", "task", "domain")
    kinds: tuple[str, ...] = (CLASSIFICATION,)
    one_per_class: tuple[str, ...] = ()
    holds_out = 0.0
    fixes_old_heads = False
    trains = ""
    ce_weight = 1.0
    head: Mapping[str, Any] = MappingProxyType({})
    layers: tuple[str, ...] = ()
    passes = 0
    adds: Mapping[str, int] = MappingProxyType({})
    apart: tuple[str, ...] = ()
    capturable = False
    warmup_steps = 0
    alone_steps = 0

    def __init__(self, options: Block):
        self.options = options
        self.state: dict[str, Tensor] = {}
        self.module: nn.Module | None = None
        self.notes: dict[str, Tensor] = {}
        self.step = 0

    def decays(self, name: str) -> bool:
        """Whether the recipe's weight decay holds for the network's weight of that name; asked once
        `start` is over."""
        return True

    def start(self, setting: Setting) -> None:
        """The network is about to learn; a task's new head is there, nothing is trained."""

    def streams(self, setting: Setting) -> Mapping[str, Stream]:
        """Images of its own for every batch, by the part's name; methods that give streams of one
        name share it."""
        return {}

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """The batch for the joint pass; images are bytes, or floats in 0..1."""
        return batch

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """Named losses to add, already weighted.

        Args:
            output: of the joint forward pass over the batch's parts, in their order.
        """
        return {}

    def grads(self, network: Classifier) -> Mapping[str, Tensor]:
        """Gradients to add, by the name of the weight."""
        return {}

    def after_step(self, network: Classifier, batch: dict[str, Part], output: Output) -> None:
        """The optimiser has stepped."""

    def finish(self, setting: Setting) -> None:
        """The network has learnt the images of `setting`: keep in `state` what the next task needs.
        Called for a task's training, and for earlier tasks of a base that has no such state."""


class MethodsBlock(Block):
    """Methods by name, each with its options; what is there is on."""

    family: ClassVar[Mapping[str, type[Method]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the methods that are on, in the order of the code."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def faults(self) -> Iterator[Fault]:
        """Methods that make no sense together."""
        for place, name in enumerate(self.names):
            before = {o for o in self.names[:place] if self._asks_the_same(name, o)}
            for other in sorted(before | set(self.family[name].excludes) & set(self.names)):
                what = f"{other} and {name} ask the same of the same images"
                yield Fault(name, what, "name one of them")
            for other in set(self.family[name].needs) - set(self.names):
                what = f"{name} stands on {other}, which is not on"
                yield Fault(name, what, f"add {other}: {{}}")

    def _asks_the_same(self, name: str, other: str) -> bool:
        asks = self.family[name].asks
        return bool(asks) and asks == self.family[other].asks


def methods_block(family: Mapping[str, type[Method]]) -> type[MethodsBlock]:
    """The block `methods` of params.yaml for the methods of `family`."""
    fields = {
        name: (method.Options, Field(None, description=first_line(method)))
        for name, method in family.items()
    }
    block = create_model("Methods", __base__=MethodsBlock, **fields)
    block.family = dict(family)
    return block


def first_line(method: type[Method]) -> str:
    """What a method does, in the first sentence of its docstring."""
    return " ".join(method.__doc__.split("\n\n")[0].split())


def build(options: MethodsBlock) -> dict[str, Method]:
    """The methods that are on, by name, in the order in which the code lists them."""
    return {name: options.family[name](getattr(options, name)) for name in options.names}


def start(methods: Mapping[str, Method], setting: Setting) -> dict[str, Stream]:
    """Let every method begin; returns the streams that they bring."""
    streams: dict[str, Stream] = {}
    for name, method in methods.items():
        _seed(setting, "method", name)
        method.start(setting)
        streams |= method.streams(setting)
    return streams


def finish(methods: Mapping[str, Method], setting: Setting) -> None:
    """Let every method end."""
    for name, method in methods.items():
        _seed(setting, "finish", name)
        method.finish(setting)


def _seed(setting: Setting, purpose: str, name: str) -> None:
    randomness.seed_torch(setting.seed, setting.name, purpose, name)
