"""A FixMatch step of WRN-28-2, 8 labelled and 56 unlabelled images, against the conventional way.

`OMP_NUM_THREADS=1 python -m benchmarks.fixmatch_step`. Conventional is the same scheme as papers'
code ships it: PIL images through torchvision's transforms in a DataLoader, float32, one pass over
labelled, weak and strong images with a gradient for all. The arms between take its parts away one
by one. Each arm has a process of its own. Labels are noise, only the time counts.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks import photographs
from benchmarks.timing import Arm, apart, clock, machine, parser, ratios, spread
from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.data.batches import Batches, Stream
from pipeline.methods.semi_supervised.fixmatch import FixMatch
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.training.learner import Learner
from pipeline.training.recipe import Training

LABELLED, UNLABELLED, CLASSES = 8, 56, 10
MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]


def recipe(labelled: int = LABELLED, unlabelled: int = UNLABELLED) -> Training:
    """The shared recipe with the sizes of the benchmark."""
    changes = {"batch_size": labelled, "unlabelled_ratio": unlabelled / labelled, "shift": 4}
    changes |= {"flip": True, "steps": 10**6, "labelled_view": "weak", "dropout": 0.0, "ema": 0.999}
    return load().training.model_copy(update=changes)


def classifier(layout: torch.memory_format) -> Classifier:
    """WRN-28-2 with a head of ten classes."""
    torch.manual_seed(0)
    network = Classifier(NETWORKS["wrn_28_2"].build(3, 1.0, 0.0), {"base": CLASSES}, MEAN, STD)
    return network.to(memory_format=layout)


def our_batches(images: Tensor, training: Training) -> Batches:
    """Labelled images in the weak view, unlabelled ones in both views."""
    weak = WeakView(flip=training.flip, shift=training.shift)
    strong = StrongView(weak, RandAugment(n=training.num_ops, m=training.magnitude))
    targets = torch.eye(CLASSES, device=images.device)[torch.arange(len(images)) % CLASSES]
    others = partial(Stream, images, None, training.num_unlabelled, order="unlabelled")
    streams = {
        "labelled": Stream(images, targets, training.batch_size, weak),
        "unlabelled": others(view=strong),
        "weak": others(view=weak),
    }
    return Batches(streams, seed=0, model="bench")


def ours(images: Tensor, weak_view: str = "apart", *, bf16: bool = True) -> Callable[[], object]:
    """A step of our learner on our batches."""
    training = recipe()
    batches = our_batches(images, training)
    method = FixMatch(FixMatch.Options(threshold=0.0, weak_view=weak_view))
    network = classifier(torch.channels_last if bf16 else torch.contiguous_format)
    autocast = partial(torch.autocast, images.device.type, torch.bfloat16, enabled=bf16)
    learner = Learner(network, training, autocast=autocast, methods={"fixmatch": method})
    return lambda: learner.step(batches(learner.num_steps))


class Pictures(Dataset):
    """PIL images one by one, each in the views asked for."""

    def __init__(self, images: Tensor, changes: list[Callable]):
        self.arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.changes = changes

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, index: int) -> tuple:
        image = Image.fromarray(self.arrays[index])
        return *(change(image) for change in self.changes), index % CLASSES


def endless(dataset: Dataset, num: int) -> Iterator:
    """Batches of a DataLoader, epoch after epoch."""
    while True:
        yield from DataLoader(dataset, num, shuffle=True, drop_last=True)


def picture_views(size: int, end: list[Callable]) -> tuple[Callable, Callable]:
    """Weak and strong view of a PIL image, and then what `end` makes of it."""
    flip = [transforms.RandomHorizontalFlip()]
    crop = [transforms.RandomCrop(size, padding=size // 8, padding_mode="reflect")]
    strong = flip + crop + [transforms.RandAugment(2, 10)] + end
    return transforms.Compose(flip + crop + end), transforms.Compose(strong)


def conventional(images: Tensor) -> Callable[[], object]:
    """The step as it is usually written."""
    end = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    weak, strong = picture_views(images.shape[-1], end)
    labelled = endless(Pictures(images, [weak]), LABELLED)
    unlabelled = endless(Pictures(images, [weak, strong]), UNLABELLED)
    network = classifier(torch.contiguous_format).train()
    ema = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.03, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def step() -> None:
        mine, labels = next(labelled)
        calm, noisy, _ = next(unlabelled)
        features = network.backbone(torch.cat([mine, calm, noisy]))
        logits = network.heads["task_base"](features)
        labelled_part, calm_part, noisy_part = logits.split([LABELLED, UNLABELLED, UNLABELLED])
        confidence, guess = calm_part.detach().softmax(1).max(1)
        others = F.cross_entropy(noisy_part, guess, reduction="none") * (confidence >= 0.0)
        loss = F.cross_entropy(labelled_part, labels) + others.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if value.is_floating_point():
                    ema[name].lerp_(value, 0.001)

    return step


def arms(folder: Path | None) -> dict[str, Arm]:
    """The conventional step, what takes its parts away one by one, and ours."""

    def arm(way: Callable, *, keeps: bool = False, **options) -> Arm:
        return Arm(partial(made, way, folder, **options), keeps)

    return {
        "conventional: PIL, float32, joint": arm(conventional),
        "our batches": arm(ours, weak_view="joint", bf16=False),
        "and the weak view without gradient": arm(ours, bf16=False),
        "and bf16, channels_last": arm(ours),
        "and freed memory kept: ours": arm(ours, keeps=True),
    }


def made(way: Callable, folder: Path | None, **options) -> Callable[[], object]:
    """The step of a way on photographs, in the process that it is timed in."""
    return way(photographs.load(1024, 32, folder), **options)


def main() -> None:
    options = parser(__doc__, rounds=11).parse_args()
    torch.set_num_threads(options.threads)
    kind, _ = clock()
    seconds = apart(arms(options.images), options.rounds, options.threads)
    print(machine())
    print(f"{LABELLED} + {UNLABELLED} images, {options.rounds} rounds, {kind}: median [quartiles]")
    for name, ratio in ratios(seconds, next(iter(seconds))).items():
        print(f"  {name:36} {spread(ratio):>22} x   {spread(seconds[name], 1e-3):>22} ms")


if __name__ == "__main__":
    main()
