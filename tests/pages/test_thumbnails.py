"""Pixels arrive in a page, smaller where they are many."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.pages.thumbnails import thumbnail


def pixels(uri):
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_arrive_unchanged(channels):
    image = np.arange(channels * 30, dtype=np.uint8).reshape(channels, 5, 6)
    expected = image[0] if channels == 1 else image.transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels(thumbnail(image)), expected)


def test_large_images_are_averaged_down():
    image = np.zeros((3, 192, 96), dtype=np.uint8)
    image[:, ::2] = 200
    result = pixels(thumbnail(image))
    assert result.shape == (96, 48, 3)
    assert (result == 100).all()
