"""Images to time with: a folder of the user's, else two photographs that come with scikit-learn."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png"}


def load(num: int, size: int, folder: Path | None = None) -> Tensor:
    """uint8 (num, 3, size, size), resized from files in the folder, or cut from the photographs."""
    if folder is None:
        return _cuts(num, size)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"error: {folder}: holds no images; fix: name a folder of .jpg or .png")
    chosen = [files[index % len(files)] for index in range(0, num * 7, 7)]
    arrays = [np.asarray(Image.open(path).convert("RGB").resize((size, size))) for path in chosen]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _cuts(num: int, size: int) -> Tensor:
    from sklearn.datasets import load_sample_images

    photos, rng = load_sample_images().images, np.random.default_rng(0)
    cuts = []
    for index in range(num):
        photo = photos[index % len(photos)]
        top, left = (rng.integers(side - size) for side in photo.shape[:2])
        cuts.append(photo[top : top + size, left : left + size])
    return torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).contiguous()
