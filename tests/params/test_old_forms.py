"""Forms of earlier versions: one line a model, whose new form can be pasted."""

import re
from io import StringIO

import pytest
from conftest import write_params
from faults import assert_names, example, lines_of
from ruamel.yaml import YAML

from pipeline.params.check import load

LWF = {"weight": 1.0, "temperature": 2.0, "warmup_steps": 100}
FIXMATCH = {"weight": 1.0, "threshold": 0.95, "weak_view": "joint"}
UDA = {"weight": 1.0, "threshold": 0.8, "temperature": 0.4, "ramp_steps": 0}
ONLINE = {"weight": 1e-05, "threshold": 0.0, "start_step": 0, "ramp_steps": 5}
TASKS = [  # what stood in a task, what stands there now
    ({"methods": []}, {}),
    ({"methods": ["lwf"], "lwf": LWF}, {"lwf": LWF}),
    ({"methods": ["lwf"]}, {"lwf": {}}),
    ({"lwf": LWF}, {}),
    ({"methods": ["lwf"], "lwf": None}, {"lwf": {}}),
    ({"methods": ["lwf", "lwf"], "lwf": LWF}, {"lwf": LWF}),
    ({"methods": ["lwf", "uda"], "lwf": LWF, "uda": UDA}, {"lwf": LWF, "uda": UDA}),
    ({"methods": ["fixmatch"], "fixmatch": FIXMATCH, "lwf": LWF}, {"fixmatch": FIXMATCH}),
    ({"methods": {"lwf": {}}, "lwf": LWF}, {"lwf": LWF}),
    ({"methods": {"lwf": LWF}, "uda": UDA}, {"lwf": LWF}),
]
BASELINES = [
    ({"learner": "supervised"}, {}),
    ({"learner": "supervised", "uda": UDA}, {}),
    ({"learner": "fixmatch", "fixmatch": FIXMATCH}, {"fixmatch": FIXMATCH}),
    ({"learner": "fixmatch"}, {"fixmatch": {}}),
    ({"learner": "uda", "uda": UDA, "fixmatch": FIXMATCH}, {"uda": UDA}),
    ({"learner": "pseudo_label", "pseudo_label": ONLINE}, {"pseudo_label": ONLINE}),
    ({"learner": "supervised", "methods": {"uda": UDA}}, {"uda": UDA}),
    ({"methods": ["uda"], "uda": UDA}, {"uda": UDA}),
]
EVERY = [(("tasks", "t1"), *case) for case in TASKS]
EVERY += [(("baselines", "b1"), *case) for case in BASELINES]


def with_old(place: tuple[str, str], old: dict) -> dict:
    values = example()
    spec = values[place[0]][place[1]]
    del spec["methods"]
    spec.update(old)
    return values


@pytest.mark.parametrize(("place", "old", "new"), EVERY, ids=str)
def test_an_old_form_is_one_line_whose_new_form_passes_when_it_is_pasted(tmp_path, place, old, new):
    values = with_old(place, old)
    (line,) = lines_of(tmp_path, values)
    key = re.search(r"\((.+?)\): methods are a block now", line)[1]
    assert key.removeprefix(".".join(place) + ".") in old
    assert_names(line, key)
    pasted, names = re.search(r"fix: write `(methods: .*?)` in place of (.*)$", line).groups()
    assert set(re.findall("`(.+?)`", names)) == set(old)
    written = YAML(typ="safe", pure=True).load(StringIO(pasted))
    assert written == {"methods": new}
    spec = values[place[0]][place[1]]
    for name in old:
        del spec[name]
    spec.update(written)
    methods = load(write_params(tmp_path, values)).config(place[1]).options.methods
    assert methods.model_dump(exclude_none=True, exclude_unset=True) == new


def test_every_model_of_an_old_form_has_its_line_and_other_faults_are_reported_too(tmp_path):
    values = with_old(("tasks", "t1"), {"methods": ["lwf"], "lwf": LWF})
    baseline = {"network": "small_cnn", "learner": "fixmatch", "fixmatch": FIXMATCH}
    values["baselines"] = {"b1": baseline, "b2": baseline | {"widht": 1.0}}
    values["tasks"]["t1"]["classes"] = [7, 8]
    values |= {"seed": -1, "final": "g9"}
    values["training"]["warmup_steps"] = 401
    lines = lines_of(tmp_path, values)
    results = sorted(re.search(r"\((.+?)\): ", line)[1] for line in lines)
    assert results == sorted(
        ["tasks.t1.methods", "baselines.b1.learner", "baselines.b2.learner"]
        + ["baselines.b2.widht", "tasks.t1.classes", "seed", "final", "training.warmup_steps"]
    )


@pytest.mark.parametrize("learner", [None, 3, ["uda"], {"a": 1}])
def test_a_learner_that_was_never_one_is_answered_all_the_same(tmp_path, learner):
    (line,) = lines_of(tmp_path, with_old(("baselines", "b1"), {"learner": learner}))
    assert_names(line, "baselines.b1.learner")


def test_consistency_of_a_pair_is_no_old_form(tmp_path):
    values = example()
    values["meta_pseudo_labels"]["m1"]["uda"] = UDA
    load(write_params(tmp_path, values))
