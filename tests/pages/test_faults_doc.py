"""The table of faults in the docs names tests that are there."""

import re

from conftest import ROOT

ROW = re.compile(r"^\| .+ \| .+ \| \[(\w+)\]\(\.\./(tests/[\w/]+\.py)\) \|$")


def test_each_row_names_a_test_that_is_there():
    lines = (ROOT / "docs/faults.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if "](../tests/" in line]
    assert len(rows) >= 30
    for row in rows:
        name, path = ROW.fullmatch(row).groups()
        source = (ROOT / path).read_text(encoding="utf-8")
        assert f"\ndef test_{name}(" in source, row
