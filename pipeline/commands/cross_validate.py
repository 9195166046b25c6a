"""`python -m pipeline cross-validate`."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path("projects/folds")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Up to which model."""
    parser.add_argument("--model", help="train up to this one; all but tasks without")


def run(given: argparse.Namespace) -> None:
    """train on all but one part of the labelled images, measure on that part, for every part"""
    from pipeline.core import files
    from pipeline.core.yaml_file import read
    from pipeline.params.check import load
    from pipeline.params.kinds import check_whole
    from pipeline.running import projects

    params = load()
    check_whole(params, "cross-validate")
    names = _models(params, given.model)
    values, counts, right = read("params.yaml").values, [], {name: [] for name in names}
    for fold in range(_folds(params)):
        print(f"fold {fold + 1} of {params.data.folds}")
        own = values | {"data": values["data"] | {"fold": fold}}
        folder = projects.make(FOLDER / str(fold), own, params.data.root)
        _reproduce(folder, [params.lineage()[name].stage for name in names])
        card = files.read_json(folder / "data/prepared/base/dataset.json")
        counts.append(sum(card["counts"]["val"].values()))
        for name in names:
            card = files.read_json(folder / "models" / name / "card.json")
            right[name].append(round(card["metrics"]["val_acc"] * counts[-1]))
    print(_table(counts, right))


def _models(params, last: str | None) -> list[str]:
    """The chain to the model, or every model but tasks, parents first."""
    from pipeline.core.errors import UserError, nearest

    lineage = params.lineage()
    there = [name for name in lineage if lineage[name].block != "tasks"]
    if last is None:
        return there
    if last not in there:
        what = f"no model of the base task is named '{last}'"
        raise UserError("cross-validate --model", what, nearest(last, there))
    return lineage.chain(last)


def _folds(params) -> int:
    from pipeline.core.errors import UserError

    if not params.data.val:
        what = "0: the source brings its own val images, so there are no parts to take turns"
        fix = "use those, or move them to the training images and set a share, say 0.2"
        raise UserError("data.val", what, fix)
    return params.data.folds


def _reproduce(folder: Path, stages: list[str]) -> None:
    """`dvc repro` up to some stages, which are skipped if they ran there before."""
    settings = {"LINEAGE_TRACKING": "off"}  # a fold is no experiment of its own
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", *dict.fromkeys(stages)]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings)
    if done.returncode:
        sys.exit(done.returncode)


def _table(counts: list[int], right: dict[str, list[int]]) -> str:
    from pipeline.pages.formats import aligned
    from pipeline.report.intervals import wilson

    rows = [("model", "accuracy (95 %)", "of each fold")]
    for name, numbers in right.items():
        low, high = wilson(sum(numbers), sum(counts))
        share = sum(numbers) / sum(counts)
        each = " ".join(f"{num / count:.3f}" for num, count in zip(numbers, counts))
        rows.append((name, f"{share:.4f} ({low:.3f}-{high:.3f})", each))
    return f"{aligned(rows)}\n\non {sum(counts)} labelled images, each when it was val"
