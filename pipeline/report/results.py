"""All that the page shows, before it is worded."""

from dataclasses import dataclass

from pipeline.core.lineage import Lineage
from pipeline.report.experiment import Experiment
from pipeline.report.facts import Facts
from pipeline.report.gate import Verdict
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured


@dataclass(frozen=True)
class Results:
    """An experiment and what came of it.

    Attributes:
        measured: every model of the lineage, parents before children.
        quality: of the pseudo-labels of each generation.
        metrics: `metrics.metrics` of these.
        verdict: the gate's decision.
        data: of the base task and of each task.
        champion: one sentence on the champion; None where nothing is registered.
    """

    experiment: Experiment
    measured: dict[str, Measured]
    quality: dict[str, LabelQuality]
    metrics: dict[str, float]
    verdict: Verdict
    data: list[Facts]
    champion: str | None = None

    @property
    def lineage(self) -> Lineage:
        """Who taught whom."""
        return self.experiment.lineage

    @property
    def ships(self) -> str:
        """Name of the model that ships."""
        return self.verdict.ships

    @property
    def split(self) -> str:
        """The split that is shown: `test` where it was read, else `val`."""
        return self.measured[self.ships].split
