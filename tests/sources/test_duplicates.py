"""Pairs of one picture are found, altered or not; others, flat ones and small ones are not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch.nn.functional import affine_grid, grid_sample

from benchmarks.duplicates import KINDS, altered, drawn
from pipeline.sources import alignment, duplicates, lookalikes
from pipeline.sources.duplicates import near_duplicates

SHARES = {  # found at least; of other kinds all
    "JPEG, quality 50": 0.85,
    "to 0.75 of its size and back": 0.9,
    "cropped by 0..8 %, mirrored, 15 %, JPEG 75": 0.9,
}


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return drawn(80, 64)


def pairs_of(images: np.ndarray, of: np.ndarray | None = None) -> list[tuple[int, int]]:
    of = np.ones(len(images), dtype=bool) if of is None else of
    return list(map(tuple, near_duplicates(images, np.arange(len(images)), of).pair.tolist()))


def noise(rng: np.random.Generator, num: int, level: float, shape: tuple = (3, 32, 32)):
    return (200 + level * rng.standard_normal((num, *shape))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("copies_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_altered_copies_are_found_and_nothing_else(pictures, kind, copies_first):
    copies = altered(pictures[:20], kind)
    images = np.concatenate([copies, pictures] if copies_first else [pictures, copies])
    distance = 20 if copies_first else 80
    wanted = {(i, i + distance) for i in range(20)}
    found = set(pairs_of(images))
    assert found <= wanted
    assert len(found) >= 20 * SHARES.get(kind, 1)


def test_pictures_that_are_no_copies_are_not_paired(pictures):
    assert pairs_of(pictures) == []


def test_the_more_is_changed_the_less_similar(pictures):
    kinds = ["PNG", "JPEG, quality 95", "JPEG, quality 75", "JPEG, quality 50"]
    images = np.concatenate([pictures[:1], *(altered(pictures[:1], kind) for kind in kinds)])
    of = np.arange(len(images)) == 0
    found = near_duplicates(images, np.arange(len(images)), of)
    assert found.pair.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert found.similarity[0] == 1 and (np.diff(found.similarity) < 0).all()
    assert found.similarity.dtype == np.float32 and found.pair.dtype == np.int64


def test_only_pairs_with_an_image_of_interest_are_given(pictures):
    images = np.concatenate([pictures[:10], altered(pictures[:10], "JPEG, quality 75")])
    of = np.zeros(20, dtype=bool)
    of[[2, 15]] = True
    assert pairs_of(images, of) == [(2, 12), (5, 15)]
    assert pairs_of(images, np.zeros(20, dtype=bool)) == []


def test_rows_say_which_images_are_compared(pictures):
    images = np.concatenate([pictures[:6], altered(pictures[:6], "mirrored")])
    row = np.array([11, 3, 5, 2, 8])  # 11 is a copy of 5, 8 of 2
    found = near_duplicates(images, row, np.ones(5, dtype=bool))
    assert found.pair.tolist() == [[0, 2], [3, 4]]


@pytest.mark.parametrize("side", [8, 32])
def test_equal_pixels_are_paired_with_the_one_that_stands_for_them(rng, side):
    images = rng.integers(0, 256, (3, 1, side, side), dtype=np.uint8)[[0, 1, 0, 2, 0]]
    assert pairs_of(images) == [(0, 2), (0, 4)]
    assert pairs_of(images, np.arange(5) == 2) == [(0, 2), (2, 4)]
    assert pairs_of(images, np.arange(5) == 3) == []
    assert near_duplicates(images, np.arange(5), np.arange(5) < 5).similarity.tolist() == [1, 1]


@pytest.mark.parametrize(("side", "num"), [(12, 0), (duplicates.SMALLEST, 10)])
def test_small_images_are_paired_by_equal_pixels_alone(side, num):
    images = drawn(10, side)
    darker = (images * 0.97).astype(np.uint8)
    assert len(pairs_of(np.concatenate([images, darker]))) == num


@pytest.mark.parametrize("level", [0, 0.4, 3, 10])
def test_blank_pages_are_not_paired(rng, level):
    pages = noise(rng, 100, level) - np.arange(100, dtype=np.uint8)[:, None, None, None]
    assert pairs_of(pages) == []


def test_pages_of_one_light_are_not_paired(rng):
    x = np.linspace(-1, 1, 32)
    light = 240 - 30 * (x[:, None] ** 2 + x**2)
    pages = (light + 0.3 * rng.standard_normal((100, 1, 32, 32))).round().astype(np.uint8)
    assert pairs_of(pages) == []


@pytest.mark.parametrize("side", [20, 26])
def test_one_frame_does_not_make_one_picture(side):
    images, border = np.full((150, 3, 32, 32), 255, dtype=np.uint8), (32 - side) // 2
    images[:, :, border : border + side, border : border + side] = drawn(150, side)
    assert pairs_of(images) == []


def test_the_worst_quarter_is_of_what_counts():
    nan = float("nan")
    share = torch.tensor([[0.9, 0.1, 0.5, nan, 0.3, 0.8, nan, nan], [nan] * 8])
    worst = alignment._worst_quarter(share)
    assert worst[0] == pytest.approx(0.2) and worst[1].isnan()


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 48, 40), (3, 20, 64)])
def test_images_may_be_grey_and_of_any_shape(pictures, shape):
    channels, height, width = shape
    images = pictures[:20, :channels, :height, :width]
    darker = (images * 0.9).astype(np.uint8)
    found = pairs_of(np.ascontiguousarray(np.concatenate([images, darker[..., ::-1]])))
    assert found == [(i, i + 20) for i in range(20)]


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_images_will_do(pictures, num):
    images = np.concatenate([pictures[:1], altered(pictures[:1], "mirrored")])[:num]
    assert pairs_of(images) == [(0, 1)][: num - 1 if num else 0]


def test_pieces_and_blocks_change_nothing(pictures, monkeypatch):
    images = np.concatenate([pictures, altered(pictures[:20], "cropped by 0..8 % a side")])
    call = (images, np.arange(100), np.arange(100) < 50)
    one, again = near_duplicates(*call), near_duplicates(*call)
    assert one.pair.tobytes() == again.pair.tobytes()
    assert one.similarity.tobytes() == again.similarity.tobytes()
    monkeypatch.setattr(duplicates, "PIECE", 7 * images[0].size)
    monkeypatch.setattr(lookalikes, "BLOCK", 300)
    monkeypatch.setattr(alignment, "BLOCK", 13)
    other = near_duplicates(*call)
    assert [len(piece) for piece in duplicates.pieces(images, np.arange(20))] == [7, 7, 6]
    assert len(one.pair) == 20 and one.pair.tolist() == other.pair.tolist()
    np.testing.assert_allclose(one.similarity, other.similarity, atol=1e-4)


def test_lookalikes_are_those_that_a_loop_finds(rng):
    centres = rng.standard_normal((12, 8))
    points = torch.from_numpy(centres.repeat(5, 0) + 0.4 * rng.standard_normal((60, 8)))
    plain = torch.nn.functional.normalize(points, dim=1)
    mirrored = plain.flip(1)
    of = np.arange(60) % 3 == 0
    wanted = set()
    for i in np.flatnonzero(of).tolist():
        for mirror, queries in enumerate((plain, mirrored)):
            cosine = (plain @ queries[i]).tolist()
            others = sorted((j for j in range(60) if j != i), key=lambda j: -cosine[j])
            near = [j for j in others[: lookalikes.NEAREST] if cosine[j] > lookalikes.LOW]
            wanted |= {(min(i, j), max(i, j), bool(mirror)) for j in near}
    pair, kind = lookalikes.lookalikes(
        lookalikes.Descriptors(plain, mirrored), torch.from_numpy(of)
    )
    found = [(*one, m) for one, m in zip(pair.tolist(), kind.tolist())]
    assert set(found) == wanted and len(found) == len(wanted) > 40


def test_images_are_laid_over_others_as_grid_sample_does(pictures):
    moving = torch.from_numpy(pictures[:4, 0, :32, :32]).float()
    place = torch.tensor([[0.0, 0, 0, 0], [-0.1, 0.05, 0.02, 0], [0.1, 0, 0, 0.2], [0, 1, 0, 0]])
    laid = alignment.Laid(moving, place)
    scale_x, shift_x, scale_y, shift_y = place.T
    theta = torch.zeros(4, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = 1 + scale_x, shift_x
    theta[:, 1, 1], theta[:, 1, 2] = 1 + scale_y, shift_y
    grid = affine_grid(theta, [4, 1, 32, 32], align_corners=False)
    wanted = grid_sample(moving[:, None], grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(laid.image, wanted[:, 0], atol=1e-3, rtol=0)
    within = (grid.abs() < 1).all(3).float()
    assert (laid.inside - within).abs().mean() < 0.01
    assert laid.inside[3].mean() == 0.5  # half a side to the right of the middle is nothing


def test_a_known_place_is_recovered(pictures):
    moving = torch.from_numpy(pictures[:60]).float().mean(1)
    moving = torch.nn.functional.avg_pool2d(moving, 2)
    true = torch.from_numpy(np.random.default_rng(0).uniform(-0.1, 0.1, (60, 4))).float()
    true[:, ::2] -= 0.12
    still = 0.8 * alignment.Laid(moving, true).image + 12
    place, detail = alignment._coarse(still, moving)
    found = alignment.align(still, moving, place).place
    assert (found - true).abs().quantile(0.9) < 0.005 and detail.min() > alignment.PROMISING


def test_the_larger_view_is_laid_over_the_smaller(pictures):
    one, other = torch.from_numpy(pictures[:4, 0, :32, :32]).float().chunk(2)
    place = torch.tensor([[0.25, 0.1, 0.0, 0.2], [-0.2, 0.1, 0.0, 0.0]])
    still, moving, back = alignment._larger_moves(one, other, place)
    assert torch.equal(still, torch.stack([other[0], one[1]]))
    assert torch.equal(moving, torch.stack([one[0], other[1]]))
    torch.testing.assert_close(back[0], torch.tensor([-0.2, -0.08, 0.0, -0.2]))
    assert torch.equal(back[1], place[1])


def similarity(still: torch.Tensor, moving: torch.Tensor, shift: float = 0.0) -> float:
    laid = alignment.Laid(moving[None], torch.tensor([[0.0, shift, 0.0, 0.0]]))
    return alignment._similarity(still[None], laid).item()


def test_a_picture_is_like_itself_and_not_like_half_of_itself(rng):
    one, other = torch.from_numpy(128 + 30 * rng.standard_normal((2, 32, 32))).float()
    assert similarity(one, one) == pytest.approx(1)
    assert similarity(one, 0.5 * one + 40) == pytest.approx(1)  # brightness and contrast
    assert similarity(one, 0.8 * one + 0.4 * other) == pytest.approx(0.87, abs=0.04)
    assert similarity(one, 0.5 * (one + other)) == 0  # correlated by 0.7, with less in each tile


def test_a_picture_with_another_quarter_is_another(rng):
    one, other = torch.from_numpy(128 + 30 * rng.standard_normal((2, 32, 32))).float()
    for rows, same in ((8, False), (2, True)):
        mixed = one.clone()
        mixed[:rows] = other[:rows]
        assert (similarity(one, mixed) > 0) == same


@pytest.mark.parametrize(("num", "same"), [(3, False), (4, True), (8, True)])
def test_some_tiles_must_have_texture(rng, num, same):
    page = torch.full((4, 4, 8, 8), 200.0)
    page.view(16, 8, 8)[:num, 2:6, 2:6] += 30 * torch.from_numpy(rng.standard_normal((num, 4, 4)))
    page = page.permute(0, 2, 1, 3).reshape(32, 32)
    assert (similarity(page, page) > 0) == same


@pytest.mark.parametrize(("shift", "same"), [(0.25, True), (0.75, True), (0.875, False)])
def test_pictures_must_overlap(rng, shift, same):
    moving = torch.from_numpy(128 + 30 * rng.standard_normal((32, 32))).float()
    still = alignment.Laid(moving[None], torch.tensor([[0.0, shift, 0.0, 0.0]])).image[0]
    assert (similarity(still, moving, shift) > 0) == same


def test_pairs_are_in_order(pictures):
    darker = altered(pictures[:3], "JPEG, quality 75")
    images = np.concatenate([pictures[:3], darker, pictures[1:2]])
    assert pairs_of(images) == [(0, 3), (1, 4), (1, 6), (2, 5)]


def test_one_thread_is_taken_and_given_back(pictures, monkeypatch):
    taken, compare = [], alignment.agreement

    def agreement(*call):
        taken.append(torch.get_num_threads())
        return compare(*call)

    monkeypatch.setattr(alignment, "agreement", agreement)
    torch.set_num_threads(2)
    try:
        near_duplicates(pictures, np.arange(4), np.arange(4) < 1)
        assert taken == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_starting_needs_no_torch():
    code = "import sys; import pipeline.sources.duplicates as _; print('torch' in sys.modules)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
