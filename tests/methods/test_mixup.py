"""Mixup: its shares against NumPy's Beta; losses with it against the formula, image by image in
float64."""

import copy

import numpy as np
import pytest
import torch
from learners import TRAINING, FewImages, network, part, setting
from scipy import stats
from torch import Tensor

from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.methods.semi_supervised.consistency import Consistency
from pipeline.methods.semi_supervised.mixup import Mixup
from pipeline.networks.batch_norm import batch_statistics
from pipeline.training.learner import Learner

CPU = torch.device("cpu")
CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0, "label_smoothing": 0.0})
NUM, WEIGHT = 10, 2.0
OPTIONS = {  # some images are kept and some are not
    "uda": {"threshold": 0.45},
    "fixmatch": {"threshold": 0.45},
    "flexmatch": {"threshold": 0.45, "warm_up": False},
    "freematch": {"momentum": 0.5, "fairness": 0.7},
    "softmatch": {"momentum": 0.5},
}
EVERY = pytest.mark.parametrize("name", OPTIONS)


def test_options_are_those_of_every_method_that_compares_views():
    kinds = {name for name, kind in SEMI_SUPERVISED.items() if issubclass(kind, Consistency)}
    assert kinds == OPTIONS.keys()


@pytest.mark.parametrize("alpha", [1e-4, 0.05, 0.75, 4.0, 10.0])
def test_shares_are_of_the_folded_beta_distribution(alpha):
    torch.manual_seed(0)
    share = Mixup.draw(20_000, alpha, CPU).share.numpy()
    numbers = np.random.default_rng(0).beta(alpha, alpha, 20_000)
    wanted = np.maximum(numbers, 1 - numbers)
    assert np.isfinite(share).all() and share.min() >= 0.5 and share.max() <= 1
    ours, theirs = (np.float64(numbers).round(5) for numbers in (share, wanted))
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01


def test_partners_are_a_permutation_that_changes():
    torch.manual_seed(0)
    drawn = [Mixup.draw(50, 0.75, CPU).partner.tolist() for _ in range(2)]
    assert [sorted(partners) for partners in drawn] == [list(range(50))] * 2
    assert drawn[0] != drawn[1] != list(range(50))


def test_rows_of_any_shape_are_mixed_alike():
    mixup = Mixup(torch.tensor([0.75, 0.5]), torch.tensor([1, 0]))
    values = torch.tensor([[0.0, 4.0], [8.0, 0.0]])
    assert mixup(values).tolist() == [[2.0, 3.0], [4.0, 2.0]]
    assert mixup(values[:, :1, None]).flatten().tolist() == [2.0, 4.0]
    assert mixup(values[:, 0]).tolist() == [2.0, 4.0]


def batch() -> dict:
    kinds = {"labelled": 6, "unlabelled": NUM, "weak": NUM}
    parts = {name: part(num, seed) for seed, (name, num) in enumerate(kinds.items())}
    bare = {"targets": None, "weights": None, "rows": torch.arange(NUM)}
    return {
        name: one if name == "labelled" else one._replace(**bare) for name, one in parts.items()
    }


def made(name: str, net, **options):
    kind = SEMI_SUPERVISED[name]
    method = kind(kind.Options(weight=WEIGHT, **OPTIONS[name], **options))
    method.start(setting(net, images=FewImages(unlabelled=NUM)))
    if name == "flexmatch":  # as if all had been seen before
        method.state = {"label": torch.arange(NUM) % 3}
    return method


def by_hand(strong: Tensor, targets: Tensor, kept: Tensor, mixup: Mixup) -> Tensor:
    """Each mixture towards the targets of both its images, by their shares and weights."""
    total = torch.zeros((), dtype=torch.float64)
    for row, (share, other) in enumerate(zip(mixup.share.tolist(), mixup.partner.tolist())):
        log_q = strong[row].double().log_softmax(0)
        for image, of in ((row, share), (other, 1 - share)):
            total = total - of * float(kept[image]) * (targets[image].double() * log_q).sum()
    return WEIGHT * total / len(strong)


@EVERY
@pytest.mark.parametrize("weak_view", ["apart", "joint"])
def test_the_loss_and_its_gradient_are_the_formula(name, weak_view):
    net, parts = network(), batch()
    twin = copy.deepcopy(net)
    method = made(name, net, weak_view=weak_view, mixup=0.75)
    learner = Learner(net, CALM, methods={name: method})
    torch.manual_seed(3)
    _, losses = learner.losses(method.batch(parts))
    losses["loss"].backward()

    torch.manual_seed(3)
    mixup = Mixup.draw(NUM, 0.75, CPU)
    images = {key: one.images.float() / 255 for key, one in parts.items()}
    strong = images["unlabelled"]
    images["unlabelled"] = torch.stack(
        [s * strong[n] + (1 - s) * strong[o] for n, (s, o) in enumerate(zip(*mixup))]
    )
    twin.train()
    with torch.no_grad(), batch_statistics(twin):
        weak = twin(images["weak"]).logits
    seen = list(images.values())[: 2 if weak_view == "apart" else 3]
    logits = twin(torch.cat(seen)).logits
    weak = weak if weak_view == "apart" else logits[6 + NUM :].detach()
    oracle = made(name, twin)
    oracle.rows = parts["unlabelled"].rows
    targets, kept = oracle.targets(weak)
    assert 0 < float(kept.mean()) < 1
    mixed = [float(s * kept[n] + (1 - s) * kept[o]) for n, (s, o) in enumerate(zip(*mixup))]
    wanted = by_hand(logits[6 : 6 + NUM], targets, kept, mixup)
    rest = sum(oracle.others(logits[6 : 6 + NUM], torch.tensor(mixed)).values())
    labelled = -(parts["labelled"].targets * logits[:6].log_softmax(1)).sum(1).mean()
    (labelled + wanted + rest).backward()
    torch.testing.assert_close(losses[name].double(), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(method.notes[f"{name}_kept"], kept.mean())
    for mine, theirs in zip(net.parameters(), twin.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@EVERY
def test_the_other_images_stay_as_they_are(name):
    parts = batch()
    after = made(name, network(), weak_view="joint", mixup=0.75).batch(parts)
    assert list(after) == list(parts)
    for kind in ("labelled", "weak"):
        assert after[kind] is parts[kind]
    assert after["unlabelled"].images.dtype == torch.float32
    assert float(after["unlabelled"].images.max()) <= 1


@EVERY
def test_without_mixup_nothing_is_drawn(name):
    parts, method = batch(), made(name, network(), weak_view="joint")
    before = torch.random.get_rng_state()
    after = method.batch(parts)
    assert after["unlabelled"] is parts["unlabelled"]
    assert torch.equal(before, torch.random.get_rng_state())
