"""What every method of the two families must keep."""

import inspect

import pytest
import torch
from jobs import extension
from learners import TRAINING, FewImages, copied, equal_states, network, part, setting
from wiring_table import METHODS

from pipeline.data.batches import Batches
from pipeline.methods.continual import CONTINUAL
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.students.learn import Job
from pipeline.training.learner import Learner
from pipeline.training.method import Method, MethodsBlock, build, first_line, methods_block

ALL = CONTINUAL | SEMI_SUPERVISED
CALM = TRAINING.model_copy(update={"ema": 0.0, "dropout": 0.0})
EVERY = pytest.mark.parametrize("name", ALL)
EVERY_CONTINUAL = pytest.mark.parametrize("name", CONTINUAL)
EVERY_SEMI_SUPERVISED = pytest.mark.parametrize("name", SEMI_SUPERVISED)


def made(name: str, **options):
    return ALL[name](ALL[name].Options(**options))


def block(**methods) -> MethodsBlock:
    return methods_block(ALL).model_validate(methods)


def updates(network, method, name, columns=slice(None), classes=3, streams=None) -> Learner:
    """Three updates on labelled images and on what the method brings."""
    methods = {name: method} if method else {}
    learner = Learner(network, CALM, methods=methods)
    brought = Batches(streams, seed=0, model="t") if streams else lambda step: {}
    for step in range(3):
        batch = {"labelled": part(6, step, classes=classes, columns=columns)}
        learner.losses_of_the_step = learner.step(batch | brought(step))
    return learner


def test_no_name_stands_in_both_families():
    assert not CONTINUAL.keys() & SEMI_SUPERVISED.keys()


@pytest.mark.parametrize(
    ("name", "papers"),
    [
        ("lwf", {"weight": 1.0, "temperature": 2.0, "balance": "paper"}),
        ("lfl", {"weight": 1.0}),
        ("lwm", {"weight": 1.0}),
        ("piggyback", {"start": 0.01, "threshold": 0.005}),
        ("l2_sp", {"weight": 0.1}),
        ("ewc", {"weight": 400.0, "fisher": "true", "tasks": "separate", "gamma": 1.0}),
        ("mas", {"weight": 1.0, "variant": "global"}),
        ("bic", {"share": 0.1}),
        ("replay", {"choose": "herding"}),
        ("generative_replay", {"labels": "argmax"}),
        ("uda", {"weight": 1.0, "threshold": 0.8, "temperature": 0.4, "ramp_steps": 0}),
        ("fixmatch", {"weight": 1.0, "threshold": 0.95}),
        ("flexmatch", {"weight": 1.0, "threshold": 0.95, "align": "none"}),
        ("freematch", {"weight": 1.0, "momentum": 0.999, "fairness": 0.05, "align": "none"}),
        ("softmatch", {"weight": 1.0, "momentum": 0.999, "narrowing": 2.0, "align": "uniform"}),
        ("mean_teacher", {"weight": 10.0, "ramp": 0.27, "ema": 0.99, "ema_after": 0.999}),
        ("pseudo_label", {"weight": 3.0, "threshold": 0.0, "start_step": 100, "ramp_steps": 500}),
    ],
)
def test_defaults_are_the_papers(name, papers):
    defaults = made(name).options.model_dump()
    assert {key: defaults[key] for key in papers} == papers


@EVERY
def test_every_option_has_a_default_a_description_and_a_reader(name):
    source = "".join(inspect.getsource(room) for room in _rooms(ALL[name]))
    for key, field in ALL[name].Options.model_fields.items():
        assert not field.is_required() and field.description, key
        assert f"options.{key}" in source, f"{key} is read nowhere"


def _rooms(method: type) -> set:
    return {inspect.getmodule(kind) for kind in method.__mro__ if "methods" in kind.__module__}


@EVERY
def test_the_first_line_says_what_it_does_and_the_file_which_paper_it_is(name):
    assert "(" in first_line(ALL[name]) and first_line(ALL[name]).endswith(".")
    paper = inspect.getmodule(ALL[name]).__doc__.splitlines()[0]
    assert paper.rstrip(".").endswith(")"), "the paper in brackets"


@EVERY
def test_an_option_that_is_given_reaches_the_method_and_the_others_stay(name):
    for key, (other, _) in METHODS[name].items():
        method = build(block(**{name: {key: other}}))[name]
        assert type(method) is ALL[name] and getattr(method.options, key) == other
        assert method.options == made(name, **{key: other}).options


def test_methods_come_in_the_order_of_the_code_whatever_that_of_the_file():
    names = [name for name in ALL if name != "fixmatch"]
    assert list(build(block(**{name: {} for name in reversed(names)}))) == names


@EVERY_CONTINUAL
def test_with_no_earlier_task_a_continual_method_leaves_training_bit_identical(name):
    plain, added = network(heads={"base": 2}), network(heads={"base": 2})
    method = made(name)
    method.start(setting(added, [], slice(0, 2)))
    updates(plain, None, name, classes=2), updates(added, method, name, classes=2)
    assert equal_states(plain.state_dict(), added.state_dict())


def adds_a_loss(name: str) -> bool:
    return (ALL[name].losses, ALL[name].streams) != (Method.losses, Method.streams)


