"""The labelled images that a task is learnt from."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.continual.blocks import columns_of, one_hot
from pipeline.continual.extension import Extension
from pipeline.core import randomness
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.training.hold_out import hold_out
from pipeline.training.method import Method, Setting


def labelled(job: Extension, setting: Setting) -> dict[str, Stream]:
    """The task's own labelled images but for those that are held out, and with `joint` those of all
    earlier tasks, as many of each in a batch as there are for each of the task's own."""
    trained, new = setting.blocks.trained, setting.blocks.new
    targets = one_hot(job.images.labels().cpu(), new.start - trained.start, trained)
    stream = job.images.labelled(targets, held_out=setting.held_out)
    stream = replace(stream, columns=trained)
    return {"labelled": stream} | (earlier(job, setting, len(stream)) if job.task.joint else {})


def earlier(job: Extension, setting: Setting, num: int) -> dict[str, Stream]:
    """The labelled images of the tasks before, a stream for each.

    Args:
        num: the task's own.
    """
    columns, streams = columns_of(job.base), {}
    for task, head in tasks.learnt(job.base):
        images = replace(job.images, dataset=tasks.dataset(task))
        block = columns[head]
        over = slice(0, setting.blocks.total) if job.task.scenario == "class" else block
        targets = one_hot(images.labels().cpu(), block.start - over.start, over)
        share = round(job.config.training.batch_size * len(targets) / num)
        stream = replace(images.labelled(targets), columns=over, num=max(1, share))
        streams[f"joint_{task}"] = stream
    return streams


def held_out(job: Extension, methods: Mapping[str, Method]) -> np.ndarray:
    """Rows of the task's labelled images that methods ask to be kept from the training."""
    share = max((method.holds_out for method in methods.values()), default=0.0)
    rng = randomness.generator(job.run.seed, job.run.name, "held out")
    return hold_out(job.dataset.array("labelled", "label"), share, rng)
