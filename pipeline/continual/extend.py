"""A task on top of a model: grow a head, train, keep what was learnt before by methods."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor

from pipeline.continual import own_labels
from pipeline.continual.blocks import blocks, columns_of, head_of
from pipeline.continual.extension import Extension
from pipeline.continual.labelled import held_out, labelled
from pipeline.continual.score import score
from pipeline.core import machine, randomness
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.data.batches import Stream
from pipeline.networks import checkpoint
from pipeline.running.run import Run
from pipeline.running.tracker import NullTracker
from pipeline.training.fit import Evaluate, Trainings, evaluation, sizes, write
from pipeline.training.images import NO_ROWS
from pipeline.training.learner import HeadLearner, Learner, below
from pipeline.training.loop import Row
from pipeline.training.method import Blocks, Method, Setting, build, finish, start
from pipeline.training.probe import Probe
from pipeline.training.recipe import Training


class Learnt(NamedTuple):
    """A training of a task that is over.

    Attributes:
        images_seen: images that went through a network in it, the warm-up's too.
    """

    learner: Learner
    methods: Mapping[str, Method]
    setting: Setting
    history: list[Row]
    images_seen: int


def extend(job: Extension) -> dict:
    """Learn the task and write `models/<name>/` with its memory; returns the card.

    Raises:
        UserError: the images are not of the shape that the base model takes, or data that a method
            needs are missing.
    """
    check(job)
    card, steps = describe(job), warmup_steps(job)
    depends = [card, job.dataset.card["seal"], steps, job.rule and job.rule.model_dump()]
    run = replace(job.run, depends=depends)
    if job.config.training.features == "frozen":  # without methods
        return extend_heads(job, run, card)
    with Trainings(run) as trainings:
        evaluate, own, seen = evaluation(card, run.device), {}, 0
        if job.rule:
            first = learn(job, trainings, evaluate, "first")
            own = {"pseudo": own_labels.stream(job, first.learner, first.setting)}
            seen = first.images_seen + len(own["pseudo"].images) * len(job.rule.transforms)
        made = learn(job, trainings, evaluate, "", own)
        finish(made.methods, replace(made.setting, network=made.learner.weights))
        card["images_seen"] = seen + made.images_seen
        card["metrics"] = evaluate(made.learner) | score(made.history, card)
        return write(made.learner.weights, card, made.history, memory(made.methods))


def learn(
    job: Extension,
    trainings: Trainings,
    evaluate: Evaluate,
    phase: str,
    own: Mapping[str, Stream] = MappingProxyType({}),
) -> Learnt:
    """Train the base on the task, its new head alone at first if methods ask for that.

    Args:
        phase: "" for the training whose curve is recorded.
        own: the task's unlabelled images with labels of its own model.
    """
    methods = build(job.task.methods)
    setting = begin(job, methods)
    network, training = setting.network, job.config.training
    brought = start(methods, setting)
    autocast = machine.configure(job.run.machine, network, checkpoint.pixels(job.base))
    silent = replace(trainings.run, tracker=NullTracker())
    recorded = trainings.run if phase == "" else silent
    streams, seen = labelled(job, setting), 0
    if steps := warmup_steps(job):
        head = HeadLearner(network, warm_up(training, steps), autocast=autocast)
        trainings.fit(head, streams, evaluate, "-".join(filter(None, [phase, "head"])), run=silent)
        seen = head.images_seen(sizes(streams))
    weights = {"pseudo": training.unlabelled_weight}
    learner = Learner(network, training, weights, autocast, methods, fixed_heads(job, methods))
    streams = {**streams, **own, **brought}
    history = trainings.fit(learner, streams, evaluate, phase, run=recorded)
    return Learnt(learner, methods, setting, history, seen + learner.images_seen(sizes(streams)))


def extend_heads(job: Extension, run: Run, card: dict) -> dict:
    """`extend`, on features that the base's backbone gave once."""
    setting = begin(job, {})
    network, training = setting.network, job.config.training
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    probe = Probe(run.name, network, training, labelled(job, setting), autocast)
    with Trainings(run) as trainings:
        fixed = fixed_heads(job, {})
        trained, history = probe.fit(trainings, card, fixed=fixed)
        metrics = evaluation(card, run.device)(trained) | score(history, card)
        card |= {"images_seen": probe.images_seen, "metrics": metrics}
        return write(trained.weights, card, history, {})


