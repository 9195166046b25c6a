"""Cleaning removes what params no longer name, and nothing else."""

from pathlib import Path

from conftest import tiny_values, write_params

from pipeline.params.check import load
from pipeline.running.clean import clean


def test_what_params_name_stays(chain):
    before = sorted(Path("models").rglob("*")) + sorted(Path("data").rglob("*"))
    Path("data/pseudo_labels/.gitkeep").touch()
    assert clean(load().lineage()) == []
    assert set(before) <= set(Path("models").rglob("*")) | set(Path("data").rglob("*"))
    assert Path("data/pseudo_labels/.gitkeep").exists()


def test_what_they_no_longer_name_goes(chain):
    values = tiny_values()
    del values["generations"]["g2"]
    write_params(chain, values | {"tasks": {}, "final": "g1"})
    Path(".lineage/resume/student@g2-0").mkdir(parents=True)
    gone = {str(path) for path in clean(load().lineage())}
    assert gone == {
        "models/g2",
        "models/t1",
        "data/prepared/t1",
        "data/pseudo_labels/g2.safetensors",
        str(chain / ".lineage/resume/student@g2-0"),
    }
    assert not any(Path(path).exists() for path in gone)
