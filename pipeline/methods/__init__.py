"""Add-ons to a Learner by name, one paper a file."""

from pipeline.methods.lwf import LearningWithoutForgetting
from pipeline.methods.method import Blocks, Method

METHODS = {
    "lwf": LearningWithoutForgetting,
}

__all__ = ["METHODS", "Blocks", "Method"]
