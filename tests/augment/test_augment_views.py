"""The views on images: the weak one pixel by pixel, the strong one, Kornia's containers, errors."""

import copy

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.augment.fixed import apply_kinds
from pipeline.augment.scale import OP, kind_of


def noise(num, height, width, channels=3):
    numbers = np.random.default_rng(0).integers(0, 256, (num, channels, height, width), np.uint8)
    return torch.from_numpy(numbers)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (12, 9), (64, 50)])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_weak_view_pixel_by_pixel(padding, height, width):
    images, view = noise(40, height, width), WeakView(padding=padding)
    drawn = view.draw(np.random.default_rng(0), 40)
    mode = "reflect" if padding == "reflect" else "constant"
    expected = []
    for image, flip, (down, right) in zip(images.numpy(), drawn["flip"], drawn["shift"]):
        padded = np.pad(image, ((0, 0), (4, 4), (4, 4)), mode=mode)
        window = padded[:, 4 + down : 4 + down + height, 4 + right : 4 + right + width]
        expected.append(window[..., ::-1] if flip else window)
    expected = torch.from_numpy(np.stack(expected))
    assert torch.equal(view(images, drawn), expected)
    assert torch.equal(view(images.float() / 255, drawn), expected.float() / 255)


def test_strong_view_is_weak_then_augment():
    images, weak, augment = noise(16, 32, 32), WeakView(), RandAugment()
    view = StrongView(weak, augment)
    drawn = view.draw(np.random.default_rng(0), 16)
    assert torch.equal(view(images, drawn), augment(weak(images, drawn), {"kind": drawn["kind"]}))
    assert not torch.equal(view(images, drawn), weak(images, drawn))


