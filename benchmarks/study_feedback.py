"""Which feedback should correct a teacher? Both estimators of Meta Pseudo Labels along real runs.

`python -m benchmarks.study_feedback` (six minutes of one core) writes, in `benchmarks/results/`,
`feedback.csv` (a row per seed, step, rate, momentum and condition) and `feedback_baseline.csv` (a
row per seed, step, estimator and moving average), draws `docs/feedback.png` and prints means. How h
and G are measured: `benchmarks/feedback.py`.

A pair trains on the digits: its teacher has learnt the labels, its student begins
fresh, `loss_difference` corrects. The pair is frozen at STEPS, and the next BATCHES batches of its
run are each labelled DRAWS times over, under the momentum of its run and without; fewer batches, by
plain SGD at RATES.

Columns. The *signal* is h* minus its mean over the labels of a batch: what labels did.

    offset             mean of h / its standard deviation over labels
    correlation        of h, less its mean over a batch's labels, with the signal
    correlation_steps  of h, as it comes step by step, with the signal
    sign_raw           share of draws where h has the sign of h*
    sign               share of draws where h, less its mean over all, has the sign of the signal
    cosine, length     of G with that of h*, in the teacher's weights: the bias
    variance           trace of the covariance of a step's estimate / squared norm of G of h*, with
                       the mean of h over all as baseline; `_batch`: the mean over a batch's labels,
                       `_moving`: the moving average that the run had

`feedback_baseline.csv`: `variance` with a moving average of another decay, which is plain, or
warmed: held below (1 + step) / (10 + step), so that its start at 0 is soon forgotten.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import feedback_picture
from benchmarks.feedback import CONDITIONS, ESTIMATORS, Found, Setting, measure
from benchmarks.feedback_picture import RATES, RESULTS
from benchmarks.study import DIGITS_PARAMS, changed, mean_interval
from pipeline.core import files, machine, randomness
from pipeline.core.machine import Machine
from pipeline.core.yaml_file import read
from pipeline.data import store
from pipeline.data.batches import Batches, Part
from pipeline.meta.feedback import LossDifference
from pipeline.meta.pair import ConsistentTeacher
from pipeline.meta.train import streams
from pipeline.networks import checkpoint
from pipeline.networks.classifier import Classifier
from pipeline.params.check import load
from pipeline.running import run as running
from pipeline.running.tracker import NullTracker
from pipeline.students.learn import Job, begin, describe
from stages import prepare, teacher

CPU = torch.device("cpu")
SEEDS = range(3)
STEPS = (20, 80, 160, 240, 340)
BATCHES, DRAWS = 8, 8
RATE_BATCHES = 2
DECAYS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
MEASURED = {  # what corrects along the run
    "teacher": "teacher",
    "network": "small_cnn",
    "feedback": "loss_difference",
    "scale": "sum",
    "baseline_decay": 0.99,
}
PAIR = {
    "generations": {},
    "meta_pseudo_labels": {"m": MEASURED},
    "tasks": {},
    "final": "m",
}
SHOWN = ["correlation", "correlation_steps", "sign_raw", "sign", "cosine", "length", "variance"]


class Watched(LossDifference):
    """Notes at every step what either estimator says, whichever corrects.

    Attributes:
        seen: h by `loss_difference`, by `inner_product`.
    """

    seen: list[tuple[float, float]]

    def advance(self) -> None:
        self._grads = {n: w.grad.clone() for n, w in self.network.named_parameters()}
        super().advance()

    def measure(self, labelled: Part) -> Tensor:
        slope = float(self.downhill(labelled, self._grads))
        difference = super().measure(labelled)
        self.seen.append((float(difference), slope))
        return difference


@dataclass
class Run:
    """A pair on its way.

    Attributes:
        batches: of a step.
        rows: of `feedback.csv`.
        baselines: rows of `feedback_baseline.csv`.
    """

    seed: int
    pair: Watched
    batches: Batches
    rows: list[dict] = field(default_factory=list)
    baselines: list[dict] = field(default_factory=list)

    def to(self, step: int) -> None:
        """Train until `step` updates are done."""
        for now in range(self.pair.num_steps, step):
            randomness.seed_torch(self.seed, "m", "dropout", now)
            self.pair.step(self.batches(now))

    def freeze(self) -> None:
        """Measure here."""
        own = Setting(self.pair.rate, 0.9)
        results = self._measure([own, Setting(own.rate, 0.0)], BATCHES, _bf16)
        more = self._measure([Setting(rate, 0.0) for rate in RATES], RATE_BATCHES)
        for (setting, name), mine in (results | more).items():
            columns = summary(mine)
            moving = setting == own and name in ESTIMATORS
            average = self.average(name, self.pair.options.baseline_decay) if moving else None
            columns["variance_moving"] = variance(mine, average) if moving else ""
            self.rows.append(self._head(name) | setting._asdict() | columns)
        for name in ESTIMATORS:
            for decay, warmed in product(DECAYS, (False, True)):
                kind = {"decay": decay, "warmed": int(warmed)}
                left = variance(results[own, name], self.average(name, decay, warmed))
                self.baselines.append(self._head(name) | kind | {"variance": left})

    def _head(self, condition: str) -> dict:
        return {"seed": self.seed, "step": self.pair.num_steps, "condition": condition}

    def _measure(
        self, settings: list[Setting], num: int, bf16=None
    ) -> dict[tuple[Setting, str], list[Found]]:
        results: dict[tuple[Setting, str], list[Found]] = {}
        for now in range(self.pair.num_steps, self.pair.num_steps + num):
            seed = randomness.torch_seed(self.seed, "m", "labels", now)
            for one in measure(self.pair, self.batches(now), seed, settings, DRAWS, bf16):
                if one.condition in CONDITIONS:
                    results.setdefault((one.setting, one.condition), []).append(one)
        return results

    def average(self, name: str, decay: float, warmed: bool = False) -> float:
        """The moving average of an estimator that the next step would subtract."""
        results = 0.0
        for step, seen in enumerate(self.pair.seen):
            keep = min(decay, (1 + step) / (10 + step)) if warmed else decay
            results = keep * results + (1 - keep) * seen[ESTIMATORS.index(name)]
        return results


def summary(results: Sequence[Found]) -> dict[str, float]:
    """The columns of a row (see above), from one condition in one setting on several batches."""
    h, reference = (torch.stack([getattr(f, k) for f in results]) for k in ("h", "reference"))
    signal = reference - reference.mean(1, keepdim=True)
    own, less = h - h.mean(1, keepdim=True), h - h.mean()
    spread = h.var(1).mean().sqrt()
    (mine, both), (_, true) = gram(results)
    return {
        "offset": float(h.mean() / spread),
        "correlation": correlation(own, signal),
        "correlation_steps": correlation(less, signal),
        "sign_raw": share((h > 0) == (reference > 0)),
        "sign": share((less > 0) == (signal > 0)),
        "cosine": both / (mine * true) ** 0.5 if mine > 0 else float("nan"),
        "length": (max(mine, 0.0) / true) ** 0.5,
        "variance": variance(results, h.mean()),
        "variance_batch": variance(results, h.mean(1, keepdim=True)),
    }


def variance(results: Sequence[Found], baseline: Tensor | float) -> float:
    """Of a step's estimate with a baseline for (batches, draws), over the squared norm of the
    true mean."""
    (mine, _), (_, true) = gram(results)
    h, scores = (torch.stack([getattr(f, k) for f in results]) for k in ("h", "scores"))
    return (float(((h - baseline).square() * scores).mean()) - mine) / true


def gram(results: Sequence[Found]) -> list[list[float]]:
    """Inner products of G and that of h*, the mean over batches, without the draws' noise."""
    return (sum(one.gram - one.noise for one in results) / len(results)).tolist()


