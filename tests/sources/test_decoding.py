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
from pipeline.sources import decoded_cache, decoding, workers
from pipeline.sources.decoded_cache import DecodedCache
from pipeline.sources.decoding import decode_all

MODES = ("RGB", "L", "P", "CMYK", "1")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A folder of images, next to the project that is worked in."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "photos"


@pytest.fixture
def paths(root, rng) -> list[str]:
    """30 images of three sizes and five modes."""
    names = [f"{number:02d}.tiff" for number in range(30)]
    for number, name in enumerate(names):
        height, width = ((12, 10), (9, 20), (16, 16))[number % 3]
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(MODES[number % 5]).save(root / name)
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
    monkeypatch.setattr(workers, "WORTH", 0.0)
    return made


def plainly(path: Path, size: int) -> np.ndarray:
    """An image as Pillow and NumPy have it, (3, H, W)."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    if size:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


@pytest.mark.parametrize("num", [1, 2, 3])
@pytest.mark.parametrize("size", [0, 8, 16])
def test_rows_are_the_files_in_their_order(root, paths, started, monkeypatch, num, size):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    paths = paths if size else paths[::3]
    results = decode_all(root, paths, size)
    assert len(started) == (num if num > 1 else 0)
    images = [plainly(root / path, size) for path in paths]
    assert np.array_equal(results.image, images) and results.faults == {}
    assert results.row.tolist() == list(range(len(paths))) and results.row.dtype == np.int64
    texts = [str(image.shape).encode() + image.tobytes() for image in images]
    assert results.sha256 == [hashlib.sha256(text).hexdigest() for text in texts]


@pytest.mark.parametrize("num", [1, 2])
def test_faults_and_sizes_are_found_alike(root, paths, started, monkeypatch, num):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    for bad in (0, 11, 29):
        (root / paths[bad]).write_bytes(b"no image")
    (root / paths[17]).unlink()
    results = decode_all(root, paths, 0)
    assert len(started) == (num if num > 1 else 0)
    assert list(results.faults) == [0, 11, 17, 29]
    assert results.faults[11].startswith("is no image of the formats JPEG")
    assert results.faults[17] == "cannot be read (No such file or directory)"
    assert results.sizes == {(12, 10), (9, 20), (16, 16)}


@pytest.mark.parametrize("num", [1, 2])
def test_good_images_are_there_next_to_bad_ones(root, paths, started, monkeypatch, num):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    for bad in (3, 10):
        (root / paths[bad]).write_bytes(b"")
    results = decode_all(root, paths, 8)
    good = [place for place in range(30) if place not in (3, 10)]
    assert results.row[[3, 10]].tolist() == [-1, -1] and results.sha256[3] == ""
    images = [plainly(root / paths[place], 8) for place in good]
    assert np.array_equal(results.image[results.row[good]], images)
    assert results.converted == {"1 bit": 6, "CMYK": 5, "grey": 6, "palette": 6}


def test_a_path_may_come_twice(root, paths):
    results = decode_all(root, [paths[4], paths[5], paths[4]], 8)
    assert results.row.tolist() == [0, 1, 0] and len(results.image) == 2
    assert results.converted == {"1 bit": 2}


def test_images_of_another_size_have_no_row(root, paths):
    results = decode_all(root, paths[:3], 0)
    assert results.row.tolist() == [0, -1, -1] and len(results.sizes) == 3
    assert all(results.sha256)


@pytest.mark.parametrize("size", [0, 8])
def test_nothing_that_can_be_read_is_no_image(root, size):
    (root / "x.png").write_bytes(b"")
    results = decode_all(root, ["x.png", "gone.png"], size)
    assert results.image.shape == (0, 3, size, size) and results.row.tolist() == [-1, -1]
    assert results.faults[0] == "is empty" and len(results.faults) == 2


def test_what_is_soon_done_is_done_here(root, paths, started, monkeypatch):
    monkeypatch.setenv("LINEAGE_THREADS", "2")
    monkeypatch.setattr(workers, "WORTH", 60.0)
    decode_all(root, paths, 8)
    assert started == []


def test_large_files_are_few_a_job(root, paths, monkeypatch):
    jobs, real = [], workers.results
    monkeypatch.setattr(decoding, "JOB_BYTES", 1500)
    spied = lambda given, target: (jobs.extend(given), real(given, target))[1]  # noqa: E731
    monkeypatch.setattr(workers, "results", spied)
    decode_all(root, paths, 8)
    sizes = [[os.path.getsize(path) for path in job.paths] for job in jobs]
    assert 5 < len(jobs) < 30 and [path for job in jobs for path in job.paths] == [
        str(root / path) for path in paths
    ]
    assert all(sum(job) <= 1500 or len(job) == 1 for job in sizes)
    assert all(sum(job) + after[0] > 1500 for job, after in zip(sizes, sizes[1:]))


@pytest.mark.parametrize("num", [1, 2])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(root, paths, started, monkeypatch, num):
    monkeypatch.setenv("LINEAGE_THREADS", str(num))
    if num > 1:  # the first job is done here
        real = workers.decoder.store
        monkeypatch.setattr(workers.decoder, "store", lambda *job: real(*job[:2], nowhere(job[2])))
    with open("/dev/full", "r+b", buffering=0) as full:
        monkeypatch.setattr(DecodedCache, "fileno", lambda _: full.fileno())
        with pytest.raises(UserError, match=r"write 5,760 bytes \(No space left on device\)"):
            decode_all(root, paths, 8)
    assert all(process.returncode is not None for process in started)


def nowhere(target):
    """The target with a file that takes everything."""
    return target._replace(file=os.open(os.devnull, os.O_WRONLY))


def test_a_process_that_is_ended_is_said(root, paths, started, monkeypatch):
    monkeypatch.setenv("LINEAGE_THREADS", "2")
    monkeypatch.setattr(workers, "START", "raise SystemExit")
    with pytest.raises(UserError, match="one of the 2 from it on, ended; fix: free some"):
        decode_all(root, paths, 8)


LONG = """
import sys
from pathlib import Path
from pipeline.running import signals
from pipeline.sources import workers
from pipeline.sources.decoding import decode_all
signals.install()
workers.WORTH = 0.0
root = Path(sys.argv[1])
print(len(decode_all(root, sorted(path.name for path in root.iterdir()), 8).image))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="children are listed by Linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_asks_and_what_was_done_is_kept(root, rng, number):
    pixels = rng.integers(0, 256, (600, 600, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "0000.png")
    for copy in range(1, 3000):
        os.link(root / "0000.png", root / f"{copy:04d}.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "LINEAGE_THREADS": "2"}
    command = [sys.executable, "-c", LONG, str(root)]
    asking = subprocess.Popen(command, env=environment, process_group=0, stderr=subprocess.PIPE)
    wait_until(lambda: len(children(asking.pid)) == 2 or asking.poll() is not None)
    decoders = children(asking.pid)
    assert len(decoders) == 2
    os.killpg(asking.pid, number)
    assert asking.wait(20) == (-9 if number == signal.SIGKILL else 128 + number)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in decoders))
    assert asking.communicate()[1] == b""
    with decoded_cache.opened(root, 8, 8, 8) as cache:
        assert 0 < cache.num_rows < 3000


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
