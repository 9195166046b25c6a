"""What an augmentation accepts, and the errors it raises otherwise."""

import torch
from torch import Tensor


def check_setting(name: str, value: float, low: float, high: float, *, whole: bool = False) -> None:
    """Raise ValueError unless value is a number (an int if `whole`) in [low, high]."""
    kinds = (int,) if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
        what = "a whole number" if whole else "a number"
        raise ValueError(f"{name}: must be {what} in [{low}, {high}], is {value!r}")


def check_images(images: Tensor) -> None:
    """Raise TypeError or ValueError unless images are (N, C, H, W), uint8 or floats in [0, 1].

    The values are checked on a CPU only: on a GPU the answer would have to be waited for.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"images: must be a tensor, is {type(images).__name__}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(f"images: must be (N, C, H, W), is {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise TypeError(f"images: must be uint8 or floating point, is {images.dtype}")
    if images.device.type == "cpu" and images.numel():
        _check_range(images)


def _check_range(images: Tensor) -> None:
    low, high = (value.item() for value in images.detach().aminmax())
    if low != low:
        raise ValueError("images: hold NaN")
    if low < 0 or high > 1:
        raise ValueError(
            f"images: floating point must lie in [0, 1], lies in [{low:g}, {high:g}]; "
            "augment before normalising, or pass uint8"
        )
