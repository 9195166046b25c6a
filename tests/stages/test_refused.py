"""What every stage refuses: wrong params, names, words; inputs that are missing or damaged."""

import pytest
from conftest import tiny_values, write_params
from stage_mains import STAGES

from pipeline.core.errors import UserError
from pipeline.running.entry import enter
from stages import (
    baseline,
    extend,
    meta_pseudo_labels,
    prepare,
    prepare_task,
    pseudo_label,
    report,
    student,
    teacher,
)


@pytest.mark.parametrize("stage", STAGES)
def test_wrong_params_end_every_stage_before_it_writes(project, stage, capsys):
    write_params(project, tiny_values() | {"seed": "x", "finall": "g2"})
    with pytest.raises(SystemExit) as caught:
        enter(lambda argv: STAGES[stage]())
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: params.yaml:") for line in lines)
    assert [p.name for p in project.rglob("*") if p.is_file()] == ["params.yaml"]


@pytest.mark.parametrize("stage", [s for s in STAGES if s not in ("prepare", "prepare_task")])
def test_a_stage_without_its_inputs_says_which_are_missing(project, stage):
    with pytest.raises(UserError, match=r"(data/prepared|models|data/pseudo).*no such file"):
        STAGES[stage]()


@pytest.mark.parametrize(
    "stage", [pseudo_label, student, meta_pseudo_labels, baseline, extend, prepare_task]
)
@pytest.mark.parametrize("given", [[], ["g11"], ["teacher"], ["g1", "g2"]])
def test_a_name_that_params_lack_is_refused(project, stage, given):
    with pytest.raises(UserError, match=rf"{stage.__name__}: .*; fix: "):
        stage.main(given)


@pytest.mark.parametrize("stage", [prepare, teacher, report])
def test_a_word_is_refused_by_a_stage_that_takes_none(project, stage, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [stage.__name__, "g1", "g2"])
    with pytest.raises(SystemExit) as caught:
        enter(stage.main)
    assert caught.value.code == 2
    line = f"error: {stage.__name__}: takes no argument, 'g1 g2' is given; fix: leave it out\n"
    assert capsys.readouterr().err == line
    assert [p.name for p in project.rglob("*") if p.is_file()] == ["params.yaml"]


DAMAGED = [
    ("teacher", "data/prepared/base/labelled/image.npy"),
    ("teacher", "data/prepared/base/val/label.npy"),
    ("teacher", "data/prepared/base/dataset.json"),
    ("pseudo_label", "models/teacher/model.safetensors"),
    ("pseudo_label", "models/teacher/card.json"),
    ("pseudo_label", "data/prepared/base/unlabelled/image.npy"),
    ("student", "data/pseudo_labels/g1.safetensors"),
    ("student", "models/teacher/card.json"),
    ("meta_pseudo_labels", "models/g1/model.safetensors"),
    ("meta_pseudo_labels", "data/prepared/base/unlabelled/image.npy"),
    ("baseline", "data/prepared/base/unlabelled/image.npy"),
    ("extend", "models/g2/model.safetensors"),
    ("extend", "data/prepared/t1/labelled/label.npy"),
    ("report", "models/g2/model.safetensors"),
    ("report", "data/prepared/base/test/label.npy"),
    ("report", "data/pseudo_labels/g2.safetensors"),
    ("report", "models/g1/curves.csv"),
    ("report", "data/prepared/base/findings.json"),
]


@pytest.mark.parametrize(("stage", "path"), DAMAGED)
def test_one_flipped_bit_of_an_input_ends_a_stage(chain, stage, path):
    data = bytearray((chain / path).read_bytes())
    data[2 * len(data) // 3] ^= 4
    (chain / path).write_bytes(data)
    with pytest.raises(UserError, match=path):
        STAGES[stage]()


@pytest.mark.parametrize(
    "stage", ["pseudo_label", "student", "meta_pseudo_labels", "extend", "report"]
)
def test_another_order_of_classes_is_refused(chain, stage):
    values = tiny_values()
    values["data"]["classes"] = values["data"]["classes"][::-1]
    write_params(chain, values)
    prepare.main()
    with pytest.raises(UserError, match="classes"):
        STAGES[stage]()
