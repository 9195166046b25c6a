"""params.yaml as frozen objects: `load()` reads and checks the whole file."""

from pipeline.params.check import load
from pipeline.params.schema import (
    Data,
    Generation,
    Labels,
    LwF,
    Params,
    Pretrained,
    Report,
    Task,
    Teacher,
    Training,
)

__all__ = [
    "Data",
    "Generation",
    "Labels",
    "LwF",
    "Params",
    "Pretrained",
    "Report",
    "Task",
    "Teacher",
    "Training",
    "load",
]