@EVERY_CONTINUAL
def test_an_earlier_task_changes_the_update(name):
    if ALL[name].needs and not adds_a_loss(name):
        pytest.skip("it does nothing before the end, see test_continual_contract")
    heads = {"base": 3, "t": 2}
    plain, added = network(heads=heads), network(heads=heads)
    method = made(name)
    if method.consolidates:
        method.finish(setting(copied(added), [], slice(0, 3), images=FewImages()))
    given = {"base": copied(added)}
    where = setting(added, [slice(0, 3)], slice(3, 5), given, images=FewImages(2))
    method.start(where)
    updates(plain, None, name, slice(3, 5), 2)
    learner = updates(added, method, name, slice(3, 5), 2, method.streams(where))
    own = {name} if adds_a_loss(name) else set()
    assert {"loss", "labelled"} | own <= set(learner.losses_of_the_step)
    assert not equal_states(plain.state_dict(), added.state_dict())


EAGER = {  # options with which an untrained network learns from every image at once
    "pseudo_label": {"start_step": 0},
    "mean_teacher": {"ramp": 0.0},
    "uda": {"threshold": 0.0},
    "fixmatch": {"threshold": 0.0},
    "flexmatch": {"threshold": 0.0},
}


def eager(name: str, **options) -> Method:
    return made(name, **EAGER.get(name, {}), **options)


def brought(name: str) -> list[str]:
    """The parts that the method brings."""
    other = {"pseudo_label": [], "mean_teacher": ["weak", "labelled_weak"]}
    return ["unlabelled", *other.get(name, ["weak"])]


@EVERY_SEMI_SUPERVISED
def test_a_semi_supervised_method_keeps_nothing_for_the_next_task(chain, name):
    """Which has other images and other classes; nor does it begin with what the last one left."""
    net = network()
    method, fresh, where = eager(name), eager(name), setting(net, images=extension().images)
    method.start(where), fresh.start(where)
    batch = {key: part(8, seed)._replace(targets=None) for seed, key in enumerate(brought(name))}
    Learner(copied(net), CALM, methods={name: method}).step({"labelled": part(8)} | batch)
    left = dict(method.state)
    method.finish(where)
    assert method.state == {}
    method.state = left
    method.start(where)
    assert equal_states(method.state, fresh.state)


@EVERY_SEMI_SUPERVISED
def test_a_training_goes_on_from_its_state_as_if_it_had_never_stopped(chain, name):
    """With alignment where there is any, whose running mean is a part of that state, and mixup,
    which keeps none."""
    given = {"align": "uniform", "mixup": 0.75}
    options = {key: v for key, v in given.items() if key in ALL[name].Options.model_fields}
    images = extension().images

    def begun() -> Learner:
        net = network(dropout=0.5)
        method = eager(name, **options)
        method.start(setting(net, images=images))
        return Learner(net, CALM, methods={name: method})

    def step(learner: Learner, number: int) -> None:
        torch.manual_seed(number)
        parts = {key: part(8, 10 * number + n) for n, key in enumerate(brought(name))}
        parts = {key: one._replace(targets=None) for key, one in parts.items()}
        learner.step({"labelled": part(8, 10 * number + 9)} | parts)

    straight, stopped, resumed = begun(), begun(), begun()
    for number in range(4):
        step(straight, number)
    for number in range(2):
        step(stopped, number)
    resumed.load_state({key: value.clone() for key, value in stopped.state().items()})
    for number in range(2, 4):
        step(resumed, number)
    assert equal_states(straight.state(), resumed.state())


@EVERY_SEMI_SUPERVISED
def test_a_semi_supervised_method_brings_unlabelled_images_and_changes_the_update(chain, name):
    """In the strong view under the name that methods share; what it notes is a share."""
    images = extension().images
    nets = network(), network()
    method, where = eager(name), setting(nets[1], images=images)
    method.start(where)
    streams = method.streams(where)
    assert list(streams) == brought(name)
    assert type(streams["unlabelled"].view).__name__ == "StrongView"
    assert {stream.order for stream in streams.values()} <= {"unlabelled", "labelled"}
    assert all(stream.targets is None for stream in streams.values())
    batch = {key: part(8, seed)._replace(targets=None) for seed, key in enumerate(streams)}
    for one, methods in zip(nets, ({}, {name: method})):
        learner = Learner(one, CALM, methods=methods)
        for _ in range(2):
            losses = learner.step({"labelled": part(8)} | batch)
    assert not losses[name].requires_grad
    assert {key: 0 <= float(losses[key]) <= 1 for key in method.notes} == dict.fromkeys(
        method.notes, True
    )
    assert not equal_states(*[one.state_dict() for one in nets])


@EVERY_SEMI_SUPERVISED
@pytest.mark.parametrize("weight", [0.5, 4.0])
def test_the_weight_multiplies_the_loss(name, weight):
    kinds = ["labelled", *brought(name)]
    batch = {key: part(8, seed) for seed, key in enumerate(kinds)}
    results = []
    for factor in (1.0, weight):
        method, net = eager(name, weight=factor), network()
        method.start(setting(net, images=FewImages(unlabelled=8)))
        learner = Learner(net, CALM, methods={name: method})
        learner.num_steps = method.step = 600
        results.append(
            learner.step(
                {k: p._replace(targets=None) for k, p in batch.items()}
                | {"labelled": batch["labelled"]}
            )[name]
        )
    torch.testing.assert_close(results[1], weight * results[0])


def test_a_job_knows_no_method_by_name():
    source = inspect.getsource(inspect.getmodule(Job))
    assert not [name for name in ALL if f'"{name}"' in source]
