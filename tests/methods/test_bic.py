"""Bias correction: stage 2 against a search of its own, and what it leaves alone."""

import copy

import numpy as np
import pytest
import torch
from conftest import read_curves
from jobs import extension, learn_tasks, spy_on_fits, with_tasks
from learners import network
from scipy.optimize import minimize
from scipy.special import log_softmax

from pipeline.continual import extend as extending
from pipeline.continual.extend import extend
from pipeline.core.errors import UserError
from pipeline.methods.continual.bic import BiasCorrection, correction
from pipeline.methods.continual.lwf import distillation
from pipeline.networks import checkpoint
from pipeline.networks.evaluate import infer
from pipeline.networks.servable import Servable

NEW = slice(3, 5)
RECIPE = {"steps": 4, "evaluate_every": 4}
METHODS = {
    "replay": {"memory": 44},
    "lwf": {"balance": "classes", "warmup_steps": 0},
    "bic": {"share": 0.4},
}
ONE = {"classes": ["8"], "methods": METHODS, "training": RECIPE}
TWO = ONE | {"base": "t1", "classes": ["9"]}


# --- stage 2 ------------------------------------------------------------------------------------


def biased(rng) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 200 images that are too large, and too high, for the new classes."""
    labels = torch.from_numpy(rng.integers(0, 5, 200))
    logits = torch.from_numpy(rng.normal(size=(200, 5))).float()
    logits[torch.arange(200), labels] += 1.5
    logits[:, NEW] = 4 * logits[:, NEW] + 1
    return logits, labels


def searched(logits, labels, l2, axis=1, scale=1.0) -> np.ndarray:
    """(alpha, beta) by a search without gradients; `axis` and `scale` are for mistakes."""
    logits, rows = logits.double().numpy() / scale, np.arange(len(labels))

    def loss(pair):
        corrected = logits.copy()
        corrected[:, NEW] = pair[0] * corrected[:, NEW] + pair[1]
        return -log_softmax(corrected, axis)[rows, labels].mean() + l2 / 2 * pair[1] ** 2

    return minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}).x


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_correction_is_the_one_that_makes_the_labels_likeliest(rng, l2):
    logits, labels = biased(rng)
    results = correction(logits, labels, NEW, l2, 100)
    np.testing.assert_allclose(results, searched(logits, labels, l2), atol=2e-3)
    assert results[0] < 0.8 and results[1] < -0.1
    # known mistakes: a softmax over the images, a temperature of 2 as in stage 1
    for mistake in ({"axis": 0}, {"scale": 2.0}):
        assert np.abs(searched(logits, labels, l2, **mistake) - results).max() > 0.1


def test_the_shift_is_pulled_to_nothing(rng):
    shifts = [abs(correction(*biased(rng), NEW, l2, 100)[1]) for l2 in (0.0, 1.0, 100.0)]
    assert shifts[0] > shifts[1] > shifts[2] and shifts[2] < 0.01


def test_images_told_apart_without_error_do_not_blow_it_up():
    labels = torch.arange(5).repeat(4)
    scale, shift = correction(4 * torch.eye(5)[labels], labels, NEW, 0.1, 100)
    assert 0 < scale < 20 and abs(shift) < 5


# --- in the network -----------------------------------------------------------------------------


def test_a_head_begins_uncorrected_and_keeps_its_weights():
    made, images = network(heads={"a": 3, "b": 2}).eval(), torch.rand(4, 1, 8, 8)
    before, weight = made(images).logits, made.newest_head.weight
    made.correct_newest_head()
    assert torch.equal(made(images).logits, before) and made.newest_head.weight is weight
    made.newest_head.alpha.fill_(0.5), made.newest_head.beta.fill_(-1.0)
    after = made(images).logits
    assert torch.equal(after[:, :3], before[:, :3])
    torch.testing.assert_close(after[:, 3:], 0.5 * before[:, 3:] - 1)


@pytest.fixture
def finishes(monkeypatch) -> list:
    """Each task's network before and after stage 2, and the setting."""
    seen, finish = [], BiasCorrection.finish

    def noted(self, setting):
        before = copy.deepcopy(setting.network)
        finish(self, setting)
        seen.append((before, copy.deepcopy(setting.network), setting))

    monkeypatch.setattr(BiasCorrection, "finish", noted)
    return seen


def test_stage_two_moves_two_numbers_and_no_old_logit(chain, finishes):
    with_tasks(chain, t1=ONE)
    learn_tasks("t1")
    [(before, after, setting)] = finishes
    states = before.state_dict(), after.state_dict()
    moved = {name for name in states[0] if not torch.equal(*[s[name] for s in states])}
    assert moved == {"heads.task_t1.alpha", "heads.task_t1.beta"}
    images = setting.images.images("unlabelled")
    ours, theirs = infer(after, images), infer(before, images)
    assert torch.equal(ours[:, :8], theirs[:, :8])
    alpha, beta = after.newest_head.alpha, after.newest_head.beta
    torch.testing.assert_close(ours[:, 8:], alpha * theirs[:, 8:] + beta)
    wrong = alpha * theirs + beta  # a known mistake: all logits
    assert (wrong[:, :8] - ours[:, :8]).abs().max() > 0.01


