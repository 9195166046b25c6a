"""The whole of params.yaml, assembled from the blocks of the rooms that obey them."""

from collections.abc import Iterator

from pydantic import Field

from pipeline.continual.options import Task
from pipeline.core.block import Block, Fault, override_of
from pipeline.core.lineage import Entry, Lineage, corrected
from pipeline.distil.options import Distilled
from pipeline.ensembles.options import Together
from pipeline.labelling.rule import Labels
from pipeline.meta.options import MetaPseudoLabels, MetaTeacher
from pipeline.params.kinds import kind_faults
from pipeline.report.options import Report
from pipeline.sources.options import Data
from pipeline.specialists.options import Specialists
from pipeline.students.generation import Generation
from pipeline.students.options import Baseline, Teacher
from pipeline.training.model import ModelConfig
from pipeline.training.recipe import Training, TrainingOverride


class TaskData(override_of(Data, without=("classes", "labels_per_class", "fold", "seed"))):
    """Where the images of a task come from: keys of `data` that differ."""

    # stated for every task, since DVC knows no default for what a stage depends on
    root: str = Field(
        min_length=1, description="folder of the task's images; a change in it re-runs its stages"
    )


class TaskOfData(Task):
    """A task, and where its images come from."""

    data: TaskData = Field(
        description="`root`, often that of `data`, and keys of `data` that differ for this task; "
        "with another root `unlabelled` and `manifest` are none where they are not stated"
    )


