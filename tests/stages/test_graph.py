"""dvc.yaml: a stage's deps are the folders of what it runs, its params are blocks that exist."""

from __future__ import annotations

from functools import cache

import pytest
from conftest import ROOT, real_values
from imports import OURS, all_code, closure, imports
from ruamel.yaml import YAML

from pipeline.params.schema import PARENT_KEYS, Params
from pipeline.params.words import block_in

# The rooms that a stage may run without being run again when they change: they cannot change a
# byte of what it makes.
EXEMPT = frozenset({"pipeline.params", "pipeline.running", "pipeline.tracking"})
PACKAGE = "pipeline/__init__.py"  # imports one of them
GRAPH = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES = {name: stage.get("do", stage) for name, stage in GRAPH["stages"].items()}
EVERY = pytest.mark.parametrize("name", STAGES)


def listed(name: str) -> list[str]:
    """The deps of a stage on code of ours."""
    return [path for path in STAGES[name]["deps"] if path.split("/")[0] in OURS]


def covered(dependency: str) -> set[str]:
    """The files with code that a dependency on a file or a folder of ours covers."""
    return {path for path in all_code() if path == dependency or path.startswith(f"{dependency}/")}


@cache
def runs(name: str) -> frozenset[str]:
    """The files that a stage runs, but for those of exempt rooms: what its script imports and,
    where it trains, the methods that params may name for its model."""
    run = closure(STAGES[name]["cmd"].split()[2], without=EXEMPT)
    if "pipeline/training/method.py" in run:
        run = run.union(*(closure(module, without=EXEMPT) for module in methods(name)))
    return frozenset(run - {PACKAGE})


def methods(name: str) -> set[str]:
    """The modules of the methods that the params of a stage may name."""
    blocks = [block_in(Params.model_fields[key.split(".")[0]].annotation) for key in params(name)]
    fields = [
        block.model_fields["methods"]
        for block in blocks
        if block and "methods" in block.model_fields
    ]
    families = [block_in(field.annotation).family for field in fields]
    return {method.__module__ for family in families for method in family.values()}


def params(name: str) -> list[str]:
    """The keys of params.yaml that a stage reads."""
    return STAGES[name]["params"]


@EVERY
def test_every_file_that_a_stage_runs_lies_in_a_listed_folder(name):
    assert runs(name) - set().union(*map(covered, listed(name))) == set()


def test_the_package_itself_runs_only_what_is_exempt():
    assert imports(PACKAGE) == {"pipeline.running.ending"}


@EVERY
def test_no_folder_is_listed_from_which_nothing_runs(name):
    assert [path for path in listed(name) if not covered(path) & runs(name)] == []


@EVERY
def test_code_is_listed_by_rooms_in_order_but_for_the_stages_own_script(name):
    """A folder may hold more than the stage runs: who adds a file there need not list it."""
    *rooms, script = listed(name)
    assert script == f"stages/{name}.py" and rooms == sorted(set(rooms))
    assert all((ROOT / path).is_dir() for path in rooms)
    assert EXEMPT.isdisjoint(path.replace("/", ".") for path in rooms)


@EVERY
def test_params_are_blocks_that_exist(name):
    known = {*Params.model_fields}
    assert {key.split(".")[0] for key in params(name)} <= known
    assert name != "report" or set(params(name)) == known


@EVERY
def test_every_stage_is_a_module_with_a_description(name):
    assert STAGES[name]["cmd"].split()[:3] == ["python", "-m", f"stages.{name}"]
    assert STAGES[name]["desc"] and (ROOT / f"stages/{name}.py").is_file()


def test_every_script_is_a_stage():
    assert {p.stem for p in (ROOT / "stages").glob("*.py")} == {*STAGES, "__init__"}


def test_there_is_a_stage_for_every_entry_of_params():
    values, each = real_values(), set(PARENT_KEYS)
    loops = {stage["foreach"][2:-1] for stage in GRAPH["stages"].values() if "foreach" in stage}
    assert loops == each <= values.keys()


def keys(block: type) -> set[str]:
    """The names of a block's keys, those of blocks inside too."""
    found = set()
    for name, field in block.by_key().items():
        inner = block_in(field.annotation)
        found |= {name} | (keys(inner) if inner else set())
    return found


@EVERY
def test_a_key_that_dvcs_run_cache_cannot_see_is_of_no_stage_that_it_keeps(name):
    """It would take the outputs of other values for those asked for."""
    from dvc_data.hashfile.meta import Meta

    unseen = {Meta.PARAM_SIZE, Meta.PARAM_NFILES}
    read = {key.split(".")[0] for key in params(name)}
    fields = Params.by_key()
    blocks = [block_in(fields[key].annotation) for key in read]
    blind = unseen & set().union(*(keys(block) for block in blocks if block))
    outs = [out if isinstance(out, dict) else {out: {}} for out in STAGES[name]["outs"]]
    kept = not all(options.get("persist") for out in outs for options in out.values())
    told = any(path.startswith("data/prepared") for path in STAGES[name]["deps"])  # by its bytes
    assert not blind or not kept or told