@pytest.mark.parametrize("size", [8, 32, 224])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_size_and_number_of_channels(size, channels):
    images = noise(6, size, size, channels)
    view = StrongView(WeakView(shift=size // 8), RandAugment(n=3, magnitude_std=5.0, cutout=0.3))
    seen = view(images, view.draw(np.random.default_rng(0), 6))
    assert seen.shape == images.shape and seen.dtype == torch.uint8
    assert not torch.equal(seen, images)


def test_empty_batch():
    view = StrongView(WeakView(), RandAugment(cutout=0.5))
    assert view(noise(0, 8, 8), view.draw(np.random.default_rng(0), 0)).shape == (0, 3, 8, 8)


def test_in_a_kornia_container():
    images = noise(8, 32, 32).float() / 255
    container = K.AugmentationSequential(K.RandomHorizontalFlip(p=0.5), RandAugment())
    torch.manual_seed(0)
    seen = container(images)
    assert seen.shape == images.shape and not torch.equal(seen, images)
    assert torch.equal(container(images, params=container._params), seen)
    torch.manual_seed(0)
    assert torch.equal(container(images), seen)


WARPS = [
    [("Rotate", 20), ("TranslateX", -8)],
    [("ShearY", 25), ("Identity", 0)],
    [("ShearX", -30), ("Rotate", -9)],
    [("TranslateY", 7), ("ShearX", 10)],
]


def test_matrix_says_where_a_dot_goes():
    images = torch.zeros(4, 1, 64, 64)
    images[:, :, 29:32, 36:39] = 1.0
    augment = RandAugment()
    kinds = [[kind_of(OP[name], bins) for name, bins in image] for image in WARPS]
    seen = augment(images, {"kind": np.array(kinds)}) > 0.5
    centre = augment.transform_matrix @ torch.tensor([37.0, 30.0, 1.0])
    for image, (x, y, _) in zip(seen, centre):
        rows, columns = image[0].nonzero(as_tuple=True)
        assert columns.float().mean().item() == pytest.approx(x.item(), abs=0.7)
        assert rows.float().mean().item() == pytest.approx(y.item(), abs=0.7)


def test_masks_boxes_and_key_points_follow_the_image():
    images = noise(4, 64, 64).float() / 255
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 20:30, 36:44] = 1.0
    corners = torch.tensor([[36.0, 20.0], [43.0, 20.0], [43.0, 29.0], [36.0, 29.0]]).expand(
        4, -1, -1
    )
    container = K.AugmentationSequential(RandAugment(n=4), data_keys=["input", "mask", "keypoints"])
    _, moved, points = container(images, mask, corners)
    for area, corner in zip(moved[:, 0], points):
        assert set(area.unique().tolist()) <= {0.0, 1.0}
        rows, columns = area.nonzero(as_tuple=True)
        centre = torch.stack([columns, rows], 1).float().mean(0)
        assert torch.allclose(centre, corner.mean(0), atol=1.0)


def test_masks_move_in_the_drawn_order():
    mask = (noise(2, 64, 64, 1) > 127).float()
    order = [[("Rotate", 30), ("TranslateX", 25)], [("ShearY", -30), ("TranslateX", -25)]]
    kinds = np.array([[kind_of(OP[name], bins) for name, bins in image] for image in order])
    augment = RandAugment()
    seen = augment(mask, {"kind": kinds})  # as an image: a warp does the same to both
    moved = augment.transform_masks(mask, augment._params, augment.flags, augment.transform_matrix)
    assert torch.equal(moved, seen)


def test_fixed_form_compiles_without_a_break_and_agrees():
    images, augment = noise(16, 16, 16), RandAugment()
    drawn = augment.draw(np.random.default_rng(0), 16)
    augment.tables(16, 16, images.device)
    compiled = torch.compile(augment.fixed, fullgraph=True, backend="eager")
    assert torch.equal(compiled(images, torch.from_numpy(drawn["kind"])), augment(images, drawn))


def test_fixed_forms_never_wait_for_data():
    """Tensors without data stand in for a GPU's: whatever would wait for a value raises."""
    tables = copy.copy(RandAugment().tables(16, 16, torch.device("cpu")))
    with FakeTensorMode():

        def fake(like):
            return torch.empty(like.shape, dtype=like.dtype, device="cuda")

        tables.maps, tables.map_of = fake(tables.maps), fake(tables.map_of)
        tables.parameters = {name: fake(table) for name, table in tables.parameters.items()}
        images = torch.empty(4, 3, 16, 16, dtype=torch.uint8, device="cuda")
        seen = apply_kinds(images, torch.empty(4, 2, dtype=torch.int64, device="cuda"), tables)
        seen = RandAugment(cutout=0.5).cut_out(seen, torch.empty(4, 2, device="cuda"))
        flip = torch.empty(4, dtype=torch.bool, device="cuda")
        shift = torch.empty(4, 2, dtype=torch.int64, device="cuda")
        seen = WeakView()._gather(seen, flip, shift)
        assert seen.shape == images.shape and seen.dtype == torch.uint8
        assert seen.device.type == "cuda"
        with pytest.raises(DataDependentOutputException):
            seen.amax().item()


@pytest.mark.gpu
def test_gpu_gives_the_same_pixels():
    images, augment = noise(64, 32, 32), RandAugment(n=3, magnitude_std=8.0, cutout=0.5)
    view = StrongView(WeakView(), augment)
    drawn = view.draw(np.random.default_rng(0), 64)
    difference = view(images.cuda(), drawn).cpu().int() - view(images, drawn).int()
    assert difference.abs().max() <= 1 and (difference != 0).float().mean() < 0.01


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"n": 0}, "n"), ({"n": 1.5}, "n"), ({"m": -1}, "m"), ({"m": 31}, "m"), ({"m": "9"}, "m"),
     ({"m": float("nan")}, "m"), ({"magnitude_std": -1.0}, "magnitude_std"),
     ({"magnitude_std": float("inf")}, "magnitude_std"), ({"cutout": 1.5}, "cutout")],
)  # fmt: skip
def test_bad_settings_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name}:"):
        RandAugment(**arguments)


@pytest.mark.parametrize("arguments", [{"shift": -1}, {"shift": 2.0}, {"padding": "edge"}])
def test_bad_settings_of_the_weak_view(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}:"):
        WeakView(**arguments)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.full((2, 3, 8, 8), float("nan")), ValueError, "NaN"),
        (torch.full((2, 3, 8, 8), 1.5), ValueError, r"\[0, 1\]"),
        (torch.full((2, 3, 8, 8), -0.1), ValueError, "before normalising"),
        (torch.zeros(3, 8, 8), ValueError, "N, C, H, W"),
        (torch.zeros(2, 3, 0, 8), ValueError, "N, C, H, W"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), TypeError, "int64"),
        (np.zeros((2, 3, 8, 8)), TypeError, "ndarray"),
    ],
)
@pytest.mark.parametrize("view", [WeakView(), RandAugment()], ids=["weak", "rand"])
def test_bad_images_are_refused(view, images, error, words):
    with pytest.raises(error, match=words):
        view(images, view.draw(np.random.default_rng(0), 2))


def test_one_bad_number_in_the_middle_is_found():
    images = torch.zeros(4, 3, 8, 8)
    images[2, 1, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        RandAugment()(images)


def test_shift_and_parameters_must_fit_the_images():
    with pytest.raises(ValueError, match="shift"):
        WeakView(shift=8)(noise(2, 8, 8), WeakView(shift=8).draw(np.random.default_rng(0), 2))
    augment = RandAugment()
    with pytest.raises(ValueError, match="3 images"):
        augment(noise(2, 8, 8), augment.draw(np.random.default_rng(0), 3))
