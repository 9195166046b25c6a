"""Gradients of single samples: in chunks under `vmap`, against a backward pass for each image.

`python -m benchmarks.per_sample`; squared gradients of the log-likelihood, as the Fisher
information needs them, of noise on random weights: only the time counts.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import clock, machine, parser, ratios, spread, take_turns
from pipeline.core.memory import keep_freed_memory
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.per_sample import mean_gradients, samples_at_once

# network, width, channels and side of the images
CASES = [("small_cnn", 1.0, 1, 8), ("resnet_9", 0.25, 3, 32), ("wrn_28_2", 1.0, 3, 32)]
LOOP = "a backward pass each"


def nll(logits: Tensor, label: Tensor) -> Tensor:
    """-log p(label) of one sample."""
    return F.cross_entropy(logits[None], label[None])


def one_by_one(network: Classifier, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The mean of squared gradients by backward passes over one image."""
    weights = dict(network.named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for image, label in zip(images, labels):
        loss = nll(network(image[None]).logits[0], label)
        for name, gradient in zip(weights, torch.autograd.grad(loss, list(weights.values()))):
            sums[name] += gradient.square()
    return {name: total / len(images) for name, total in sums.items()}


def arms(
    network: Classifier, images: Tensor, chunks: list[int]
) -> dict[str, Callable[[], dict[str, Tensor]]]:
    """The loop; what the pipeline does; the same in chunks of these sizes."""
    labels = torch.arange(len(images), device=images.device) % 10
    ours = partial(mean_gradients, network, images, nll, torch.square, labels)
    chosen = {f"chunks as chosen, {samples_at_once(network, images)}": ours}
    others = {f"chunks of {chunk}": partial(ours, chunk=chunk) for chunk in chunks}
    return {LOOP: partial(one_by_one, network, images, labels)} | chosen | others


def main() -> None:
    asked = parser(__doc__, rounds=7)
    asked.add_argument("--num", type=int, default=64, help="images")
    asked.add_argument("--chunks", type=int, nargs="*", default=[], help="sizes to try as well")
    options = asked.parse_args()
    keep_freed_memory()  # as the pipeline's processes do
    torch.set_num_threads(options.threads)
    kind, now = clock()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(machine())
    print(f"{options.num} images, {options.rounds} rounds, {kind}: median [quartiles]")
    for name, width, channels, side in CASES:
        torch.manual_seed(0)
        backbone = NETWORKS[name].build(channels, width, 0.0)
        network = Classifier(backbone, {"base": 10}, [0.5], [0.3]).eval().to(device)
        images = torch.randint(0, 256, (options.num, channels, side, side), dtype=torch.uint8)
        seconds = take_turns(arms(network, images.to(device), options.chunks), options.rounds, now)
        report(f"{name}, width {width:g}, {channels}x{side}x{side}", seconds, options.num)


def report(title: str, seconds: dict[str, list[float]], num: int) -> None:
    """Print images a second, and how many times those of the loop."""
    print(f"\n{title}")
    for name, ratio in ratios(seconds, LOOP).items():
        rates = [num / taken for taken in seconds[name]]
        print(f"  {name:26} {spread(rates):>22} images/s   {spread(ratio):>22} x")


if __name__ == "__main__":
    main()
