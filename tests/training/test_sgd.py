"""SGD against torch's own: the bits of its fused form, the same state, whatever the layout."""

import copy
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from torch import nn

from pipeline.training.sgd import SGD


def weights(layout=torch.contiguous_format):
    """A kernel of each kind, a matrix and a bias, the same every time."""
    torch.manual_seed(0)
    shapes = [(8, 5, 3, 3), (6, 8, 1, 1), (3, 6), (6,)]
    made = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    for weight in made[:2]:
        weight.data = weight.data.to(memory_format=layout)
    return made


def groups(made):
    return [{"params": made[:3], "weight_decay": 0.01}, {"params": made[3:], "weight_decay": 0.0}]


def move(optimizer, made, steps=range(12), skip=(), like=False):
    """Steps at falling rates by random gradients, laid out plainly, as a method may give them, or
    `like` the weights, as a backward pass does."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for place, weight in enumerate(made):
            grad = torch.randn(weight.shape, generator=generator)
            grad = torch.empty_like(weight).copy_(grad) if like else grad
            weight.grad = None if (step, place) in skip else grad
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step / 7)
        optimizer.step()


def pair(layout=torch.contiguous_format, fused=False, **options):
    """Ours and torch's, each on weights of its own."""
    mine, theirs = weights(layout), weights(layout)
    nesterov = options.get("momentum", 0.9) > 0
    asked = {"momentum": 0.9, **options, "nesterov": nesterov, "fused": fused}
    peer = torch.optim.SGD(groups(theirs), lr=0.1, **asked)
    ours = SGD(groups(mine), lr=0.1, **options)
    for group in ours.param_groups:
        group["nesterov"] = nesterov
    return ours, mine, peer, theirs


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def close(one, other):
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_weights_are_torchs_bit_for_bit(layout, momentum):
    ours, mine, peer, theirs = pair(layout, fused=True, momentum=momentum)
    before = copy.deepcopy(mine)
    move(ours, mine, like=True)
    move(peer, theirs, like=True)
    assert equal(mine, theirs) and not any(torch.equal(a, b) for a, b in zip(mine, before))


def test_gradients_in_another_layout_than_their_weights_are_put_in_theirs():
    ours, mine, peer, theirs = pair(torch.channels_last)
    move(ours, mine)
    move(peer, theirs)
    assert close(mine, theirs)


def test_a_weight_without_a_gradient_stays_and_so_does_its_momentum():
    ours, mine, peer, theirs = pair()
    skip = {(0, 1), (3, 0), (3, 3)}  # the last: a group with no gradient at all
    move(ours, mine, skip=skip)
    move(peer, theirs, skip=skip)
    assert close(mine, theirs)


def test_the_rate_may_be_a_tensor():
    ours, mine, _, _ = pair()
    other = weights()
    second = SGD(groups(other), lr=0.1)
    rate = torch.tensor(0.0)
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        for a, b in zip(mine, other):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for group in ours.param_groups:
            group["lr"] = 0.3 / (1 + step)
        for group in second.param_groups:
            group["lr"] = rate.fill_(0.3 / (1 + step))
        ours.step()
        second.step()
    assert equal(mine, other)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_states_go_from_torchs_to_ours_and_back(layout):
    ours, mine, peer, theirs = pair(layout)
    move(peer, theirs, range(3))
    move(ours, mine, range(3))
    plain = {
        number: {name: value.contiguous().clone() for name, value in slots.items()}
        for number, slots in peer.state_dict()["state"].items()  # as a file has them
    }
    assert ours.state_dict()["state"].keys() == plain.keys()
    fresh, again, _, _ = pair(layout)
    for a, b in zip(again, theirs):
        a.data.copy_(b.data)
    fresh.load_state_dict({"state": plain, "param_groups": fresh.state_dict()["param_groups"]})
    peer.load_state_dict({**peer.state_dict(), "state": ours.state_dict()["state"]})
    move(fresh, again, range(3, 6))
    move(peer, theirs, range(3, 6))
    assert close(again, theirs)


def test_a_loaded_state_is_a_copy():
    ours, mine, _, _ = pair()
    move(ours, mine, range(2))
    state = {n: {k: v.clone() for k, v in s.items()} for n, s in ours.state_dict()["state"].items()}
    before = copy.deepcopy(state)
    ours.load_state_dict({"state": state, "param_groups": ours.state_dict()["param_groups"]})
    move(ours, mine, range(2, 4))
    assert all(
        torch.equal(state[n]["momentum_buffer"], before[n]["momentum_buffer"]) for n in state
    )


def test_gradients_are_forgotten():
    ours, mine, _, _ = pair()
    move(ours, mine, range(1))
    ours.zero_grad(set_to_none=False)
    assert all(not weight.grad.any() for weight in mine)
    ours.zero_grad()
    assert all(weight.grad is None for weight in mine)


def test_a_step_does_not_wait_for_torchs_compiler():
    code = "import sys; sys.path.insert(0, 'tests'); from learners import batch, learner\n"
    code += "made = learner(); made.step(batch()); made.load_state(made.state())\n"
    code += "sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
