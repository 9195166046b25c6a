"""A params.yaml for a folder of photos, and how long its stages take here."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.block import LabelsPerClass
from pipeline.core.errors import UserError
from pipeline.params.schema import Params
from pipeline.proposal import rules, times
from pipeline.proposal.facts import Facts, facts
from pipeline.proposal.ladder import Rung, climb, rungs
from pipeline.proposal.place import Place
from pipeline.proposal.rehearsal import rehearse
from pipeline.proposal.rules import Recipe, Values, plain
from pipeline.proposal.sample import decoded
from pipeline.proposal.times import Counts, Speed

TOLD_APART = 10  # steps that times are computed for, and twice as many: the rest is a line


class Proposal(NamedTuple):
    """A recipe.

    Attributes:
        params: as the values say.
        values: with their reasons.
        seconds: of each stage.
    """

    params: Params
    values: Values
    seconds: dict[str, float]


def propose(
    place: Place, labels_per_class: LabelsPerClass, minutes: float, start: float
) -> Proposal:
    """The largest network on the largest images that the minutes leave enough steps for.

    Args:
        labels_per_class: as the key of params.yaml.
        start: seconds that a stage takes to start.

    Raises:
        UserError: too few labels, or the minutes are gone before anything is trained.
    """
    known = facts(place.found, place.headers, labels_per_class)
    bench = Bench(place, known, start)
    seconds = 60 * minutes
    rung = climb(rungs(known.side), lambda rung: bench.steps(rung, seconds))
    steps = int(min(bench.steps(rung, seconds), rules.most_steps(known)))
    if steps < TOLD_APART:
        least = bench.at(rung, TOLD_APART)
        what = f"{minutes:g} minutes are gone before anything is trained"
        fix = f"give it {sum(least.seconds.values()) / 60 + 1:.0f} or more"
        raise UserError("--minutes", what, fix)
    return bench.at(rung, rules.rounded(steps))


class Bench:
    """Rungs tried out on a few of the photos."""

    def __init__(self, place: Place, known: Facts, start: float):
        self._place, self._known, self._start = place, known, start
        self._speeds: dict[Rung, Speed] = {}

    def at(self, rung: Rung, steps: int) -> Proposal:
        """The proposal for a rung, and so many steps of each model."""
        values = rules.recipe_values(Recipe(self._known, rung, steps), self._place.where)
        params = Params.model_validate(plain(values))
        if rung not in self._speeds:
            images, decode = decoded(self._place.listing.root, self._place.good, rung.side)
            self._speeds[rung] = Speed(self._start, decode, rehearse(params, images))
        known = self._known
        counts = Counts(known.files, known.val, known.test, known.unlabelled)
        return Proposal(params, values, times.stages(params, counts, self._speeds[rung]))

    def steps(self, rung: Rung, seconds: float) -> float:
        """Steps of each model that there is time for."""
        once = sum(self.at(rung, TOLD_APART).seconds.values())
        twice = sum(self.at(rung, 2 * TOLD_APART).seconds.values())
        return TOLD_APART + (seconds - once) * TOLD_APART / (twice - once)
