"""`show`: the table of the last run, and whether params.yaml still asks for that run."""

import pytest
from conftest import tiny_values, write_params
from faults import set_key
from ruamel.yaml import YAML

from pipeline.commands.show import run as show
from pipeline.core import files


@pytest.fixture
def reproduced(chain):
    """A chain that DVC has run: its lock file holds the values of the report's blocks."""
    stage = {"params": {"params.yaml": tiny_values()}}
    with open("dvc.lock", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump({"stages": {"report": stage}}, file)
    return chain


@pytest.mark.parametrize("written", [True, False])
def test_a_run_that_params_still_ask_for_is_shown_alone(chain, request, capsys, written):
    if written:
        request.getfixturevalue("reproduced")
    show(None)
    assert capsys.readouterr().err == ""


def test_numbers_of_other_params_are_called_so(reproduced, capsys):
    values = tiny_values()
    set_key(values, "labels.share", 0.123)
    set_key(values, "seed", 7)
    write_params(reproduced, values)
    show(None)
    said = capsys.readouterr()
    assert "note: labels, seed of params.yaml changed after the run" in said.err
    assert "`dvc repro`" in said.err and said.out.startswith("model ")


def test_test_images_that_nobody_asked_for_are_not_read(chain, capsys):
    metrics = files.read_json("report/metrics.json")
    files.write_json(
        "report/metrics.json", {k: v for k, v in metrics.items() if not k.startswith("acc/")}
    )
    show(None)
    assert capsys.readouterr().out.count("not read\n") == 7
