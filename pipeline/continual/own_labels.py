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
    the task's own classes, chosen as any generation's are. Where answers range over all classes,
    images that are called an old class are left out: old ones may lie among the new.

    Raises:
        UserError: there are no unlabelled images, all are called old, or no answer is confident
            enough.
    """
    dataset, run, blocks = job.dataset, job.run, setting.blocks
    if not dataset.num("unlabelled"):
        fix = "use label_with: none, lower its labels_per_class, or add images"
        raise UserError(str(dataset.folder), "there are no unlabelled images", fix)
    unlabelled, passes = _answers(job, learner, "unlabelled"), None
    if job.task.scenario == "class":
        passes = _called_new(unlabelled, blocks)
        if not passes.any():
            what = "all of the task's unlabelled images are called an old class"
            fix = "use none, or add labelled images"
            raise UserError(f"tasks.{run.name}.label_with", what, fix)
    unlabelled = _among_own(unlabelled, blocks)
    if job.rule.ood_filter != "none":
        val = _among_own(_answers(job, learner, "val"), blocks)
        known = foreign.screen(job.rule.ood_filter, job.rule.ood_keep, val, unlabelled).passes
        passes = known if passes is None else passes & known
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


def _answers(job: Extension, learner: Learner, split: str) -> transforms.Answers:
    """What was learnt says of a split of the task, among all classes."""
    images = job.dataset.array(split)
    return transforms.answers(learner.weights, images, job.rule.transforms, learner.autocast)


def _called_new(answers: transforms.Answers, blocks: Blocks) -> np.ndarray:
    """Which images are called a class of the task, bool (N,)."""
    called = answers.probs.argmax(1)
    return (called >= blocks.new.start) & (called < blocks.new.stop)


def _among_own(answers: transforms.Answers, blocks: Blocks) -> transforms.Answers:
    """The answers among the task's own classes."""
    probs = np.maximum(answers.probs[:, blocks.new], np.finfo(np.float64).tiny)
    return answers._replace(probs=probs / probs.sum(1, keepdims=True))
