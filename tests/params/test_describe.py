"""The page of all methods and keys: as the code prints it today, with every key once."""

import re

import pytest
from conftest import ROOT
from faults import NAMES, leaves

from pipeline.__main__ import main
from pipeline.params.describe import FAMILIES, markdown

PAGE = ROOT / "docs/parameters.md"
SHARED = r"^(<model>|[a-z_]+\.<name>|teacher)\."


def sections() -> dict[str, dict[str, list[str]]]:
    """By heading, then by the first cell: the other cells of a row."""
    results: dict[str, dict[str, list[str]]] = {}
    for part in markdown().split("\n## ")[1:]:
        title, _, table = part.partition("\n")
        rows = [line for line in table.splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]
        results[title.strip("`")] = {first.strip("`"): rest for first, *rest in cells}
        assert len(results[title.strip("`")]) == len(rows)
    return results


def test_the_committed_page_is_what_the_command_prints(capsys):
    main(["params"])
    assert PAGE.read_text() == capsys.readouterr().out, "python -m pipeline params > the page"


def test_every_key_of_the_schema_has_its_row():
    listed = sections()
    for key, field in leaves():
        for block, name in NAMES.items():
            key = key.replace(f"{block}.{name}.", f"{block}.<name>.")
        place, _, last = re.sub(r"\.(training|labels)\.(\w+)$", r".\1", key).rpartition(".")
        shared = re.sub(SHARED, "<model>.", place + ".").rstrip(".")
        rows = listed.get(place or "Top level") or listed[shared]
        assert last in rows, key
        words = rows[last][-1]
        assert words == field.description or last in ("training", "labels"), key


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_has_its_family_its_sentence_and_its_paper(family):
    for name, method in FAMILIES[family].items():
        where, what, paper = sections()["Methods"][name]
        assert where == family and len(what) > 20 and what.endswith(".")
        assert " ".join(method.__doc__.split()).startswith(what)
        assert re.fullmatch(r"\[.+\]\(https://arxiv\.org/abs/\d+\.\d+\)|[^\[]*\d{4}.*", paper)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "dropout", "a number, at least 0, less than 1"),
        ("training", "cutout", "a number, at least 0, at most 1; 0 if left out"),
        ("labels", "transforms", "a list of names; identity if left out"),
        ("teacher", "fine_tune", "a block of keys; optional"),
        ("meta_pseudo_labels.<name>", "reduced", "true or false; false if left out"),
        ("meta_pseudo_labels.<name>.uda", "threshold", "a number, at least 0, at most 1; 0.6"),
        ("<model>.methods.uda", "threshold", "a number, at least 0, at most 1; 0.8 if left out"),
        ("tasks.<name>.methods.lwf", "temperature", "a number, more than 0, at most 100; 2 if"),
    ],
)
def test_a_row_says_what_a_key_may_be_and_is_if_it_is_left_out(section, key, value):
    assert sections()[section][key][0].startswith(value)
