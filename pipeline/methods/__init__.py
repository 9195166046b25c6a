"""Add-ons to a Learner by name, one paper a file."""

from pipeline.methods.consistency import FixMatch, UnsupervisedDataAugmentation
from pipeline.methods.lwf import LearningWithoutForgetting
from pipeline.methods.method import Blocks, Method
from pipeline.methods.online import OnlinePseudoLabel

METHODS = {
    "lwf": LearningWithoutForgetting,
    "pseudo_label": OnlinePseudoLabel,
    "uda": UnsupervisedDataAugmentation,
    "fixmatch": FixMatch,
}

__all__ = ["METHODS", "Blocks", "Method"]
