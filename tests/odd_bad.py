"""Files that cannot be read, named like images; and what is no regular file at all."""

from __future__ import annotations

import os
import struct
import sys

import numpy as np
from odd_formats import HEIC, JPEG
from odd_kind import HEIGHT, PICTURE, WIDTH, Odd, png, saved
from odd_modes import floats
from PIL import Image

PNG, NO_IMAGE = saved(PICTURE, "PNG"), "no image of the formats JPEG, PNG,"


def bad(name: str, content: object, fault: str) -> Odd:
    return Odd(name, content, fault=fault)


def claimed(width: int, height: int) -> bytes:
    """A small PNG whose header claims a size."""
    return png(width, height, 8, 2, b"\0")


def flipped(content: bytes, place: int) -> bytes:
    """Bytes with one bit at a place changed."""
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


BROKEN = [
    bad("empty.jpg", b"", "is empty"),
    bad("text.jpg", b"not an image\n", f"is {NO_IMAGE}"),
    bad("a byte.png", b"\x89", f"is {NO_IMAGE}"),
    bad(
        "half.jpg", saved(PICTURE.repeat(9, 0), "JPEG")[:-90], "cannot be read (image file is trunc"
    ),
    bad("head alone.jpg", JPEG[:30], ""),
    bad("half.png", PNG[:-40], "cannot be read"),
    bad("flipped.png", flipped(PNG, PNG.index(b"IDAT") + 9), "cannot be read"),
    bad("flipped head.png", flipped(PNG, 18), "is PNG with a broken head"),
    bad("name alone.gif", b"GIF89a", "is GIF with a broken head"),
    bad("half.gif", saved(PICTURE, "GIF")[:-60], "cannot be read"),
    bad("half.bmp", saved(PICTURE, "BMP")[:-60], "cannot be read"),
    bad("half.webp", saved(PICTURE, "WEBP")[:-20], "cannot be read"),
    bad("half.tiff", saved(PICTURE, "TIFF")[:-60], "cannot be read"),
    bad("half.ppm", saved(PICTURE, "PPM")[:-60], "cannot be read"),
    bad("half.heic", HEIC[:-90], ""),
    bad("half.avif", saved(PICTURE, "AVIF")[:-60], ""),
    bad("nothing finite.tiff", floats(np.full((HEIGHT, WIDTH), np.nan)), "no pixel with a finite"),
    bad("tones.tiff", saved(Image.new("LAB", (WIDTH, HEIGHT)), "TIFF"), "is of mode LAB"),
]
OTHERS = [
    bad("eps.png", saved(PICTURE, "EPS"), f"is PostScript, {NO_IMAGE}"),
    bad("eps with a preview.png", struct.pack("<7I", 0xC6D3D0C5, *range(6)), f"is EPS, {NO_IMAGE}"),
    bad("pdf.png", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", f"is PDF, {NO_IMAGE}"),
    bad("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", f"is SVG, {NO_IMAGE}"),
    bad("xml.png", b"\xef\xbb\xbf<?xml version='1.0'?><svg/>", f"is XML or SVG, {NO_IMAGE}"),
    bad("page.jpg", b"\n<!DOCTYPE html><script>x</script>", f"is a web page, {NO_IMAGE}"),
    bad("archive.png", b"PK\x03\x04" + bytes(30), f"is a zip archive, {NO_IMAGE}"),
    bad("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    bad("jpeg2000.jpg", saved(PICTURE, "JPEG2000"), f"is {NO_IMAGE}"),
    bad("icon.png", saved(PICTURE, "ICO"), f"is {NO_IMAGE}"),
    bad("targa.png", saved(PICTURE, "TGA"), f"is {NO_IMAGE}"),
    bad("film.jpg", b"\0\0\0\x18ftypisom" + bytes(40), f"is {NO_IMAGE}"),
    bad("not heic.heic", b"\0\0\0\x18ftypheic" + bytes(40), "HEIF that cannot be read"),
]
HUGE = [
    bad("bomb.png", claimed(30000, 30000), "is too large (Image size (900000000 pixels)"),
    bad("long.png", claimed(65535, 1), "is of 65535x1 pixels, a side of more than 20,000"),
    bad("tall.png", claimed(10, 20001), "is of 10x20001 pixels, a side of more than 20,000"),
    bad("slim.png", claimed(1010, 10), "is of 1010x10 pixels, more than 100 times as long as wide"),
]
# none of these may be opened; a walk over folders may leave them out before they are looked at
SPECIAL = [
    bad("pipe.png", os.mkfifo, "is a pipe, not a file"),
    bad("folder.png", os.mkdir, "is a folder, not a file"),
    bad("gone.png", lambda path: path.symlink_to("nowhere.png"), "cannot be read (No such file"),
    bad("ring.png", lambda path: path.symlink_to(path.name), "cannot be read (Too many levels"),
    bad("out.png", lambda path: path.symlink_to(sys.executable), "leads out of"),
    bad("device.png", lambda path: path.symlink_to("/dev/zero"), "leads out of"),
]
