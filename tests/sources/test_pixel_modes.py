"""Odd files become the pixels that the rules say, and bad ones are named, unopened or unread."""

import subprocess
import sys
import warnings

import numpy as np
import odd_files
import pytest
from conftest import ROOT
from PIL import Image, ImageFile, ImageOps

from pipeline.sources import decoder, workers
from pipeline.sources.decoder import decode
from pipeline.sources.image_file import opened
from pipeline.sources.pixel_modes import BadImage

EACH = pytest.mark.parametrize


def names(file) -> str:
    return file.name.encode("ascii", "replace").decode()


def pixels(path, size: int = 0) -> np.ndarray:
    """Of a file, (H, W, 3)."""
    made = decode(str(path), size)
    flat = np.frombuffer(made.data, np.uint8)
    return flat.reshape(3, made.height, made.width).transpose(1, 2, 0)


@EACH("file", odd_files.READABLE, ids=names)
def test_odd_files_become_what_the_rules_say(tmp_path, file):
    file.write(tmp_path)
    results = pixels(tmp_path / file.name)
    assert results.shape == file.pixels.shape
    assert np.abs(results.astype(int) - file.pixels).max() <= file.off
    assert tuple(decode(str(tmp_path / file.name), 0).kinds) == file.kinds


@EACH("file", odd_files.BAD, ids=names)
@EACH("size", [0, 8])
def test_bad_files_are_named(tmp_path, file, size):
    file.write(tmp_path)
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of any kind)
        decode(str(tmp_path / file.name), size)
    said = decoder.reason(caught.value)
    assert file.fault in said and "\n" not in said and str(tmp_path) not in said


def test_the_files_are_the_same_bytes_every_time():
    code = "import odd_files, zlib; print([zlib.crc32(repr(f.content).encode()) "
    code += "for f in odd_files.ODD if not f.special])"
    command = [sys.executable, "-c", code]
    tests = {"PYTHONPATH": str(ROOT / "tests")}
    one, two = (subprocess.check_output(command, env=tests | {"PYTHONHASHSEED": s}) for s in "12")
    assert one == two
    assert len(odd_files.ODD) >= 100 and len({f.name.lower() for f in odd_files.ODD}) == len(
        odd_files.ODD
    )


@EACH("name", ["bomb.png", "long.png", "tall.png", "slim.png"])
def test_what_is_too_large_is_refused_by_its_header(tmp_path, monkeypatch, name):
    odd_files.write(tmp_path, odd_files.BAD)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("was decoded"))
    with pytest.raises(BadImage, match="pixels"):
        decode(str(tmp_path / name), 8)


@EACH(("width", "height"), [(20_000, 200), (200, 2), (1, 100)])
def test_the_largest_are_read(tmp_path, width, height):
    Image.new("L", (width, height)).save(tmp_path / "x.png")
    assert decode(str(tmp_path / "x.png"), 4).height == 4


def test_what_pillow_warns_of_is_not_for_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    Image.new("L", (6, 6)).save(tmp_path / "x.png")
    with warnings.catch_warnings(record=True) as heard:
        with opened(str(tmp_path / "x.png")):
            assert len(heard) == 1
        decode(str(tmp_path / "x.png"), 4)
    assert len(heard) == 1


@pytest.fixture
def photo() -> Image.Image:
    """Smooth, and wider than high."""
    y, x = np.mgrid[:320, :400] / 100
    waves = [127 + 120 * np.sin(x + y), 127 + 120 * np.cos(2 * x), 127 + 120 * np.sin(3 * y)]
    return Image.fromarray(np.stack(waves, 2).astype(np.uint8))


@EACH(("size", "reduced"), [(32, True), (80, True), (81, False), (320, False)])
def test_large_jpegs_are_reduced_as_they_are_decoded(tmp_path, photo, monkeypatch, size, reduced):
    photo.save(tmp_path / "x.jpg", quality=95)
    with Image.open(tmp_path / "x.jpg") as image:
        whole = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))
    results = pixels(tmp_path / "x.jpg", size)
    assert np.array_equal(results, whole) == (not reduced)
    assert np.abs(results.astype(int) - whole).max() <= 6


def test_of_a_reduced_jpeg_at_least_twice_the_size_is_decoded(tmp_path, photo, monkeypatch):
    photo.save(tmp_path / "x.jpg")
    met, real = [], decoder.to_rgb
    monkeypatch.setattr(decoder, "to_rgb", lambda image: (met.append(image.size), real(image))[1])
    for size in (10, 40, 41, 79, 80, 81):
        decode(str(tmp_path / "x.jpg"), size)
    assert met == [(50, 40), (100, 80), (200, 160), (200, 160), (200, 160), (400, 320)]


def test_a_phone_held_upright_is_reduced_too(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "x.jpg", exif=exif, quality=95)
    photo.save(tmp_path / "y.jpg", quality=95)
    here, there = (pixels(tmp_path / name, 40).astype(int) for name in ("x.jpg", "y.jpg"))
    assert np.abs(here - there).max() <= 8


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules that a process like a decoder's has loaded after some code."""
    code = workers.START.replace("decoder.main()", f"{code}; print(*sys.modules)")
    command = [sys.executable, "-P", "-c", code, str(workers.ROOT), *arguments]
    return set(subprocess.check_output(command, text=True).split())


def test_a_decoder_starts_without_what_it_has_no_use_for():
    modules = loaded("pass")
    assert "pipeline.sources.decoder" in modules
    assert not {"numpy", "pillow_heif", "pydantic", "pipeline.sources.images"} & modules


@EACH(("name", "needed"), [("plain.avif", False), ("plain.heic", True)])
def test_what_reads_heif_is_loaded_for_heif_alone(tmp_path, name, needed):
    odd_files.write(tmp_path, odd_files.READABLE)
    modules = loaded("decoder.decode(sys.argv[1], 0)", str(tmp_path / name))
    assert ("pillow_heif" in modules) == needed
