"""A WRN-28-2 training step by precision and layout, and augmentation's share of it.

`python -m benchmarks.train_step`; labels are noise, only the time counts.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import photographs
from benchmarks.timing import clock, machine, parser, ratios, spread, take_turns
from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.networks.wide_resnet import WideResNet

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def network(layout: str, device: str = "cpu") -> nn.Module:
    """WRN-28-2 with a head of ten classes."""
    net = nn.Sequential(WideResNet(28, 2), nn.Linear(128, 10))
    return net.to(device, memory_format=FORMATS[layout])


def training_step(images: Tensor, layout: str, *, bf16: bool) -> Callable[[], None]:
    """One step of SGD with momentum on uint8 images (N, 3, H, W), normalisation included."""
    net = network(layout, images.device.type).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    labels = torch.arange(len(images), device=images.device) % 10

    def step() -> None:
        inputs = _normalised(images, layout)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = net(inputs)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return step


def inference(images: Tensor, layout: str, *, bf16: bool) -> Callable[[], None]:
    """Probabilities of a batch without noise, as pseudo-labels are made."""
    net = network(layout, images.device.type).eval()

    def infer() -> None:
        with (
            torch.inference_mode(),
            torch.autocast(images.device.type, torch.bfloat16, enabled=bf16),
        ):
            net(_normalised(images, layout)).float().softmax(1)

    return infer


def _normalised(images: Tensor, layout: str) -> Tensor:
    return images.to(torch.float32, memory_format=FORMATS[layout]).div_(127.5).sub_(1.0)


def arms(make: Callable, images: Tensor) -> dict[str, Callable[[], None]]:
    """fp32 and bf16, in both layouts."""
    return {
        f"{'bf16' if bf16 else 'fp32'} {layout}": make(images, layout, bf16=bf16)
        for bf16 in (False, True)
        for layout in FORMATS
    }


def main() -> None:
    asked = parser(__doc__, rounds=7)
    asked.add_argument("--batch", type=int, default=128)
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    images = photographs.load(options.batch, 32, options.images)
    view, rng = StrongView(WeakView(), RandAugment(2, 9)), np.random.default_rng(0)
    augment = {"augmentation (weak, then n=2)": lambda: view(images, view.draw(rng, len(images)))}
    kind, now = clock()
    print(machine())
    print(f"batch {options.batch}, {options.rounds} rounds, {kind}: median [quartiles]")
    steps = arms(training_step, images) | augment
    report("training step", take_turns(steps, options.rounds, now))
    report("pseudo-label inference", take_turns(arms(inference, images), options.rounds, now))


def report(title: str, seconds: dict[str, list[float]]) -> None:
    """Print times and ratios to fp32, and what augmentation takes of the quickest step."""
    print(f"\n{title}")
    for name, ratio in ratios(seconds, "fp32 contiguous").items():
        print(f"  {name:32} {spread(ratio):>22} x   {spread(seconds[name], 1e-3):>22} ms")
        if name.startswith("augmentation"):
            share = [a / b for a, b in zip(seconds[name], seconds["bf16 channels_last"])]
            print(f"  {'its share of a bf16 step':32} {spread(share, 0.01):>22} %")


if __name__ == "__main__":
    main()
