"""Files become the same rows in any number of processes, and none outlives the one that asks."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageOps

from pipeline.core.errors import UserError
from pipeline.sources import decoding
from pipeline.sources.decoding import decode_all

MODES = ("RGB", "L", "P", "RGBA", "CMYK", "1")


@pytest.fixture
def paths(tmp_path, rng) -> list[str]:
    """30 images of three sizes and six modes."""
    names = []
    for number in range(30):
        height, width = ((12, 10), (9, 20), (16, 16))[number % 3]
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        names.append(str(tmp_path / f"{number:02d}.tiff"))
        Image.fromarray(pixels).convert(MODES[number % 6]).save(names[-1])
    return names


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The processes that decoding starts, of two files a job, whatever it is worth."""
    made, real = [], subprocess.Popen

    def popen(*arguments, **named):
        made.append(real(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(decoding, "JOB", 2)
    monkeypatch.setattr(decoding, "WORTH", 0.0)
    return made


def plainly(path: str, size: int) -> np.ndarray:
    """An image as Pillow and NumPy have it, (3, H, W)."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if size:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("num", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 8, 16])
def test_rows_are_the_files_in_their_order(tmp_path, paths, started, monkeypatch, num, size):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    paths = paths if size else paths[::3]
    results = decode_all(paths, size, tmp_path / "scratch")
    assert len(started) == (num if num > 1 else 0)
    images = [plainly(path, size) for path in paths]
    assert np.array_equal(results.image, images) and results.faults == {}
    texts = [str(image.shape).encode() + image.tobytes() for image in images]
    assert results.sha256 == [hashlib.sha256(text).hexdigest() for text in texts]
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("num", [1, 2])
def test_faults_and_sizes_are_found_alike(tmp_path, paths, started, monkeypatch, num):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    for bad in (0, 11, 29):
        Path(paths[bad]).write_bytes(b"no image")
    Path(paths[17]).unlink()
    results = decode_all(paths, 0, tmp_path)
    assert results.image is None and len(started) == (num if num > 1 else 0)
    assert list(results.faults) == [0, 11, 17, 29]
    assert results.faults[11].startswith("is no image of the formats JPEG")
    assert "cannot be read ([Errno 2] No such file" in results.faults[17]
    assert results.sizes == {(12, 10), (9, 20), (16, 16)}


def test_what_is_soon_done_is_done_here(tmp_path, paths, started, monkeypatch):
    monkeypatch.setenv("LINEAGE_THREADS", "2")
    monkeypatch.setattr(decoding, "WORTH", 60.0)
    decode_all(paths, 8, tmp_path)
    assert started == []


@pytest.mark.parametrize("num", [1, 2])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(tmp_path, paths, started, monkeypatch, num):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    if num > 1:  # the first job is done here
        real = decoding.decoder.store
        monkeypatch.setattr(decoding.decoder, "store", lambda *job: real(*job[:2], nowhere(job[2])))
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 (decoding closes it)
    monkeypatch.setattr(decoding.tempfile, "TemporaryFile", lambda **_: full)
    with pytest.raises(UserError, match=r"cannot write 5,760 bytes \(No space left on device\)"):
        decode_all(paths, 8, tmp_path)
    assert all(process.returncode is not None for process in started)


def nowhere(target):
    """The target with a file that takes everything."""
    return target._replace(file=os.open(os.devnull, os.O_WRONLY))


def test_a_process_that_is_ended_is_said(tmp_path, paths, started, monkeypatch):
    monkeypatch.setenv("LINEAGE_THREADS", "2")
    (tmp_path / "ends.py").write_text("raise SystemExit")
    monkeypatch.setattr(decoding.decoder, "__file__", str(tmp_path / "ends.py"))
    with pytest.raises(UserError, match="one of the 2 from it on, ended; fix: free some"):
        decode_all(paths, 8, tmp_path)


LONG = """
import sys
from pathlib import Path
from pipeline.running import signals
from pipeline.sources import decoding
signals.install()
decoding.WORTH = 0.0
decoding.decode_all([sys.argv[1]] * 10**6, 8, Path("scratch"))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="children are listed by Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_file_outlives_the_one_that_asks(tmp_path, paths, number):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LINEAGE_THREADS": "2"}
    command = [sys.executable, "-c", LONG, paths[0]]
    asking = subprocess.Popen(
        command, cwd=tmp_path, env=environment, process_group=0, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(children(asking.pid)) == 2 or asking.poll() is not None)
    decoders = children(asking.pid)
    assert len(decoders) == 2
    os.killpg(asking.pid, number)
    assert asking.wait(20) == (-9 if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in decoders))
    assert not list((tmp_path / "scratch").iterdir())
    assert asking.communicate()[1] == b""


def wait_until(done) -> None:
    """At most 20 seconds."""
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Ids of a process's children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]
