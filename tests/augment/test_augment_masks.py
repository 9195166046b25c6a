"""What is known of pixels moves as the images do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.augment.scale import NUM_BINS, OP, OPS, WARPS, kind_of

CLASSES = 4


def scene(num: int, side: int = 13) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes 1.. as grey values of their own, and one-hot masks of them (0 means outside)."""
    rng = np.random.default_rng(0)
    label = torch.from_numpy(rng.integers(1, CLASSES, (num, side, side)))
    masks = torch.eye(CLASSES)[label].movedim(-1, 1)
    return (label * 60)[:, None].to(torch.uint8), masks


def as_grey(masks: torch.Tensor) -> torch.Tensor:
    """Of each pixel the value that its class has in `scene`; 0 where nothing is known."""
    assert ((masks == 0) | (masks == 1)).all() and (masks.sum(1) <= 1).all()
    return (masks * torch.arange(CLASSES).view(1, -1, 1, 1)).sum(1, keepdim=True).mul(60).byte()


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_weak_view(padding):
    images, masks = scene(40)
    view = WeakView(flip=True, shift=3, padding=padding)
    drawn = view.draw(np.random.default_rng(1), 40)
    assert drawn["flip"].any() and drawn["shift"].any()
    assert torch.equal(as_grey(view.masks(masks, drawn)), view(images, drawn))


@pytest.mark.parametrize("op", WARPS)
def test_an_operation_that_moves(op):
    images, masks = scene(31)
    augment, bins = RandAugment(1, 15, magnitude_std=8.0), np.arange(-15, 16)
    kinds = kind_of(OP[op], bins)[:, None]
    wanted = augment(images, params={"kind": kinds})
    assert torch.equal(as_grey(augment.masks(masks, {"kind": kinds})), wanted)


@pytest.mark.parametrize("op", [op for op in OPS if op not in WARPS])
def test_an_operation_that_paints_leaves_them(op):
    _, masks = scene(5)
    kinds = np.full((5, 1), kind_of(OP[op], 9))
    assert torch.equal(RandAugment(1, 9).masks(masks, {"kind": kinds}), masks)


def test_a_strong_view_moves_twice():
    images, masks = scene(64)
    view = StrongView(WeakView(flip=True, shift=2), RandAugment(n=2, m=9, cutout=0.5))
    drawn = view.draw(np.random.default_rng(2), 64)
    still = {**drawn, "kind": drawn["kind"].copy()}
    paints = np.isin(still["kind"] // NUM_BINS, [OP[op] for op in WARPS], invert=True)
    still["kind"][paints] = kind_of(OP["Identity"], 0)
    moved = StrongView(view.weak, RandAugment(n=2, m=9))(images, still)
    assert not torch.equal(moved, images)
    assert torch.equal(as_grey(view.masks(masks, drawn)), moved)


def test_the_form_for_a_device_and_that_for_a_cpu_agree():
    _, masks = scene(20)
    augment = RandAugment(n=2, m=10)
    drawn = augment.draw(np.random.default_rng(3), 20)
    tensors = {name: torch.from_numpy(value) for name, value in drawn.items()}
    assert torch.equal(augment.masks(masks, tensors), augment.masks(masks, drawn))
    floats = augment.apply_transform_mask(masks.clone(), drawn, {})
    assert torch.equal(augment.masks(masks, drawn), floats)
