"""Not a bit of what stages hand on may change: whoever reads it refuses, and names the file."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline.core.errors import UserError
from pipeline.data import findings, store
from pipeline.labelling import pseudo_labels
from pipeline.networks import checkpoint
from pipeline.running.resume import Resume

FLIPS = 200
# what reads a file as a stage does, by the pattern of its path
READERS = {
    r"data/prepared/\w+/dataset\.json": lambda path: store.load(path.parent),
    r"data/prepared/\w+/findings\.json": lambda path: findings.read(path.parent),
    r"data/prepared/\w+/index\.csv": lambda path: store.load(path.parent).paths("val"),
    r"data/prepared/\w+/\w+/(image|label|truth)\.npy": lambda path: store.load(
        path.parent.parent
    ).array(path.parent.name, path.stem),
    r"data/pseudo_labels/\w+\.safetensors": pseudo_labels.load,
    r"models/[\w-]+/card\.json": lambda path: checkpoint.load(path.parent),
    r"models/[\w-]+/model\.safetensors": lambda path: checkpoint.load(path.parent),
    r"models/[\w-]+/memory\.safetensors": lambda path: checkpoint.load_memory(
        path.parent, checkpoint.read_card(path.parent)
    ),
    r"models/[\w-]+/curves\.csv": lambda path: checkpoint.load_curves(
        path.parent, checkpoint.read_card(path.parent)
    ),
}
FOR_PEOPLE = r"data/prepared/\w+/report\.html|report/.*|params\.yaml"


def artefacts(folder: Path) -> dict[Path, str]:
    """The files that a chain has made, and the pattern of each."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith(".") or name.startswith(".lineage/"):
            continue
        patterns = [pattern for pattern in READERS if re.fullmatch(pattern, name)]
        assert patterns or re.fullmatch(FOR_PEOPLE, name), f"who checks {name}?"
        if patterns:
            found[path.relative_to(folder)] = patterns[0]
    return found


def test_every_kind_of_file_is_checked(finished):
    assert set(artefacts(finished).values()) == set(READERS)


def test_two_hundred_flipped_bits_are_refused(chain):
    """As many in each kind of file, at places drawn anew in every run."""
    draw = random.Random()
    by_kind: dict[str, list[Path]] = {}
    for path, pattern in artefacts(chain).items():
        by_kind.setdefault(pattern, []).append(path)
    tried = Counter()
    while sum(tried.values()) < FLIPS:
        for pattern, paths in by_kind.items():
            path = draw.choice(paths)
            whole = path.read_bytes()
            bit = draw.randrange(8 * len(whole))
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)
            try:
                READERS[pattern](path)
            except UserError as error:
                assert str(path) in str(error), (path, bit, str(error))
            else:
                pytest.fail(f"bit {bit} of {path} changed, and nobody saw it")
            path.write_bytes(whole)
            READERS[pattern](path)
            tried[pattern] += 1
    assert min(tried.values()) >= FLIPS // len(READERS)


def test_a_flipped_bit_in_a_checkpoint_is_seen_wherever_it_is(tmp_path, monkeypatch):
    """One that is broken is no error: the newest whole one is gone on from."""
    import torch

    monkeypatch.chdir(tmp_path)
    draw = random.Random()
    with pytest.raises(KeyboardInterrupt), Resume("teacher", 0) as resume:
        for _ in range(50):
            for step in (1, 2):
                resume.save(step, {"weight": torch.full((9,), float(step))}, {"history": []})
            newest = sorted(resume.folder.glob("step-*"))[-1]
            changed = bytearray(newest.read_bytes())
            bit = draw.randrange(8 * len(changed))
            changed[bit // 8] ^= 1 << bit % 8
            newest.write_bytes(changed)
            state, _ = resume.newest()
            assert state["weight"][0] == 1, bit
        raise KeyboardInterrupt
