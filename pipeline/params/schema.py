"""The whole of params.yaml. Every description of a key is also a line of the README."""

from __future__ import annotations

from pydantic import Field

from pipeline.core.lineage import Entry, Lineage
from pipeline.params.blocks import Block, Data, Labels, Report, Training
from pipeline.params.models import (
    AnyModel,
    Baseline,
    Generation,
    MetaPseudoLabels,
    MetaTeacher,
    Task,
    Teacher,
    teacher_of,
)


class Params(Block):
    """The whole of params.yaml."""

    seed: int = Field(ge=0, description="initial weights, order, augmentation, dropout")
    data: Data
    training: Training
    labels: Labels
    teacher: Teacher
    generations: dict[str, Generation] = Field(description="name: student; `{}` for none")
    meta_pseudo_labels: dict[str, MetaPseudoLabels] = Field(
        description="name: student that corrects its teacher; `{}` for none"
    )
    baselines: dict[str, Baseline] = Field(description="name: yardstick; `{}` for none")
    tasks: dict[str, Task] = Field(description="name: what to learn on top; `{}` for none")
    final: str = Field(description="the model meant to ship")
    report: Report

    def models(self) -> dict[str, AnyModel]:
        """Every model by name, parents before children."""
        waiting: dict[str, AnyModel] = {"teacher": self.teacher, **self.generations}
        for name, spec in self.meta_pseudo_labels.items():
            waiting[name] = spec
            corrected = MetaTeacher(teacher=spec.teacher, training=spec.training)
            waiting[teacher_of(name)] = corrected
        waiting |= self.baselines | self.tasks
        models: dict[str, AnyModel] = {}
        while waiting:
            name = next(n for n in waiting if self.parent(n) in {None, *models})
            models[name] = waiting.pop(name)
        return models

    def parent(self, name: str) -> str | None:
        """The model that taught or was extended into `name`; None for one from labels."""
        if name in self.generations:
            return self.generations[name].teacher
        if pair := self.pair(name):
            return self.meta_pseudo_labels[pair].teacher
        return self.tasks[name].base if name in self.tasks else None

    def pair(self, name: str) -> str | None:
        """The entry of `meta_pseudo_labels` that makes model `name`, as student or as teacher."""
        return next((m for m in self.meta_pseudo_labels if name in (m, teacher_of(m))), None)

    def trio(self, pair: str) -> tuple[str, str, str]:
        """Of an entry of `meta_pseudo_labels`: its teacher before, that teacher after, the
        student."""
        return self.meta_pseudo_labels[pair].teacher, teacher_of(pair), pair

    def calibrated(self, name: str) -> bool:
        """Whether a calibrator stands behind a model's heads: what the teacher of a reduced entry
        of `meta_pseudo_labels` becomes, and what that becomes as a teacher."""
        pair = self.pair(name)
        if pair is None or name == pair:
            return False
        spec = self.meta_pseudo_labels[pair]
        return spec.reduced or self.calibrated(spec.teacher)

    def architecture(self, name: str) -> tuple[str, float]:
        """Network and width of a model, its own or what it comes from."""
        spec = self.models()[name]
        if getattr(spec, "network", None):
            return spec.network, spec.width
        return self.architecture(self.parent(name))

    def taught_by(self, name: str) -> str:
        """What `name` learnt from, for people: a model, labels, or the way of a yardstick."""
        if self.pair(name):
            return f"{self.parent(name)} (meta)"
        if name in self.baselines and self.baselines[name].learner != "supervised":
            return self.baselines[name].learner
        return self.parent(name) or "labels"

    def lineage(self) -> Lineage:
        """Every model that the file names, and who taught it."""
        return Lineage([self._entry(name) for name in self.models()], self.final)

    def _entry(self, name: str) -> Entry:
        blocks = ("generations", "baselines", "tasks")
        block = next((b for b in blocks if name in getattr(self, b)), "teacher")
        block = "meta_pseudo_labels" if self.pair(name) else block
        methods: tuple[str, ...] = ()
        if name in self.tasks:
            methods = tuple(self.tasks[name].methods)
        elif name in self.baselines and self.baselines[name].learner != "supervised":
            methods = (self.baselines[name].learner,)
        return Entry(name, block, self.parent(name), self.stage_of(name), methods)

    def stage_of(self, name: str) -> str:
        """The DVC stage that makes model `name`."""
        if name in self.tasks:
            return f"extend@{name}"
        if name in self.baselines:
            return f"baseline@{name}"
        if pair := self.pair(name):
            return f"meta_pseudo_labels@{pair}"
        return f"student@{name}" if name in self.generations else name

    def chain(self, name: str) -> list[str]:
        """The models from the first to `name`, each the parent of the next."""
        chain: list[str] = []
        model: str | None = name
        while model:
            chain.insert(0, model)
            model = self.parent(model)
        return chain

    def training_of(self, name: str) -> Training:
        """The shared training block with the overrides of model `name`."""
        return _overridden(self.training, self.models()[name].training)

    def labels_of(self, name: str) -> Labels:
        """The shared labels block with the overrides of generation `name`."""
        return _overridden(self.labels, self.generations[name].labels)


def _overridden(block: Block, override: Block) -> Block:
    return block.model_copy(update={k: getattr(override, k) for k in override.model_fields_set})
