"""The facts of a params file that the report and the tracker need, as plain values."""

from dataclasses import dataclass

from pipeline.core.lineage import Lineage


@dataclass(frozen=True)
class Experiment:
    """What was asked for.

    Attributes:
        lineage: every model, and who taught it.
        source: name of the data source.
        seed: of the training; `data_seed`: of the split of the images.
        test: whether test images are to be read, if there are any.
        register: whether the model that ships goes to the registry.
        keeps: share of its teacher's accuracy that a distilled model must have to ship.
        params: the file's own keys and values.
        shared: its blocks that all models share, with every default.
    """

    lineage: Lineage
    source: str
    seed: int
    data_seed: int
    test: bool
    register: bool
    keeps: float
    params: dict
    shared: dict

    @property
    def last_generation(self) -> str:
        """The model that the chain to the candidate reached before any task or distillation."""
        return self.lineage.generations(self.lineage.final)[-1]
