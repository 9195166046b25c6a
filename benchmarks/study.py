"""Studies: the same chain over arms and seeds, a row each in a committed CSV.

A row that stands in the file is not computed again, so a study can be stopped and continued; its
`recipe`, a hash of the params that differ from their defaults, tells rows of other params apart.
(Rows without one are older than that column and count.)
Chains run two at a time, each on one thread in a temporary folder, with no tracking of their own;
each finished row is a run in the MLflow experiment `lineage-studies`. Hyper-parameters are chosen
on val with one set of seeds (`report.test: false`), claims are made on other seeds.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core import files
from pipeline.core.yaml_file import read
from pipeline.params.schema import Params

PROCESSES = 2
# what most studies start from: chains of pseudo-labels alone
DIGITS_PARAMS = Path("benchmarks/params/digits.yaml")
CIFAR10_PARAMS = Path("benchmarks/params/cifar10.yaml")


@dataclass(frozen=True)
class Study:
    """What to run.

    Attributes:
        name: of the study, and of its CSV in `benchmarks/results/`.
        params: the file to start from, in the form of params.yaml.
        arms: by name, the keys that differ: `{"generations.g1.labels.kind": "hard"}`; a value of
            `DROP` removes the key.
        seeds: each sets `seed` and `data.seed`.
        columns: names in `report/metrics.json` to keep; `seconds` is the time of the chain.
        test: whether the chains may read test.
        arms_first: finish an arm on all seeds before the next one begins.
    """

    name: str
    arms: Mapping[str, Mapping[str, Any]]
    seeds: Iterable[int]
    columns: list[str]
    test: bool
    params: Path = DIGITS_PARAMS
    arms_first: bool = False

    def values(self, arm: str, seed: int) -> dict:
        """The params of an arm at a seed."""
        return changed(read(self.params).values, self.arms[arm], seed, self.test)

    def recipe(self, arm: str) -> str:
        """What tells an arm's params from others: neither the seed nor where images lie matters,
        nor a part that is switched off, nor a default that is written out."""
        params = Params.model_validate(self.values(arm, 0))
        values = params.model_dump(by_alias=True, exclude_defaults=True)
        values = {key: value for key, value in values.items() if value != {}}
        for block in (values, *values.get("tasks", {}).values()):
            block["data"] = {k: v for k, v in block["data"].items() if k != "root"}
        return files.digest(values)[:12]

    @property
    def csv(self) -> Path:
        """Where the rows are."""
        return Path("benchmarks/results") / f"{self.name}.csv"


DROP = object()


def rows(study: Study) -> list[dict[str, str]]:
    """The rows computed so far, of these arms with these params."""
    if not study.csv.is_file():
        return []
    with open(study.csv, encoding="utf-8", newline="") as file:
        results = list(csv.DictReader(file))
    recipes = {arm: study.recipe(arm) for arm in study.arms}
    return [row for row in results if row.get("recipe") in (None, recipes.get(row["arm"]))]


def run(study: Study) -> list[dict[str, str]]:
    """Compute the missing rows, appending each as it is done; returns all.

    Raises:
        ValueError: the CSV of an earlier version of the study lacks a column.
    """
    _check_columns(study)
    done = {(row["arm"], int(row["seed"])) for row in rows(study)}
    pairs = [(arm, seed) for seed in study.seeds for arm in study.arms]
    if study.arms_first:
        pairs = [(arm, seed) for arm in study.arms for seed in study.seeds]
    waiting = [pair for pair in pairs if pair not in done]
    started = time.monotonic()
    context = get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_one_thread) as pool:
        jobs = {}
        for arm, seed in waiting:
            jobs[pool.submit(chain, study.values(arm, seed))] = (arm, seed)
        for count, job in enumerate(as_completed(jobs), 1):
            arm, seed = jobs[job]
            results = _result(job, pool)
            row = {"arm": arm, "seed": seed, "recipe": study.recipe(arm)}
            _append(study, row | {k: results.get(k) for k in study.columns})
            _track(study, arm, seed, results)
            minutes = (time.monotonic() - started) / 60
            print(f"{study.name}: {count}/{len(waiting)} {arm} seed {seed}, {minutes:.1f} minutes")
    return rows(study)


def _result(job: Future, pool: ProcessPoolExecutor) -> dict[str, float]:
    """Of a chain; where it failed, no other one is begun."""
    try:
        return job.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def changed(values: dict, arm: Mapping[str, Any], seed: int, test: bool) -> dict:
    """The values of an arm at a seed."""
    return filled(values, arm, {"seed": seed, "data.seed": seed, "report.test": test})


def filled(block: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a block with values at dotted keys, later ones before earlier ones; `DROP` removes
    the key."""
    results = deepcopy(dict(block))
    for key, value in (item for keys in changes for item in keys.items()):
        *path, last = key.split(".")
        inner = results
        for part in path:
            inner = inner.setdefault(part, {})
        if value is DROP:
            del inner[last]
        else:
            inner[last] = deepcopy(value)  # else a later key would change it in every arm
    return results


