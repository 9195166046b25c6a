"""`python -m pipeline suggest`."""

import argparse
from pathlib import Path, PurePosixPath


def arguments(parser: argparse.ArgumentParser) -> None:
    """How many, by whose answers, and where to."""
    parser.add_argument("-n", type=int, default=50, metavar="N", help="images (default: 50)")
    parser.add_argument(
        "--model", help="ask it and those it comes from (default: `final` of params.yaml)"
    )
    parser.add_argument(
        "--out", default="suggestions.csv", metavar="FILE", help="(default: suggestions.csv)"
    )


def run(given: argparse.Namespace) -> None:
    """list the unlabelled images whose labels would help most, to be filled in by a person"""
    from pipeline.core.errors import UserError, nearest
    from pipeline.data import tasks
    from pipeline.pages.formats import counted
    from pipeline.params.check import load
    from pipeline.params.kinds import check_whole
    from pipeline.suggest.suggest import PAGE, Request, suggest

    params = load()
    check_whole(params, "suggest")
    lineage = params.lineage()
    name = given.model or params.final
    if given.n < 1:
        raise UserError("suggest -n", f"{given.n} images", "ask for 1 at least")
    if name not in lineage:
        what = f"no model of params.yaml is called '{name}'"
        raise UserError("suggest --model", what, nearest(name, lineage))
    root, table = Path(params.data.root), Path(given.out)
    labelled = _labelled(root, params.data.manifest)
    chain = lineage.chain(name)
    made = suggest(Request(chain, tasks.dataset("base"), root, given.n, table, labelled))
    print(f"{table}: {counted(len(made), 'image')} to label, shown in {PAGE}")
    print(f"then: fill in its column `label`, and {_way(root, table)}")


def _labelled(root: Path, tables: list[str]) -> set[str]:
    """The images that the tables of data.manifest label, prepared with them or not yet."""
    from pipeline.sources.tables import Row, read

    rows = (row for name in tables for row in read(root, name))
    return {str(PurePosixPath(row.path)) for row in rows if isinstance(row, Row) and row.label}


def _way(root: Path, table: Path) -> str:
    """How the labels of a table come into the next `prepare`."""
    if table.resolve().is_relative_to(root.resolve()):
        name = table.resolve().relative_to(root.resolve())
        return f"name it in params.yaml: data.manifest: [{name}]"
    return f"move it into {root} and name it in params.yaml: data.manifest: [{table.name}]"
