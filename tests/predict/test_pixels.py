"""A file as a model takes it: `prepare`'s pixels, grey by Pillow's rule, upright, never hung."""

import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.predict import pixels
from pipeline.sources import decoder


@pytest.fixture
def picture(rng) -> Image.Image:
    """Of 20x12 pixels in colour, smooth enough to be told apart when it is turned."""
    small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return small.resize((20, 12), Image.Resampling.BICUBIC)


def by_pillow(image: Image.Image, height: int, width: int, mode: str) -> np.ndarray:
    fitted = image.convert("RGB")
    if fitted.size != (width, height):
        fitted = ImageOps.fit(fitted, (width, height), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(fitted.convert(mode))).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (6, 10), (10, 6), (24, 24)])
@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (1, "L")])
def test_it_is_resized_to_cover_the_shape_and_the_middle_kept(
    tmp_path, picture, size, channels, mode
):
    path = str(tmp_path / "a.png")
    picture.save(path)
    read = pixels.read(path, (channels, *size))
    assert read.dtype == np.uint8 and read.shape == (channels, *size)
    np.testing.assert_array_equal(read, by_pillow(picture, *size, mode))


def test_what_prepare_would_store_is_what_a_model_gets(tmp_path, picture):
    path = str(tmp_path / "a.jpg")
    picture.save(path)
    stored = np.frombuffer(decoder.decode(path, 8).data, dtype=np.uint8).reshape(3, 8, 8)
    np.testing.assert_array_equal(pixels.read(path, (3, 8, 8)), stored)


def test_grey_is_pillows_for_every_colour_and_a_grey_image_is_what_it_was(rng):
    colours = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(colours).convert("L"))
    np.testing.assert_array_equal(pixels.grey(colours.transpose(2, 0, 1))[0], expected)
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(pixels.grey(ramp.repeat(3, 0)), ramp)


@pytest.mark.parametrize("channels", [1, 3])
def test_one_picture_is_the_same_in_grey_in_colour_and_turned(tmp_path, picture, channels):
    grey = picture.convert("L")
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "colour.png")
    turned = grey.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 270 degrees to see it
    turned.save(tmp_path / "turned.png", exif=exif)
    one, *others = (pixels.read(str(p), (channels, 6, 10)) for p in sorted(tmp_path.iterdir()))
    assert all(np.array_equal(one, other) for other in others) and len(others) == 2
    assert one.std() > 5


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(pixels.BadImage, match="is no file"):
        pixels.read(str(tmp_path / "pipe.jpg"), (3, 8, 8))
    with pytest.raises(pixels.BadImage, match="is no file"):
        pixels.read(str(tmp_path), (3, 8, 8))
