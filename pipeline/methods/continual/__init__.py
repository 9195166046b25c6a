"""Methods that keep earlier tasks while a new one is learnt."""

from pipeline.methods.continual.lwf import LearningWithoutForgetting

CONTINUAL = {
    "lwf": LearningWithoutForgetting,
}
