"""Pseudo-labels of pixels: the rule for images, applied to each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import real_values

from pipeline.core.errors import UserError
from pipeline.labelling import pseudo_labels, transforms
from pipeline.labelling.rule import Labels
from pipeline.training.learner import cross_entropy
from stages.pseudo_label import rows as as_rows


def rule(**keys) -> Labels:
    plain = {"threshold": 0.0, "share": 1.0, "balance": "none", "kind": "soft", "temperature": 1.0}
    return Labels.model_validate(real_values()["labels"] | plain | keys)


@pytest.fixture
def probs() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(6, 3, 4, 5)) * 2
    values = np.exp(values)
    return values / values.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"threshold": 0.7},
        {"share": 0.4},
        {"threshold": 0.6, "share": 0.5, "temperature": 0.5},
        {"kind": "hard", "threshold": 0.8},
        {"align": "uniform", "share": 0.7},
    ],
)
def test_each_pixel_is_labelled_as_an_image_would_be(probs, keys):
    made = pseudo_labels.make_dense(probs, rule(**keys))
    flat = probs.transpose(0, 2, 3, 1).reshape(-1, 3)
    each = pseudo_labels.make(flat, rule(**keys), [])
    wanted, label = np.zeros((120, 3), np.float16), np.full(120, 255)
    wanted[each.index], label[each.index] = each.probs, each.label
    there = (label.reshape(6, 20) != 255).any(1)
    assert made.index.tolist() == np.flatnonzero(there).tolist()
    assert (made.label == label.reshape(6, 4, 5)[there]).all()
    got = made.probs.transpose(0, 2, 3, 1)
    assert (got == wanted.reshape(6, 4, 5, 3)[there]).all()
    assert made.probs.flags.c_contiguous and (made.weight == 1).all()


def test_a_pixel_that_is_not_kept_asks_nothing(probs):
    made = pseudo_labels.make_dense(probs, rule(threshold=0.7))
    dropped = made.label == 255
    assert dropped.any() and not dropped.all()
    assert (made.probs.sum(1)[dropped] == 0).all()
    np.testing.assert_allclose(made.probs.sum(1)[~dropped], 1, atol=2e-3)
    logits = torch.randn(made.probs.shape, requires_grad=True)
    cross_entropy(logits, torch.from_numpy(made.probs).float()).backward()
    silent = torch.from_numpy(dropped)[:, None].expand_as(logits)
    assert (logits.grad[silent] == 0).all() and (logits.grad[~silent] != 0).any()


def test_images_of_which_no_pixel_is_kept_are_left_out(probs):
    probs[2] = 1 / 3
    made = pseudo_labels.make_dense(probs, rule(threshold=0.5))
    assert made.index.tolist() == [0, 1, 3, 4, 5]


def test_nothing_left_is_refused(probs):
    with pytest.raises(UserError, match="no pixel of 120 reaches"):
        pseudo_labels.make_dense(np.full_like(probs, 1 / 3), rule(threshold=0.9))


def test_classes_are_counted_by_kept_pixels(probs):
    made = pseudo_labels.make_dense(probs, rule(threshold=0.7))
    wanted = [(made.label == c).sum() for c in range(3)]
    assert made.num_by_class(3).tolist() == wanted and min(wanted) > 0


def test_the_file_keeps_them(tmp_path, probs):
    made = pseudo_labels.make_dense(probs, rule(threshold=0.7))
    pseudo_labels.save(tmp_path / "g.safetensors", made, teacher="t")
    again, _ = pseudo_labels.load(tmp_path / "g.safetensors")
    assert again.digest() == made.digest() and (again.label == made.label).all()


def test_a_teacher_answers_each_pixel():
    from pipeline.networks.segmenter import Segmenter
    from pipeline.networks.small_cnn import small_cnn

    network = Segmenter(small_cnn(1, 0.125, 0.0), {"base": 3}, [0.5], [0.3], shape=(1, 8, 8))
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    with torch.no_grad():
        wanted = network.eval()(torch.from_numpy(images)).logits.double()
    from contextlib import nullcontext

    said = transforms.answers(network, images, ["identity"], nullcontext)
    np.testing.assert_allclose(said.probs, wanted.softmax(1), rtol=1e-6)
    np.testing.assert_allclose(said.energy, -wanted.logsumexp(1), rtol=1e-6)
    np.testing.assert_allclose(as_rows(said.probs).sum(1), 1)
    assert (as_rows(said.probs)[21] == said.probs[0, :, 2, 5]).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_pixels_is_the_mean_of_their_own(smoothing):
    logits, targets = torch.randn(2, 3, 2, 2), torch.rand(2, 3, 2, 2).softmax(1)
    weights = torch.tensor([1.0, 3.0])
    flat = [t.movedim(1, -1).reshape(-1, 3) for t in (logits, targets)]
    wanted = cross_entropy(*flat, weights.repeat_interleave(4), smoothing)
    torch.testing.assert_close(cross_entropy(logits, targets, weights, smoothing), wanted)


def test_smoothing_leaves_pixels_alone_that_nothing_is_known_of():
    assert cross_entropy(torch.randn(1, 3, 1, 1), torch.zeros(1, 3, 1, 1), None, 0.3) == 0
