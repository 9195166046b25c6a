"""Near-duplicates: altered copies that are found, pairs found besides, and seconds:
`python -m benchmarks.duplicates`."""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from benchmarks import photographs
from benchmarks.timing import machine
from pipeline.report.intervals import wilson
from pipeline.sources.duplicates import Pairs, near_duplicates

Picture = Image.Image
Alter = Callable[[Picture, np.random.Generator], Picture]
BILINEAR = Image.Resampling.BILINEAR
COLUMNS, SHOWN = 8, 96  # of a contact sheet: pairs in a row, pixels of a side


def as_jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def resized(picture: Picture, scale: float) -> Picture:
    """Smaller or larger, and back, as what is read is resized to `data.size`."""
    small = picture.resize([round(side * scale) for side in picture.size], BILINEAR)
    return small.resize(picture.size, BILINEAR)


def cropped(picture: Picture, shares: np.ndarray) -> Picture:
    """Without these shares of it at the left, the top, the right and the bottom."""
    left, top, right, bottom = shares * np.tile(picture.size, 2)
    box = (left, top, picture.width - right, picture.height - bottom)
    return picture.resize(picture.size, BILINEAR, box=box)


def brighter(picture: Picture, rng: np.random.Generator) -> Picture:
    return ImageEnhance.Brightness(picture).enhance(rng.choice([0.85, 1.15]))


def all_at_once(picture: Picture, rng: np.random.Generator) -> Picture:
    crop = cropped(picture, rng.uniform(0, 0.08, 4))
    return as_jpeg(brighter(ImageOps.mirror(crop), rng), 75)


KINDS: dict[str, Alter] = {
    "PNG": lambda picture, rng: picture,
    "JPEG, quality 95": lambda picture, rng: as_jpeg(picture, 95),
    "JPEG, quality 85": lambda picture, rng: as_jpeg(picture, 85),
    "JPEG, quality 75": lambda picture, rng: as_jpeg(picture, 75),
    "JPEG, quality 50": lambda picture, rng: as_jpeg(picture, 50),
    "to 0.9 of its size and back": lambda picture, rng: resized(picture, 0.9),
    "to 0.75 of its size and back": lambda picture, rng: resized(picture, 0.75),
    "brighter or darker by 15 %": brighter,
    "mirrored": lambda picture, rng: ImageOps.mirror(picture),
    "mirrored, JPEG, quality 75": lambda picture, rng: as_jpeg(ImageOps.mirror(picture), 75),
    "cropped by 0..4 % a side": lambda picture, rng: cropped(picture, rng.uniform(0, 0.04, 4)),
    "cropped by 0..8 % a side": lambda picture, rng: cropped(picture, rng.uniform(0, 0.08, 4)),
    "cropped by 8 % a side": lambda picture, rng: cropped(picture, np.full(4, 0.08)),
    "cropped by 0..12 % a side": lambda picture, rng: cropped(picture, rng.uniform(0, 0.12, 4)),
    "cropped by 0..8 %, mirrored, 15 %, JPEG 75": all_at_once,
}


def altered(images: np.ndarray, kind: str) -> np.ndarray:
    """Each of the images (n, 3, H, W) altered, with draws of its own."""
    rng = np.random.default_rng(0)
    pictures = (Image.fromarray(image.transpose(1, 2, 0)) for image in images)
    arrays = [np.asarray(KINDS[kind](picture, rng)) for picture in pictures]
    return np.ascontiguousarray(np.stack(arrays).transpose(0, 3, 1, 2))


def among(images: np.ndarray, of: np.ndarray | None = None) -> Pairs:
    of = np.ones(len(images), dtype=bool) if of is None else of
    return near_duplicates(images, np.arange(len(images)), of)


def num_found(images: np.ndarray, copies: np.ndarray) -> int:
    """How many copies are paired with the images that they are of, the first ones; one half of the
    copies stands before all images, the other after."""
    half = len(copies) // 2
    together = np.concatenate([copies[:half], images, copies[half:]])
    of = np.ones(len(together), dtype=bool)
    of[half : half + len(images)] = False
    found = set(map(tuple, among(together, of).pair.tolist()))
    before = sum((i, half + i) in found for i in range(half))
    after = range(half, len(copies))
    return before + sum((half + i, len(images) + i) in found for i in after)


