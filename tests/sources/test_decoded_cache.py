"""The same files are not decoded again; what was changed, on either side, is."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from pipeline.core.errors import UserError
from pipeline.sources import decoded_cache, decoder, decoding, workers
from pipeline.sources.decoding import Decoded, decode_all

NUM, SIZE = 20, 6
PATHS = [f"{number:02d}.png" for number in range(NUM)]


@pytest.fixture
def root(tmp_path, monkeypatch, rng) -> Path:
    """A folder of 20 images, two of which are bad, next to the project that is worked in."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(decoding, "JOB", 4)
    for path in PATHS:
        draw(tmp_path / "photos" / path, rng)
    for bad in (3, 4):
        (tmp_path / "photos" / PATHS[bad]).write_bytes(b"")
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Names of the files that are decoded for the cache."""
    names, real = [], decoder.store

    def store(first, paths, target):
        names.extend(os.path.basename(path) for path in paths)
        return real(first, paths, target)

    monkeypatch.setattr(decoder, "store", store)
    return names


def draw(path: Path, rng) -> None:
    Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)


def right(results: Decoded, root: Path, paths: list[str] = PATHS) -> bool:
    """Whether the images are those of the files, as Pillow has them now."""
    for row, path, sha256 in zip(results.row, paths, results.sha256, strict=True):
        if row >= 0:
            pixels = np.asarray(Image.open(root / path)).transpose(2, 0, 1)
            whole = decoder.identity(pixels.tobytes(), pixels.shape) == sha256
            if not whole or not np.array_equal(results.image[row], pixels):
                return False
        elif (root / path).stat().st_size:
            return False
    return True


def kept(size: int = SIZE) -> Path:
    """The folder of the cache."""
    return decoded_cache.folder(Path("../photos").absolute(), size)


@pytest.mark.parametrize("size", [0, SIZE])
def test_the_second_time_nothing_is_decoded(root, decoded, size):
    first = decode_all(root, PATHS, size)
    assert decoded == PATHS and right(first, root)
    decoded.clear()
    second = decode_all(root, PATHS, size)
    assert decoded == [] and right(second, root)
    assert second.faults == first.faults == {3: "is empty", 4: "is empty"}
    assert second.sha256 == first.sha256 and second.row.tolist() == first.row.tolist()
    assert second.sizes == {(SIZE, SIZE)} and not second.image.flags.writeable


@pytest.mark.parametrize("size", [0, SIZE])
def test_bad_files_alone_are_known_too(root, decoded, size):
    for _ in range(2):
        assert list(decode_all(root, PATHS[3:5], size).faults) == [0, 1]
    assert decoded == PATHS[3:5]


def test_a_bad_file_at_the_end_does_not_hide_the_images_before_it(root, monkeypatch):
    monkeypatch.setattr(decoding, "JOB", 1)
    assert right(decode_all(root, PATHS[:5], SIZE), root, PATHS[:5])


def test_what_was_done_to_odd_files_is_known_the_second_time(root):
    Image.new("L", (SIZE, SIZE), 7).save(root / PATHS[0])
    assert decode_all(root, PATHS, SIZE).converted == {"grey": 1}
    assert decode_all(root, PATHS, SIZE).converted == {"grey": 1}


def test_only_new_and_changed_files_are_decoded(root, decoded, rng):
    decode_all(root, PATHS, SIZE)
    decoded.clear()
    draw(root / PATHS[4], rng)
    draw(root / PATHS[7], rng)
    os.utime(root / PATHS[9])
    draw(root / "new.png", rng)
    paths = ["new.png", *PATHS[1:]]
    results = decode_all(root, paths, SIZE)
    assert decoded == ["new.png", PATHS[4], PATHS[7], PATHS[9]] and right(results, root, paths)
    assert results.faults == {3: "is empty"}


def test_sizes_and_folders_are_kept_apart(root, tmp_path, rng, decoded):
    decode_all(root, PATHS, SIZE)
    assert decode_all(root, PATHS, 3).image.shape[1:] == (3, 3, 3)
    (tmp_path / "others").mkdir()
    draw(tmp_path / "others" / PATHS[0], rng)
    decoded.clear()
    assert right(decode_all(tmp_path / "others", PATHS[:1], SIZE), tmp_path / "others", PATHS[:1])
    assert decoded == PATHS[:1]
    assert right(decode_all(root, PATHS, SIZE), root) and decoded == PATHS[:1]


def test_a_folder_is_known_by_any_name(root, tmp_path, decoded):
    decode_all(root, PATHS, SIZE)
    (tmp_path / "link").symlink_to(root)
    for name in ("../photos", "../link"):
        assert right(decode_all(Path(name), PATHS, SIZE), root)
    assert decoded == PATHS


def test_images_of_another_size_than_before_are_all_decoded(root, decoded, rng):
    before = decode_all(root, PATHS, 0).image
    copy = np.array(before)
    for path in PATHS:
        Image.fromarray(rng.integers(0, 256, (5, 9, 3), dtype=np.uint8)).save(root / path)
    results = decode_all(root, PATHS, 0)
    assert np.array_equal(before, copy)  # who has mapped the old rows keeps them
    assert results.image.shape == (NUM, 3, 5, 9) and right(results, root)


def test_a_flipped_bit_of_a_pixel_means_decoding_again(root, decoded):
    before = decode_all(root, PATHS, SIZE)
    flip(kept() / "images", before.row[11] * SIZE * SIZE * 3 + 20)
    assert not right(before, root)
    decoded.clear()
    assert right(decode_all(root, PATHS, SIZE), root) and decoded == [PATHS[11]]
    decoded.clear()
    assert right(decode_all(root, PATHS, SIZE), root) and decoded == []


def test_a_flipped_bit_of_the_index_means_decoding_again(root, decoded):
    decode_all(root, PATHS, SIZE)
    whole = (kept() / "index").read_bytes()
    for place in range(0, len(whole), 37):
        (kept() / "index").write_bytes(whole)
        flip(kept() / "index", place)
        decoded.clear()
        results = decode_all(root, PATHS, SIZE)
        assert right(results, root) and list(results.faults) == [3, 4]
        assert len(decoded) in (0, 4, NUM)  # 0: of a byte between two lines


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["images", "index"])
def test_a_cut_file_means_decoding_what_is_gone(root, decoded, name):
    decode_all(root, PATHS, SIZE)
    path = kept() / name
    for cut in (1, path.stat().st_size // 2, path.stat().st_size):
        whole = path.read_bytes()
        path.write_bytes(whole[:-cut])
        decoded.clear()
        assert right(decode_all(root, PATHS, SIZE), root) and decoded
        decoded.clear()
        assert right(decode_all(root, PATHS, SIZE), root) and not decoded


@pytest.mark.parametrize("changed", ["RULES", "PIL"])
def test_other_rules_or_another_pillow_mean_decoding_all_again(root, decoded, monkeypatch, changed):
    decode_all(root, PATHS, SIZE)
    decoded.clear()
    if changed == "RULES":
        monkeypatch.setattr(decoded_cache, "RULES", decoder.RULES + 1)
    else:
        monkeypatch.setattr(decoded_cache.PIL, "__version__", "0.0")
    results = decode_all(root, PATHS, SIZE)
    assert decoded == PATHS and len(results.image) == NUM
    decode_all(root, PATHS, SIZE)
    assert decoded == PATHS


def test_what_an_interrupted_run_did_is_kept(root, decoded, monkeypatch):
    real = workers.results

    def interrupted(jobs, target):
        for done, answer in enumerate(real(jobs, target)):
            if done == 3:
                raise KeyboardInterrupt
            yield answer

    with monkeypatch.context() as patch:
        patch.setattr(workers, "results", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decode_all(root, PATHS, SIZE)
    decoded.clear()
    assert right(decode_all(root, PATHS, SIZE), root) and decoded == PATHS[12:]


def test_half_a_line_does_not_spoil_the_next(root, decoded):
    decode_all(root, PATHS[:8], SIZE)
    index = kept() / "index"
    index.write_bytes(index.read_bytes()[:-10])
    decode_all(root, PATHS, SIZE)
    decoded.clear()
    assert right(decode_all(root, PATHS, SIZE), root) and decoded == []


def test_what_the_disk_may_read_next_time_is_not_kept(root, decoded, monkeypatch):
    def broken(path, size):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "_decode", broken)
        results = decode_all(root, PATHS, SIZE)
    assert results.faults[0] == "cannot be read (Input/output error)" and len(results.faults) == NUM
    assert right(decode_all(root, PATHS, SIZE), root)


def test_stale_rows_are_dropped_when_they_are_more_than_half(root, rng, decoded):
    good = [path for place, path in enumerate(PATHS) if place not in (3, 4)]
    draw(root / "kept.png", rng)
    decode_all(root, ["kept.png"], SIZE)
    first = decode_all(root, good, SIZE)
    copy, lengths = np.array(first.image), [len(first.image)]
    for _ in range(3):
        for path in good:
            draw(root / path, rng)
        results = decode_all(root, good, SIZE)
        assert right(results, root, good)
        lengths.append(len(results.image))
    assert lengths == [19, 37, 19, 37]
    assert np.array_equal(first.image, copy)  # who has mapped the old rows keeps them
    decoded.clear()
    assert right(decode_all(root, ["kept.png"], SIZE), root, ["kept.png"]) and decoded == []


def test_the_lost_rows_of_a_rewriting_that_was_killed_are_decoded_again(root, rng, monkeypatch):
    for _ in range(2):
        decode_all(root, PATHS[5:], SIZE)
        for path in PATHS[5:]:
            draw(root / path, rng)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # new images, old index
        patch.setattr(decoded_cache.files, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            decode_all(root, PATHS[5:], SIZE)
    assert right(decode_all(root, PATHS[5:], SIZE), root, PATHS[5:])


def test_the_projects_folder_cannot_be_written_to(root):
    Path(".lineage").write_text("in the way")
    with pytest.raises(
        UserError, match=r"cannot write 2,160 bytes \((Not a directory|File exists)"
    ):
        decode_all(root, PATHS, SIZE)


TWO = """
import sys
from pathlib import Path
from pipeline.sources import decoder, workers
from pipeline.sources.decoding import decode_all
num, real = 0, decoder.store
def store(first, paths, target):
    global num
    num += len(paths)
    return real(first, paths, target)
decoder.store = store
root = Path(sys.argv[1])
sys.stdin.readline()
decoded = decode_all(root, sorted(path.name for path in root.iterdir()), 6)
print(num, *(decoded.sha256), sep=",")
"""


def test_of_two_processes_one_decodes_and_the_other_waits(root):
    command = [sys.executable, "-c", TWO, str(root)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    two = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    for process in two:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split(",") for process in two]
    assert sorted(int(num) for num, *_ in answers) == [0, NUM]
    assert answers[0][1:] == answers[1][1:]
