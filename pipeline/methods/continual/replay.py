"""Replay of exemplars (Rebuffi et al. 2017, arXiv:1611.07725; Chaudhry et al. 2019, 1902.10486).

    L = CE(new) + weight * mean over the replayed images of CE(exemplar)

A fixed total is shared equally by all classes so far, those of several tasks in scenario `domain`
once for each task; where shares shrink, of each class the first in its order are kept. Herding goes
by the features of the network that ships, as in iCaRL. The cross-entropy of an exemplar ranges over
all logits, where the task is known over those of its own task.

Ours: of a class with fewer labelled images than its share, the rest are unlabelled images of the
task that the network which ships calls that class, the surest first, with its probabilities for
targets and in the view of pseudo-labelled images. The two kinds are parts of their own, `replay`
and `replay_soft`; each image weighs as much as another.
"""

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pipeline.core import randomness
from pipeline.core.block import Block
from pipeline.data.batches import Stream
from pipeline.methods.continual import exemplars
from pipeline.networks import evaluate
from pipeline.training.hold_out import hold_out
from pipeline.training.method import Method, Setting


class Replay(Method):
    """Replay of exemplars (Rebuffi et al. 2017): images of earlier tasks are in every batch.

    With any method; `bic` stands on it, and `lwf` answers the exemplars too.
    """

    class Options(Block):
        """Of replay."""

        weight: float = Field(
            1.0, ge=0, le=1000, description="of the loss on replayed images, all together"
        )
        memory: int = Field(500, ge=1, le=10_000_000, description="images kept, of all classes")
        choose: Literal["herding", "random"] = Field(
            "herding",
            description="the labelled images of a class that are kept: those whose features have "
            "the mean nearest to the class's, or any",
        )
        unlabelled: bool = Field(
            True,
            description="fill the share of a class that has too few labelled images with unlabelled"
            " ones that the model calls that class, with its probabilities",
        )
        ratio: float = Field(
            1.0, gt=0, le=64, description="replayed images per new labelled image in a step"
        )

    consolidates = rehearses = True
    capturable = True
    one_per_class = ("memory",)

    @property
    def reads_unlabelled(self) -> bool:
        return self.options.unlabelled

    def held_out(self, setting: Setting) -> Tensor:
        """Exemplars that are kept from the training, as large a share as methods ask for of the new
        images, of those whose labels were given: rows of the memory, int64."""
        share = max((method.holds_out for method in setting.methods.values()), default=0.0)
        sure = self.state["sure"].cpu().nonzero().flatten()
        labels = self.state["label"].cpu()[sure].numpy()
        rng = randomness.generator(setting.seed, setting.name, "held out exemplars")
        return sure[torch.from_numpy(hold_out(labels, share, rng))]

    def streams(self, setting: Setting) -> dict[str, Stream]:
        """`replay` of labelled exemplars, `replay_soft` of those with a model's probabilities; with
        `_1`, `_2`, ... where each block of logits has its own."""
        if not setting.blocks.old or not self.state:
            return {}
        held = np.isin(np.arange(len(self.state["label"])), self.held_out(setting).numpy())
        sure, home = self.state["sure"].cpu().numpy(), self.state["home"][:, 1:].cpu().numpy()
        blocks, streams = [(0, setting.blocks.total)], {}
        if setting.scenario != "class":
            blocks = [tuple(block) for block in np.unique(home, axis=0).tolist()]
        for number, block in enumerate(blocks):
            own = ~held & ((setting.scenario == "class") | (home == block).all(1))
            for kind, rows in (("replay", own & sure), ("replay_soft", own & ~sure)):
                if rows.any():
                    name = f"{kind}_{number}" if number else kind
                    streams[name] = self._stream(setting, np.flatnonzero(rows), slice(*block))
        num = max(1, round(self.options.ratio * setting.training.batch_size))
        return shared(streams, num, self.options.weight)

    def _stream(self, setting: Setting, rows: np.ndarray, columns: slice) -> Stream:
        soft = not bool(self.state["sure"][int(rows[0])])
        targets = exemplars.padded(self.state["target"], setting.blocks.total)[rows, columns]
        return Stream(
            images=self.state["image"],
            targets=targets / targets.sum(1, keepdim=True),
            num=1,
            view=setting.images.strong if soft else setting.images.labelled_view,
            index=rows,
            soft=soft,
            columns=columns,
        )

    def finish(self, setting: Setting) -> None:
        """Keep images of the task, and fewer of those before."""
        share, device = self._share(setting), setting.network.mean.device
        before = exemplars.shrunk(self.state, share)
        new = self._chosen(setting, share)
        new = {name: value.to(device) for name, value in new.items()}
        self.state = exemplars.joined([before, new])

    def _share(self, setting: Setting) -> int:
        """Images of each class of each task, those of the new one among them."""
        new = setting.blocks.new
        num = len(list(exemplars.classes(self.state))) + new.stop - new.start
        return self.options.memory // num

    def _chosen(self, setting: Setting, share: int) -> exemplars.Memory:
        """Images of each class of the task, the dearest first."""
        images, labels = setting.images.images("labelled"), setting.images.labels().cpu()
        new, known = setting.blocks.new, setting.blocks.total
        answers = self._answers(setting, labels, share)
        features = exemplars.pooled(setting.network, images)
        kept = []
        for logit in range(new.start, new.stop):
            rows = (labels + new.start == logit).nonzero().flatten()
            rows = rows[self._order(features[rows], share)]
            kept.append(_memory(images, rows, torch.eye(known)[logit].expand(len(rows), -1), logit))
            if answers is not None:
                rows = _surest(answers, logit, share - len(rows))
                others = setting.images.images("unlabelled")
                kept.append(_memory(others, rows, answers[rows], logit, sure=False))
        made, task = exemplars.joined(kept), exemplars.num_tasks(self.state)
        home = torch.tensor([[task, new.start, new.stop]]).repeat(len(made["label"]), 1)
        return {**made, "home": home}

    def _order(self, features: Tensor, num: int) -> list[int]:
        if self.options.choose == "random":
            return torch.randperm(len(features))[:num].tolist()
        return exemplars.herd(features, num)

    def _answers(self, setting: Setting, labels: Tensor, share: int) -> Tensor | None:
        """What the network says of the unlabelled images, (N, K): where the task is known among its
        own classes; None if none are wanted."""
        blocks, short = setting.blocks, int(labels.bincount().min()) < share
        if not self.options.unlabelled or not short:
            return None
        images = setting.images.images("unlabelled")
        known = slice(0, blocks.total) if setting.scenario == "class" else blocks.new
        logits = evaluate.infer(setting.network, images)
        answers = torch.zeros(len(logits), blocks.total)
        answers[:, known] = logits[:, known].softmax(1)
        return answers


