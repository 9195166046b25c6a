"""Cleaning removes what params no longer name, and nothing else."""

from pathlib import Path

from conftest import tiny_values, write_params
from filelock import FileLock

from pipeline.__main__ import main
from pipeline.params.check import load
from pipeline.running.clean import clean


def test_what_params_name_stays(chain):
    before = sorted(Path("models").rglob("*")) + sorted(Path("data").rglob("*"))
    Path("data/pseudo_labels/.gitkeep").touch()
    assert clean(load().lineage()) == []
    assert set(before) <= set(Path("models").rglob("*")) | set(Path("data").rglob("*"))
    assert Path("data/pseudo_labels/.gitkeep").exists()


def test_what_they_no_longer_name_goes(chain):
    values = tiny_values()
    del values["generations"]["g2"]
    write_params(chain, values | {"tasks": {}, "final": "g1"})
    Path(".lineage/resume/student@g2-0").mkdir(parents=True)
    gone = {str(path) for path in clean(load().lineage())}
    assert gone == {
        "models/g2",
        "models/t1",
        "data/prepared/t1",
        "data/pseudo_labels/g2.safetensors",
        str(chain / ".lineage/resume/student@g2-0"),
    }
    assert not any(Path(path).exists() for path in gone)


def test_caches_are_named_by_their_size_and_go_when_asked(chain, capsys):
    used, free = (chain / ".lineage/decoded" / name for name in ("used", "free"))
    for folder in (used, free):
        folder.mkdir(parents=True)
        (folder / "images").write_bytes(bytes(3_000_000))
    main(["clean"])
    assert "kept in .lineage: 6.0 MB of caches, which `--caches` removes" in capsys.readouterr().out
    (chain / ".lineage/alike").mkdir(exist_ok=True)
    (chain / ".lineage/alike/key.json").write_text("[]")
    with FileLock(used / "lock"):
        main(["clean", "--caches"])
    said = capsys.readouterr().out
    assert f"removed {free}" in said and "key.json" in said and "kept" not in said
    assert used.is_dir() and not free.exists() and not (chain / ".lineage/alike/key.json").exists()
    assert load().lineage() and Path("models/g2/card.json").exists()