def check(job: Extension) -> None:
    """Refuse images of another shape than the base model was trained on, and frozen features of one
    that has several."""
    shape, base = list(job.dataset.image_shape), job.base
    if shape != base["image_shape"]:
        what = f"images are {shape}, '{base['name']}' takes {base['image_shape']}"
        raise UserError(str(job.dataset.folder), what, "prepare both with one image shape")
    masked = [head["task"] for head in base["heads"] if head.get("masked")]
    if masked and job.config.training.features == "frozen":
        what = f"'{base['name']}' has features of its own for {', '.join(masked)}"
        fix = "use trained, with train: new_head"
        raise UserError(f"{job.config.key}.training.features", what, fix)


def begin(job: Extension, methods: Mapping[str, Method]) -> Setting:
    """The base with a new head, drawn from the seed, and the frozen base as the teacher; methods
    have their memory of the base."""
    run, training, base = job.run, job.config.training, job.base
    noise = {"dropout": training.dropout, "stochastic_depth": training.stochastic_depth}
    network, _ = checkpoint.load(job.folder, run.device, noise)
    teacher, _ = checkpoint.load(job.folder, run.device)
    setting = Setting(
        run.name,
        run.seed,
        network,
        blocks(job.task, base, any(method.rehearses for method in methods.values())),
        training,
        job.images,
        {base["name"]: teacher.requires_grad_(False)},
        methods,
        held_out(job, methods),
        job.task.scenario,
    )
    recall(methods, setting, job)
    if job.task.scenario != "domain":
        randomness.seed_torch(run.seed, run.name, "init")
        network.add_head(run.name, len(job.dataset.classes))
        network.to(run.device)
    return setting


def recall(methods: Mapping[str, Method], setting: Setting, job: Extension) -> None:
    """Give each method its memory of the base model; one that has none but needs one learns it
    from the base's own images, task by task."""
    stored = checkpoint.load_memory(job.folder, job.base)
    columns = columns_of(job.base)
    for name, method in methods.items():
        method.state = {k: v.to(job.run.device) for k, v in below(stored, f"{name}/").items()}
        if not method.consolidates or method.state:
            continue
        before: list[str] = []
        for task, head in tasks.learnt(job.base):
            images = replace(setting.images, dataset=tasks.dataset(task))
            old = [columns[other] for other in before]
            now = Blocks(old, columns[head], columns[head])
            then = replace(setting, blocks=now, images=images, teachers={}, held_out=NO_ROWS)
            finish({name: method}, then)
            before += [head] * (head not in before)


def fixed_heads(job: Extension, methods: Mapping[str, Method]) -> list[str]:
    """The heads that are not trained."""
    fixed = job.task.old_heads == "frozen" or any(m.fixes_old_heads for m in methods.values())
    return [head["task"] for head in job.base["heads"]] if fixed else []


def warmup_steps(job: Extension) -> int:
    """Steps that train the new head alone, before all others."""
    if job.task.scenario == "domain":
        return 0
    return max((method.warmup_steps for method in build(job.task.methods).values()), default=0)


def warm_up(training: Training, steps: int) -> Training:
    """The recipe of the new head's own training."""
    changes = {"steps": steps, "ema": 0.0, "warmup_steps": 0, "evaluate_every": steps}
    return training.model_copy(update={**changes, "keep": "last"})


def describe(job: Extension) -> dict:
    """The card of the extended model: the base's, a head more, or of a `domain` the same heads."""
    training, dataset, base, task = job.config.training, job.dataset, job.base, job.task
    name = job.config.name
    by_method = any(method.reads_unlabelled for method in build(task.methods).values())
    splits = ["labelled", "val"] + (["unlabelled"] if job.rule or by_method else [])
    noise = {"dropout": training.dropout, "stochastic_depth": training.stochastic_depth}
    answered_by, heads = head_of(base, dataset.classes), base["heads"]
    if task.scenario != "domain":
        structure = {k: v for m in build(task.methods).values() for k, v in m.head.items()}
        answered_by = name
        heads = [*heads, {"task": name, "classes": dataset.classes, **structure}]
    return {
        **{key: base[key] for key in ("image_shape", "normalisation")},
        "name": name,
        "network": {**base["network"], **noise},
        "heads": heads,
        "tasks": [*base.get("tasks", []), [name, answered_by]],
        "parents": {base["name"]: base["sha256"]},
        "data": {**base["data"], name: {s: dataset.digest(s) for s in splits}},
        "seed": job.config.seed,
        "training": training.model_dump(),
        "task": task.model_dump(exclude_none=True, exclude={"training"}),
    }


def memory(methods: Mapping[str, Method]) -> dict[str, Tensor]:
    """The states of all methods, keys `<method>/<tensor>`."""
    return {f"{name}/{k}": v for name, m in methods.items() for k, v in m.state.items()}
