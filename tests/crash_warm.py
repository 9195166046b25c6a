"""All that a stage imports and reads, once, before processes are forked."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import crash  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch

import pipeline.augment  # noqa: F401
from pipeline.running import resume
from stages import distill, extend, meta_pseudo_labels, specialists, student, teacher  # noqa: F401

torch.set_num_threads(1)
_code = resume._code()
resume._code = lambda: _code
