"""An open image becomes RGB of eight bits, upright, by a stated rule for each of Pillow's modes.

    mode                      becomes
    RGB, L, 1, P              its colours; a grey or a palette is written out
    CMYK, YCbCr, HSV          RGB by Pillow's formulas
    RGBA, LA, PA, and any     laid over white
    other with transparency
    I;16, 16-bit PGM          value / 257: the whole range 0..65535 becomes 0..255
    16-bit RGB, LA, CMYK      the high byte (Pillow has no such mode and reads them so)
    I, integers of 32 bits    0..255: as they are; 0..65535: value / 257; else the image's own
                              lowest..highest become 0..255
    F, floating point         0..1: value * 255; 0..255: as they are; else the image's own
                              lowest..highest become 0..255; NaN is the lowest value

Values are rounded, never cut off. Of several frames (GIF, APNG, WebP, TIFF, the MPO of phones) the
first counts. Colour profiles (ICC) are not applied. An EXIF tag that says how the camera was held
is obeyed; EXIF that cannot be read is as none.
"""

from __future__ import annotations

from PIL import Image
from PIL.ExifTags import Base

KINDS = {
    "RGB": "",
    "RGBX": "",
    "RGBA": "",
    "RGBa": "",
    "L": "grey",
    "LA": "grey",
    "La": "grey",
    "1": "1 bit",
    "P": "palette",
    "PA": "palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "HSV": "HSV",
    "I": "32-bit integers",
    "F": "floating point",
    "I;16": "16 bits",
    "I;16B": "16 bits",
    "I;16L": "16 bits",
    "I;16N": "16 bits",
}
SIXTEEN = "16 bits"
FRAMES, TRANSPARENT = "first of several frames", "transparent, laid over white"
TURNED, BAD_EXIF = "turned upright by EXIF", "unreadable EXIF"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(ValueError):
    """What is wrong with an image file, in words for people."""


def to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image in RGB, upright, and what was done to it, by kind.

    Raises:
        BadImage: a mode without a rule.
        Exception: of any kind, where the file is broken.
    """
    kind = _kind(image)
    if kind is None:
        raise BadImage(f"is of mode {image.mode}, which cannot be made RGB")
    kinds = [kind] if kind else []
    if getattr(image, "is_animated", False):
        kinds.append(FRAMES)
    turned = image.format == "TIFF" and _turn(image)[0] is not None  # by Pillow, as it loads
    image.load()
    pixels, seen_through = _plain(image, kind)
    turn, exif = _turn(image)
    if turn is not None:  # a flip is 0
        pixels, turned = pixels.transpose(turn), True
    return pixels, kinds + [TRANSPARENT] * seen_through + [TURNED] * turned + exif


def _kind(image: Image.Image) -> str | None:
    """What the mode is called; "" if it is nothing to tell, None without a rule."""
    raw = image.tile[0].args if image.tile else ""
    raw = raw if isinstance(raw, str) else str(raw[0]) if raw else ""
    if raw.endswith((";16B", ";16L", ";16N")) or (image.format, image.mode) == ("PPM", "I"):
        return SIXTEEN
    return KINDS.get(image.mode)


def _turn(image: Image.Image) -> tuple[Image.Transpose | None, list[str]]:
    try:
        return TURNS.get(image.getexif().get(Base.Orientation)), []
    except Exception:  # Pillow raises all kinds for broken EXIF
        return None, [BAD_EXIF]


def _plain(image: Image.Image, kind: str) -> tuple[Image.Image, bool]:
    """In RGB, and whether something was seen through."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _scaled(image, kind == SIXTEEN).convert("RGB"), False
    if image.has_transparency_data:
        return _over_white(image)
    return (image if image.mode == "RGB" else image.convert("RGB")), False


def _over_white(image: Image.Image) -> tuple[Image.Image, bool]:
    straight = {"RGBa": "RGBA", "La": "LA"}.get(image.mode, image.mode)
    image = image.convert(straight).convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB"), False
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB"), True


def _scaled(image: Image.Image, sixteen: bool) -> Image.Image:
    """Deep values as a grey image of eight bits."""
    import numpy as np  # decoders start without

    values = np.asarray(image).astype(np.float64 if image.mode == "I" else np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise BadImage("has no pixel with a finite value")
    low, high = (float(bound(values[finite])) for bound in (np.min, np.max))
    values = np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    factor = 1 / 257 if sixteen else _factor(image.mode, low, high)
    if factor is None:
        factor = 255 / ((high - low) or 1)
        values -= low
    values *= factor
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _factor(mode: str, low: float, high: float) -> float | None:
    """What values from `low` to `high` are multiplied by; None if they are spread over 0..255."""
    if low < 0 or high > 65535 or (mode == "F" and high > 255):
        return None
    if mode == "F" and high <= 1:
        return 255
    return 1 if high <= 255 else 1 / 257
