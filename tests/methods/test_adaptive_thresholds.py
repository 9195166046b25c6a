"""FlexMatch, FreeMatch, SoftMatch, alignment: what is kept, against the formulas in NumPy, float64,
image by image, over many steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from learners import FewImages, network, setting
from torch.nn import functional as F

from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.training.method import Blocks

CLASSES, IMAGES, BATCH = 4, 30, 8


def made(name: str, **options):
    """A method that has begun on so many unlabelled images."""
    kind = SEMI_SUPERVISED[name]
    method = kind(kind.Options(**options))
    images = FewImages(CLASSES, IMAGES)
    method.start(setting(network(heads={"base": CLASSES}), images=images))
    return method


def in_a_task(name: str, **options):
    """A method in a task whose answers range over two old classes and its own two."""
    kind = SEMI_SUPERVISED[name]
    method = kind(kind.Options(**options))
    where = setting(network(heads={"base": 2, "t": 2}), images=FewImages(2, IMAGES))
    blocks = Blocks([slice(0, 2)], slice(2, 4), slice(0, 4))
    method.start(replace(where, blocks=blocks))
    return method


def steps(num: int = 60, seed: int = 0):
    """Images and their logits, surer from step to step, and of some classes sooner than of others;
    images of a batch may repeat."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, IMAGES)
    for step in range(num):
        rows = rng.integers(0, IMAGES, BATCH)
        logits = rng.normal(size=(BATCH, CLASSES))
        sure = 6 * step / num * (1 - 0.2 * truth[rows])
        logits[np.arange(BATCH), truth[rows]] += sure
        yield rows, logits.astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def asked(method, rows: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the method makes of a batch."""
    method.rows = torch.from_numpy(rows)
    targets, kept = method.targets(torch.from_numpy(logits))
    assert torch.equal(targets.argmax(1), torch.from_numpy(logits.argmax(1)))
    assert targets.dtype == kept.dtype == torch.float32
    assert torch.equal(targets.sum(1), torch.ones(BATCH)) and float(targets.max(1)[0].min()) == 1
    return targets.numpy(), kept.numpy()


# --- FlexMatch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("warm_up", [True, False])
def test_flexmatch_keeps_what_its_formula_keeps(warm_up):
    method, noted, partly = made("flexmatch", threshold=0.8, warm_up=warm_up), {}, 0
    for rows, logits in steps():
        probs = softmax(logits)
        counts = [sum(label == c for label in noted.values()) for c in range(CLASSES)]
        unused = IMAGES - sum(counts)
        most = max(max(counts), unused if warm_up else 1)
        beta = [count / most for count in counts]
        limits = [0.8 * b / (2 - b) for b in beta]
        wanted = [p.max() >= limits[p.argmax()] for p in probs]
        np.testing.assert_allclose(method.thresholds(CLASSES).numpy(), limits, rtol=1e-6)
        _, kept = asked(method, rows, logits)
        assert kept.tolist() == wanted
        partly += 0 < sum(wanted) < BATCH and max(limits) > 0
        for row, p in zip(rows, probs):  # later ones of a batch in the place of earlier ones
            if p.max() >= 0.8:
                noted[row] = p.argmax()
    assert partly > 10, "steps in which thresholds decide"
    assert len(set(limits)) >= 3 and unused < max(counts), "the warm-up is over"


def test_flexmatch_notes_the_class_only_after_thresholds_were_read():
    method = made("flexmatch", threshold=0.8)
    sure = np.full((BATCH, CLASSES), -9.0, dtype=np.float32)
    sure[:, 2] = 9.0
    asked(method, np.arange(BATCH), sure)
    before = method.thresholds(CLASSES)
    assert before.tolist()[:2] == [0, 0] and float(before[2]) == pytest.approx(
        0.8 * (8 / 22) / (2 - 8 / 22)
    )


def test_flexmatch_is_fixmatch_when_classes_have_as_many_images_and_none_is_left():
    flex, fix = made("flexmatch", threshold=0.7), made("fixmatch", threshold=0.7)
    flex.state["label"] = torch.arange(28) % CLASSES  # of 28 images
    assert torch.equal(flex.thresholds(CLASSES), torch.full((CLASSES,), 0.7))
    rows, logits = list(steps())[30]
    assert asked(flex, rows % 28, logits)[1].tolist() == asked(fix, rows, logits)[1].tolist()


def test_an_unsure_view_leaves_the_label_of_a_sure_one_as_it_was():
    method = made("flexmatch", threshold=0.8)
    sure, unsure = [9.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    logits = np.array([sure, unsure, *[unsure] * (BATCH - 2)], dtype=np.float32)
    asked(method, np.array([5, 5, 1, 2, 3, 4, 6, 7]), logits)
    labels = method.state["label"].tolist()
    assert labels[5] == 0 and labels.count(-1) == IMAGES - 1


# --- FreeMatch ----------------------------------------------------------------------------------


def test_freematch_keeps_what_its_formula_keeps():
    method = made("freematch", momentum=0.9)
    level, means, decided = 1 / CLASSES, np.full(CLASSES, 1 / CLASSES), 0
    shares = means.copy()
    for rows, logits in steps():
        probs = softmax(logits)
        level = 0.9 * level + 0.1 * probs.max(1).mean()
        means = 0.9 * means + 0.1 * probs.mean(0)
        shares = 0.9 * shares + 0.1 * np.bincount(probs.argmax(1), minlength=CLASSES) / BATCH
        limits = means / means.max() * level
        wanted = [p.max() >= limits[p.argmax()] for p in probs]
        _, kept = asked(method, rows, logits)
        assert kept.tolist() == wanted
        decided += len({bool(k) for k in wanted}) == 2
    assert decided > 10
    np.testing.assert_allclose(method.state["shares"].numpy(), shares, rtol=1e-5)


def test_freematch_begins_at_one_over_the_classes():
    """One step of the default momentum: all that is surer than a thousandth above chance."""
    method = made("freematch")
    rows, logits = next(steps())
    _, kept = asked(method, rows, logits)
    assert kept.tolist() == [1.0] * BATCH
    assert 0.25 < float(method.state["confidence"]) < 0.251


@pytest.mark.parametrize("kept", [[1, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1, 1, 0], [0] * BATCH])
def test_the_fairness_of_freematch_and_its_gradient(kept):
    method = made("freematch", fairness=0.5, momentum=0.5)
    *_, (rows, logits) = steps(5)
    asked(method, rows, logits)
    torch.manual_seed(1)
    strong = (2 * torch.randn(BATCH, CLASSES, dtype=torch.float64)).requires_grad_()
    mask = torch.tensor(kept, dtype=torch.float64)
    loss = method.others(strong, mask)["freematch_fairness"]
    [grad] = torch.autograd.grad(loss, strong)

    def by_hand(z: torch.Tensor) -> torch.Tensor:
        chosen = F.softmax(z, 1)[mask.bool()]
        if not len(chosen):
            return z.sum() * 0
        counts = torch.bincount(chosen.argmax(1), minlength=CLASSES)
        there = [c for c in range(CLASSES) if counts[c]]
        b = {c: chosen[:, c].mean() / (counts[c] / len(chosen)) for c in there}
        a = (method.state["probs"] / method.state["shares"]).double()
        a = a / a.sum()
        return 0.5 * sum(a[c] * torch.log(b[c] / sum(b.values())) for c in there)

    torch.testing.assert_close(loss, by_hand(strong), rtol=1e-6, atol=1e-9)
    [wanted] = torch.autograd.grad(by_hand(strong), strong)
    torch.testing.assert_close(grad, wanted, rtol=1e-6, atol=1e-9)
    assert bool(grad.any()) == (sum(kept) > 0)
    masked = mask == 0
    assert not grad[masked].any()


def test_without_fairness_there_is_no_such_loss():
    assert made("freematch", fairness=0.0).others(torch.zeros(2, CLASSES), torch.ones(2)) == {}


# --- SoftMatch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("narrowing", [1.0, 2.0])
@pytest.mark.parametrize("align", ["none", "uniform"])
def test_softmatch_weighs_as_its_formula_does(narrowing, align):
    method = made("softmatch", momentum=0.9, narrowing=narrowing, align=align, align_momentum=0.9)
    center, variance, total, between = 1 / CLASSES, 1.0, np.zeros(CLASSES), 0
    for rows, logits in steps():
        probs = softmax(logits)
        if align == "uniform":
            total = 0.9 * total + 0.1 * probs.mean(0)
            probs = probs / CLASSES / (total / total.sum())
            probs /= probs.sum(1, keepdims=True)
        sure = probs.max(1)
        center = 0.9 * center + 0.1 * sure.mean()
        variance = 0.9 * variance + 0.1 * sure.var(ddof=1)
        below = np.minimum(sure - center, 0)
        wanted = np.exp(-(below**2) / (2 * variance / narrowing**2))
        _, kept = asked(method, rows, logits)
        np.testing.assert_allclose(kept, wanted, rtol=1e-4)
        between += np.any((wanted > 0.1) & (wanted < 0.9))
    assert between > 20


def test_a_narrow_softmatch_is_a_threshold_at_the_mean():
    method = made("softmatch", narrowing=1000.0, align="none", momentum=0.5)
    for rows, logits in steps():
        _, kept = asked(method, rows, logits)
        wanted = softmax(logits).max(1) >= float(method.state["center"])
        assert kept.round(3).tolist() == wanted.tolist()


def test_of_one_image_there_is_no_variance():
    method = made("softmatch", align="none")
    method.rows = torch.zeros(1, dtype=torch.int64)
    _, kept = method.targets(torch.tensor([[1.0, 0, 0, 0]]))
    assert bool(kept.isfinite().all()) and float(method.state["variance"]) == pytest.approx(0.999)


# --- alignment ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uda", "fixmatch", "flexmatch", "freematch"])
def test_aligned_answers_are_divided_by_the_running_mean(name):
    options = {"threshold": 0.6} if name != "freematch" else {}
    method = made(name, align="uniform", align_momentum=0.8, **options)
    plain, moved = made(name, **options), 0
    total = np.zeros(CLASSES)
    for rows, logits in steps():
        probs = softmax(logits)
        total = 0.8 * total + 0.2 * probs.mean(0)
        aligned = probs / (total / total.sum())
        aligned /= aligned.sum(1, keepdims=True)
        wanted = np.log(aligned).astype(np.float32)
        for each in (method, plain):
            each.rows = torch.from_numpy(rows)
        got = method.targets(torch.from_numpy(logits))
        for mine, theirs in zip(got, plain.targets(torch.from_numpy(wanted))):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        moved += bool((aligned.argmax(1) != probs.argmax(1)).any())
    assert moved > 5, "alignment changes labels"


def test_alignment_to_shares_that_are_equal_already_changes_nothing():
    method = made("uda", align="uniform")
    logits = torch.log(torch.tensor([[0.7, 0.1, 0.1, 0.1]]))
    each = torch.cat([logits.roll(shift, 1) for shift in range(CLASSES)])
    torch.testing.assert_close(method.aligned(each).softmax(1), each.softmax(1))


# --- in a task that answers over old classes too ------------------------------------------------


def test_own_classes_are_counted_within_what_the_cross_entropy_ranges_over():
    """All logits with old images in the batch, else the new ones alone."""
    assert list(range(4))[in_a_task("uda").own] == [2, 3]
    alone = made("uda")
    alone.start(setting(network(heads={"base": 3, "t": 4}), [slice(0, 3)], slice(3, 7)))
    assert list(range(4))[alone.own] == [0, 1, 2, 3]


def test_old_classes_have_the_whole_threshold_whatever_is_counted():
    """No image of theirs will ever come: else they alone would have none."""
    method = in_a_task("flexmatch", threshold=0.8)
    method.state["label"] = torch.tensor([2] * 10 + [3] * 5)
    wanted = torch.tensor([0.8, 0.8, 0.8, 0.8 * 0.5 / 1.5])
    torch.testing.assert_close(method.thresholds(CLASSES), wanted)
    method.state["label"] = torch.tensor([0] * 20 + [2] * 10)  # mistaken for an old one
    assert method.thresholds(CLASSES).tolist() == pytest.approx([0.8, 0.8, 0.8, 0])

    free = in_a_task("freematch", momentum=0.0)
    sure = torch.tensor([[0.0, 0, 3, 0]] * 6 + [[0.0, 0, 0, 3]] * 2 + [[2.0, 0, 0, 0]])
    free.rows = torch.arange(9)
    _, kept = free.targets(sure)
    assert kept.tolist() == [1] * 8 + [0]
    assert float(free.state["confidence"]) > float(sure[8].softmax(0)[0])


def test_alignment_evens_out_the_classes_of_the_images_and_leaves_old_ones_alone():
    method = in_a_task("uda", align="uniform")
    probs = torch.tensor([[0.2, 0.1, 0.6, 0.1], [0.1, 0.2, 0.5, 0.2]])
    means = probs.mean(0)
    aligned = method.aligned(probs.log()).softmax(1)
    wanted = probs / torch.cat([torch.ones(2), means[2:] / means[2:].mean()])
    torch.testing.assert_close(aligned, wanted / wanted.sum(1, keepdim=True))


def test_the_fairness_is_among_the_classes_of_the_images():
    method = in_a_task("freematch", momentum=0.5)
    *_, (rows, logits) = steps(5)
    asked(method, rows, logits)
    strong = torch.randn(BATCH, CLASSES, requires_grad=True)
    loss = method.others(strong, torch.ones(BATCH))["freematch_fairness"]
    counts = torch.bincount(strong.argmax(1), minlength=CLASSES)[2:]
    b = strong.softmax(1).mean(0)[2:] / counts * (counts > 0)
    a = method.state["probs"][2:] / method.state["shares"][2:]
    b, a = b / b.sum(), a / a.sum()
    wanted = 0.05 * sum(x * y.log() for x, y in zip(a, b) if y > 0)
    torch.testing.assert_close(loss, wanted)


# --- edges --------------------------------------------------------------------------------------


def test_a_class_that_was_not_answered_with_for_long_has_no_part_in_fairness():
    method = made("freematch", momentum=0.0)
    logits = torch.tensor([[9.0, 0, 0, 0], [0, 9.0, 0, 0]])
    method.rows = torch.arange(2)
    method.targets(logits)
    strong = torch.tensor([[2.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
    loss = float(method.others(strong, torch.ones(3))["freematch_fairness"])
    b = torch.stack([strong.softmax(1)[:, c].mean() for c in range(3)])
    wanted = 0.05 * float((b / b.sum())[:2].log().sum()) / 2
    assert loss == pytest.approx(wanted, rel=1e-3)


def test_without_any_spread_a_weight_is_0_or_1():
    method = made("softmatch", align="none", momentum=0.0)
    method.rows = torch.zeros(1, dtype=torch.int64)
    assert method.targets(torch.tensor([[1.0, 0, 0, 0]]))[1].tolist() == [1.0]