def drawn(num: int, size: int) -> np.ndarray:
    """Made-up pictures, (num, 3, size, size): ellipses of all sizes over each other, as things
    stand before each other in a photograph (dead leaves: Lee, Mumford and Huang 2001)."""
    rng, results = np.random.default_rng(0), []
    for _ in range(num):
        picture = Image.new("RGB", (size, size), tuple(rng.integers(0, 256, 3).tolist()))
        draw = ImageDraw.Draw(picture)
        for radius in size / rng.uniform(2, 30, 60):
            (x, y), (a, b) = rng.uniform(0, size, 2), radius * rng.uniform(0.5, 1.5, 2)
            colour = tuple(rng.integers(0, 256, 3).tolist())
            draw.ellipse((x - a, y - b, x + a, y + b), fill=colour)
        results.append(np.asarray(picture))
    return np.ascontiguousarray(np.stack(results).transpose(0, 3, 1, 2))


def look_the_same(images: np.ndarray) -> dict[str, np.ndarray]:
    """Sets whose images look alike without being copies, of 32 pixels."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    digits = torch.from_numpy(load_digits().images * (255 / 16)).float()[:, None]
    framed = np.full((len(images), 3, 32, 32), 255, dtype=np.uint8)
    framed[:, :, 6:26, 6:26] = _resized(torch.from_numpy(images), 20)
    pages = 245 + 3 * rng.standard_normal((len(images), 1, 32, 32))
    headed = pages.copy()
    headed[:, :, 2:8, 2:16] -= 200
    return {
        "digits of 8x8": digits.byte().numpy(),
        "digits of 8x8, enlarged to 32x32": _resized(digits, 32),
        "the images as 20x20 in a white frame": framed,
        "blank pages with noise": pages.clip(0, 255).astype(np.uint8),
        "the same with one block of ink": headed.clip(0, 255).astype(np.uint8),
        "flat pages of 32 greys": np.tile(pages[:32, :, :1, :1], (1, 1, 32, 32)).astype(np.uint8),
    }


def _resized(images: torch.Tensor, size: int) -> np.ndarray:
    scaled = torch.nn.functional.interpolate(
        images.float(), size=(size, size), mode="bilinear", antialias=True
    )
    return scaled.round().clamp(0, 255).byte().numpy()


def save_sheet(images: np.ndarray, pairs: Pairs, path: Path) -> None:
    """Draw all pairs, the most similar first, so that a person can say which are one picture."""
    rows = -(-len(pairs.pair) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (2 * SHOWN + 8), rows * (SHOWN + 16)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, pair in enumerate(np.argsort(-pairs.similarity, kind="stable")):
        left, top = place % COLUMNS * (2 * SHOWN + 8), place // COLUMNS * (SHOWN + 16)
        for side, image in enumerate(images[pairs.pair[pair]]):
            picture = Image.fromarray(image.transpose(1, 2, 0)).resize((SHOWN, SHOWN))
            sheet.paste(picture, (left + side * SHOWN, top))
        draw.text((left, top + SHOWN), f"{place} {pairs.similarity[pair]:.3f}", fill="black")
    sheet.save(path)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--images", type=Path, help="a folder of images; default: made-up ones")
    asked.add_argument("--num", type=int, default=10_000, help="images to find copies among")
    asked.add_argument("--copies", type=int, default=1000, help="altered copies of each kind")
    asked.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    asked.add_argument("--sheet", type=Path, help="draw the pairs among the images into this PNG")
    options = asked.parse_args()
    torch.set_num_threads(1)  # as what is measured does
    print(machine())
    if options.images is None:
        images = drawn(options.num, options.size)
    else:
        images = photographs.load(options.num, options.size, options.images).numpy()
    report_besides(images, options.sheet)
    report_found(images, options.copies)
    if options.size >= 32:
        report_alike(images)


def report_besides(images: np.ndarray, sheet: Path | None) -> None:
    """Print how many pairs there are among the images as they are, and the seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    pairs = among(images)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{len(images):,} images of {images.shape[2]}x{images.shape[3]}: {len(pairs.pair)} pairs")
    print(f"{cpu:.1f} s of CPU, {wall:.1f} s of wall time")
    if sheet and len(pairs.pair):
        save_sheet(images, pairs, sheet)


def report_found(images: np.ndarray, num: int) -> None:
    """Print a row for each kind of copy."""
    print("| copies | found of all, % | 95 % interval |\n|---|---|---|")
    for kind in KINDS:
        copies = altered(images[:num], kind)
        found = num_found(images, copies)
        low, high = (100 * bound for bound in wilson(found, len(copies)))
        print(f"| {kind} | {100 * found / len(copies):.1f} | {low:.1f} to {high:.1f} |", flush=True)


def report_alike(images: np.ndarray) -> None:
    """Print a row for each set of images that look alike."""
    print("| images | number | pairs | of them of other pixels |\n|---|---|---|---|")
    for name, alike in look_the_same(images[:3000]).items():
        pairs = among(alike)
        others = int((pairs.similarity < 1).sum())
        print(f"| {name} | {len(alike):,} | {len(pairs.pair)} | {others} |", flush=True)


if __name__ == "__main__":
    main()
