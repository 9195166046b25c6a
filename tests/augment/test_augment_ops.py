"""Every operation, at every bin and both signs, against torchvision on real photographs."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torchvision.transforms import RandAugment as Reference
from torchvision.transforms.v2 import functional as F

from pipeline.augment import OPS, RandAugment
from pipeline.augment.scale import MAX_BIN, OP, SIGNED, kind_of


def photographs(num, height, width):
    """uint8 (num, 3, height, width): cuts at several scales, one channel flat, one image grey."""
    rng = np.random.default_rng(0)
    photos, cuts = load_sample_images().images, []  # which decodes both
    for index in range(num):
        photo = photos[index % 2]
        step = min(1 + index % 3, (photo.shape[0] - 1) // max(height, width))
        top = rng.integers(photo.shape[0] - step * height)
        left = rng.integers(photo.shape[1] - step * width)
        cuts.append(photo[top : top + step * height : step, left : left + step * width : step])
    images = torch.from_numpy(np.stack(cuts)).permute(0, 3, 1, 2).contiguous()
    images[0, 1] = 200
    images[1] = images[1, :1]
    return images


def shear(x, y, images):
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return F.affine(images, 0.0, [0, 0], 1.0, degrees, center=[0, 0])


def translate(x, y, images):
    return F.affine(images, 0.0, [int(x), int(y)], 1.0, [0.0, 0.0])


EXPECTED = {
    "Identity": lambda images, value: images,
    "ShearX": lambda images, value: shear(value, 0.0, images),
    "ShearY": lambda images, value: shear(0.0, value, images),
    "TranslateX": lambda images, value: translate(value, 0.0, images),
    "TranslateY": lambda images, value: translate(0.0, value, images),
    "Rotate": lambda images, value: F.rotate(images, value),
    "Brightness": lambda images, value: F.adjust_brightness(images, 1.0 + value),
    "Color": lambda images, value: F.adjust_saturation(images, 1.0 + value),
    "Contrast": lambda images, value: F.adjust_contrast(images, 1.0 + value),
    "Sharpness": lambda images, value: F.adjust_sharpness(images, 1.0 + value),
    "Posterize": lambda images, value: F.posterize(images, int(value)),
    "Solarize": lambda images, value: F.solarize(images, value),
    "AutoContrast": lambda images, value: F.autocontrast(images),
    "Equalize": lambda images, value: F.equalize(images),
}


def magnitude(name, bin_, sign, height, width):
    """The value that torchvision's own RandAugment hands to its function."""
    table, signed = Reference()._augmentation_space(MAX_BIN + 1, (height, width))[name]
    value = float(table[bin_]) if table.ndim else 0.0
    assert signed == SIGNED[OP[name]]
    return sign * value if signed else value


def cases(name):
    signs = (1, -1) if SIGNED[OP[name]] else (1,)
    return [(bin_, sign) for bin_ in range(MAX_BIN + 1) for sign in signs]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (20, 37)])
@pytest.mark.parametrize("name", OPS)
def test_operation_equals_torchvision(name, height, width):
    images = photographs(4, height, width)
    augment = RandAugment(n=1)
    for bin_, sign in cases(name):
        expected = EXPECTED[name](images, magnitude(name, bin_, sign, height, width))
        actual = augment(images, {"kind": np.full((4, 1), kind_of(OP[name], sign * bin_))})
        assert torch.equal(actual, expected), (bin_, sign)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("size", [64, 97, 224])
def test_operation_equals_torchvision_on_larger_images(name, size):
    test_operation_equals_torchvision(name, size, size)


@pytest.mark.parametrize("name", [name for name in OPS if name != "Identity"])
def test_a_wrong_bin_or_sign_is_noticed(name):
    """The comparison above can fail: a neighbouring kind does not pass for this one."""
    images = photographs(4, 32, 32)
    value = magnitude(name, 20, 1, 32, 32)
    expected = EXPECTED[name](images, value)
    other = OP[name] if SIGNED[OP[name]] else OP["Solarize" if name != "Solarize" else "Posterize"]
    actual = RandAugment(n=1)(images, {"kind": np.full((4, 1), kind_of(other, -20))})
    assert not torch.equal(actual, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (17, 40), (32, 32)])
