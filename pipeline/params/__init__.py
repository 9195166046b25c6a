"""params.yaml as frozen objects: `load()` reads and checks the whole file."""

from pipeline.params.check import load
from pipeline.params.schema import (
    UDA,
    Baseline,
    Data,
    FineTune,
    FixMatch,
    Generation,
    Labels,
    LwF,
    Model,
    OnlinePseudoLabel,
    Params,
    Pretrained,
    Report,
    Task,
    Teacher,
    Training,
    WeakAndStrong,
)

__all__ = [
    "Baseline",
    "Data",
    "FineTune",
    "FixMatch",
    "Generation",
    "Labels",
    "LwF",
    "Model",
    "OnlinePseudoLabel",
    "Params",
    "Pretrained",
    "Report",
    "Task",
    "Teacher",
    "Training",
    "UDA",
    "WeakAndStrong",
    "load",
]
