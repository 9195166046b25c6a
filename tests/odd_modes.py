"""Image files whose pixels are not RGB of eight bits; what they become is worked out by hand."""

from __future__ import annotations

import numpy as np
from odd_kind import GREY, HEIGHT, PICTURE, WIDTH, chunk, colours, group, png, rows, saved
from PIL import Image

UNIT = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
ALPHA = np.rint(255 * UNIT).astype(np.uint8)
DEEP = np.rint(65535 * UNIT).astype(np.uint16)
DEEP_COLOURS = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], 2)
HOLES = np.where(UNIT > 0.9, np.nan, 300 * UNIT - 50)
INDEX = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 4).astype(np.uint8)
PALETTE = np.array([[0, 0, 0], [255, 0, 0], [9, 200, 30], [250, 240, 230]], dtype=np.uint8)
PALETTE_ALPHA = np.array([0, 100, 200, 255], dtype=np.uint8)
CMYK = np.stack([ALPHA, ALPHA[::-1], 255 - ALPHA, ALPHA // 2], 2)
SEEN = "transparent, laid over white"


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) with alpha (H, W) in 0..255 before a white wall."""
    part = alpha[..., None] / 255
    return np.rint(pixels * part + 255 * (1 - part)).astype(np.uint8)


def spread(values: np.ndarray) -> np.ndarray:
    """Values as greys: the lowest is black and the highest white."""
    return colours((values - values.min()) / (values.max() - values.min()) * 255)


def without_black(cmyk: np.ndarray) -> np.ndarray:
    """Inks (H, W, 4) as light: each colour of what the black ink leaves."""
    light = 255.0 - cmyk
    return np.rint(light[..., :3] * light[..., 3:] / 255).astype(np.uint8)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> bytes:
    """A PNG with an alpha channel."""
    image = Image.fromarray(pixels)
    image.putalpha(Image.fromarray(alpha))
    return saved(image, "PNG")


def with_hole(colour: int, pixels: np.ndarray, value: np.ndarray) -> bytes:
    """A PNG in which one value stands for nothing."""
    hole = chunk(b"tRNS", np.atleast_1d(value).astype(">u2").tobytes())
    return png(WIDTH, HEIGHT, 8, colour, rows(pixels), hole)


def with_palette(kind: str, **options) -> bytes:
    """`INDEX` into `PALETTE`."""
    image = Image.frombytes("P", (WIDTH, HEIGHT), INDEX.tobytes())
    image.putpalette(PALETTE.tobytes())
    return saved(image, kind, **options)


def tiff(mode: str, values: np.ndarray) -> bytes:
    """Values as Pillow stores them in a mode."""
    return saved(Image.frombytes(mode, (WIDTH, HEIGHT), values.tobytes()), "TIFF")


def pgm(values: np.ndarray, white: int = 65535) -> bytes:
    """A portable grey map of 16 bits."""
    return f"P5 {WIDTH} {HEIGHT} {white}\n".encode() + values.astype(">u2").tobytes()


def integers(values: np.ndarray) -> bytes:
    return tiff("I", values.astype(np.int32))


def floats(values: np.ndarray) -> bytes:
    return tiff("F", values.astype(np.float32))


GREYS = [
    *group(
        ("grey",),
        ("grey.png", saved(GREY, "PNG"), colours(GREY)),
        ("grey.pgm", saved(GREY, "PPM"), colours(GREY)),
    ),
    *group(("grey",), ("grey.jpg", saved(GREY, "JPEG", quality=95), colours(GREY)), off=6),
    *group(
        ("1 bit",),
        ("bits.png", saved(INDEX % 2 == 0, "PNG"), colours(255 * (INDEX % 2 == 0))),
        ("bits.tiff", saved(INDEX % 2 == 0, "TIFF"), colours(255 * (INDEX % 2 == 0))),
    ),
]
COLOURS = [
    *group(
        ("palette",),
        ("palette.png", with_palette("PNG"), PALETTE[INDEX]),
        ("palette.gif", with_palette("GIF"), PALETTE[INDEX]),
        ("palette.bmp", with_palette("BMP"), PALETTE[INDEX]),
    ),
    *group(("CMYK",), ("cmyk.tiff", tiff("CMYK", CMYK), without_black(CMYK)), off=1),
    *group(("CMYK",), ("cmyk.jpg", saved(PICTURE, "JPEG", "CMYK", quality=95), PICTURE), off=8),
    *group(("YCbCr",), ("ycbcr.tiff", saved(PICTURE, "TIFF", "YCbCr"), PICTURE), off=3),
]
LAST, CLEAR = PALETTE[-1], np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
TRANSPARENT = [
    *group((), ("opaque.png", with_alpha(PICTURE, CLEAR), PICTURE)),
    *group((SEEN,), ("alpha.png", with_alpha(PICTURE, ALPHA), over_white(PICTURE, ALPHA)), off=1),
    *group(
        ("grey", SEEN),
        ("grey alpha.png", with_alpha(GREY, ALPHA), over_white(colours(GREY), ALPHA)),
        (
            "grey hole.png",
            with_hole(0, GREY, GREY[4, 5]),
            over_white(colours(GREY), 255 * (GREY[4, 5] != GREY)),
        ),
        off=1,
    ),
    *group(
        (SEEN,),
        (
            "hole.png",
            with_hole(2, PALETTE[INDEX], LAST),
            over_white(PALETTE[INDEX], 255 * (INDEX != 3)),
        ),
    ),
    *group(
        ("palette", SEEN),
        (
            "palette hole.gif",
            with_palette("GIF", transparency=2),
            over_white(PALETTE[INDEX], 255 * (INDEX != 2)),
        ),
        (
            "palette alpha.png",
            with_palette("PNG", transparency=PALETTE_ALPHA.tobytes()),
            over_white(PALETTE[INDEX], PALETTE_ALPHA[INDEX]),
        ),
        off=1,
    ),
]
DEEPER = [
    *group(
        ("16 bits",),
        ("16 bits.png", saved(DEEP, "PNG"), colours(DEEP / 257)),
        ("16 bits.pgm", pgm(DEEP), colours(DEEP / 257)),
        ("16 bits.tiff", tiff("I;16", DEEP), colours(DEEP / 257)),
        ("big-endian.tiff", tiff("I;16B", DEEP.astype(">u2")), colours(DEEP / 257)),
        ("dark.png", saved(DEEP // 16, "PNG"), colours(DEEP // 16 / 257)),
        ("dark.pgm", pgm(DEEP // 256), colours(DEEP // 256 / 257)),
        ("other white.pgm", pgm(ALPHA, 1000), colours(np.rint(65.535 * ALPHA) / 257)),
        (
            "16-bit colours.png",
            png(WIDTH, HEIGHT, 16, 2, rows(DEEP_COLOURS.astype(">u2"))),
            (DEEP_COLOURS >> 8).astype(np.uint8),
        ),
    ),
    *group(
        ("32-bit integers",),
        ("integers to 1.tiff", integers(INDEX % 2), colours(INDEX % 2)),
        ("integers to 255.tiff", integers(ALPHA), colours(ALPHA)),
        ("integers to 65535.tiff", integers(DEEP), colours(DEEP / 257)),
        ("integers.tiff", integers(DEEP * 9.0 - 70000), spread(DEEP * 9.0 - 70000)),
    ),
    *group(
        ("floating point",),
        ("floats to 1.tiff", floats(UNIT), colours(255 * UNIT)),
        ("floats to 255.tiff", floats(250 * UNIT), colours(250 * UNIT)),
        ("floats to 5000.tiff", floats(5000 * UNIT + 7), spread(5000 * UNIT)),
        ("floats.tiff", floats(300 * UNIT - 50), spread(300 * UNIT - 50)),
        ("floats with holes.tiff", floats(HOLES), spread(np.nan_to_num(HOLES, nan=-50))),
        ("floats all alike.tiff", floats(0 * UNIT - 7), colours(0 * UNIT)),
    ),
]
