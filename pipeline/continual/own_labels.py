"""A task's own pseudo-labels: what it learnt from its labels labels its other images."""

import numpy as np
import torch

from pipeline.continual.extension import Extension
from pipeline.core import randomness
from pipeline.core.errors import UserError
from pipeline.data.batches import Stream
from pipeline.labelling import foreign, pseudo_labels, transforms
from pipeline.training.images import on
from pipeline.training.learner import Learner
from pipeline.training.method import Blocks, Setting


def stream(job: Extension, learner: Learner, setting: Setting) -> Stream:
    """The task's unlabelled images in the strong view, with the answers of what was learnt among
    the task's own classes, chosen as any generation's are.

    Raises:
        UserError: there are no unlabelled images, or no answer is confident enough.
    """
    dataset, run, blocks = job.dataset, job.run, setting.blocks
    if not dataset.num("unlabelled"):
        fix = "use label_with: none, lower its labels_per_class, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    unlabelled, passes = _answers(job, learner, blocks, "unlabelled"), None
    if job.rule.ood_filter != "none":
        val = _answers(job, learner, blocks, "val")
        passes = foreign.screen(job.rule.ood_filter, job.rule.ood_keep, val, unlabelled).passes
    rngs = [randomness.generator(run.seed, run.name, "balance", c) for c in dataset.classes]
    made = pseudo_labels.make(unlabelled.probs, job.rule, rngs, passes)
    width = len(range(blocks.total)[blocks.trained])
    targets = torch.zeros(len(made.index), width)
    first = blocks.new.start - blocks.trained.start
    targets[:, first : first + len(dataset.classes)] = torch.from_numpy(made.probs).float()
    return Stream(
        images=job.images.images("unlabelled"),
        targets=targets.to(run.device),
        num=job.config.training.num_unlabelled,
        view=job.images.strong,
        weights=on(made.weight, run.device),
        index=made.index,
        device=run.device,
        soft=made.kind == "soft",
        columns=blocks.trained,
    )


def _answers(job: Extension, learner: Learner, blocks: Blocks, split: str) -> transforms.Answers:
    """What was learnt says of a split of the task, among its own classes."""
    images, names = job.dataset.array(split), job.rule.transforms
    made = transforms.answers(learner.weights, images, names, learner.autocast)
    probs = np.maximum(made.probs[:, blocks.new], np.finfo(np.float64).tiny)
    return made._replace(probs=probs / probs.sum(1, keepdims=True))
