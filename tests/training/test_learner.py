"""One update: its losses against torch's, its average against brute force, its state whole."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from pipeline.data.batches import Part
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.learner import Learner, average, cross_entropy
from pipeline.training.optimizer import learning_rate, make_optimizer
from pipeline.training.recipe import Training

TRAINING = Training(
    steps=20,
    batch_size=4,
    unlabelled_ratio=2.0,
    unlabelled_weight=1.0,
    optimizer="sgd",
    learning_rate=0.05,
    warmup_steps=3,
    weight_decay=5e-4,
    clip_norm=0.0,
    label_smoothing=0.0,
    dropout=0.3,
    stochastic_depth=0.0,
    ema=0.9,
    flip=False,
    shift=1,
    num_ops=2,
    magnitude=6,
    keep="last",
    evaluate_every=5,
    train="all",
)
BOTH = pytest.mark.parametrize("optimizer", ["sgd", "adamw"])


def network(dropout=0.0) -> Classifier:
    torch.manual_seed(0)
    return Classifier(NETWORKS["small_cnn"](1, 0.125, 0.0), {"base": 3}, [0.5], [0.3], dropout)


def learner(loss_weights=None, dropout=0.0, **recipe) -> Learner:
    return Learner(network(dropout), TRAINING.model_copy(update=recipe), loss_weights)


def part(num, seed=0, soft=False, weights=None) -> Part:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.eye(3)[torch.randint(0, 3, (num,), generator=generator)]
    if soft:
        targets = torch.rand(num, 3, generator=generator).softmax(1)
    return Part(images, targets, weights, torch.arange(num))


def batch(step=0) -> dict[str, Part]:
    return {"labelled": part(4, step), "pseudo": part(8, step + 100, soft=True)}


def seeded_step(made: Learner, step: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(step)
    return made.step(batch(step))


def equal_states(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# --- losses -----------------------------------------------------------------------------------


@pytest.fixture
def logits():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def soft():
    return torch.rand(6, 3, generator=torch.Generator().manual_seed(2)).softmax(1)


def test_on_one_hot_targets_the_loss_is_torchs(logits):
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = cross_entropy(logits, torch.eye(3)[labels])
    assert ours.item() == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)


def test_on_soft_targets_the_loss_is_its_definition(logits, soft):
    by_hand = -(soft * logits.log_softmax(1)).sum() / 6
    assert cross_entropy(logits, soft).item() == pytest.approx(by_hand.item(), abs=1e-6)


def test_weights_count_and_the_divisor_stays_the_number_of_samples(logits, soft):
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0, 3.0])
    single = torch.stack([cross_entropy(logits[i : i + 1], soft[i : i + 1]) for i in range(6)])
    expected = (single * weights).sum() / 6
    assert cross_entropy(logits, soft, weights).item() == pytest.approx(expected.item(), abs=1e-6)
    ones = cross_entropy(logits, soft, torch.ones(6))
    assert torch.equal(ones, cross_entropy(logits, soft))


def test_smoothing_of_one_hot_targets_is_torchs(logits):
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    ours = cross_entropy(logits, torch.eye(3)[labels], smoothing=0.2)
    theirs = F.cross_entropy(logits, labels, label_smoothing=0.2)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)


def test_smoothing_leaves_soft_targets_alone(logits, soft):
    assert torch.equal(cross_entropy(logits, soft, smoothing=0.2), cross_entropy(logits, soft))
    mixed = torch.cat([soft[:3], torch.eye(3)])
    expected = cross_entropy(logits[:3], mixed[:3]) + cross_entropy(
        logits[3:], mixed[3:], smoothing=0.2
    )
    both = cross_entropy(logits, mixed, smoothing=0.2)
    assert both.item() == pytest.approx(expected.item() / 2, abs=1e-6)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    losses = learner({"pseudo": 0.3}).losses(batch())[1]
    assert list(losses) == ["loss", "labelled", "pseudo"]
    expected = losses["labelled"] + 0.3 * losses["pseudo"]
    assert losses["loss"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_weight_of_zero_is_a_teacher_without_pseudo_labels_but_for_batch_norm():
    made = learner({"pseudo": 0.0})
    made.train_mode = made.network.eval
    alone = made.losses({"labelled": batch()["labelled"]})[1]
    assert torch.allclose(made.losses(batch())[1]["loss"], alone["loss"], atol=1e-6)


def test_all_parts_share_one_forward_pass():
    made, seen = learner(), []
    made.network.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    losses = made.losses(batch())[1]
    assert seen == [12]
    images = torch.cat([p.images for p in batch().values()])
    logits = made.network.train()(images).logits
    for name, rows in (("labelled", slice(0, 4)), ("pseudo", slice(4, 12))):
        expected = F.cross_entropy(logits[rows], batch()[name].targets)
        assert losses[name].item() == pytest.approx(expected.item(), abs=1e-6)


# --- an update --------------------------------------------------------------------------------


@BOTH
def test_every_step_changes_every_weight(optimizer):
    made = learner(optimizer=optimizer)
    for step in range(3):
        before = {n: p.detach().clone() for n, p in made.network.named_parameters()}
        seeded_step(made, step)
        assert all(p.grad.any() for p in made.network.parameters())
        same = [n for n, p in made.network.named_parameters() if torch.equal(p, before[n])]
        assert same == []


@BOTH
def test_a_few_steps_learn_one_batch(optimizer):
    made = learner(optimizer=optimizer, steps=60, learning_rate=0.02)
    losses = [made.step({"labelled": part(8)})["loss"].item() for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_step_reports_detached_losses():
    assert not any(value.requires_grad for value in learner().step(batch()).values())


def test_gradients_are_clipped_to_their_norm():
    def moved(clip_norm):
        made = learner(clip_norm=clip_norm, weight_decay=0.0, warmup_steps=0, ema=0.0)
        before = [p.detach().clone() for p in made.network.parameters()]
        seeded_step(made, 0)
        pairs = zip(made.network.parameters(), before)
        return math.sqrt(sum((p - b).square().sum().item() for p, b in pairs))

    step = 0.05 * 1.9  # the rate, and what Nesterov's first step adds
    assert moved(1e-3) == pytest.approx(step * 1e-3, rel=0.01)
    assert moved(1e6) == moved(0.0) > moved(1e-3)


def test_weight_decay_spares_biases_and_norms():
    groups = make_optimizer(network(), TRAINING).param_groups
    decays = {g["weight_decay"]: {p.ndim for p in g["params"]} for g in groups}
    assert decays == {5e-4: {2, 4}, 0.0: {1}}
    assert sum(len(g["params"]) for g in groups) == len(list(network().parameters()))


def test_the_rate_rises_linearly_then_falls_as_a_half_cosine():
    rates = [learning_rate(TRAINING, step) for step in range(21)]
    assert rates[:4] == pytest.approx([0.05 / 3, 0.1 / 3, 0.05, 0.05])
    assert all(a > b for a, b in zip(rates[3:], rates[4:]))
    expected = [0.025 * (1 + math.cos(math.pi * (step - 3) / 17)) for step in range(3, 21)]
    assert rates[3:] == pytest.approx(expected)
    assert rates[20] == learning_rate(TRAINING, 99) == 0


def test_the_optimiser_works_at_the_rate_of_the_step():
    made = learner()
    for step in range(5):
        seeded_step(made, step)
        rates = {group["lr"] for group in made.optimizer.param_groups}
        assert rates == {learning_rate(TRAINING, step)}


# --- the average ------------------------------------------------------------------------------


def test_the_average_equals_brute_force_with_the_statistics_of_batch_norm():
    made = learner()
    expected = {k: v.double() for k, v in made.network.state_dict().items()}
    for step in range(15):
        seeded_step(made, step)
        decay = min(0.9, (2 + step) / (11 + step))
        for key, value in made.network.state_dict().items():
            if value.is_floating_point():
                expected[key] = decay * expected[key] + (1 - decay) * value.double()
            else:
                expected[key] = value.double()
    found = made.weights.state_dict()
    assert any("running_var" in key for key in found)
    for key, value in expected.items():
        assert torch.allclose(found[key].double(), value, atol=1e-5), key
    assert not torch.allclose(
        found["heads.task_base.weight"], made.network.heads["task_base"].weight
    )


@pytest.mark.parametrize(("step", "decay"), [(1, 2 / 11), (8, 0.5), (1000, 0.9)])
def test_the_first_weights_are_soon_forgotten(step, decay):
    ema, net = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    before = copy.deepcopy(ema.weight.data)
    average(ema, net, 0.9, step)
    expected = decay * before + (1 - decay) * net.weight
    assert torch.allclose(ema.weight, expected, atol=1e-6)


def test_the_average_ships_takes_no_gradient_and_stays_in_eval_mode():
    made = learner()
    seeded_step(made, 0)
    assert made.weights is made.ema and not made.ema.training
    assert all(p.grad is None and not p.requires_grad for p in made.ema.parameters())


def test_without_an_average_the_network_ships():
    made = learner(ema=0.0)
    assert made.weights is made.network and made.ema is None


# --- state ------------------------------------------------------------------------------------


def saved(made: Learner) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in made.state().items()}


@BOTH
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_restored_learner_goes_on_bit_for_bit(optimizer, ema, after):
    whole = learner(optimizer=optimizer, ema=ema, dropout=0.3)
    for step in range(after):
        seeded_step(whole, step)
    restored = learner(optimizer=optimizer, ema=ema, dropout=0.3)
    with torch.no_grad():
        [weight.add_(1) for weight in restored.network.parameters()]
    restored.load_state(saved(whole))
    for step in range(after, after + 5):
        losses = [seeded_step(made, step) for made in (whole, restored)]
        assert equal_states(*losses)
    assert equal_states(whole.state(), restored.state())


@BOTH
@pytest.mark.parametrize(
    "lost",
    [
        "network/heads.task_base.weight",
        "network/backbone.layers.1.running_mean",
        "ema/heads.task_base.weight",
        "ema/backbone.layers.1.running_var",
        "optimizer/",
        "num_steps",
    ],
)
def test_losing_any_piece_of_the_state_shows(optimizer, lost):
    whole = learner(optimizer=optimizer)
    fresh = saved(learner(optimizer=optimizer))
    for step in range(6):
        seeded_step(whole, step)
    state = {k: fresh.get(k) if k.startswith(lost) else v for k, v in saved(whole).items()}
    restored = learner(optimizer=optimizer)
    restored.load_state({k: v for k, v in state.items() if v is not None})
    for step in range(6, 9):
        seeded_step(whole, step)
        seeded_step(restored, step)
    assert not equal_states(whole.state(), restored.state())


def test_the_state_is_a_picture_that_further_steps_would_change():
    made = learner()
    seeded_step(made, 0)
    before = saved(made)
    seeded_step(made, 1)
    changed = {k for k, v in made.state().items() if not torch.equal(v, before[k])}
    kinds = {key.split("/")[0] for key in changed}
    assert kinds == {"network", "ema", "optimizer", "num_steps"}
