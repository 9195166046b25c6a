"""Image files are opened by what is in them, whatever their names say, and judged by the header."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

from pipeline.sources.pixel_modes import BadImage

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM", "AVIF")  # MPO opens as JPEG
ALL = f"no image of the formats {', '.join(FORMATS)}, HEIF"
LONGEST = 20_000  # side, in pixels
SLIMMEST = 100  # times as long as wide
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
OURS = {
    b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
OTHERS = {
    b"%!ps": "PostScript",
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%pdf": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"pk\x03\x04": "a zip archive",
    b"version https://git-lfs": "a pointer of Git LFS",
}


def opened(path: str) -> Image.Image:
    """The image of a regular file, not yet decoded; a context, which closes the file.

    Raises:
        BadImage: of no allowed format; from the header alone: too many pixels (Pillow's limit
            against decompression bombs), too long a side, too slim.
    """
    image = _open(path)
    if what := _size_fault(*image.size):
        image.close()
        raise BadImage(what)
    return image


def _open(path: str) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImage(f"is too large ({str(error).split(',')[0]})") from None
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            start = file.read(64)
    if start[4:8] == b"ftyp" and start[8:12] in HEIF:
        return _open_heif(path)
    raise BadImage(_what(start))


def _open_heif(path: str) -> Image.Image:
    import pillow_heif  # takes as long to import as all else: only where there is HEIF

    pillow_heif.register_heif_opener()
    try:
        return Image.open(path, formats=("HEIF",))
    except UnidentifiedImageError:
        raise BadImage("is HEIF that cannot be read") from None


def _what(start: bytes) -> str:
    if not start:
        return "is empty"
    broken = next((name for magic, name in OURS.items() if start.startswith(magic)), "")
    if broken:
        return f"is {broken} with a broken head"
    plain = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    known = next((name for magic, name in OTHERS.items() if plain.startswith(magic)), "")
    return f"is {known}, {ALL}" if known else f"is {ALL}"


def _size_fault(width: int, height: int) -> str:
    if max(width, height) > LONGEST:
        return f"is of {width}x{height} pixels, a side of more than {LONGEST:,}"
    if max(width, height) > SLIMMEST * min(width, height):
        return f"is of {width}x{height} pixels, more than {SLIMMEST} times as long as wide"
    return ""
