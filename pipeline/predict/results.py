"""What came of all files that a person asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import UserError
from pipeline.pages.formats import counted
from pipeline.predict.found import shown
from pipeline.predict.unreadable import unreadable

if TYPE_CHECKING:
    from pipeline.predict.predictor import Part


class Told(NamedTuple):
    """The answer for a file."""

    path: str
    answer: str
    probability: float


@dataclass
class Results:
    """Answers, and the files that cannot be read.

    Attributes:
        classes: in the order of the probabilities.
        told: in the order of the files.
        faults: what is wrong with the others, by path.
    """

    classes: Sequence[str]
    told: list[Told] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)

    def add(self, part: Part) -> None:
        """What came of some more files."""
        for path, row in zip(part.paths, part.probabilities):
            place = row.argmax()
            self.told.append(Told(path, self.classes[place], float(row[place])))
        self.faults |= part.faults

    def check(self) -> None:
        """Refuse to be content with nothing.

        Raises:
            UserError: no file could be read.
        """
        if not self.told:
            raise UserError.all(unreadable(self.faults))

    def closing(self, name: str) -> str:
        """How many images got which answer, the most frequent first.

        Args:
            name: of the model.
        """
        counts = Counter(told.answer for told in self.told).most_common()
        each = ", ".join(f"{shown(answer)} ({num:,})" for answer, num in counts)
        num = len(self.told)
        return f"{counted(num, 'image')} by {name}: {each}"

    def warnings(self) -> list[str]:
        """A line for each of the first files that cannot be read."""
        lines = [line for error in unreadable(self.faults) for line in error.lines]
        return [line.replace("error: ", "warning: ", 1) for line in lines]
