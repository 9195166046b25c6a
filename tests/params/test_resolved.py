"""What the checked file resolves to: frozen objects, each model with all that it takes."""

import pytest
from conftest import write_params
from faults import example, set_key

from pipeline.params.check import load

PLACES = ["teacher", "generations.g1", "meta_pseudo_labels.m1", "baselines.b1", "tasks.t1"]


def loaded(folder, **changes):
    values = example()
    for key, value in changes.items():
        set_key(values, key.replace("__", "."), value)
    return load(write_params(folder, values))


@pytest.mark.parametrize("place", PLACES)
def test_an_override_changes_its_keys_for_its_model_alone(tmp_path, place):
    values = set_key(example(), f"{place}.training", {"steps": 70, "ema": 0.5})
    params = load(write_params(tmp_path, values))
    name = place.split(".")[-1]
    mine = {name, "m1-teacher"} if name == "m1" else {name}
    changed = params.training.model_copy(update={"steps": 70, "ema": 0.5})
    for model in params.places():
        expected = changed if model in mine else params.training
        assert params.config(model).training == expected


def test_labels_of_a_generation_are_the_shared_ones_with_its_keys(tmp_path):
    params = loaded(tmp_path, generations__g2__labels={"kind": "hard"})
    assert params.labels_of("g2") == params.labels.model_copy(update={"kind": "hard"})
    assert params.labels_of("g1") == params.labels


def test_a_model_without_a_network_has_that_of_what_it_comes_from(tmp_path):
    params = loaded(tmp_path, generations__g2__network="wide_cnn", generations__g2__width=0.5)
    for name, parent in {"t1": "g2", "m1": "g1", "m1-teacher": "g1"}.items():
        mine, theirs = params.config(name), params.config(parent)
        assert (mine.network, mine.width) == (theirs.network, theirs.width)
    assert (params.config("t1").network, params.config("t1").width) == ("wide_cnn", 0.5)


def test_a_pair_with_a_network_has_its_own_and_its_teacher_keeps_what_it_had(tmp_path):
    params = loaded(tmp_path, meta_pseudo_labels__m1={"teacher": "g1", "network": "wide_cnn"})
    assert params.config("m1").network == "wide_cnn"
    assert params.config("m1-teacher").network == "small_cnn"


def test_a_config_knows_its_chain_its_place_and_the_seed(tmp_path):
    config = loaded(tmp_path, seed=7).config("t1")
    assert [model.name for model in config.chain()] == ["t1", "g2", "g1", "teacher"]
    assert (config.key, config.seed) == ("tasks.t1", 7)


def test_params_are_frozen(tiny):
    with pytest.raises(ValueError, match="frozen"):
        tiny.training.steps = 3
