"""The search behind the claims of a lineage: what is drawn, chosen, and counted."""

from __future__ import annotations

import pytest
from conftest import write_params
from jobs import extension
from learners import TRAINING, network, setting

from benchmarks import search
from benchmarks.search import Chosen, Search, draw, filled, highest, together
from benchmarks.study import Study
from benchmarks.study_lineage import LINEAGE, METHODS, baselines, digits, lineage, per_step
from pipeline.methods.semi_supervised import SEMI_SUPERVISED
from pipeline.params.check import load
from pipeline.training.learner import Learner


def test_draws_are_different_the_same_every_time_and_begin_with_none():
    space = {"a": [1, 2, 3], "b.c": ["x", "y"]}
    drawn = draw(space, 5, "arm")
    assert drawn == draw(space, 5, "arm") != draw(space, 5, "other")
    assert drawn[0] == {} and len(drawn) == 5
    assert len({tuple(sorted(keys.items())) for keys in drawn}) == 5
    assert all(set(keys) == set(space) for keys in drawn[1:])
    assert len(draw({"a": [1, 2]}, 5, "arm")) == 3  # there are no more


def test_later_keys_come_before_earlier_ones_and_leave_the_block_as_it_was():
    block = {"a": {"b": 1}, "c": 2}
    made = filled(block, {"a.b": 3, "d.e": [4]}, {"a.b": 5})
    assert made == {"a": {"b": 5}, "c": 2, "d": {"e": [4]}} and block == {"a": {"b": 1}, "c": 2}


def test_the_highest_means_come_first_and_of_equals_the_first():
    assert highest({0: [0.5, 0.7], 1: [0.9, 0.3], 2: [0.8, 0.8]}, 2) == [2, 0]


def test_the_best_of_all_its_seeds_is_chosen(monkeypatch, tmp_path):
    """Candidate 1 leads on the first seeds, candidate 2 after more of them; the lower half of the
    arm gets no more seeds."""
    scores = {0: [0.1] * 4, 1: [0.9, 0.9, 0.1, 0.1], 2: [0.8, 0.8, 0.9, 0.9]}
    asked = {}

    def run(study):
        asked[study.name] = list(study.arms["arm"]["baselines"])
        return [
            {"arm": "arm", "seed": seed}
            | {f"val_acc/c{n}": str(score[seed]) for n, score in scores.items()}
            for seed in study.seeds
        ]

    monkeypatch.setattr(search, "run", run)

    def make(name, keys):
        return {"baselines": {name: dict(keys)}}

    made = Search("x", tmp_path, {}, 3, range(2), 2, range(2, 4))
    [chosen] = made.choose({"arm": (make, {"a": list(range(9))})}).values()
    assert asked == {"tune_x": ["c0", "c1", "c2"], "tune_x_best": ["c1", "c2"]}
    assert chosen == Chosen(draw({"a": list(range(9))}, 3, "arm")[2], pytest.approx(0.85))


def test_candidates_are_together_in_one_file_and_the_last_is_final():
    one = {"baselines": {"a-t": {}}, "generations": {"a": {}}}
    made = together([one, {"baselines": {"b": {}}}])
    assert made == {"baselines": {"a-t": {}, "b": {}}, "generations": {"a": {}}, "final": "b"}
    assert together([one])["final"] == "a"


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
    recipe = TRAINING.model_copy(update={"steps": 7})
    counted = Learner(net, recipe, methods=built).images_seen(sizes)
    dumped = images.training.model_dump()
    assert counted == 7 * per_step(dumped, list(methods), is_student=False)
    unlabelled = images.training.num_unlabelled
    assert per_step(dumped, list(methods), is_student=True) == counted / 7 + unlabelled


@pytest.mark.parametrize("arm", [*METHODS, "lineage"])
def test_every_candidate_is_a_recipe_of_the_budget(tmp_path, arm):
    ground = digits()
    made, space = baselines(ground).get(arm, (None, LINEAGE))
    settings = {"method.threshold": 0.9, "training.batch_size": 12}
    make = made or (lambda name, keys: lineage(ground, "fixmatch", settings, name, keys))
    drawn = draw(space, ground.search().candidates, arm)
    assert len(drawn) == ground.search().candidates
    models = together([make(f"c{n}", keys) for n, keys in enumerate(drawn)])
    arms = {arm: {**ground.search().changes, **models}}
    study = Study("x", arms, [0], [], False, ground.params)
    params = load(write_params(tmp_path, study.values(arm, 0)))
    for n, keys in enumerate(drawn):
        total = 0
        for models in make(f"c{n}", keys).values():
            for name in models:
                config = params.config(name)
                methods = list(config.options.methods.names)
                student = config.parent is not None
                recipe = config.training.model_dump()
                total += config.training.steps * per_step(recipe, methods, student)
                total += ground.unlabelled * student
        assert 0.99 * ground.budget < total <= ground.budget


def test_generations_learn_by_the_labels_of_the_one_before():
    keys = {"generations": 3, "noise": "last off", "init": "teacher", "labels.kind": "hard"}
    made = lineage(digits(), "uda", {"training.num_ops": 1}, "x", keys)
    assert list(made["baselines"]) == ["x-teacher"]
    generations = made["generations"]
    assert [g["teacher"] for g in generations.values()] == ["x-teacher", "x-g1", "x-g2"]
    assert list(generations) == ["x-g1", "x-g2", "x"]
    assert [g["training"]["num_ops"] for g in generations.values()] == [1, 1, 0]
    assert {g["labels"]["kind"] for g in generations.values()} == {"hard"}
    assert all(g["methods"] == {} and g["init"] == "teacher" for g in generations.values())
    beside = lineage(digits(), "uda", {}, "x", {"beside": True})["generations"]["x"]
    assert beside["methods"] == {"uda": {}}
