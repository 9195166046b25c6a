"""Augmentation: RandAugment per image for a whole batch, and the weak and strong view."""

from pipeline.augment.rand_augment import RandAugment
from pipeline.augment.scale import OPS
from pipeline.augment.views import StrongView, WeakView

__all__ = ["OPS", "RandAugment", "StrongView", "WeakView"]
