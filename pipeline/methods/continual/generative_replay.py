"""Deep generative replay (Shin et al. 2017, arXiv:1705.08690).

    L = r * CE(new) + (1 - r) * CE(old model's label of a generated image),  r = new / all classes

A generator is trained at the end of each task on its images, labelled and unlabelled, among samples
of the generator before: r of each batch are real. It is kept with the model, the images are not.
While the next task is learnt it draws images anew at each step, as many as there are labelled ones,
and the old model, frozen in eval mode, labels them. Their cross-entropy ranges over all logits;
where the task of an image is known, the old model labels in each old block, and it is their mean.

Ours: a variational autoencoder in the place of the paper's GAN. It has one loss that falls, no
balance to keep between two networks, and does not collapse onto few images: with some hundred
images and without anybody to watch it that counts for more than sharp samples.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from pipeline.core.block import Block
from pipeline.data.batches import Part, in_floats
from pipeline.methods.continual.autoencoder import Autoencoder, fit
from pipeline.networks.classifier import Classifier, Output
from pipeline.training.learner import below, cross_entropy, full, places
from pipeline.training.method import Method, Setting


class GenerativeReplay(Method):
    """Deep generative replay (Shin et al. 2017): a generator makes images of earlier tasks, which
    the old model labels.

    With any method but such as need real images of earlier tasks, which `replay` keeps.
    """

    class Options(Block):
        """Of generative replay."""

        labels: Literal["argmax", "soft"] = Field(
            "argmax",
            description="what a generated image is learnt by: the class that the old model names, "
            "or its probabilities",
        )
        importance: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="r, of the new task in the loss and in the generator's batches; 0 = its "
            "share of the classes",
        )
        steps: int = Field(1000, ge=1, le=10_000_000, description="of the generator, for each task")
        batch_size: int = Field(64, ge=2, le=65_536, description="of the generator's training")
        learning_rate: float = Field(1e-3, gt=0, le=1, description="of the generator's Adam")
        latent: int = Field(32, ge=1, le=4096, description="numbers an image is generated from")
        width: int = Field(32, ge=1, le=4096, description="channels of the generator, at full size")

    consolidates = rehearses = reads_unlabelled = True

    def __init__(self, options: Options):
        super().__init__(options)
        self._solver: Classifier | None = None
        self._softmaxes: list[tuple[slice, slice]] = []  # of the solver, and what it is learnt over

    def start(self, setting: Setting) -> None:
        """Take the base as the solver and what it kept as the generator, if there is a base."""
        if not setting.blocks.old:
            return
        [self._solver] = setting.teachers.values()
        self._generator = self._kept(setting)
        self._softmaxes = [(block, block) for block in setting.blocks.old]
        if setting.scenario == "class":
            self._softmaxes = [(setting.blocks.old[0], slice(0, setting.blocks.total))]
        self.ce_weight = self._importance(setting)
        self.adds = dict.fromkeys(("generated", "solved"), setting.training.batch_size)
        self.apart = ("solved",)

    def batch(self, batch: dict[str, Part]) -> dict[str, Part]:
        """`generated` images too."""
        if self._solver is None:
            return batch
        images = self._generator.sample(self.adds["generated"])
        rows = torch.arange(len(images), device=images.device)
        return batch | {"generated": Part(images, None, None, rows)}

    def losses(
        self, network: Classifier, batch: dict[str, Part], output: Output
    ) -> Mapping[str, Tensor]:
        """`generative_replay`: the weighted cross-entropy of the generated images; nothing without
        an old task."""
        if self._solver is None:
            return {}
        with torch.no_grad():
            solved = full(self._solver(batch["generated"].images).logits)
        logits = full(output.logits[places(batch)["generated"]])
        each = [
            cross_entropy(logits[:, over], self._targets(solved[:, old], over))
            for old, over in self._softmaxes
        ]
        return {"generative_replay": (1 - self.ce_weight) * torch.stack(each).mean()}

    def _targets(self, solved: Tensor, over: slice) -> Tensor:
        """The solver's label over some logits, of which its own are the first."""
        probs = solved.softmax(1)
        if self.options.labels == "argmax":
            probs = F.one_hot(solved.argmax(1), solved.shape[1]).to(probs.dtype)
        return F.pad(probs, (0, over.stop - over.start - probs.shape[1]))

    def finish(self, setting: Setting) -> None:
        """Train a generator of the task's images and of what the one before makes."""
        options, shape = self.options, setting.images.dataset.image_shape
        before, device = self._kept(setting) if self.state else None, setting.network.mean.device
        num = options.batch_size
        if before is not None:
            num = min(max(1, round(num * self._importance(setting))), num - 1)

        def batch() -> Tensor:
            real = _real(setting, num, device)
            old = [before.sample(options.batch_size - num)] if before is not None else []
            return torch.cat([real, *old])

        model = Autoencoder(shape, options.latent, options.width).to(device)
        fit(model, batch, options.steps, options.learning_rate)
        classes = self._classes() + setting.blocks.new.stop - setting.blocks.new.start
        weights = {f"generator/{name}": w.detach() for name, w in model.state_dict().items()}
        self.state = weights | {"classes": torch.tensor(classes)}

    def _kept(self, setting: Setting) -> Autoencoder:
        return Autoencoder.of(below(self.state, "generator/"), setting.images.dataset.image_shape)

    def _classes(self) -> int:
        """That the generator has seen, those of several domains once for each."""
        return int(self.state.get("classes", 0))

    def _importance(self, setting: Setting) -> float:
        """r, 0..1."""
        new = setting.blocks.new.stop - setting.blocks.new.start
        return self.options.importance or new / (self._classes() + new)


def _real(setting: Setting, num: int, device: torch.device) -> Tensor:
    """Some of the task's images, labelled or not, as floats in 0..1."""
    splits = [setting.images.images(split) for split in ("labelled", "unlabelled")]
    rows = torch.randint(sum(map(len, splits)), (num,))
    labelled = rows < len(splits[0])
    picked = [rows[labelled], rows[~labelled] - len(splits[0])]
    return torch.cat([_at(images, some).to(device) for images, some in zip(splits, picked)])


def _at(images: Tensor | np.ndarray, rows: Tensor) -> Tensor:
    where = rows.numpy() if isinstance(images, np.ndarray) else rows.to(images.device)
    return in_floats(torch.as_tensor(images[where]))
