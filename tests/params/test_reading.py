"""A params file as text: YAML 1.2, lines for messages, what is no mapping."""

import re

import pytest
from conftest import ROOT, write_params
from faults import example

from pipeline.core.errors import UserError
from pipeline.params.check import load


def test_the_committed_file_is_right():
    params = load(ROOT / "params.yaml")
    assert next(iter(params.lineage())) == "teacher"
    assert params.final in params.places()


def test_all_faults_are_reported_at_once_each_with_its_line(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("labels_per_class: 3", "labels_per_class: 0").replace("sgd", "sdg", 1)
    text = re.sub(r"(?m)^final: .*", "final: g99", text)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "params.yaml")
    rows = [line.split(":")[0] for line in text.splitlines()]
    expected = {
        f"params.yaml:{rows.index(start) + 1} ({key})"
        for start, key in [
            ("  labels_per_class", "data.labels_per_class"),
            ("  optimizer", "training.optimizer"),
            ("final", "final"),
        ]
    }
    assert {line.split(": ")[1].rsplit("/", 1)[1] for line in caught.value.lines} == expected


def test_a_duplicate_key_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("  shift:", "  steps: 3\n  shift:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params.yaml:\d+: 'steps' stands here a second time"):
        load(tmp_path / "params.yaml")


def test_a_duplicate_name_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    name = re.search(r"(?m)^generations:\n  (\w+):", text)
    text = text.replace(name[0], f"{name[0]} {{}}\n  {name[1]}:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=f"'{name[1]}' stands here a second time"):
        load(tmp_path / "params.yaml")


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001", "1.0e-3"])
def test_numbers_with_an_exponent_are_numbers(tmp_path, written):
    text = (ROOT / "params.yaml").read_text()
    text = re.sub(r"learning_rate: \S+", f"learning_rate: {written}", text, count=1)
    (tmp_path / "params.yaml").write_text(text)
    assert load(tmp_path / "params.yaml").training.learning_rate == 0.001


def test_a_whole_number_will_do_for_a_number(tmp_path):
    values = example()
    values["training"]["learning_rate"] = 1
    assert load(write_params(tmp_path, values)).training.learning_rate == 1.0


def test_a_number_may_name_a_class(tmp_path):
    values = example()
    values["data"]["classes"] = [3, "4"]
    assert load(write_params(tmp_path, values)).data.classes == ["3", "4"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no"),
        ("- a\n- b\n", "holds no"),
        ("seed: [1\n", "not valid YAML"),
        ("seed: \xff", None),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, words):
    (tmp_path / "params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=words):
        load(tmp_path / "params.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "params.yaml")
