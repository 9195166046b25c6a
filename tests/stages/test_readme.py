"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
import shlex
import types
from pathlib import Path

import pytest
import torch
from conftest import ROOT, real_values, write_params
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides
from learners import copied, network, setting
from ruamel.yaml import YAML

from pipeline.core.machine import Machine
from pipeline.core.yaml_file import read
from pipeline.labelling import pseudo_labels
from pipeline.networks import NETWORKS, checkpoint
from pipeline.params.check import load
from pipeline.training.method import Method, build, methods_block

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/RESULTS.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
README = TEXTS[ROOT / "README.md"]
HEADINGS = [
    "Quick start",
    "Results",
    "Your own images",
    "Generations",
    "Pseudo-labels",
    "Methods",
    "Meta Pseudo Labels",
    "Distillation",
    "Baselines",
    "Adding a task",
    "Networks",
    "Presets",
    "Comparing experiments",
    "What ships",
    "Machine settings",
    "File formats",
    "Errors",
    "License",
]


def page(name: str) -> str:
    return TEXTS[ROOT / "docs" / name]


def blocks(kind: str) -> list:
    """The fenced blocks of a kind in all documents, named by document and place."""
    return [
        pytest.param(path, block, id=f"{path.name}-{number}")
        for path, text in TEXTS.items()
        for number, block in enumerate(re.findall(rf"^```{kind}\n(.*?)^```", text, re.M | re.S))
    ]


# --- the README ---------------------------------------------------------------------------------


def test_the_readme_is_short_and_its_headings_are_what_a_reader_searches_for():
    assert len(README.splitlines()) <= 250
    assert re.findall(r"^## (.*)", README, re.M) == HEADINGS


def test_every_page_of_docs_is_named_in_the_readme():
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert "docs/parameters.md" in pages
    assert pages <= set(re.findall(r"\]\(([^)#]+)", README))


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", TEXTS[path]):
        file = path.parent / target if target else path
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.M)
            assert anchor in map(slug, headings), f"{target}#{anchor}"


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    everything = "\n".join(TEXTS.values())
    named = set(re.findall(r"(?:^|`)make (?:-n )?([a-z-]+)", everything, re.M))
    assert named and named <= targets


# --- params.yaml ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "block"), blocks("yaml"))
def test_an_example_put_into_the_committed_params_is_right(path, block, tmp_path):
    """Those of segmentation into its preset."""
    scenes = ROOT / "presets/digit-scenes.yaml"
    values = read(scenes).values if path.name == "segmentation.md" else real_values()
    example = YAML(typ="safe").load(block.replace("…", "0" * 56))  # the rest of a sha256
    assert example
    load(write_params(tmp_path, values | example))


def commands() -> list:
    """The values of `-S` of every command of DVC in a shell block, and each in running text."""
    cases = []
    for path, text in TEXTS.items():
        shell = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))
        prose = re.sub(r"\s+", " ", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
        lines = [line for line in shell.splitlines() if line.startswith("dvc exp run")]
        lines += [f"dvc {value}" for value in re.findall(r"`(-S (?:'[^']+'|[^`\s]+))`", prose)]
        for line in lines:
            words = shlex.split(line, comments=True)
            values = [value for flag, value in zip(words, words[1:]) if flag == "-S"]
            cases += [pytest.param(values, id=f"{path.name}-{' '.join(values)}")] if values else []
    return cases


def test_commands_are_read_from_the_documents():
    assert len(commands()) >= 12


NOTHING = ["tasks.t1.methods={}"]  # named as what does not work


@pytest.mark.parametrize("values", commands())
def test_a_switch_of_an_experiment_gives_other_params_that_are_right(values, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    before = load(path)
    [(_, overrides)] = to_path_overrides(values).items()
    apply_overrides(path, overrides)
    assert (load(path) == before) == (values == NOTHING)


# --- names ---------------------------------------------------------------------------------------


def test_every_network_is_named():
    named = set(re.findall(r"`([^`]+)`", page("networks.md")))
    named |= {f"efficientnet_b{number}" for number in range(8)}  # `b0` to `b7`
    assert {name.removeprefix("torchvision/") for name in NETWORKS} <= named


def test_every_setting_of_the_machine_is_named():
    assert set(re.findall(r"^\| `(\w+)`", page("machine.md"), re.M)) == set(Machine.model_fields)


def test_every_metric_of_the_committed_run_is_explained():
    rows = re.findall(r"^\| (`.*?`) \|", page("metrics.md"), re.M)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    forms = [re.sub(r"<\w+>", "[^/]+", name) for name in names]
    keys = json.loads((ROOT / "report/metrics.json").read_text("utf-8"))
    unknown = [key for key in keys if not any(re.fullmatch(f"(val_)?{f}", key) for f in forms)]
    assert keys and unknown == []


def test_the_page_on_files_is_of_the_versions_that_are_written():
    assert f"## Cards (schema {checkpoint.SCHEMA})" in page("files.md")
    assert f"## Metadata of pseudo-labels (schema {pseudo_labels.SCHEMA})" in page("files.md")


def fields(heading: str) -> set[str]:
    """The names in the first column of a table of the page on files."""
    section = page("files.md").split(f"## {heading}")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_field_of_cards_and_pseudo_labels_is_explained(chain):
    cards = [json.loads(path.read_text("utf-8")) for path in Path("models").glob("*/card.json")]
    written = {name for card in cards for name in card}
    assert written - {"memory_sha256"} == fields("Cards")
    labels = {}
    for path in Path("data/pseudo_labels").glob("*.safetensors"):
        labels |= pseudo_labels.load(path)[1]
    assert labels.keys() | {"sha256"} == fields("Metadata of pseudo-labels")


# --- CONTRIBUTING --------------------------------------------------------------------------------

CONTRIBUTING = TEXTS[ROOT / "CONTRIBUTING.md"]


def test_the_house_has_the_rooms_that_there_are():
    tree = CONTRIBUTING.split("## The house")[1].split("```")[1]
    named = set(re.findall(r"^  (\w+)/", tree, re.M))
    assert named == {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}


def test_files_and_dicts_that_are_named_exist():
    folders = ("pipeline", "tests", "stages", "docs")
    for name in re.findall(rf"`((?:{'|'.join(folders)})/[\w/.]+)`", CONTRIBUTING):
        assert (ROOT / name).exists() or name.endswith("l2_sp.py"), name
    code = "".join(path.read_text("utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    for name in re.findall(r"`([A-Z][A-Z_]{4,})`", CONTRIBUTING):
        assert re.search(rf"^{name}\b.* = {{", code, re.M), name


def test_the_example_of_a_method_computes_its_formula():
    [source] = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING, re.M | re.S)
    module = types.ModuleType("l2_sp")
    exec(source, vars(module))
    assert issubclass(module.L2SP, Method)
    options = methods_block({"l2_sp": module.L2SP}).model_validate({"l2_sp": {"weight": 3.0}})
    [method] = build(options).values()
    trained = network(heads={"base": 3, "t": 2})
    base = copied(network(heads={"base": 3}))
    method.start(setting(trained, [slice(0, 3)], slice(3, 5), {"base": base}))
    assert method.losses(trained, {}, None)["l2_sp"] == 0
    numbers = 0
    with torch.no_grad():
        for name, weight in base.named_parameters():
            trained.get_parameter(name).add_(0.1)
            numbers += weight.numel()
    loss = method.losses(trained, {}, None)["l2_sp"]
    assert loss.item() == pytest.approx(3.0 / 2 * 0.1**2 * numbers, rel=1e-4)
    loss.backward()
    assert trained.newest_head.weight.grad is None
