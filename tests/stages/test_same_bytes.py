"""The same seed and params give the same bytes, another seed others."""

import shutil
from itertools import combinations
from pathlib import Path

import pytest
import torch
from conftest import same_files, tiny_values, write_params
from stage_mains import OUTPUTS, STAGES, TRAINED

from pipeline.training.fit import Trainings


def run_again(folder: Path, stage: str) -> None:
    """A stage, without what it made before; the labels of all generations lie in one folder."""
    for output in OUTPUTS[stage]:
        if stage != "pseudo_label":
            shutil.rmtree(folder / output)
    STAGES[stage]()


@pytest.mark.parametrize("stage", OUTPUTS)
def test_the_same_seed_gives_the_same_bytes(chain, finished, stage):
    run_again(chain, stage)
    for output in OUTPUTS[stage]:
        same_files(chain / output, finished / output)


@pytest.mark.parametrize("stage", TRAINED)
def test_another_seed_gives_other_bytes(chain, finished, stage):
    write_params(chain, tiny_values() | {"seed": 1})
    run_again(chain, stage)
    for output in OUTPUTS[stage]:
        with pytest.raises(AssertionError):
            same_files(chain / output, finished / output)


class Begun(Exception):
    """Carries the weights that a training begins with."""


def test_first_weights_depend_on_the_seed_and_the_model(chain, monkeypatch):
    def begin(_, learner, *__, **___):
        raise Begun(learner.network.heads["task_base"].weight.detach().clone())

    monkeypatch.setattr(Trainings, "fit", begin)
    first = []
    for seed in (0, 1):
        write_params(chain, tiny_values() | {"seed": seed})
        for stage in ("teacher", "student"):
            with pytest.raises(Begun) as caught:
                STAGES[stage]()
            first.append(caught.value.args[0])
    assert all(not torch.equal(one, other) for one, other in combinations(first, 2))


# each stage, and blocks of params.yaml that dvc.yaml does not name for it
UNSEEN = {
    "prepare": {"seed": 1, "training": {"steps": 5}, "labels": {"share": 0.1}, "teacher": {}},
    "teacher": {"labels": {"share": 0.1}, "g1": {"width": 0.5}, "final": "g1", "data": {}},
    "pseudo_label": {"training": {"steps": 5}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "student": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "meta_pseudo_labels": {
        "labels": {"share": 0.1},
        "teacher": {"width": 0.5},
        "g2": {"width": 0.5},
    },
    "baseline": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
    "prepare_task": {"seed": 1, "training": {"steps": 5}, "labels": {"share": 0.1}},
    "extend": {"labels": {"share": 0.1}, "teacher": {"width": 0.5}, "g2": {"width": 0.5}},
}


@pytest.mark.parametrize("stage", UNSEEN)
def test_a_stage_does_not_read_params_that_the_graph_does_not_name_for_it(chain, finished, stage):
    values = tiny_values()
    values["report"]["test"] = not values["report"]["test"]
    if "data" in UNSEEN[stage]:
        values["data"]["seed"] += 1
    for key, change in UNSEEN[stage].items():
        block = values["generations"] if key.startswith("g") else values
        block[key] = block[key] | change if isinstance(change, dict) else change
    write_params(chain, values)
    run_again(chain, stage)
    for output in OUTPUTS[stage]:
        same_files(chain / output, finished / output)
