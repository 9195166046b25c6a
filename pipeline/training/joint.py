"""The images of all tasks that a model knows, in one batch."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.data import tasks
from pipeline.data.batches import Stream, View
from pipeline.training.images import TrainingImages, one_hot


def labelled(images: TrainingImages, card: dict, view: View | None = None) -> dict[str, Stream]:
    """The labelled images, a stream for each task, with targets over all logits; together they are
    a batch, of each task in proportion to its images.

    Args:
        images: of the base task.
        view: other than the recipe's.
    """
    total = sum(len(head["classes"]) for head in card["heads"])
    streams = {
        task: own.labelled(one_hot(own.labels(), first, total), view)
        for task, first, own in by_task(images, card)
    }
    return shared("labelled", streams, images.training.batch_size)


def unlabelled(images: TrainingImages, card: dict) -> dict[str, Stream]:
    """The unlabelled images in the strong view, a stream for each task, as those with labels.

    Raises:
        UserError: a task has none.
    """
    streams = {task: own.unlabelled(own.strong) for task, _, own in by_task(images, card)}
    return shared("unlabelled", streams, images.training.num_unlabelled)


def by_task(images: TrainingImages, card: dict) -> Iterator[tuple[str, int, TrainingImages]]:
    """Each task with the column of its first class, and its images."""
    first, starts = 0, {}
    for head in card["heads"]:
        starts[head["task"]] = first
        first += len(head["classes"])
    for task, head in tasks.learnt(card):
        own = images if task == "base" else replace(images, dataset=tasks.dataset(task))
        yield task, starts[head], own


def shared(part: str, streams: dict[str, Stream], num: int) -> dict[str, Stream]:
    """The streams by the names of their parts, each with its share of so many images."""
    total = sum(map(len, streams.values()))
    return {
        part if task == "base" else f"{part}_{task}": replace(
            stream, num=max(1, round(num * len(stream) / total))
        )
        for task, stream in streams.items()
    }
