"""L2-SP against its formula: which weights it pulls, where to, and what decays."""

import copy

import pytest
import torch
from jobs import learn_tasks, spy_on_fits, with_tasks
from learners import TRAINING, copied, equal_states, network, part, setting

from pipeline.methods.continual.l2_sp import L2SP
from pipeline.networks import checkpoint
from pipeline.training.learner import Learner

HEADS = {"base": 3, "t": 2}
CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})


def begun(weight: float = 0.7):
    """A network before its second task, its base, and the method."""
    made = network(heads=HEADS)
    method, base = L2SP(L2SP.Options(weight=weight)), copied(made)
    method.start(setting(made, [slice(0, 3)], slice(3, 5), {"base": base}))
    return made, base, method


def moved(made) -> None:
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))


def test_its_gradient_is_the_weighted_way_back_on_all_but_the_heads():
    made, base, method = begun()
    moved(made)
    loss = method.losses(made, {}, None)["l2_sp"]
    loss.backward()
    loss = loss.detach()
    apart = {
        name: w.detach() - dict(base.named_parameters())[name]
        for name, w in made.backbone.named_parameters(prefix="backbone")
    }
    wanted = 0.35 * sum(float((one.double() ** 2).sum()) for one in apart.values())
    assert float(loss) == pytest.approx(wanted, rel=1e-5) and len(apart) == 18
    for name, weight in made.named_parameters():
        if name in apart:
            torch.testing.assert_close(weight.grad, 0.7 * apart[name])
        else:
            assert name.startswith("heads.") and weight.grad is None
    without_half = 2 * wanted  # a common slip: its gradient is twice the formula's
    assert abs(without_half - float(loss)) > 0.9 * float(loss)


def test_it_is_zero_at_the_base_and_so_is_its_gradient():
    made, _, method = begun()
    loss = method.losses(made, {}, None)["l2_sp"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(not w.grad.any() for w in made.backbone.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_only_heads_decay_to_zero(optimizer):
    """At the base, with no other gradient, shared weights stay; without the method they shrink."""
    training = CALM.model_copy(update={"weight_decay": 0.5, "optimizer": optimizer})
    for with_it in (True, False):
        made, base, method = begun()
        learner = Learner(made, training, methods={"l2_sp": method} if with_it else {})
        for weight in made.parameters():
            weight.grad = torch.zeros_like(weight)
        learner.apply()
        stays = equal_states(made.backbone.state_dict(), base.backbone.state_dict())
        assert stays == with_it
        head, old = made.newest_head.weight, base.newest_head.weight
        assert (head.norm() < old.norm()).item()


def test_with_a_great_weight_the_base_is_all_but_kept():
    """One that pulls to 0, or to the weights of the last step, would not keep it."""
    far = {}
    for weight in (0.0, 10.0):
        made, base, method = begun(weight)
        learner = Learner(made, CALM, methods={"l2_sp": method})
        for step in range(20):
            learner.step({"labelled": part(6, step, classes=2, columns=slice(3, 5))})
        pairs = zip(made.backbone.parameters(), base.backbone.parameters())
        far[weight] = sum((one - other).square().sum().item() for one, other in pairs)
    assert far[10.0] < 0.1 * far[0.0]


def test_each_task_of_a_chain_is_pulled_to_the_model_before_it(chain, monkeypatch):
    methods = {"methods": {"l2_sp": {}}, "training": {"steps": 2, "evaluate_every": 2}}
    one = methods | {"classes": ["8"]}
    with_tasks(chain, t1=one, t2=one | {"base": "t1", "classes": ["9"]})
    anchors = []
    spy_on_fits(
        monkeypatch, lambda made, *_: anchors.append(copy.deepcopy(made.methods["l2_sp"]._base))
    )
    learn_tasks("t1", "t2")
    for anchor, name in zip(anchors, ("g2", "t1"), strict=True):
        shipped = checkpoint.load(f"models/{name}")[0].named_parameters()
        shared = {key: w.detach() for key, w in shipped if key.startswith("backbone.")}
        assert equal_states(anchor, shared)
