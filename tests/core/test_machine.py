"""Settings of the machine: from its file, from the environment, or refused in a line."""

import pytest
import torch

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.core.machine import Machine
from pipeline.networks import NETWORKS
from pipeline.networks.classifier import Classifier

SMALL = torch.nn.Linear(4, 4)


@pytest.fixture(autouse=True)
def plain(tmp_path, monkeypatch):
    """A folder of its own, no settings, and torch as it was afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in Machine.model_fields:
        monkeypatch.delenv(f"LINEAGE_{name.upper()}", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_without_a_file_everything_has_its_default():
    assert machine.load() == Machine()


def test_a_file_sets_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "machine.yaml").write_text("threads: 3\ndtype: bfloat16\n")
    monkeypatch.setenv("LINEAGE_THREADS", "5")
    monkeypatch.setenv("LINEAGE_COMPILE", "true")
    assert machine.load() == Machine(threads=5, dtype="bfloat16", compile=True)


def test_the_file_is_the_projects_own_also_in_a_copy_of_it(tmp_path, monkeypatch):
    (tmp_path / "machine.yaml").write_text("threads: 3\n")
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    assert machine.load().threads == 0
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert machine.load().threads == 3 and machine.root() == tmp_path.resolve()


BAD = {
    "device": "gpu",
    "threads": "-1",
    "dtype": "float16",
    "deterministic": "perhaps",
    "resident_gigabytes": "-0.1",
    "compile": "maybe",
    "capture": "maybe",
    "checkpoint_seconds": "0",
}


def test_every_setting_is_broken_below():
    assert BAD.keys() == Machine.model_fields.keys()


@pytest.mark.parametrize(("name", "value"), BAD.items())
@pytest.mark.parametrize("variable", [False, True])
def test_a_setting_out_of_range_is_one_line_that_says_where_it_stands(
    tmp_path, monkeypatch, name, value, variable
):
    if variable:
        monkeypatch.setenv(f"LINEAGE_{name.upper()}", value)
    else:
        (tmp_path / "machine.yaml").write_text(f"{name}: {value}\n")
    with pytest.raises(UserError) as caught:
        machine.load()
    (line,) = caught.value.lines
    where = f"LINEAGE_{name.upper()}" if variable else str(tmp_path / "machine.yaml")
    assert line.startswith(f"error: {where} ({name}): ") and line.endswith("; fix: correct it")


def test_all_wrong_settings_are_reported_at_once(tmp_path):
    (tmp_path / "machine.yaml").write_text("thread: 3\ndtype: float16\n")
    with pytest.raises(UserError) as caught:
        machine.load()
    assert len(caught.value.lines) == 2
    assert any(
        "unknown key 'thread'; fix: did you mean 'threads'?" in x for x in caught.value.lines
    )


def test_a_device_that_is_not_there_is_one_line():
    number = torch.cuda.device_count()
    with pytest.raises(UserError, match=f"device: 'cuda:{number}' cannot be used .*fix: use auto"):
        machine.device(Machine(device=f"cuda:{number}"))


def test_a_device_is_found():
    assert machine.device(Machine(device="cpu")) == torch.device("cpu")
    assert machine.device(Machine()).type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("threads", "expected"), [(0, 1), (2, 2)])
def test_a_small_network_has_one_thread_and_full_precision(threads, expected):
    with machine.configure(Machine(threads=threads), SMALL, 32**2)():
        assert torch.get_num_threads() == expected
        assert not torch.is_autocast_enabled("cpu")


def pixels_of(work: int) -> int:
    """So many that SMALL reaches this product of weights and pixels."""
    return work // sum(w.numel() for w in SMALL.parameters()) + 1


@pytest.mark.parametrize(
    ("work", "cores", "threads"),
    [
        (machine.MEDIUM, 2, 1),
        (machine.MEDIUM, 3, 2),
        (machine.LARGE - 60, 64, 2),
        (machine.LARGE, 2, 2),
        (machine.LARGE, 64, 64),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_a_network_has_bf16_where_that_is_fast_and_threads_by_its_size(
    monkeypatch, work, cores, threads, fast
):
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "_fast_bf16", lambda _: fast)
    with machine.configure(Machine(), SMALL, pixels_of(work))():
        assert torch.get_num_threads() == threads
        assert torch.is_autocast_enabled("cpu") is fast


@pytest.mark.parametrize(("name", "size"), [("wrn_28_2", 3), ("torchvision/resnet18", 32)])
def test_bf16_is_not_used_where_maps_would_shrink_to_a_pixel_too_early(monkeypatch, name, size):
    monkeypatch.setattr(machine, "_fast_bf16", lambda _: True)
    monkeypatch.setattr(machine, "MEDIUM", 0)
    network = Classifier(NETWORKS[name].build(1, 1.0, 0.0), {"base": 2}, [0.5], [0.5])
    for pixels, expected in ((size**2, True), ((size - 1) ** 2, False)):
        for dtype in ("auto", "bfloat16"):
            with machine.configure(Machine(dtype=dtype), network, pixels)():
                assert torch.is_autocast_enabled("cpu") is expected


@pytest.mark.parametrize("fast", [True, False])
def test_the_default_networks_have_channels_last_and_leave_a_core(monkeypatch, fast):
    monkeypatch.setattr(machine, "_fast_bf16", lambda _: fast)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    for name in ("small_cnn", "wide_cnn"):
        network = Classifier(NETWORKS[name].build(1, 1.0, 0.0), {"base": 8}, [0.5], [0.5])
        with machine.configure(Machine(), network, 8 * 8)():
            assert torch.get_num_threads() == 1 and torch.is_autocast_enabled("cpu") is fast
        (weight, *_) = (w for w in network.parameters() if w.ndim == 4 and w.shape[1] > 1)
        assert weight.is_contiguous(memory_format=torch.channels_last)
