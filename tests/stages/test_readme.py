"""What the documents say is what the code does."""

import re

from conftest import ROOT

from pipeline.core.machine import Machine
from pipeline.networks import NETWORKS
from pipeline.params.describe import markdown

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_parameters_is_that_of_the_code():
    told = README.split("<!-- params -->")[1].split("<!-- /params -->")[0].strip()
    assert told == markdown()


def test_every_network_is_task_known():
    section = README.split("## Networks")[1].split("\n## ")[0]
    told = set(re.findall(r"`([^`]+)`", section))
    told |= {f"efficientnet_b{number}" for number in range(8)}  # `b0` to `b7`
    assert {name.removeprefix("torchvision/") for name in NETWORKS} <= told


def test_every_setting_of_the_machine_is_task_known():
    section = README.split("## This machine")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.M)) == set(Machine.model_fields)


def test_every_make_target_that_is_told_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", README + contributing, re.M)) <= targets


def test_links_lead_to_files():
    for document in ("README.md", "CONTRIBUTING.md", "docs/augmentation.md"):
        path = ROOT / document
        for target in re.findall(r"\]\((?!http|#)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{document}: {target}"
