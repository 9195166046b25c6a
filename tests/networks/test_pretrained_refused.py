"""A file of weights that is not the one asked for, or that does not fit: one line says why."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, tiny_values, write_params
from faults import lines_with
from weights import SHUFFLENET, ZEROS, ask, begin, line, put, state

from pipeline.commands.check import run as check
from pipeline.core import files
from pipeline.networks import NETWORKS, pretrained
from stages import student, teacher


def misfit(content: dict, **options) -> str:
    put(content, **options)
    return line(begin)


def test_missing_wrong_and_unknown_weights_are_counted_and_the_first_are_named(chain):
    given = state()
    del given["conv1.0.weight"]
    given["conv1.1.bias"] = torch.zeros(7)
    given["more"] = torch.zeros(1)
    given["still.more"] = torch.zeros(1)
    text = misfit(given)
    shown = "conv1.0.weight (missing), conv1.1.bias (7, needs 24), more (unknown), ...;"
    shown = f"error: teacher.pretrained: of the weights in 'weights/w.pth' 4 do not fit: {shown}"
    assert text.startswith(shown)


def test_another_networks_weights_are_refused(chain):
    assert "conv1.0.weight (missing), " in misfit(state("mobilenet_v3_small"))


def test_a_deeper_network_of_the_family_is_refused_though_all_weights_are_found(chain):
    assert "layer3.6.conv1.weight (unknown)" in misfit(
        state("resnet101"), network="torchvision/resnet50"
    )


def test_colour_weights_do_not_fit_four_channels():
    given = pretrained.Given("teacher.pretrained", "w.pth", ZEROS, state())
    backbone = NETWORKS[SHUFFLENET].build(4, 1.0, 0.0)
    text = line(lambda: pretrained.fill(backbone, given))
    assert "1 do not fit: conv1.0.weight (24x3x3x3, needs 24x4x3x3);" in text


class Malicious:
    """What a pickle can do when it is read as torch once did."""

    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("content", [Malicious(), {"conv1.0.weight": Malicious()}])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_run(chain, content, zipped):
    Path("weights").mkdir()
    torch.save(content, "weights/w.pth", _use_new_zipfile_serialization=zipped)
    ask(None, network=SHUFFLENET, width=1.0)
    text = line(begin)
    assert text.startswith("error: teacher.pretrained.file: '") and "could run code" in text
    assert not Path("it-ran").exists()
    torch.load("weights/w.pth", weights_only=False)  # whereas here
    assert Path("it-ran").exists()


@pytest.mark.parametrize("file", ["weights/w.pth", "weights/w.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"nothing of the kind", b"\x80\x02}q\x00.", b"PK\x03\x04"]
)
def test_a_file_of_another_kind_is_one_line(chain, file, content):
    Path("weights").mkdir()
    Path(file).write_bytes(content)
    ask(None, file, network=SHUFFLENET, width=1.0)
    text = line(begin)
    assert text.startswith("error: teacher.pretrained.file: '") and file in text


@pytest.mark.parametrize("keep", [100, -100])
def test_half_a_file_is_one_line(chain, keep):
    put(state())
    path = Path("weights/w.pth")
    path.write_bytes(path.read_bytes()[:keep])
    ask(None, network=SHUFFLENET, width=1.0)
    assert line(begin).startswith("error: teacher.pretrained.file: '")


@pytest.mark.parametrize(
    "content",
    [{"model": state()}, [torch.ones(2)], torch.ones(2), {}, {"epoch": 3}, {0: torch.ones(2)}, 7],
)
def test_what_is_no_state_dict_is_one_line(chain, content):
    put(content)
    assert "is no state dict" in line(begin)


@pytest.mark.parametrize(
    ("file", "sha256", "key", "what"),
    [
        ("weights/w.pth", ZEROS, "sha256", "its sha256 is {}; fix: put that one there"),
        ("weights/v.pth", ZEROS, "file", "no such file: 'weights/v.pth'"),
        ("weights", ZEROS, "file", "of an unknown kind"),
        ("weights/w.bin", ZEROS, "file", "of an unknown kind; fix: name a file in .safetensors,"),
    ],
)
@pytest.mark.parametrize("name", ["teacher", "g1"])
def test_a_file_that_is_not_the_one_named_is_one_line_before_training(
    chain, file, sha256, key, what, name
):
    put(state())
    ask(sha256, file, name, network=SHUFFLENET, width=1.0)
    stage = teacher.main if name == "teacher" else lambda: student.main(["g1"])
    place = name if name == "teacher" else f"generations.{name}"
    before = Path(f"models/{name}/model.safetensors").read_bytes()
    for text in (line(stage), line(lambda: check(argparse.Namespace()))):
        assert text.startswith(f"error: {place}.pretrained.{key}: ") and f"'{file}'" in text
        assert what.format(files.sha256("weights/w.pth")) in text
    assert Path(f"models/{name}/model.safetensors").read_bytes() == before


def test_check_names_all_files_at_once_and_waits_for_no_slow_library(project):
    values = tiny_values()
    for spec in (values["teacher"], values["generations"]["g2"]):
        spec["pretrained"] = {"file": "w.pth", "sha256": ZEROS}
    write_params(project, values)
    code = "import argparse, sys; from pipeline.commands.check import run as check\n"
    code += "try: check(argparse.Namespace())\nexcept Exception as error: "
    code += "print(*error.lines, sep='|')\n"
    code += "print(*{'kornia', 'torchvision', 'mlflow'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True
    )
    lines, slow = done.stdout.splitlines()
    places = [text.split(": ")[1] for text in lines.split("|")]
    assert places == ["teacher.pretrained.file", "generations.g2.pretrained.file"]
    assert slow == ""


@pytest.mark.parametrize("sha256", ["", "abc", "A" * 64, "0" * 63, "0" * 65, f"{ZEROS}\n"])
def test_a_sha256_of_another_form_is_one_line(tmp_path, sha256):
    (text,) = lines_with(tmp_path, "teacher.pretrained", {"file": "w.pth", "sha256": sha256})
    assert "(teacher.pretrained.sha256)" in text and "of another form; fix: expected text, " in text


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ({"file": "w.pth"}, "sha256"),
        ({"sha256": ZEROS}, "file"),
        ({"file": "", "sha256": ZEROS}, "file"),
        ({"file": "w.pth", "sha256": ZEROS, "url": "x"}, "url"),
    ],
)
def test_the_block_has_a_file_and_a_sha256(tmp_path, block, key):
    (text,) = lines_with(tmp_path, "generations.g1.pretrained", block)
    assert f"(generations.g1.pretrained.{key})" in text


def test_a_task_begins_from_its_base(tmp_path):
    (text,) = lines_with(tmp_path, "tasks.t1.pretrained", {"file": "w.pth", "sha256": ZEROS})
    assert "unknown key 'pretrained'" in text
