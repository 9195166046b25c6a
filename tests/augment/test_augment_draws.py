"""What is drawn: uniformly, independently, and by position alone."""

import numpy as np
import pytest
import torch

from pipeline.augment import OPS, RandAugment, StrongView, WeakView
from pipeline.augment.scale import MAX_BIN, SIGNED, split_kind

VIEWS = {
    "weak": WeakView(),
    "rand": RandAugment(n=3, m=9.5, magnitude_std=2.0, cutout=0.5),
    "strong": StrongView(WeakView(shift=2), RandAugment(n=2, cutout=0.5)),
}


def draw(view, seed, num):
    return view.draw(np.random.default_rng(seed), num)


def chi_square(counts):
    """The statistic against equal counts, and its 1 - 1e-4 quantile under chance."""
    expected = counts.sum() / counts.size
    degrees = counts.size - 1
    quantile = degrees * (1 - 2 / (9 * degrees) + 3.72 * np.sqrt(2 / (9 * degrees))) ** 3
    return ((counts - expected) ** 2 / expected).sum(), quantile  # Wilson & Hilferty 1931


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_row_does_not_depend_on_how_many_are_drawn(view):
    short, long = draw(view, 7, 5), draw(view, 7, 64)
    assert short.keys() == long.keys()
    for name in short:
        assert np.array_equal(short[name], long[name][:5])


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_seeds_decide(view):
    one, same, other = draw(view, 1, 64), draw(view, 1, 64), draw(view, 2, 64)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert all(not np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_shares_of_a_batch_see_what_the_whole_batch_sees(view):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 3, 16, 16), np.uint8))
    drawn = draw(view, 3, 12)
    whole = view(images, drawn)
    for a, b in [(0, 1), (1, 8), (8, 12)]:
        part = view(images[a:b], {name: values[a:b] for name, values in drawn.items()})
        assert torch.equal(part, whole[a:b])


def test_operations_are_uniform_and_independent():
    op, _ = split_kind(draw(RandAugment(n=2), 0, 40_000)["kind"])
    pairs = np.bincount(op[:, 0] * len(OPS) + op[:, 1], minlength=len(OPS) ** 2)
    neighbours = np.bincount(op[:-1, 0] * len(OPS) + op[1:, 0], minlength=len(OPS) ** 2)
    for counts in (np.bincount(op[:, 0]), np.bincount(op[:, 1]), pairs, neighbours):
        statistic, limit = chi_square(counts)
        assert statistic < limit


def test_chi_square_notices_a_loaded_die():
    counts = np.full(14, 1000)
    counts[3] += 300
    statistic, limit = chi_square(counts)
    assert statistic > limit


def test_signs_are_even_and_only_on_signed_operations():
    op, bins = split_kind(draw(RandAugment(n=2, m=9), 0, 40_000)["kind"])
    assert set(np.unique(np.abs(bins))) == {9}
    assert (bins[~SIGNED[op]] == 9).all()
    statistic, limit = chi_square(np.bincount((bins[SIGNED[op]] > 0).astype(int)))
    assert statistic < limit


def test_a_whole_magnitude_is_kept_and_a_broken_one_falls_on_both_sides():
    for m in range(MAX_BIN + 1):
        assert (np.abs(split_kind(draw(RandAugment(m=m), 0, 100)["kind"])[1]) == m).all()
    bins = np.abs(split_kind(draw(RandAugment(m=9.25), 0, 20_000)["kind"])[1])
    assert set(np.unique(bins)) == {9, 10} == set(RandAugment(m=9.25).bins)
    assert bins.mean() == pytest.approx(9.25, abs=0.02)


def test_magnitude_noise_has_its_standard_deviation_and_stays_on_the_scale():
    bins = np.abs(split_kind(draw(RandAugment(m=15, magnitude_std=3.0), 0, 20_000)["kind"])[1])
    assert bins.mean() == pytest.approx(15, abs=0.1)
    assert bins.std() == pytest.approx(np.sqrt(9 + 1 / 6), abs=0.1)  # 1/6: rounding to a bin
    noisy = np.abs(split_kind(draw(RandAugment(m=29, magnitude_std=9.0), 0, 20_000)["kind"])[1])
    assert noisy.max() == MAX_BIN and noisy.min() >= 0


def test_weak_view_draws_uniformly():
    drawn = draw(WeakView(shift=4), 0, 40_000)
    assert np.abs(drawn["shift"]).max() == 4
    cells = (drawn["shift"][:, 0] + 4) * 18 + (drawn["shift"][:, 1] + 4) * 2 + drawn["flip"]
    statistic, limit = chi_square(np.bincount(cells, minlength=162))
    assert statistic < limit
    assert not draw(WeakView(flip=False), 0, 100)["flip"].any()


def test_generators():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    augment = RandAugment()
    drawn = augment.draw(np.random.default_rng(5), 8)
    assert torch.equal(augment(images, generator=np.random.default_rng(5)), augment(images, drawn))
    one, two = (augment(images, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    torch.manual_seed(3)
    assert torch.equal(augment(images), one)


def test_the_largest_uniform_number_is_drawn_safely():
    """Just below 1: a whole m must not be rounded up a bin, nor an index fall off the end."""
    view = StrongView(WeakView(shift=4), RandAugment(n=2, m=9, cutout=0.5))
    drawn = view.read(np.full((1, view.width), np.nextafter(1.0, 0.0)))
    op, bins = split_kind(drawn["kind"])
    assert (op == len(OPS) - 1).all() and (bins == 9).all()
    assert drawn["shift"].tolist() == [[4, 4]]
    images = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert view(images, drawn).shape == images.shape
