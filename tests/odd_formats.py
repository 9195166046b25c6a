"""Image files of all formats that are read, with several frames, and held askew."""

from __future__ import annotations

import numpy as np
import pillow_heif
from odd_kind import HEIGHT, PICTURE, WIDTH, group, saved
from PIL import Image

pillow_heif.register_heif_opener()  # to save, and no more

FINE = {"quality": 95, "subsampling": 0}  # of a JPEG
# how to store the picture, so that a viewer who obeys the tag sees it upright
STORED = {
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.transpose(1, 0, 2),
    6: PICTURE.transpose(1, 0, 2)[::-1],
    7: PICTURE.transpose(1, 0, 2)[::-1, ::-1],
    8: PICTURE.transpose(1, 0, 2)[:, ::-1],
}
BAD_EXIF = b"Exif\0\0MM\0L\0\0\0\x08"
FRAMES, TURNED = "first of several frames", "turned upright by EXIF"


def tagged(kind: str, value: int, **options) -> bytes:
    """The picture, stored so that it is upright by this value of EXIF's orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    return saved(np.ascontiguousarray(STORED[value]), kind, exif=exif, **options)


def frames(kind: str, **options) -> bytes:
    """The picture, and others after it."""
    others = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    return saved(PICTURE, kind, save_all=True, append_images=others, **options)


JPEG, HEIC = saved(PICTURE, "JPEG", **FINE), saved(PICTURE, "HEIF", quality=95, chroma=444)
PLAIN = [
    *group(
        (),
        ("plain.png", saved(PICTURE, "PNG"), PICTURE),
        ("plain.bmp", saved(PICTURE, "BMP"), PICTURE),
        ("plain.ppm", saved(PICTURE, "PPM"), PICTURE),
        ("plain.tiff", saved(PICTURE, "TIFF", compression="tiff_lzw"), PICTURE),
        ("plain.webp", saved(PICTURE, "WEBP", lossless=True), PICTURE),
        ("profile.png", saved(PICTURE, "PNG", icc_profile=b"not a profile"), PICTURE),
        ("no suffix", saved(PICTURE, "PNG"), PICTURE),
        ("png in truth.jpg", saved(PICTURE, "PNG"), PICTURE),
        ("späte Ämter, №5 'x' 图.png", saved(PICTURE, "PNG"), PICTURE),
    ),
    *group(
        (),
        ("plain.jpg", JPEG, PICTURE),
        ("more after its end.jpg", JPEG + b"more", PICTURE),
        ("progressive.jpeg", saved(PICTURE, "JPEG", progressive=True, **FINE), PICTURE),
        ("plain.avif", saved(PICTURE, "AVIF", quality=95, subsampling="4:4:4"), PICTURE),
        ("plain.heic", HEIC, PICTURE),
        ("heic in truth.jpg", HEIC, PICTURE),
        off=6,
    ),
]
MOVING = [
    *group(("palette", FRAMES), ("frames.gif", frames("GIF"), PICTURE)),
    *group(
        (FRAMES,),
        ("frames.png", frames("PNG"), PICTURE),
        ("frames.webp", frames("WEBP", lossless=True), PICTURE),
        ("frames.tiff", frames("TIFF"), PICTURE),
    ),
    *group((FRAMES,), ("frames of a phone.jpg", frames("MPO", **FINE), PICTURE), off=6),
]
HELD = [
    *group((), ("held 1.jpg", tagged("JPEG", 1, **FINE), PICTURE), off=6),
    *group(
        (TURNED,),
        *((f"held {n}.jpg", tagged("JPEG", n, **FINE), PICTURE) for n in range(2, 9)),
        off=6,
    ),
    *group(
        (TURNED,),
        ("held 2.png", tagged("PNG", 2), PICTURE),
        ("held 5.tiff", tagged("TIFF", 5), PICTURE),
        ("held 7.webp", tagged("WEBP", 7, lossless=True), PICTURE),
    ),
    # of a JPEG whose EXIF is broken Pillow says that it has none
    *group((), ("exif.jpg", saved(PICTURE, "JPEG", exif=BAD_EXIF, **FINE), PICTURE), off=6),
    *group(
        ("unreadable EXIF",),
        ("exif.webp", saved(PICTURE, "WEBP", lossless=True, exif=BAD_EXIF), PICTURE),
    ),
]