def test_it_learns_from_as_many_held_out_images_of_each_class_that_no_step_saw(chain, monkeypatch):
    with_tasks(chain, t1=ONE | {"classes": ["8", "9"]})
    learnt, fits = [], []
    held = BiasCorrection._held_out
    monkeypatch.setattr(
        BiasCorrection, "_held_out", lambda *given: learnt.append(held(*given)) or learnt[-1]
    )
    rows = BiasCorrection._rows
    kept = []
    monkeypatch.setattr(
        BiasCorrection, "_rows", lambda *given: kept.append(rows(*given)) or kept[-1]
    )
    spy_on_fits(monkeypatch, lambda learner, streams, phase: fits.append(streams))
    learn_tasks("t1")
    [(logits, labels)], [streams] = learnt, fits
    head = checkpoint.load("models/t1")[0].newest_head
    wanted = correction(logits, labels, slice(8, 10), 0.1, 100)
    assert [float(head.alpha), float(head.beta)] == pytest.approx(wanted)
    assert labels.bincount().tolist() == 10 * [1]
    old, new = kept[-1]
    assert len(old) == 8 and len(new) == 2
    assert not set(streams["labelled"].index) & set(new)
    assert not set(streams["replay"].index) & set(old.tolist())
    assert set(streams["labelled"].index) | set(new) == set(range(6))
    everything = [*streams["replay"].index, *streams["replay_soft"].index, *old.tolist()]
    assert sorted(everything) == list(range(len(streams["replay"].images)))


def test_a_class_of_one_image_has_none_to_hold_out(chain):
    with_tasks(chain, t1=ONE | {"labels_per_class": 1})
    with pytest.raises(UserError, match="methods.bic.share: no image of each class"):
        learn_tasks("t1")


@pytest.fixture
def taught(chain, finishes) -> list:
    with_tasks(chain, t1=ONE, t2=TWO)
    learn_tasks("t1", "t2")
    return finishes


def test_each_block_keeps_the_correction_it_got_when_it_was_new(taught):
    one, two = (checkpoint.load(f"models/{name}") for name in ("t1", "t2"))
    pairs = [[float(net.head("t1").alpha), float(net.head("t1").beta)] for net, _ in (one, two)]
    assert pairs[0] == pairs[1] != [1.0, 0.0]
    assert [head.get("corrected", False) for head in two[1]["heads"]] == [False, True, True]
    [teacher] = taught[1][2].teachers.values()  # the old model answers with its correction
    assert torch.equal(teacher.newest_head.alpha, one[0].newest_head.alpha)
    old = np.array(pairs[0]), [float(two[0].newest_head.alpha), float(two[0].newest_head.beta)]
    assert (old[0] != old[1]).any()


def test_what_is_inferred_and_what_is_served_agree(taught):
    made, card = checkpoint.load("models/t2")
    images = torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    servable = Servable(made, card)
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(servable, (images[:4],), dynamic_shapes=dynamic).module()
    wanted = (infer(made, images).double() / servable.temperature).softmax(1)
    torch.testing.assert_close(exported(images).double(), wanted, rtol=1e-4, atol=1e-5)
    made.newest_head.alpha.mul_(3)
    assert (infer(made, images).softmax(1) - wanted).abs().max() > 0.01


# --- stage 1 ------------------------------------------------------------------------------------


def test_distillation_weighs_by_the_old_classes_and_not_by_the_new_ones(chain, monkeypatch):
    """Eight old classes and two new: lambda = 0.8 before the distillation, 0.2 before the labels,
    in the loss of a real step; the complement is another number."""
    with_tasks(chain, t1=ONE | {"classes": ["8", "9"], "training": RECIPE | {"evaluate_every": 1}})
    settings, begin = [], extending.begin
    monkeypatch.setattr(
        extending, "begin", lambda *given: settings.append(begin(*given)) or settings[0]
    )
    seen = []

    def note(learner, *_):
        losses = learner.losses

        def noted(batch):
            output, made = losses(batch)
            if not seen:
                seen.append((batch, output.logits.detach(), made))
            return output, made

        learner.losses = noted

    spy_on_fits(monkeypatch, note)
    extend(extension())
    batch, logits, made = seen[0]
    [old] = settings[0].teachers.values()
    images = torch.cat([part.images for part in batch.values()])
    with torch.no_grad():
        kept = distillation(logits[:, :8], old(images).logits[:, :8], 2.0).mean()
    labels = sum(made[name] for name in ("labelled", "replay", "replay_soft")).detach()
    wanted = 0.8 * kept + 0.2 * labels
    torch.testing.assert_close(made["loss"].detach(), wanted)
    assert abs(made["loss"].item() - (0.2 * kept + 0.8 * labels).item()) > 0.05
    row = read_curves(chain / "models/t1/curves.csv")[0]
    assert float(row["loss"]) == pytest.approx(wanted.item(), rel=1e-4)
