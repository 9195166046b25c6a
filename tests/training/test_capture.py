"""A captured step: on a tape that repeats tensor operations alone, as a CUDA graph does."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from learners import TRAINING, FewImages, network, saved, setting
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.augment import RandAugment, StrongView, WeakView
from pipeline.core.machine import Machine
from pipeline.data.batches import Batches, Stream
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier
from pipeline.training.capture import WARM_UP, Captured, obstacle, stepping
from pipeline.training.learner import Learner

FIXMATCH = SEMI_SUPERVISED["fixmatch"]
STEPS = WARM_UP + 5
WAITS = ("_local_scalar_dense", "nonzero", "item", "is_nonzero", "masked_select", "unique")


class Tape(TorchDispatchMode):
    """Every operation with its tensors; what Python computed in between stays as it was."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.fresh = True

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        result = call(*args, **(kwargs or {}))
        self.calls.append((call, args, kwargs or {}, result))
        return result

    def replay(self):
        for call, args, kwargs, result in self.calls:
            again = call(*args, **kwargs)
            for there, value in zip(tree_leaves(result), tree_leaves(again)):
                if isinstance(there, torch.Tensor) and there.data_ptr() != value.data_ptr():
                    there.copy_(value)

    @property
    def names(self) -> list[str]:
        return [call.overloadpacket.__name__ for call, *_ in self.calls]


