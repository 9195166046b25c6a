"""The search behind the claims of a lineage: what is drawn, chosen, and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import tiny_values, write_params
from jobs import extension
from learners import network, setting

from benchmarks import search, study_lineage
from benchmarks.lineage_arms import (
    METHODS,
    Ground,
    baselines,
    last_round,
    lineage,
    meta,
    mixing,
    per_step,
    second_round,
)
from benchmarks.lineage_grounds import cifar10, digits
from benchmarks.search import Arm, Chosen, Search, around, draw, highest
from benchmarks.study import Study, filled
from benchmarks.study import chain as run_chain
from pipeline.data import store
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.check import load
from pipeline.training.learner import Learner

SETTINGS = {"size": 1, "training.batch_size": 12, "method.threshold": 0.9}


def test_draws_are_different_the_same_every_time_and_begin_with_none():
    space = {"a": [1, 2, 3], "b.c": ["x", "y"]}
    drawn = draw(space, 5, "arm")
    assert drawn == draw(space, 5, "arm") != draw(space, 5, "other")
    assert drawn[0] == {} and len(drawn) <= 5
    assert all(set(keys) == set(space) for keys in drawn[1:])
    assert len({tuple(keys.items()) for keys in drawn}) == len(drawn)


def test_draws_may_begin_with_a_start_of_their_own():
    space = {"a": [1, 2, 3], "b": [4, 5, 6]}
    start = {"a": 2}
    assert draw(space, 3, "arm", start) == [start, *draw(space, 3, "arm")[1:]]
    ground = replace(digits(), starts={"uda": {"method.threshold": 0.7}, "lineage": {"share": 0.3}})
    assert baselines(ground)["uda"].candidates[0] == {"method.threshold": 0.7}
    assert baselines(ground)["fixmatch"].candidates[0] == {}
    assert second_round(ground, "uda", {})["lineage"].candidates[0] == {"share": 0.3}


def test_every_choice_of_a_key_is_drawn_about_as_often():
    space = {"a": [1, 2], "b": list(range(50)), "c": [True, False, None]}
    drawn = draw(space, 13, "arm")[1:]
    assert sorted(Counter(keys["a"] for keys in drawn).values()) == [6, 6]
    assert sorted(Counter(keys["c"] for keys in drawn).values()) == [4, 4, 4]


def test_what_is_around_differs_in_two_keys_at_most_and_begins_with_the_keys():
    space = {"a": range(9), "b": range(9), "c": range(9), "d": range(9)}
    keys = {"a": 1, "b": 2, "c": 3, "d": 4}

    def make(name, keys):
        return {"baselines": {name: {"a": keys["a"], "b": keys["b"] % 3}}}

    made = around(make, keys, space, 6, "arm")
    assert made[0] == keys and len(made) == 6 and made == around(make, keys, space, 6, "arm")
    models = [make("c", candidate) for candidate in made]
    assert all(model not in models[:n] for n, model in enumerate(models))
    apart = [sum(other[k] != keys[k] for k in keys) for other in made[1:]]
    assert set(apart) <= {1, 2} and 2 in apart


def test_later_keys_come_before_earlier_ones_and_leave_the_block_as_it_was():
    block = {"a": {"b": 1}, "c": 2}
    made = filled(block, {"a.b": 3, "d.e": [4]}, {"a.b": 5})
    assert made == {"a": {"b": 5}, "c": 2, "d": {"e": [4]}} and block == {"a": {"b": 1}, "c": 2}


def test_the_highest_means_come_first_and_of_equals_the_first():
    assert highest({0: [0.5, 0.7], 1: [0.9, 0.3], 2: [0.8, 0.8]}, 2) == [2, 0]


def test_the_best_of_all_its_seeds_is_chosen(monkeypatch, tmp_path):
    """Candidate 1 leads on the first seeds, candidate 2 after more of them; candidate 0 gets no
    more; rows of the other seeds do not count twice."""
    scores = {0: [0.1] * 4, 1: [0.9, 0.9, 0.1, 0.1], 2: [0.8, 0.8, 0.9, 0.9]}
    asked = []

    def run(study):
        asked.append((study.test, list(study.seeds), list(study.arms)))
        return [
            {"arm": arm, "seed": str(seed), "val_acc/c": str(scores[int(arm[-1])][seed])}
            for arm in study.arms
            for seed in range(4)
        ]

    monkeypatch.setattr(search, "run", run)
    arm = Arm(lambda name, keys: {"baselines": {name: dict(keys)}}, [{"a": n} for n in range(3)])
    made = Search("x", tmp_path, {}, range(2), range(2, 4), 2)
    assert made.choose({"arm": arm}) == {"arm": Chosen({"a": 2}, pytest.approx(0.85))}
    assert asked == [
        (False, [0, 1], ["arm 0", "arm 1", "arm 2"]),
        (False, [2, 3], ["arm 1", "arm 2"]),
    ]


def test_a_candidate_is_the_last_model_of_its_own_params(tmp_path):
    arm = Arm(lambda name, keys: {"baselines": {name: dict(keys)}}, [{"a": 1}, {"a": 2}])
    made = Search("x", tmp_path, {"tasks": {}}, range(2), range(2, 4)).study(
        {"arm": arm}, {"arm": [1]}, range(3)
    )
    assert made.arms == {"arm 1": {"tasks": {}, "baselines": {"c": {"a": 2}}, "final": "c"}}


GROUNDS = {"digits": digits(), "cifar10": cifar10(Path("photos"))}


def arms(ground: Ground) -> dict[str, Arm]:
    made = second_round(ground, "flexmatch", SETTINGS)
    best = {name: Chosen({"share": 0.65, "end": 50}, 0.9) for name in made}
    return baselines(ground) | made | last_round(ground, made, best)


@pytest.mark.parametrize("best", ["supervised", "uda"])
def test_what_goes_on_begins_with_the_best_baseline(monkeypatch, best):
    """Be it a method or labels alone; it is the first of the arms, and teaches the lineage."""

    def choose(self, arms):
        return {name: Chosen(arm.candidates[0], float(name == best)) for name, arm in arms.items()}

    monkeypatch.setattr(Search, "choose", choose)
    made = study_lineage.tuned(digits())
    first, *others = made
    assert first == best and {"lineage", "meta"} <= set(others)
    assert "refined" not in made  # nothing near was better
    teacher = made["lineage"]["baselines"]["c-teacher"]
    assert list(teacher["methods"]) == ([] if best == "supervised" else [best])


def test_mixup_stays_where_it_helps_and_may_make_another_method_the_best(monkeypatch):
    scores = {"fixmatch": 0.8, "uda": 0.7, "uda mixup": 0.9, "lineage mixup": 0.6, "meta": 0.7}

    def choose(self, arms):
        assert self.best == (1 if "uda mixup" in arms else 3)
        return {
            name: Chosen(arm.candidates[-1 if "mixup" in name else 0], scores.get(name, 0.5))
            for name, arm in arms.items()
        }

    monkeypatch.setattr(Search, "choose", choose)
    made = study_lineage.tuned(digits())
    assert next(iter(made)) == "uda"
    own = {
        name: models["baselines"]["c"]["methods"]
        for name, models in made.items()
        if name in METHODS
    }
    assert own["uda"] == {"uda": {"mixup": 0.75}} and own["fixmatch"] == {"fixmatch": {}}
    assert made["lineage"]["baselines"]["c-teacher"]["methods"] == {"fixmatch": {"mixup": 0.75}}
    assert made["meta"]["baselines"]["c-first"]["methods"] == {"fixmatch": {}}


def test_candidates_may_see_fewer_images_than_what_is_claimed(monkeypatch):
    """Where there are no pairs, none is made."""
    steps, ground = {}, GROUNDS["cifar10"]

    def choose(self, arms):
        for name, arm in arms.items():
            (*_, last) = arm.make("c", arm.candidates[0]).values()
            steps[name] = last["c"]["training"]["steps"]
        return {name: Chosen(arm.candidates[0], 0.5) for name, arm in arms.items()}

    monkeypatch.setattr(Search, "choose", choose)
    made = study_lineage.tuned(ground)
    assert list(made) == [*ground.methods[:1], "lineage", *ground.methods[1:]]
    for name in ground.methods:
        full = made[name]["baselines"]["c"]["training"]["steps"]
        assert abs(full - 3 * steps[name]) <= 2
    assert made["lineage"]["generations"]["c"]["training"]["steps"] > 3 * steps["lineage"]


def test_what_goes_on_from_labels_alone_has_no_mixup():
    best = {name: Chosen({}, 0.5) for name in [*METHODS, "lineage", "meta", "refined"]}
    names = [f"{name} mixup" for name in METHODS if "align" in METHODS[name]]
    assert list(mixing(digits(), best, "supervised", {})) == names
    assert mixing(replace(digits(), mixup=[]), best, "uda", {}) == {}


def test_a_lineage_may_go_on_as_its_teacher_learns(monkeypatch):
    settings = {**SETTINGS, "training.num_ops": 1, "training.ema": 0.5}
    best = {name: Chosen({}, 0.5) for name in [*METHODS, "lineage", "meta", "refined"]}
    arm = mixing(digits(), best, "flexmatch", settings)["lineage mixup"]
    assert [keys["method.mixup"] for keys in arm.candidates] == [0.2, 0.75] * 2
    made = arm.make("c", arm.candidates[-1])
    teacher, student = made["baselines"]["c-teacher"], made["generations"]["c"]
    mixed = {"flexmatch": {"threshold": 0.9, "mixup": 0.75}}
    assert teacher["methods"] == student["methods"] == mixed and student["init"] == "teacher"
    recipe = {**teacher["training"], "unlabelled_weight": 1.0}
    for key in ("batch_size", "num_ops", "ema", "unlabelled_weight"):
        assert student["training"][key] == recipe[key]


@pytest.mark.parametrize("keys", [{"generations": 2, "beside": True}, {}])
def test_mixup_of_a_lineage_is_its_methods(keys):
    given = {**keys, "method.mixup": 0.2}
    made = lineage(digits(), "uda", {"method.weight": 2.0}, "x", given)
    mixed = {"uda": {"weight": 2.0, "mixup": 0.2}}
    assert made["baselines"]["x-teacher"]["methods"] == mixed
    others = [model["methods"] for model in made["generations"].values()]
    assert others == [mixed if keys else {}] * len(others)
    without = lineage(digits(), "uda", {"method.weight": 2.0}, "x", keys)
    steps = [[m["training"]["steps"] for m in of["generations"].values()] for of in (made, without)]
    assert steps[0] == steps[1]
    pair = meta(digits(), "uda", {}, "x", {"method.mixup": 0.2})
    assert pair["baselines"]["x-first"]["methods"] == {"uda": {"mixup": 0.2}}
    assert "method" not in pair["meta_pseudo_labels"]["x"]


@pytest.mark.parametrize("name", METHODS)
def test_images_of_a_step_are_those_that_a_learner_counts(chain, name):
    images = extension().images
    methods = {} if name == "supervised" else {name: SEMI_SUPERVISED[name]}
    built = {key: kind(kind.Options()) for key, kind in methods.items()}
    net = network()
    sizes = {"labelled": images.training.batch_size}
    for method in built.values():
        where = setting(net, images=images)
        method.start(where)
        sizes |= {part: stream.num for part, stream in method.streams(where).items()}
    learner = Learner(net, images.training, methods=built)
    recipe = images.training.model_dump()
    wanted = images.training.steps * per_step(recipe, list(methods), is_student=False)
    assert learner.images_seen(sizes) == wanted


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (
            lineage,
            {"generations": 2, "end": 3, "beside": True, "sizes": "growing", "init": "teacher"},
        ),
        (lineage, {"labels.transforms": ["identity", "flip"]}),
        (meta, {"feedback": "inner_product", "end": 3, "share": 0.35}),
        (meta, {}),
        (meta, {"feedback": "none", "init": "teacher"}),
    ],
)
def test_images_of_an_arm_are_those_that_its_cards_count(chain, make, keys):
    """Of small ones: two generations by the method too, pairs, clean ends."""
    ground = Ground(
        name="tiny",
        params=write_params(chain, tiny_values()),
        changes={},
        methods=["mean_teacher"],
        networks=({"network": "small_cnn", "width": 0.25}, {"network": "wide_cnn", "width": 0.25}),
        space={},
        starts={},
        lineage={},
        meta={},
        mixup=[],
        recipe_of_both={},
        student={},
        unlabelled=store.load("data/prepared/base").num("unlabelled"),
        budget=12_000,
        budget_of_search=12_000,
        candidates=1,
        seeds=range(1),
        more=range(1),
        claims=range(1),
        of_others=1,
    )
    models = make(ground, "mean_teacher", {}, "last", keys)
    study = Study(
        "x", {"a": {**ground.search().changes, **models, "final": "last"}}, [0], [], False
    )
    values = Study("x", study.arms, [0], [], False, ground.params).values("a", 0)
    results = run_chain(values)
    own = study_lineage.names(models)
    assert all(results[f"cpu_seconds/{name}"] > 0 for name in own)
    total = sum(results[f"images_seen/{name}"] for name in own)
    assert 0.95 * ground.budget < total <= ground.budget


@pytest.mark.parametrize(
    ("where", "name"), [(where, name) for where, of in GROUNDS.items() for name in arms(of)]
)
def test_every_candidate_is_a_recipe_of_the_budget(tmp_path, where, name):
    ground = GROUNDS[where]
    arm = arms(ground)[name]
    assert len(arm.candidates) == ground.candidates
    study = ground.search().study({name: arm}, {name: range(ground.candidates)}, range(1))
    for number, candidate in enumerate(study.arms):
        params = load(write_params(tmp_path, study.values(candidate, 0)))
        total = 0
        for model in study_lineage.names(arm.make("c", arm.candidates[number])):
            config = params.config(model)
            if name.startswith("meta") and model == "c":
                continue  # see the next test
            methods, student = config.options.methods.names, config.parent is not None
            recipe, end = config.training, config.options.fine_tune
            total += recipe.steps * per_step(recipe.model_dump(), methods, student)
            views = len(params.labels_of(model).transforms) if student else 0
            total += ground.unlabelled * views + (end.steps * recipe.batch_size if end else 0)
        if not name.startswith("meta"):
            assert 0.99 * ground.budget < total <= ground.budget, candidate


def test_generations_learn_by_the_labels_of_the_one_before():
    keys = {"generations": 3, "noise": "last off", "init": "teacher", "labels.kind": "hard"}
    made = lineage(digits(), "uda", {"training.num_ops": 1, "size": 1}, "x", keys)
    assert list(made["baselines"]) == ["x-teacher"]
    generations = made["generations"]
    assert [g["teacher"] for g in generations.values()] == ["x-teacher", "x-g1", "x-g2"]
    assert list(generations) == ["x-g1", "x-g2", "x"]
    assert made["baselines"]["x-teacher"]["training"]["num_ops"] == 1  # its settings
    assert [g["training"]["num_ops"] for g in generations.values()] == [2, 2, 0]
    assert {g["training"]["unlabelled_weight"] for g in generations.values()} == {8.0}
    assert {g["labels"]["kind"] for g in generations.values()} == {"hard"}
    assert all(g["methods"] == {} and g["init"] == "teacher" for g in generations.values())
    assert {g["network"] for g in generations.values()} == {"wide_cnn"}
    assert made["baselines"]["x-teacher"]["network"] == "wide_cnn"


def test_a_lineage_may_grow_learn_by_its_method_too_and_end_clean():
    keys = {"generations": 2, "sizes": "growing", "beside": True, "end": 50, "init": "teacher"}
    made = lineage(digits(), "uda", {}, "x", keys)
    assert made["baselines"]["x-teacher"]["network"] == "small_cnn"
    first, last = made["generations"].values()
    assert first["network"] == last["network"] == "wide_cnn"
    assert "init" not in first and last["init"] == "teacher"
    assert first["methods"] == last["methods"] == {"uda": {}}
    assert "fine_tune" not in first and last["fine_tune"]["steps"] == 50