def test_fixed_shape_gives_the_same_pixels(channels, height, width):
    images = photographs(64, height, width)[:, [0, 1, 2, 1][:channels]].contiguous()
    augment = RandAugment(n=3, m=9, magnitude_std=12.0)
    drawn = augment.draw(np.random.default_rng(1), 64)
    fixed = augment.fixed(images, torch.from_numpy(drawn["kind"]))
    assert torch.equal(augment(images, drawn), fixed)
    assert not torch.equal(fixed, images)


@pytest.mark.parametrize("name", OPS)
def test_one_channel_follows_torchvision(name):
    images = photographs(4, 32, 32)[:, :1].contiguous()
    for bin_, sign in [(0, 1), (9, 1), (9, -1), (30, 1)]:
        expected = EXPECTED[name](images, magnitude(name, bin_, sign, 32, 32))
        kind = kind_of(OP[name], sign * bin_ if SIGNED[OP[name]] else bin_)
        actual = RandAugment(n=1)(images, {"kind": np.full((4, 1), kind)})
        assert torch.equal(actual, expected), (bin_, sign)


def test_four_channels_blend_towards_their_mean():
    images = torch.tensor([10, 20, 30, 41], dtype=torch.uint8).view(1, 4, 1, 1).expand(-1, -1, 8, 8)
    kind = kind_of(OP["Color"], -30)  # a tenth of the image, nine tenths of its grey, 25
    actual = RandAugment(n=1)(images, {"kind": np.full((1, 1), kind)})
    assert actual[0, :, 3, 3].tolist() == [23, 24, 25, 26]


def test_operations_apply_in_the_drawn_order():
    images = photographs(2, 32, 32)
    first, second = kind_of(OP["Solarize"], 15), kind_of(OP["Rotate"], 15)
    both = RandAugment(n=2)(images, {"kind": np.array([[first, second], [second, first]])})
    assert torch.equal(both[0], F.rotate(F.solarize(images, 127.5), 15.0)[0])
    assert torch.equal(both[1], F.solarize(F.rotate(images, 15.0), 127.5)[1])


def test_floats_are_the_same_pixels_over_255():
    images = photographs(32, 32, 32)
    augment = RandAugment(n=2)
    drawn = augment.draw(np.random.default_rng(0), 32)
    for dtype in (torch.float32, torch.float64):
        floats = augment(images.to(dtype) / 255, drawn)
        assert floats.dtype == dtype
        assert torch.equal(floats, augment(images, drawn).to(dtype) / 255)


def test_input_is_not_written_to_and_may_have_any_layout():
    images = photographs(32, 16, 16)
    augment, before = RandAugment(n=2), images.clone()
    drawn = augment.draw(np.random.default_rng(0), 32)
    expected = augment(images, drawn)
    assert torch.equal(images, before)
    assert torch.equal(augment(images.to(memory_format=torch.channels_last), drawn), expected)
    assert torch.equal(augment(images.flip(-1), drawn), augment(images.flip(-1).clone(), drawn))


def test_cutout_paints_one_grey_square():
    images = torch.zeros(200, 3, 20, 30, dtype=torch.uint8)
    augment = RandAugment(n=1, m=0, cutout=0.4)
    drawn = augment.draw(np.random.default_rng(0), 200)
    hole = (augment(images, drawn | {"kind": np.full((200, 1), kind_of(0, 0))}) == 127).all(1)
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    assert rows.max() == columns.max() == 8
    assert rows.min() >= 4 and columns.min() >= 4
    assert hole.float().mean(0).min() > 0  # everywhere, now and then
