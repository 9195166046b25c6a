"""What params.yaml no longer names: models, data of tasks and pseudo-labels left on disk; and what
is kept to save time."""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.core import machine
from pipeline.core.lineage import Lineage


def orphans(lineage: Lineage) -> list[Path]:
    """Outputs of stages that are no longer in the graph, and what interrupted runs left."""
    resume = machine.root() / ".lineage" / "resume"
    named = {
        Path("models"): set(lineage),
        Path("data/prepared"): {"base", *lineage.of("tasks")},
        Path("data/pseudo_labels"): {f"{name}.safetensors" for name in lineage.of("generations")},
    }
    left = [
        path
        for folder, names in named.items()
        for path in sorted(folder.glob("[!.]*"))
        if path.name not in names
    ]
    return left + [path for path in sorted(resume.glob("*")) if not _in_use(path)]


def _in_use(folder: Path) -> bool:
    """Whether a training holds the lock of a resume folder."""
    try:
        FileLock(folder / "lock").acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def caches() -> dict[Path, int]:
    """Bytes of each cache that is there and that no process uses: decoded images of a folder, what
    near-duplicates are found by. Whoever misses one makes it again."""
    kept = machine.root() / ".lineage"
    there = [path for path in sorted(kept.glob("decoded/*")) if not _in_use(path)]
    there += sorted(kept.glob("alike/*"))
    return {path: sum(f.stat().st_size for f in [path, *path.rglob("*")]) for path in there}


def clean(lineage: Lineage, with_caches: bool = False) -> list[Path]:
    """Remove the orphans, and the caches if asked; returns what was removed. DVC's cache keeps its
    copies of what stages made."""
    removed = orphans(lineage) + (list(caches()) if with_caches else [])
    for path in removed:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return removed
