"""Who imports whom in the report: no circles, and nothing of params."""

import ast
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

REPORT = {f"pipeline.report.{p.stem}": p for p in (ROOT / "pipeline/report").glob("*.py")}
TRACKING = [ROOT / f"pipeline/tracking/{name}.py" for name in ("record", "registry")]


def imported(path) -> set[str]:
    """Every module that a file imports, for a type checker's eyes too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_no_file_of_the_report_imports_itself_by_way_of_others():
    graph = {name: imported(path) & set(REPORT) for name, path in REPORT.items()}
    assert len(graph) > 20 and any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("path", [*REPORT.values(), *TRACKING], ids=lambda path: path.stem)
def test_the_report_and_what_records_it_know_no_params(path):
    assert not [name for name in imported(path) if name.startswith("pipeline.params")]
