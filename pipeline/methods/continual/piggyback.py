"""Piggyback (Mallya et al. 2018, arXiv:1801.06519).

    w_task = w * [real > threshold];  dL/d real = dL/d [real > threshold], straight through

The backbone is frozen: its weights, BatchNorm's statistics and affine weights, as in the paper's
own code by default. A task learns a real number for each weight of the convolutions and linear
layers, and its head, which sees the backbone through [real > threshold]; what ships is that 0 or 1.
Heads of other tasks see the backbone as they did, so that their answers stay bit for bit.

Weight decay leaves the real numbers alone: the paper trains without any, and a pull to 0 would take
every mask below the threshold, whatever the task says. `training.weight_decay` holds for the head.

Both learn by the recipe's optimiser, the paper's by Adam at 1e-4. What counts is the step of a real
number against `start - threshold`, 0.005: `adamw` moves it by about the learning rate, `sgd` by the
gradient as well, which is that of the weight times the weight and small. `rate` multiplies it. On
digits `sgd` shuts 1 % of the masks, `adamw` at 1e-3 35 %, and both learn the task (val 97 to 99 %,
the head alone 50 to 62); a rate of 30 to 1000 shuts more and learns as much.

Each head with masks is another pass through the backbone, in training too; `images_seen` counts an
image of a step once all the same.
"""

from collections.abc import Iterator
from types import MappingProxyType

from pydantic import Field

from pipeline.core.block import Block, Fault
from pipeline.training.method import Method, Setting


class Piggyback(Method):
    """Piggyback (Mallya et al. 2018): learns which weights of the frozen backbone the new head sees
    at all.

    Without methods that hold what old heads say: nothing moves it.
    """

    class Options(Block):
        """Of Piggyback."""

        start: float = Field(
            0.01, gt=0, le=1, description="of the real number behind each mask; above `threshold`"
        )
        threshold: float = Field(
            0.005, ge=0, lt=1, description="above which a real number lets its weight through"
        )
        rate: float = Field(
            1.0,
            gt=0,
            le=1_000_000,
            description="multiplies the gradient of the masks: with sgd, their learning rate over "
            "that of the head",
        )

        def faults(self) -> Iterator[Fault]:
            """Masks that are shut from the first step on, so that nothing reaches the head."""
            if self.start <= self.threshold:
                what = f"at {self.start:g} no weight is let through, from {self.threshold:g} on"
                yield Fault("start", what, "set it above threshold")

    scenarios = ("task",)
    excludes = ("lwf", "l2_sp", "ewc", "mas", "lfl", "replay", "generative_replay")
    trains = "masks"
    head = MappingProxyType({"masked": True})
    capturable = True

    def start(self, setting: Setting) -> None:
        """Give the new head its masks; without an old task there is nothing to keep from change."""
        if not setting.blocks.old:
            self.trains = ""
            return
        masks = setting.network.add_masks(setting.name)
        masks.learn(self.options.start, self.options.threshold, self.options.rate)

    def finish(self, setting: Setting) -> None:
        """What was learnt becomes 0 and 1."""
        for masks in setting.network.masks.values():
            masks.settle()