def chain(values: dict) -> dict[str, float]:
    """Run every stage that `values` name, here, in a temporary folder; returns the metrics, with
    the seconds of all, the CPU seconds of each model, its labels included, and its curve."""
    from pipeline.params.check import load
    from stages import (
        baseline,
        distill,
        ensemble,
        extend,
        meta_pseudo_labels,
        prepare,
        prepare_task,
        pseudo_label,
        report,
        specialists,
        student,
        teacher,
    )

    started = time.monotonic()
    before, silence = os.getcwd(), redirect_stdout(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, silence:
        os.chdir(folder)
        try:
            files.write_json("params.yaml", values)  # JSON is YAML
            params = load()
            scripts = {
                "teacher": [teacher],
                "generations": [pseudo_label, student],
                "meta_pseudo_labels": [meta_pseudo_labels],
                "baselines": [baseline],
                "ensembles": [ensemble],
                "specialists": [specialists],
                "distilled": [distill],
                "tasks": [prepare_task, extend],
            }
            prepare.main()
            spent = {}
            for name, entry in params.lineage().entries.items():
                if name not in params.places()[name]:
                    continue  # what a pair's teacher becomes comes with its student
                before_it = time.process_time()
                for stage in scripts[entry.block]:
                    stage.main([name] if entry.block != "teacher" else [])
                spent[f"cpu_seconds/{name}"] = round(time.process_time() - before_it, 2)
            report.main()
            seconds = round(time.monotonic() - started, 1)
            results = files.read_json("report/metrics.json") | {"seconds": seconds} | spent
            results |= _labelled(params.lineage())
            return results | {f"curve/{name}": _curve(name) for name in params.lineage()}
        finally:
            os.chdir(before)


def _labelled(names: Iterable[str]) -> dict[str, float]:
    """`labelled_acc/<name>` of each model of the base task alone: its accuracy on the labelled
    images, as they lie there."""
    import torch

    from pipeline.data import store
    from pipeline.networks import checkpoint, evaluate

    dataset, results = store.load("data/prepared/base"), {}
    labels = torch.from_numpy(dataset.array("labelled", "label").copy())
    for name in names:
        network, card = checkpoint.load(f"models/{name}")
        if checkpoint.classes(card) == dataset.classes:
            logits = evaluate.infer(network, dataset.array("labelled"))
            results[f"labelled_acc/{name}"] = evaluate.accuracy(logits, labels)
    return results


def _curve(name: str) -> str:
    """The learning curve of a model, a list for each column, as JSON."""
    from pipeline.networks import checkpoint
    from pipeline.report import plots

    columns = plots.curve(checkpoint.read_card(f"models/{name}")).items()
    return json.dumps({key: [round(v, 5) for v in values] for key, values in columns})


def paired(table: list[dict[str, str]], after: str, before: str, arm: str) -> np.ndarray:
    """`after` minus `before` at each seed of an arm."""
    return np.array([float(r[after]) - float(r[before]) for r in table if r["arm"] == arm])


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval (Student's t)."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def summary(study: Study, table: list[dict[str, str]]) -> str:
    """Mean and 95 % interval of every column, a line each, in %, as a Markdown table of arms."""
    by_arm = {arm: [row for row in table if row["arm"] == arm] for arm in study.arms}
    header = ["%", *(f"{arm} (n = {len(mine)})" for arm, mine in by_arm.items())]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for column in study.columns:
        cells = [_cell([float(r[column]) for r in mine if r[column]]) for mine in by_arm.values()]
        lines.append(f"| {column} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return "n/a"
    mean, half = mean_interval(100 * np.array(values))
    return f"{mean:.2f} ± {half:.2f}"


def _one_thread() -> None:
    from pipeline.running import signals

    signals.end_with_parent()  # else a killed study would leave its chains running
    os.environ |= {"LINEAGE_THREADS": "1", "LINEAGE_TRACKING": "off", "OMP_NUM_THREADS": "1"}
    os.environ.pop("DVC_ROOT", None)


def _check_columns(study: Study) -> None:
    if not study.csv.is_file():
        return
    with open(study.csv, encoding="utf-8", newline="") as file:
        missing = set(study.columns) - set(next(csv.reader(file)))
    if missing:
        raise ValueError(f"{study.csv} has no column {', '.join(sorted(missing))}")


def _append(study: Study, row: dict[str, Any]) -> None:
    study.csv.parent.mkdir(parents=True, exist_ok=True)
    with open(study.csv, "a+", encoding="utf-8", newline="") as file:
        file.seek(0)
        header = next(csv.reader(file), None)
        writer = csv.DictWriter(
            file, header or list(row), lineterminator="\n", extrasaction="ignore"
        )
        if header is None:
            writer.writeheader()
        writer.writerow(row)


def _track(study: Study, arm: str, seed: int, results: dict[str, float]) -> None:
    from pipeline import tracking

    with tracking.start("lineage-studies", f"{study.name}/{arm}/{seed}", {}) as tracker:
        tracker.params({"study": study.name, "arm": arm, "seed": seed})
        tracker.metrics({k: v for k, v in results.items() if not isinstance(v, str)})