def shared(streams: dict[str, Stream], num: int, weight: float) -> dict[str, Stream]:
    """`num` images a step over streams by their sizes, at least one of each; weighted so that each
    image counts as much as another and all together as `weight` parts."""
    total = sum(len(stream) for stream in streams.values())
    nums = {name: max(1, round(num * len(s) / total)) for name, s in streams.items()}
    if len(streams) > 1 or weight != 1:
        for name, stream in streams.items():
            own = weight * nums[name] / sum(nums.values())
            weights = torch.full((len(stream),), own, device=stream.place)
            streams[name] = replace(stream, weights=weights)
    return {name: replace(stream, num=nums[name]) for name, stream in streams.items()}


def _surest(answers: Tensor, logit: int, num: int) -> Tensor:
    """Rows of the `num` images that are called a class with the highest probabilities."""
    own = (answers.argmax(1) == logit).nonzero().flatten()
    order = answers[own, logit].argsort(descending=True, stable=True)
    return own[order[: max(0, num)]]


def _memory(
    images: Tensor | np.ndarray, rows: Tensor, targets: Tensor, logit: int, sure: bool = True
) -> exemplars.Memory:
    """Some images of a class, on the CPU, but for their `home`."""
    where = rows.numpy() if isinstance(images, np.ndarray) else rows.to(images.device)
    return {
        "image": torch.as_tensor(images[where]).cpu(),
        "target": targets,
        "label": torch.full((len(rows),), logit),
        "sure": torch.full((len(rows),), sure),
    }
