"""Data distillation: the mean of a teacher's answers over fixed transforms."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from pipeline.core.errors import UserError
from pipeline.labelling import transforms
from pipeline.labelling.transforms import TRANSFORMS, answers
from pipeline.networks import evaluate
from pipeline.networks.classifier import Classifier
from pipeline.networks.small_cnn import small_cnn


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Classifier(small_cnn(3, 0.25, 0.0), {"base": 4}, [0.5] * 3, [0.25] * 3).eval()


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)


def plain(network, images) -> np.ndarray:
    return torch.softmax(evaluate.infer(network, images).double(), 1).numpy()


def energy(network, images) -> np.ndarray:
    """By SciPy, of the plain answers."""
    return -logsumexp(evaluate.infer(network, images).double().numpy(), axis=1)


def test_the_identity_alone_is_the_plain_answer(network, images):
    results = answers(network, images, ["identity"], torch.no_grad)
    assert np.array_equal(results.probs, plain(network, images))
    np.testing.assert_allclose(results.energy, energy(network, images), rtol=1e-12)


def test_the_mean_is_over_probabilities_and_over_energies(network, images):
    results = answers(network, images, ["identity", "flip"], torch.no_grad)
    mirrored = images[..., ::-1].copy()
    for given, of in ((results.probs, plain), (results.energy, energy)):
        mean = (of(network, images) + of(network, mirrored)) / 2
        np.testing.assert_allclose(given, mean, rtol=1e-12)
    np.testing.assert_allclose(results.probs.sum(1), 1)


def test_the_order_does_not_matter(network, images, rng):
    names = list(TRANSFORMS)
    one = answers(network, images, names, torch.no_grad)
    two = answers(network, images, rng.permutation(names).tolist(), torch.no_grad)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))


def test_a_large_set_in_pieces_is_the_same(network, images, monkeypatch):
    whole = answers(network, images, ["flip"], torch.no_grad)
    monkeypatch.setattr(transforms, "CHUNK", 7)
    pieces = answers(network, images, ["flip"], torch.no_grad)
    for one, other in zip(pieces, whole):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_mean_is_held_once(network, monkeypatch, rng):
    """8 bytes an image and class, and a piece; a sum, a mean and the answers apart took 29."""
    logits = torch.from_numpy(rng.normal(size=(16, 200)).astype(np.float32))
    wide = SimpleNamespace(num_classes=200, places=lambda size: ())
    monkeypatch.setattr(transforms, "CHUNK", 16)
    monkeypatch.setattr(evaluate, "infer", lambda *_: logits)
    images = np.zeros((4096, 1, 2, 2), dtype=np.uint8)
    tracemalloc.start()
    results = answers(wide, images, ["identity", "flip"], torch.no_grad).probs
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert results.nbytes == 4096 * 200 * 8 <= peak < 1.2 * results.nbytes
    assert np.array_equal(results[-16:], torch.softmax(logits.double(), 1).numpy())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 6, 19])
def test_logits_that_are_not_finite_are_refused_in_any_piece(
    network, images, monkeypatch, bad, row
):
    """A `nan` would fall below any threshold, and its largest class be the first."""
    real, seen = evaluate.infer, []

    def infer(network, piece, *rest):
        logits = real(network, piece, *rest).clone()
        seen.append(len(piece))
        if row in range(sum(seen[:-1]), sum(seen)):
            logits[row - sum(seen[:-1]), 2] = bad
        return logits

    monkeypatch.setattr(transforms, "CHUNK", 7)
    monkeypatch.setattr(evaluate, "infer", infer)
    with pytest.raises(UserError, match="not finite"):
        answers(network, images, ["flip"], torch.no_grad)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("side", [8, 32])
def test_a_transform_keeps_type_and_shape_and_is_not_another(name, side, rng):
    images = torch.from_numpy(rng.integers(0, 256, (5, 3, side, side), dtype=np.uint8))
    before = images.clone()
    after = TRANSFORMS[name](images)
    assert after.dtype == torch.uint8 and after.shape == images.shape
    assert torch.equal(images, before)
    others = [TRANSFORMS[other](images) for other in TRANSFORMS if other != name]
    assert not any(torch.equal(after, other) for other in others)


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("left", 0, -2), ("right", 0, 2), ("up", -2, 0), ("down", 2, 0)],
)
def test_a_shift_moves_the_middle_by_a_sixteenth(name, rows, columns, rng):
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8))
    moved = TRANSFORMS[name](images)
    rolled = images.roll((rows, columns), (2, 3))
    assert torch.equal(moved[:, :, 4:-4, 4:-4], rolled[:, :, 4:-4, 4:-4])


def test_no_black_edge_comes_in():
    white = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    assert all(torch.equal(change(white), white) for change in TRANSFORMS.values())
