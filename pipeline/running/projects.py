"""A project beside this one: the same code and images, other params."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml import YAML

COPIED = ["dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots"]
LINKED = ["pipeline", "stages", "weights", "machine.yaml"]


def make(folder: Path, values: dict, images: str) -> Path:
    """Make or renew a project; what DVC keeps there from an earlier time stays.

    Args:
        folder: below the working folder, which is a project.
        values: of its params.yaml.
        images: where that finds the images, absolute or from the project on.
    """
    for name in COPIED:
        _copy(Path(name), folder / name)
    # not under git, whose ignored folders DVC would refuse
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    (folder / "data/pseudo_labels").mkdir(parents=True, exist_ok=True)
    inside = [] if Path(images).is_absolute() else [images]
    _link([*LINKED, *inside], folder)
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(values, file)
    return folder


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True)
    else:
        shutil.copy(path, target)


def _link(names: Iterable[str], folder: Path) -> None:
    for name in names:
        link = folder / name
        if Path(name).exists() and not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(name).resolve())
