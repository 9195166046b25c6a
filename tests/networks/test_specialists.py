"""The common answer of specialists: against another minimiser, and where it is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import rel_entr, softmax

from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.networks.specialists import Specialists

NUM = 6


def classifier(num: int, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    backbone = NETWORKS["small_cnn"].build(1, 0.125, 0.0)
    return Classifier(backbone, {"base": num}, [0.5], [0.3]).eval()


def made(subsets, active: int = 1, generalist: bool = True) -> Specialists:
    members = [classifier(len(subset) + 1, 1 + n) for n, subset in enumerate(subsets)]
    return Specialists(members, subsets, NUM, classifier(NUM) if generalist else None, active)


def random(num: int, size: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(softmax(2 * rng.normal(size=(num, size)), axis=1))


def objective(free: np.ndarray, general, answers, subsets) -> float:
    """KL(p^g || q) + sum of KL(p^m || q_m), of q = softmax(free), for one image."""
    q = softmax(free)
    total = 0.0 if general is None else rel_entr(general, q).sum()
    for answer, subset in zip(answers, subsets):
        others = [c for c in range(NUM) if c not in subset]
        total += rel_entr(answer, np.append(q[list(subset)], q[others].sum())).sum()
    return total


SUBSETS = [[[0, 1], [2, 3]], [[0, 1, 2], [2, 3]], [[4], [0, 5], [1, 2, 3]]]


@pytest.mark.parametrize("subsets", SUBSETS, ids=str)
@pytest.mark.parametrize("generalist", [True, False])
def test_the_answer_is_the_minimum_that_a_descent_on_free_logits_finds(subsets, generalist):
    network = made(subsets, active=NUM, generalist=generalist)
    general = random(5, NUM, 0) if generalist else None
    answers = [random(5, len(subset) + 1, 1 + n) for n, subset in enumerate(subsets)]
    results = network.united(general, answers).numpy()
    np.testing.assert_allclose(results.sum(1), 1)
    for row, q in enumerate(results):
        given = (
            None if general is None else general[row].numpy(),
            [a[row].numpy() for a in answers],
        )
        found = minimize(objective, np.zeros(NUM), (*given, subsets), tol=1e-14)
        mine = objective(np.log(np.maximum(q, 1e-300)), *given, subsets)
        assert mine <= found.fun + 1e-6
        if generalist:  # else classes of no expert share their mass in any way
            np.testing.assert_allclose(q, softmax(found.x), atol=2e-4)


def test_without_an_active_specialist_the_answer_is_the_generalists():
    network = made([[0, 1], [2, 3]])
    general = random(4, NUM, 0)
    general[:, 4] = 10  # in no subset
    general /= general.sum(1, keepdim=True)
    answers = [random(4, 3, 1), random(4, 3, 2)]
    assert network.united(general, answers).equal(general)


def test_those_are_active_that_know_one_of_the_likeliest_classes():
    general = torch.tensor([[0.5, 0.1, 0.3, 0.04, 0.03, 0.03]], dtype=torch.float64)
    answers = [random(1, 3, 1), random(1, 3, 2), random(1, 3, 3)]
    subsets = [[0, 1], [2, 3], [4, 5]]
    for active, who in ((1, [1.0, 0.0, 0.0]), (2, [1.0, 1.0, 0.0]), (5, [1.0, 1.0, 1.0])):
        network = made(subsets, active)
        assert network._active(general, answers).tolist() == [who]
        asked = [n for n, vote in enumerate(who) if vote]
        alone = made([subsets[n] for n in asked], NUM)
        wanted = alone.united(general, [answers[n] for n in asked])
        torch.testing.assert_close(network.united(general, answers), wanted)


def test_who_says_what_q_says_changes_nothing():
    q = random(3, NUM, 0)
    network = made([[0, 1], [2, 3]], active=NUM)
    answers = [
        torch.cat([q[:, s], q[:, [c for c in range(NUM) if c not in s]].sum(1, keepdim=True)], 1)
        for s in network.subsets
    ]
    torch.testing.assert_close(network.united(q, answers), q)


def test_classes_may_stand_in_another_order():
    order = [3, 0, 5, 1, 4, 2]
    subsets, general = [[0, 1, 2], [2, 3]], random(4, NUM, 0)
    answers = [random(4, 4, 1), random(4, 3, 2)]
    moved = [[order.index(c) for c in subset] for subset in subsets]
    one = made(subsets, NUM).united(general, answers)
    other = made(moved, NUM).united(general[:, order], answers)
    torch.testing.assert_close(other, one[:, order])


def test_a_sure_answer_is_no_division_by_nothing():
    network = made([[0, 1], [2, 3]], active=NUM)
    general = torch.eye(NUM)[:4]
    answers = [torch.eye(3)[[0, 1, 2, 2]], torch.eye(3)[[2, 2, 0, 1]]]
    q = network.united(general, answers)
    assert q.isfinite().all() and q.argmax(1).tolist() == [0, 1, 2, 3]
    experts = made([[0, 1, 2], [3, 4, 5]], generalist=False)
    q = experts.united(None, [torch.eye(4)[[3]], torch.eye(4)[[1]]])
    assert q.isfinite().all() and q.argmax(1).tolist() == [4]


def test_logits_are_those_of_the_members_united():
    network = made([[0, 1], [2, 3]])
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        output = network(images)
        general = network.generalist(images).logits.softmax(1)
        answers = [member(images).logits.softmax(1) for member in network.members]
    torch.testing.assert_close(output.logits.exp(), network.united(general, answers))
    assert output.features.shape == network.features(images).shape
    softened = network.log_probs(output, 4.0)
    torch.testing.assert_close(softened, (output.logits / 4).log_softmax(1))
    assert math.isclose(float(output.logits.exp().sum()), 5, rel_tol=1e-5)
