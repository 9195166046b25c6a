"""RandAugment (n=2, m=9) against torchvision and Kornia: `python -m benchmarks.augment`."""

import numpy as np
import torch
from kornia.augmentation.auto import RandAugment as KorniaRandAugment
from PIL import Image
from torch import Tensor
from torchvision.transforms import RandAugment as TorchvisionRandAugment
from torchvision.transforms import v2

from benchmarks import photographs
from benchmarks.timing import clock, machine, parser, ratios, repeated, spread, take_turns
from pipeline.augment import RandAugment, StrongView, WeakView

BATCHES = {8: 256, 32: 256, 64: 256, 224: 32}  # size: images
PIL = "torchvision v1 on PIL images, one by one"


def arms(images: Tensor) -> dict:
    """What is compared: each takes the whole batch, from and to what its users hold."""
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    floats, rng = images.float() / 255, np.random.default_rng(0)
    one_by_one, v2_one_by_one = TorchvisionRandAugment(2, 9), v2.RandAugment(2, 9)
    kornia, ours = KorniaRandAugment(2, 9), RandAugment(2, 9)
    strong = StrongView(WeakView(shift=max(1, images.shape[-1] // 8)), RandAugment(2, 9))
    return {
        PIL: lambda: [one_by_one(picture) for picture in pictures],
        "torchvision v2 on PIL images, one by one": lambda: [v2_one_by_one(p) for p in pictures],
        "torchvision v2 on uint8 tensors, one by one": lambda: [v2_one_by_one(i) for i in images],
        "Kornia's policy (one draw for the batch)": lambda: kornia(floats),
        "ours": lambda: ours(images, ours.draw(rng, len(images))),
        "ours with the weak view": lambda: strong(images, strong.draw(rng, len(images))),
    }


def main() -> None:
    asked = parser(__doc__, rounds=21)
    asked.add_argument("--sizes", type=int, nargs="+", default=list(BATCHES))
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    kind, now = clock()
    print(machine())
    for size in options.sizes:
        num = BATCHES.get(size, 128)
        images = photographs.load(num, size, options.images)
        # several calls a turn: Kornia draws few operations a call, and some are much slower
        calls = {name: repeated(call, 3) for name, call in arms(images).items()}
        seconds = take_turns(calls, options.rounds, now)
        print(f"\n{size}x{size}, batch {num}, {options.rounds} rounds, {kind}: median [quartiles]")
        for name, ratio in ratios(seconds, PIL).items():
            print(f"  {name:45} {spread(ratio):>22} x   {spread(seconds[name], 3e-3):>22} ms")


if __name__ == "__main__":
    main()
