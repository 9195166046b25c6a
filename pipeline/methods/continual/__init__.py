"""Methods that keep earlier tasks while a new one is learnt."""

from pipeline.methods.continual.bic import BiasCorrection
from pipeline.methods.continual.ewc import ElasticWeightConsolidation
from pipeline.methods.continual.generative_replay import GenerativeReplay
from pipeline.methods.continual.l2_sp import L2SP
from pipeline.methods.continual.lfl import LessForgettingLearning
from pipeline.methods.continual.lwf import LearningWithoutForgetting
from pipeline.methods.continual.lwm import LearningWithoutMemorizing
from pipeline.methods.continual.mas import MemoryAwareSynapses
from pipeline.methods.continual.piggyback import Piggyback
from pipeline.methods.continual.replay import Replay

CONTINUAL = {
    "lwf": LearningWithoutForgetting,
    "l2_sp": L2SP,
    "ewc": ElasticWeightConsolidation,
    "mas": MemoryAwareSynapses,
    "lfl": LessForgettingLearning,
    "lwm": LearningWithoutMemorizing,
    "piggyback": Piggyback,
    "bic": BiasCorrection,  # before replay, which chooses anew at the end
    "replay": Replay,
    "generative_replay": GenerativeReplay,
}