Trained = Teacher | Generation | MetaPseudoLabels | MetaTeacher | Baseline | Distilled | TaskOfData
AnyModel = Trained | Together | Specialists
# Blocks of models by name: the keys of parents, and the stage that makes them.
PARENT_KEYS = {
    "generations": ("teacher",),
    "meta_pseudo_labels": ("teacher",),
    "baselines": (),
    "ensembles": ("first", "second"),
    "specialists": ("teacher",),
    "distilled": ("teacher",),
    "tasks": ("base",),
}
STAGE = {
    "generations": "student",
    "meta_pseudo_labels": "meta_pseudo_labels",
    "baselines": "baseline",
    "ensembles": "ensemble",
    "specialists": "specialists",
    "distilled": "distill",
    "tasks": "extend",
}


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
    baselines: dict[str, Baseline] = Field(description="name: model to compare with; `{}` for none")
    ensembles: dict[str, Together] = Field(
        description="name: two models that answer together; `{}` for none"
    )
    specialists: dict[str, Specialists] = Field(
        description="name: models of the classes that a teacher confuses; `{}` for none"
    )
    distilled: dict[str, Distilled] = Field(
        description="name: student of another model's answers; `{}` for none"
    )
    tasks: dict[str, TaskOfData] = Field(description="name: what to learn on top; `{}` for none")
    final: str = Field(description="the model meant to ship")
    report: Report

    def faults(self) -> Iterator[Fault]:
        """What does not go with the kind of answers; a `domain` of the very images that the chain
        has learnt; images of another size than its own; a memory that is too small."""
        yield from kind_faults(self)
        for name, task in self.tasks.items():
            same = [
                other
                for other, block in self.data_sets().items()
                if other != name
                and block.classes == task.classes
                and self.data_of(other).root == self.data_of(name).root
            ]
            if task.scenario == "domain" and same:
                what = f"'{name}' is to have images of another kind than '{same[0]}'"
                yield Fault(f"tasks.{name}.data.root", what, "name another source of images")
            size = self.data_of(name).size
            if size and self.data.size and size != self.data.size:
                what = f"{size} is not the size of the base task's images, {self.data.size}"
                yield Fault(f"tasks.{name}.data.size", what, "leave it out")
            yield from self._too_small(name)

    def _too_small(self, name: str) -> Iterator[Fault]:
        """Options of a task's methods that do not reach for an image of each class, those of a
        `domain` once more."""
        learnt, methods = [], self.tasks[name].methods
        task = name
        while task in self.tasks and task not in learnt:
            learnt.append(task)
            task = self.tasks[task].base
        num = len(self.data.classes) + sum(len(self.tasks[task].classes) for task in learnt)
        for method in methods.names:
            for key in methods.family[method].one_per_class:
                given = getattr(getattr(methods, method), key)
                if given < num:
                    what = f"{given} images are not one of each of {num} classes"
                    fix = f"raise it to {num} or more"
                    yield Fault(f"tasks.{name}.methods.{method}.{key}", what, fix)

    def data_sets(self) -> dict[str, Data | Task]:
        """The blocks that name classes and their labels, by the data set that is made of them."""
        return {"base": self.data, **self.tasks}

    def all_classes(self) -> list[str]:
        """Those of the base task, then those of each task."""
        names = [name for block in self.data_sets().values() for name in block.classes]
        return list(dict.fromkeys(names))

    @property
    def learns_from_unlabelled(self) -> bool:
        """Whether any model of the base task does."""
        models = [self.teacher, *self.baselines.values()]
        return bool(
            self.generations
            or self.meta_pseudo_labels
            or any(model.methods.names for model in models)
            or any(m.images == "all" for m in (self.specialists | self.distilled).values())
        )

    def places(self) -> dict[str, tuple[str, ...]]:
        """Where in the file each model stands, by its name; what a teacher becomes in Meta Pseudo
        Labels stands where its student does."""
        places: dict[str, tuple[str, ...]] = {"teacher": ("teacher",)}
        for block in PARENT_KEYS:
            for name in getattr(self, block):
                places[name] = (block, name)
                if block == "meta_pseudo_labels":
                    places[corrected(name)] = (block, name)
        return places

    def options(self, name: str) -> AnyModel:
        """The block of model `name`."""
        place = self.places()[name]
        if len(place) == 1:
            return self.teacher
        options = getattr(self, place[0])[place[1]]
        if place[1] == name:
            return options
        return MetaTeacher(teacher=options.teacher, training=options.training)

    def parents(self, name: str) -> tuple[str, ...]:
        """The models that taught, answer together in, or were extended into `name`; none for one
        from labels."""
        keys = PARENT_KEYS.get(self.places()[name][0], ())
        return tuple(getattr(self.options(name), key) for key in keys)

    def parent(self, name: str) -> str | None:
        """The first of these; None for a model from labels."""
        return next(iter(self.parents(name)), None)

    def lineage(self) -> Lineage:
        """Every model that the file names, and who taught it."""
        return Lineage([self._entry(name) for name in self.places()], self.final)

    def _entry(self, name: str) -> Entry:
        block, *key = self.places()[name]
        stage = "@".join([STAGE.get(block, block), *key])
        methods = getattr(self.options(name), "methods", None)
        parent, *others = self.parents(name) or [None]
        names = methods.names if methods else ()
        return Entry(name, block, parent, stage, names, tuple(others))

    def config(self, name: str) -> ModelConfig:
        """Model `name` with all that it takes from the shared blocks and from its parent."""
        options, parent = self.options(name), self.parent(name)
        above = self.config(parent) if parent else None
        network, width = getattr(options, "network", None), getattr(options, "width", 1.0)
        if network is None:
            network, width = above.network, above.width
        return ModelConfig(
            name=name,
            key=".".join(self.places()[name]),
            seed=self.seed,
            options=options,
            training=self.training.override(getattr(options, "training", TrainingOverride())),
            network=network,
            width=width,
            parent=above,
            calibrated=self._calibrated(name, above),
        )

    def _calibrated(self, name: str, above: ModelConfig | None) -> bool:
        """What the teacher of a reduced pair becomes has a calibrator, and so has what that becomes
        as a teacher."""
        block, *key = self.places()[name]
        if block != "meta_pseudo_labels" or name == key[0]:
            return False
        return self.meta_pseudo_labels[key[0]].reduced or above.calibrated

    def labels_of(self, name: str) -> Labels:
        """The shared labels block with the keys of a generation or task."""
        return self.labels.override(self.options(name).labels)

    def sources(self) -> dict[str, Data]:
        """Where the images of each data set come from."""
        return {name: self.data_of(name) for name in self.data_sets()}

    def data_of(self, task: str) -> Data:
        """The block `data`, with the keys of a task that is not `base`."""
        if task == "base":
            return self.data
        own = self.tasks[task].data
        of_root = {"unlabelled": [], "manifest": []} if own.root != self.data.root else {}
        return self.data.model_copy(update=of_root).override(own)
