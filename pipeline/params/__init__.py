"""params.yaml as frozen objects: `load()` reads and checks the whole file."""

from pipeline.params.blocks import Data, FineTune, Labels, Pretrained, Report, Training
from pipeline.params.check import load
from pipeline.params.methods import UDA, FixMatch, LwF, OnlinePseudoLabel, WeakAndStrong
from pipeline.params.models import Baseline, Generation, MetaPseudoLabels, Model, Task, Teacher
from pipeline.params.schema import Params

__all__ = [
    "Baseline",
    "Data",
    "FineTune",
    "FixMatch",
    "Generation",
    "Labels",
    "LwF",
    "MetaPseudoLabels",
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
