"""Methods by which a student learns from a teacher's answers, on images that both see alike."""

from pipeline.methods.distillation.attention import AttentionTransfer
from pipeline.methods.distillation.decoupled import DecoupledDistillation
from pipeline.methods.distillation.hints import FitNets
from pipeline.methods.distillation.kd import KnowledgeDistillation
from pipeline.methods.distillation.logits import LogitMatching
from pipeline.methods.distillation.relational import RelationalDistillation
from pipeline.methods.distillation.similarity import SimilarityPreserving
from pipeline.methods.distillation.structured import StructuredDistillation

DISTILLATION = {
    "kd": KnowledgeDistillation,
    "decoupled": DecoupledDistillation,
    "logits": LogitMatching,
    "hints": FitNets,
    "attention": AttentionTransfer,
    "similarity": SimilarityPreserving,
    "relational": RelationalDistillation,
    "structured": StructuredDistillation,
}