class Names(TorchDispatchMode):
    """The operations' names alone: a gradient that a tape holds on to must be copied."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        self.names.append(call.overloadpacket.__name__)
        return call(*args, **(kwargs or {}))


def recorder(tapes: list[Tape]):
    """Records as `cuda_graph` does. Recording runs the update, so the first replay does nothing."""

    def record(update):
        tapes.append(Tape())
        with tapes[-1]:
            update()

        def replay():
            if tapes[-1].fresh:
                tapes[-1].fresh = False
                return
            with torch.no_grad():
                tapes[-1].replay()

        return replay

    return record


class Fixed(StrongView):
    """The strong view in the form that a GPU takes."""

    def __call__(self, images, drawn):
        weak = self.weak(images, drawn)
        return self.augment.fixed(weak, torch.as_tensor(drawn["kind"]))


def batches(rng_seed: int = 0, strong=Fixed) -> Batches:
    generator = torch.Generator().manual_seed(rng_seed)
    images = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.eye(3)[torch.arange(20) % 3]
    weak = WeakView(shift=1)
    view = strong(weak, RandAugment(2, 9))
    other = partial(Stream, images, None, 6, order="unlabelled")
    streams = {"labelled": Stream(images, targets, 4, weak)}
    return Batches(
        streams | {"unlabelled": other(view=view), "weak": other(view=weak)}, seed=0, model="m"
    )


ASKED = {  # by methods that a graph may hold; few steps decide little with the papers' options
    "uda": {"threshold": 0.4, "align": "uniform"},
    "fixmatch": {"threshold": 0.4},
    "flexmatch": {"threshold": 0.4, "warm_up": False, "align": "uniform"},
    "freematch": {"momentum": 0.5, "fairness": 1.0},
    "softmatch": {"momentum": 0.5},
}


def learner(method: str = "fixmatch", mixup: float = 0.0, **recipe) -> Learner:
    training = TRAINING.model_copy(update={"steps": STEPS + 2, **recipe})
    kind, net = SEMI_SUPERVISED[method], network(training.dropout)
    made = kind(kind.Options(**ASKED[method], mixup=mixup))
    made.start(setting(net, images=FewImages(unlabelled=20)))
    return Learner(net, training, methods={method: made})


def run(step, steps=range(STEPS)):
    losses = []
    for number in steps:
        torch.manual_seed(number)
        losses.append(step(number))
    return losses


RECIPES = [{}, {"clip_norm": 0.1}, {"batch_norm": "separate"}, {"ema": 0}]


@pytest.mark.parametrize("recipe", RECIPES + [{"method": name} for name in ASKED], ids=str)
def test_a_replayed_step_is_the_step(recipe):
    one, other, tapes = learner(**recipe), learner(**recipe), []
    made = batches()
    plain = run(lambda step: one.step(made(step)))
    replayed = run(Captured(other, batches(), recorder(tapes)))
    assert len(tapes) == 1 and other.num_steps == one.num_steps == STEPS
    for mine, theirs in zip(plain, replayed, strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    ours, theirs = saved(one), saved(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.startswith("ema/"):  # by a share on the device: rounded elsewhere
            assert torch.allclose(ours[name].float(), theirs[name].float(), rtol=1e-5), name
        else:
            assert torch.equal(ours[name], theirs[name]), name


def test_losses_of_a_step_are_left_alone_by_the_next():
    step = Captured(learner(), batches(), recorder([]))
    losses = run(step)
    values = [one["loss"].clone() for one in losses]
    run(step, range(STEPS, STEPS + 2))
    assert all(torch.equal(one["loss"], value) for one, value in zip(losses, values))
    assert len({float(value) for value in values}) == STEPS


def test_a_replay_follows_the_rate_and_the_share():
    made = learner()
    step = Captured(made, batches(), recorder([]))
    rates, shares = [], []
    for number in range(STEPS):
        rate = made.rate
        step(number)
        rates.append(abs(float(made.optimizer.param_groups[0]["lr"]) - rate))
        shares.append(float(made.average.share))
    assert max(rates) < 1e-8 and len(set(shares)) == STEPS


def test_a_method_that_reads_the_step_would_go_wrong_and_is_refused():
    class Ramped(FIXMATCH):
        capturable = False

        @property
        def weight(self):
            return float(self.step)

    def ramped():
        made = learner()
        made.methods = {"fixmatch": Ramped(FIXMATCH.Options(threshold=0.4))}
        return made

    one, other = ramped(), ramped()
    made = batches()
    run(lambda step: one.step(made(step)))
    run(Captured(other, batches(), recorder([])))
    assert not torch.equal(
        saved(one)["network/heads.task_base.weight"], saved(other)["network/heads.task_base.weight"]
    )
    assert "fixmatch" in obstacle(one, torch.device("cuda"))


@pytest.mark.parametrize("method", ASKED)
def test_nothing_in_a_step_waits_for_the_device(method):
    tapes = []
    run(Captured(learner(method, clip_norm=0.1), batches(), recorder(tapes)))
    found = [name for name in tapes[0].names if name.rstrip("_") in WAITS]
    assert found == []


def operations(made: Learner, feed: Batches) -> list[str]:
    """Of a step after the first."""
    made.step(feed(0))
    batch = feed(1)
    with Names() as seen:
        made.step(batch)
    return seen.names


def test_a_fixmatch_step_of_wrn_has_no_more_operations_than_it_needs():
    torch.manual_seed(0)
    backbone = NETWORKS["wrn_28_2"].build(1, 0.5, 0.0)
    made = learner()  # for its recipe
    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    wrn = Classifier(backbone, {"base": 3}, [0.5], [0.3])
    made = Learner(wrn, made.training, autocast=autocast, methods=made.methods)
    names = operations(made, batches())
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in wrn.modules())
    kernels = sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in wrn.modules())
    assert names.count("native_batch_norm") == 2 * norms  # joint, and weak
    assert names.count("_to_copy") <= 2 * kernels + 15  # a weight to bf16, its gradient back
    assert names.count("copy_") == 0 and names.count("_foreach_copy_") == 1
    assert names.count("add_") <= 2 and names.count("_foreach_add_") == 1  # batches counted
    assert names.count("_fused_sgd_") == 2 and names.count("_foreach_lerp_") == 1
    # without views, which are no work on a device; 828 before the tensors were listed once, SGD
    # fused, and each weight cast once
    free = ("detach", "view", "slice", "t", "unsqueeze", "expand", "alias", "empty")
    assert sum(name not in free for name in names) <= 400


# --- what can be captured ---------------------------------------------------------------------


@pytest.mark.parametrize("family", [SEMI_SUPERVISED, CONTINUAL])
def test_methods_that_can_be_captured_say_so(family):
    """The others count steps, draw at each, or ask for a gradient of a gradient."""
    cannot = {name for name, kind in family.items() if not kind(kind.Options()).capturable}
    assert ASKED.keys() == SEMI_SUPERVISED.keys() - cannot or family is CONTINUAL
    assert cannot == {"pseudo_label", "mean_teacher", "generative_replay", "lwm"} & family.keys()


def test_uda_with_a_ramp_cannot():
    uda = SEMI_SUPERVISED["uda"]
    assert not uda(uda.Options(ramp_steps=5)).capturable


@pytest.mark.parametrize("method", ASKED)
def test_mixup_draws_at_each_step_and_waits_for_nothing(method):
    made = learner(method, mixup=0.75)
    assert method in obstacle(made, torch.device("cuda"))
    names = operations(made, batches())
    assert "_standard_gamma" in names
    assert [name for name in names if name.rstrip("_") in WAITS] == []


def test_obstacles_are_named():
    gpu = torch.device("cuda")
    assert obstacle(learner(), gpu) == ""
    assert "cpu" in obstacle(learner(), torch.device("cpu"))
    assert "adamw" in obstacle(learner(optimizer="adamw"), gpu)

    class Own(Learner):
        def step(self, batch):
            return super().step(batch)

    assert "host" in obstacle(Own(network(), TRAINING), gpu)


def test_a_machine_that_cannot_says_so_in_a_line_and_goes_on(capsys):
    made = learner()
    step = stepping(made, batches(), Machine(capture=True))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: machine.yaml (capture): a cpu has no graphs")
    step(0)
    assert made.num_steps == 1
    stepping(made, batches(), Machine())
    assert capsys.readouterr().err == ""


@pytest.mark.gpu
@pytest.mark.parametrize("method", ASKED)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_graph_gives_what_the_steps_give(dropout, method):
    def on_gpu(step_of):
        made, feed = learner(method, dropout=dropout), batches(strong=StrongView)
        made.network.cuda()
        for each in made.methods.values():
            each.state = {name: value.cuda() for name, value in each.state.items()}
        streams = {
            name: Stream(
                one.images.cuda(),
                None if one.targets is None else one.targets.cuda(),
                one.num,
                one.view,
                order=one.order,
            )
            for name, one in feed.streams.items()
        }
        made = Learner(made.network, made.training, methods=made.methods)
        run(step_of(made, Batches(streams, seed=0, model="m")))
        return saved(made)

    plain = on_gpu(lambda made, feed: lambda step: made.step(feed(step)))
    graph = on_gpu(Captured)
    assert plain.keys() == graph.keys()
    for name in plain:
        assert torch.allclose(plain[name].float(), graph[name].float(), rtol=1e-3, atol=1e-4), name