def correlation(one: Tensor, other: Tensor) -> float:
    """Of deviations from a mean."""
    return float((one * other).sum() / (one.norm() * other.norm()))


def share(true: Tensor) -> float:
    """Of what is true."""
    return float(true.double().mean())


@contextmanager
def begun(seed: int) -> Iterator[Run]:
    """A pair before its first step, in a temporary folder with the data and its teacher."""
    values = changed(read(DIGITS_PARAMS).values, PAIR, seed, test=False)
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            files.write_json("params.yaml", values)  # JSON is YAML
            prepare.main()
            teacher.main()
            taught, card = checkpoint.load("models/teacher", CPU)
            data = store.load("data/prepared/base")
            config = load().config("m")
            started = replace(running.begin("feedback", "m", seed, NullTracker()), device=CPU)
            job = Job(config, data, started, {"teacher": card["sha256"]})
            network, _ = begin(job, describe(job, unlabelled=True))
            labels = ConsistentTeacher(taught, config.training, config.options)
            pair = Watched(network, config.training, config.options, labels)
            pair.seen = []
            yield Run(seed, pair, Batches(streams(job), seed=seed, model="m"))
        finally:
            os.chdir(before)


def _bf16(network: Classifier):
    """As the project fits a network to bf16."""
    return machine.configure(
        Machine(device="cpu", threads=1, dtype="bfloat16"), network, pixels=8 * 8
    )


def write(path: Path, rows: list[dict]) -> None:
    """Rows as a CSV, numbers of five digits."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            short = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow(short)


def main() -> None:
    """Measure, write, draw, print."""
    torch.set_num_threads(1)
    started = time.monotonic()
    rows, averages = [], []
    for seed in SEEDS:
        with begun(seed) as run:
            for step in STEPS:
                run.to(step)
                run.freeze()
        rows += run.rows
        averages += run.baselines
        print(f"seed {seed}: {time.monotonic() - started:.0f} s")
    write(RESULTS / "feedback.csv", rows)
    write(RESULTS / "feedback_baseline.csv", averages)
    feedback_picture.main()
    print(table(rows))


def table(rows: list[dict]) -> str:
    """Means over steps, with 95 % intervals over seeds, of every condition under momentum."""
    lines = [f"| momentum | condition | {' | '.join(SHOWN)} |", "|---" * (len(SHOWN) + 2) + "|"]
    for momentum, name in product((0.9, 0.0), CONDITIONS):
        mine = [r for r in rows if r["condition"] == name and r["rate"] not in RATES]
        mine = [r for r in mine if r["momentum"] == momentum]
        cells = []
        for column in SHOWN:
            by_seed = [[r[column] for r in mine if r["seed"] == seed] for seed in SEEDS]
            cells.append("{:.3g} ± {:.2g}".format(*mean_interval(np.array(by_seed).mean(1))))
        lines.append(f"| {momentum} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
