"""Who taught whom: every model that a params file names, as plain values."""

from collections.abc import Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """A model of a lineage."""

    name: str
    block: str  # of params.yaml that makes it, e.g. `generations`
    parent: str | None  # the model that taught it or that it extends; None: from labels
    stage: str  # of DVC, e.g. `student@g1`
    methods: tuple[str, ...] = ()  # that it learns by, besides its labels
    others: tuple[str, ...] = ()  # further parents, of one that answers together with them

    @property
    def taught_by(self) -> str:
        """What it learnt from, in words: a model or labels, and methods."""
        meta = " (meta)" if self.block == "meta_pseudo_labels" else ""
        return " + ".join([(self.parent or "labels") + meta, *self.others, *self.methods])


class Lineage:
    """The models of an experiment, parents before children.

    Args:
        entries: of all models; the parent of each is among them.
        final: name of the candidate to ship.
    """

    def __init__(self, entries: Iterable[Entry], final: str):
        self.final = final
        self.entries: dict[str, Entry] = {}
        waiting = {entry.name: entry for entry in entries}
        while waiting:
            ready = {None, *self.entries}
            name = next(n for n, e in waiting.items() if {e.parent, *e.others} <= ready)
            self.entries[name] = waiting.pop(name)

    def __iter__(self):
        return iter(self.entries)

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def of(self, block: str) -> list[str]:
        """The models that a block of params.yaml makes."""
        return [name for name, entry in self.entries.items() if entry.block == block]

    def chain(self, name: str) -> list[str]:
        """The models from the first to `name`, each the parent of the next."""
        chain: list[str] = []
        model: str | None = name
        while model:
            chain.insert(0, model)
            model = self.entries[model].parent
        return chain

    def generations(self, name: str) -> list[str]:
        """The models from the first to `name` but for tasks and distilled ones."""
        others = ("tasks", "distilled")
        return [model for model in self.chain(name) if self.entries[model].block not in others]

    def pairs(self) -> dict[str, tuple[str, str, str]]:
        """By the name of each student of Meta Pseudo Labels: its teacher before, what that teacher
        became, the student."""
        made = [self.entries[name] for name in self.of("meta_pseudo_labels")]
        return {
            entry.name: (entry.parent, corrected(entry.name), entry.name)
            for entry in made
            if corrected(entry.name) in self.entries
        }


def corrected(student: str) -> str:
    """The name of what the teacher of a student of Meta Pseudo Labels becomes."""
    return f"{student}-teacher"
