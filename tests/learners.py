"""Small learners and batches of random images, for tests of one update and of the loop."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import torch

from pipeline.core.machine import Machine
from pipeline.data.batches import Part
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import Learner
from pipeline.training.method import Blocks, Setting
from pipeline.training.recipe import Training

TRAINING = Training(
    steps=20,
    batch_size=4,
    unlabelled_ratio=2.0,
    unlabelled_weight=1.0,
    optimizer="sgd",
    learning_rate=0.05,
    warmup_steps=3,
    weight_decay=5e-4,
    clip_norm=0.0,
    label_smoothing=0.0,
    dropout=0.3,
    stochastic_depth=0.0,
    ema=0.9,
    flip=False,
    shift=1,
    num_ops=2,
    magnitude=6,
    keep="last",
    evaluate_every=5,
    train="all",
)


def network(dropout: float = 0.0, heads: dict[str, int] | None = None, **settings) -> Classifier:
    """A thin small_cnn for grey images, the same weights every time."""
    torch.manual_seed(0)
    backbone = NETWORKS["small_cnn"].build(1, 0.125, 0.0)
    return Classifier(backbone, heads or {"base": 3}, [0.5], [0.3], dropout, **settings)


def learner(
    loss_weights: dict | None = None, dropout: float = 0.0, methods: dict | None = None, **recipe
) -> Learner:
    """A learner of that network with a recipe that differs in some keys."""
    training = TRAINING.model_copy(update=recipe)
    return Learner(network(dropout), training, loss_weights, methods=methods or {})


def part(
    num: int,
    seed: int = 0,
    soft: bool = False,
    weights=None,
    classes: int = 3,
    columns: slice = slice(None),
) -> Part:
    """Random images 8x8 with one-hot targets, or `soft` ones."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.eye(classes)[torch.randint(0, classes, (num,), generator=generator)]
    if soft:
        targets = torch.rand(num, classes, generator=generator).softmax(1)
    return Part(images, targets, weights, torch.arange(num), soft, columns)


def batch(step: int = 0) -> dict[str, Part]:
    """4 labelled and 8 pseudo-labelled images."""
    return {"labelled": part(4, step), "pseudo": part(8, step + 100, soft=True)}


def seeded_step(made: Learner, step: int) -> dict[str, torch.Tensor]:
    """One update on the batch of that step, with draws of its own."""
    torch.manual_seed(step)
    return made.step(batch(step))


def saved(made: Learner) -> dict[str, torch.Tensor]:
    """A copy of the state, as a file of it would be."""
    return {key: value.clone() for key, value in made.state().items()}


def equal_states(one, other) -> bool:
    """Whether two dicts hold the same tensors, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def setting(
    network: Classifier,
    old: list[slice] | None = None,
    trained: slice = slice(None),
    teachers: dict[str, Classifier] | None = None,
    training: Training = TRAINING,
    images=None,
) -> Setting:
    """What a method works in; `trained` are the new logits too."""
    blocks = Blocks(old or [], trained, trained)
    return Setting("t", 0, network, blocks, training, images, teachers or {})


def copied(network: Classifier) -> Classifier:
    """A frozen copy in eval mode, as the base of a task comes to its methods."""
    return copy.deepcopy(network).requires_grad_(False).eval()


class AsTheyAre:
    """A view that changes nothing."""

    def draw(self, rng, num):
        return {}

    def __call__(self, images, drawn):
        return images


class FewImages:
    """A task's images as methods ask for them in `finish`: random, of so many classes.

    Args:
        classes: of the labelled images, which are 3 of each.
        unlabelled: images without a label.
    """

    def __init__(self, classes: int = 3, unlabelled: int = 5, seed: int = 0):
        num = 3 * classes
        self._labels = torch.arange(num) % classes
        images = part(num + unlabelled, seed).images
        self._splits = {"labelled": images[:num], "unlabelled": images[num:]}
        self.dataset = SimpleNamespace(image_shape=(1, 8, 8))
        self.machine, self.device = Machine(), torch.device("cpu")
        self.weak = self.strong = self.labelled_view = AsTheyAre()

    def images(self, split: str) -> torch.Tensor:
        """uint8 (M, 1, 8, 8)."""
        return self._splits[split]

    def labels(self, split: str = "labelled") -> torch.Tensor:
        """int64 (M,)."""
        return self._labels
