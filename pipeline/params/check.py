"""The whole params.yaml checked in one pass: every fault a line, with what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import UserError, nearest
from pipeline.params.models import Task, teacher_of
from pipeline.params.read import Source, read
from pipeline.params.schema import Params
from pipeline.params.words import block_in, expected, schema_at, wrong

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = {"base"}
FAMILIES = ("resnet", "resnext", "wide_resnet", "efficientnet", "convnext", "regnet")
# how the names of networks with residual blocks begin
RESIDUAL = ("resnet_9", "wrn_28_2", *(f"torchvision/{family}" for family in FAMILIES))
UNION_BRANCH = re.compile(r"[\[\](]|^(constrained-)?(int|str|float)$")  # pydantic's own words
# Blocks of models: the key of a parent, if they have one.
PARENT_KEY = {
    "generations": "teacher",
    "meta_pseudo_labels": "teacher",
    "baselines": None,
    "tasks": "base",
}


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        UserError: one line for every fault in the file.
    """
    source = read(path)
    errors = []
    params = None
    try:
        params = Params.model_validate(source.values)
    except ValidationError as error:
        errors += [_readable(source, fault) for fault in _one_per_place(error)]
    errors += _lineage_faults(source) + _data_faults(source)
    errors += _task_faults(source) + _option_faults(source) + _transform_faults(source)
    if params and not errors:  # these follow the chain, which must be whole
        errors += _noise_faults(source, params) + _width_faults(source, params)
        errors += _init_faults(source, params) + _frozen_faults(source, params)
    if errors:
        raise UserError.all(errors)
    return params


def _one_per_place(error: ValidationError) -> list[dict]:
    """A union reports every branch that failed; one line for the key is enough."""
    seen: dict[tuple, dict] = {}
    for fault in error.errors():
        if fault["loc"][-1] == "[key]":
            continue  # a model's name: see `_name_faults`
        place = tuple(part for part in fault["loc"] if not UNION_BRANCH.search(str(part)))
        kind = "union" if place in seen else fault["type"]
        seen[place] = {**fault, "loc": place, "type": kind}
    return list(seen.values())


def _readable(source: Source, fault: dict) -> UserError:
    loc, kind, given = fault["loc"], fault["type"], fault["input"]
    where = source.where(loc)
    block, field = schema_at(loc)
    if kind == "extra_forbidden":
        names = block.keys() if block else ()
        return UserError(where, f"unknown key '{loc[-1]}'", nearest(loc[-1], names))
    if kind == "missing":
        return UserError(where, f"'{loc[-1]}' is missing", f"add it: {expected(field)}")
    if kind == "literal_error":
        names = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return UserError(where, f"{given!r} is no such choice", nearest(given, names))
    what = f"{given!r} is {wrong(kind)}"
    entry = block is not None and field is None  # of a dict of models
    return UserError(where, what, f"expected {'a block of keys' if entry else expected(field)}")


def _lineage_faults(source: Source) -> list[UserError]:
    """Names, parents and cycles: read from the raw values, so that a fault elsewhere in the
    file does not hide these."""
    errors = []
    parents: dict[str, Any] = {"teacher": None}
    models = list(_models(source))
    for loc, spec in models:
        errors += _name_faults(source, loc, parents)
        parents.setdefault(str(loc[-1]), spec.get(PARENT_KEY[loc[0]]))
        if loc[0] == "meta_pseudo_labels":
            corrected = teacher_of(str(loc[-1]))
            if corrected in parents:
                what = f"the name '{corrected}', of what its teacher becomes, is taken"
                errors.append(UserError(source.where(loc), what, "choose another"))
            parents.setdefault(corrected, spec.get("teacher"))
    for loc, _ in models:
        errors += _parent_faults(source, loc, parents)
    final = source.values.get("final")
    if isinstance(final, str) and final not in parents:
        where = source.where(("final",))
        errors.append(UserError(where, f"no model is named '{final}'", nearest(final, parents)))
    return errors


def _models(source: Source) -> Iterator[tuple[tuple, dict]]:
    for block in PARENT_KEY:
        items = source.values.get(block)
        for name, spec in items.items() if isinstance(items, dict) else ():
            yield (block, name), spec if isinstance(spec, dict) else {}


def _name_faults(source: Source, loc: tuple, taken: dict) -> list[UserError]:
    name, where = str(loc[-1]), source.where(loc)
    if not isinstance(loc[-1], str) or not NAME.fullmatch(name):
        fix = "use lower-case letters, digits, '_' and '-', a letter first"
        return [UserError(where, f"'{name}' cannot be a model's name", fix)]
    if name in RESERVED or name in taken:
        return [UserError(where, f"the name '{name}' is taken", "choose another")]
    return []


def _parent_faults(source: Source, loc: tuple, parents: dict) -> list[UserError]:
    name = str(loc[-1])
    parent = parents.get(name)
    if not isinstance(parent, str):
        return []  # none, or missing or of the wrong type, which was said
    where = source.where((*loc, PARENT_KEY[loc[0]]))
    if parent not in parents:
        return [UserError(where, f"no model is named '{parent}'", nearest(parent, parents))]
    blocks = {other[0] for other, _ in _models(source) if str(other[-1]) == parent}
    if loc[0] in ("generations", "meta_pseudo_labels") and blocks == {"tasks"}:
        what = f"'{parent}' is a task: it answers with classes that the base task does not have"
        return [UserError(where, what, "name the teacher or a generation")]
    made = (name, teacher_of(name)) if loc[0] == "meta_pseudo_labels" else (name,)
    seen = [name]
    while isinstance(parent, str) and parent in parents:
        if parent in made:
            ring = " -> ".join([*seen, parent])
            return [UserError(where, f"teaches itself ({ring})", "begin the chain at 'teacher'")]
        if parent in seen:
            return []  # a ring further up, reported where it stands
        seen.append(parent)
        parent = parents[parent]
    return []


def _data_faults(source: Source) -> list[UserError]:
    data = source.values.get("data")
    if not isinstance(data, dict):
        return []
    errors = []
    classes = data.get("classes")
    names = _names(classes)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        where = source.where(("data", "classes"))
        errors.append(UserError(where, f"classes named twice: {', '.join(twice)}", "keep one"))
    shares = [data.get("val"), data.get("test")]
    if all(isinstance(s, float) and 0 < s < 1 for s in shares) and sum(shares) >= 1:
        where = source.where(("data", "test"))
        what = f"val + test = {sum(shares):g} leaves nothing to train on"
        errors.append(UserError(where, what, "keep val + test under 1, say 0.15 + 0.25"))
    return errors + (_digits_faults(source, data) if data.get("source") == "digits" else [])


def _digits_faults(source: Source, data: dict) -> list[UserError]:
    """What the digits cannot be asked for: another size, and splits of their own."""
    errors = []
    size = data.get("size", 0)
    if isinstance(size, int) and 0 < size <= 4096 and size != 8:
        where = source.where(("data", "size"))
        errors.append(UserError(where, f"the digits are 8x8, not {size}", "leave it out"))
    for name in ("val", "test"):
        if type(data.get(name)) in (int, float) and data[name] == 0:
            what = f"0, and the digits bring no {name} images of their own"
            fix = "set it to a share of all images, say 0.2"
            errors.append(UserError(source.where(("data", name)), what, fix))
    return errors


def _noise_faults(source: Source, params: Params) -> list[UserError]:
    """Stochastic depth where there is no residual block to drop."""
    errors = []
    places = {"teacher": ("teacher",)}
    places |= {name: (block, name) for block in PARENT_KEY for name in getattr(params, block)}
    for name, place in places.items():  # what a teacher becomes keeps the noise that it had
        network, drop = params.architecture(name)[0], params.training_of(name).stochastic_depth
        if drop and not network.startswith(RESIDUAL):
            what = f"'{network}' has no residual blocks for stochastic_depth {drop:g}"
            fix = f"set it to 0 for this model, or use one named {', '.join(RESIDUAL)}..."
            errors.append(UserError(source.where((*place, "network")), what, fix))
    return errors


def _width_faults(source: Source, params: Params) -> list[UserError]:
    """Another width than torchvision's networks have."""
    specs = {("teacher",): params.teacher}
    specs |= {("generations", name): spec for name, spec in params.generations.items()}
    specs |= {("baselines", name): spec for name, spec in params.baselines.items()}
    pairs = params.meta_pseudo_labels.items()
    specs |= {("meta_pseudo_labels", name): spec for name, spec in pairs if spec.network}
    return [
        UserError(source.where((*loc, "width")), f"'{spec.network}' has one width", "set it to 1")
        for loc, spec in specs.items()
        if spec.network.startswith("torchvision/") and spec.width != 1
    ]


def _task_faults(source: Source) -> list[UserError]:
    """Classes learnt twice along a chain, methods named twice or at odds."""
    errors, learnt = [], _classes_by_model(source)
    for loc, spec in _models(source):
        if loc[0] != "tasks":
            continue
        again = learnt.get(str(spec.get("base")), set()) & set(_names(spec.get("classes")))
        if again:
            what = f"'{spec['base']}' knows {', '.join(sorted(again))} already"
            errors.append(UserError(source.where((*loc, "classes")), what, "name new classes only"))
        for key in ("classes", "methods"):
            names = _names(spec.get(key))
            for name in sorted({n for n in names if names.count(n) > 1}):
                where = source.where((*loc, key))
                errors.append(UserError(where, f"'{name}' is named twice", "name it once"))
        weak = [name for name in _names(spec.get("methods")) if name in ("uda", "fixmatch")]
        if len(set(weak)) > 1:
            what = f"{' and '.join(weak)} ask the same of the same two views"
            errors.append(UserError(source.where((*loc, "methods")), what, "name one of them"))
    return errors


def _transform_faults(source: Source) -> list[UserError]:
    """A transform that would count twice in the mean."""
    errors = []
    shared = [(("labels",), source.values.get("labels"))]
    own = [((*loc, "labels"), spec.get("labels")) for loc, spec in _models(source)]
    for loc, block in shared + own:
        names = _names(block.get("transforms")) if isinstance(block, dict) else []
        for name in sorted({n for n in names if names.count(n) > 1}):
            where = source.where((*loc, "transforms"))
            errors.append(UserError(where, f"'{name}' is named twice", "name it once"))
    return errors


def _init_faults(source: Source, params: Params) -> list[UserError]:
    """A student that is to begin with its teacher's weights, but is another network; a task that
    asks for another resolution than its base answers at, or for a head that cannot grow."""
    errors = []
    students = [(("generations", name), spec) for name, spec in params.generations.items()]
    pairs = params.meta_pseudo_labels.items()
    for place, spec in students + [(("meta_pseudo_labels", name), spec) for name, spec in pairs]:
        name, architecture = place[1], params.architecture
        if spec.init == "teacher" and architecture(name) != architecture(spec.teacher):
            where = source.where((*place, "init"))
            what = f"'{name}' is another network than its teacher '{spec.teacher}'"
            errors.append(UserError(where, what, "give both one network and width"))
        if spec.init == "teacher" and spec.pretrained:
            where = source.where((*place, "pretrained"))
            what = "cannot begin with a file's weights and with its teacher's"
            errors.append(UserError(where, what, "leave out `pretrained` or `init`"))
        if spec.init == "teacher" and params.calibrated(spec.teacher):
            where = source.where((*place, "init"))
            what = f"'{spec.teacher}' has a calibrator, which '{name}' has not"
            errors.append(UserError(where, what, "leave out `init`"))
    for name in params.meta_pseudo_labels:
        errors += _pair_faults(source, params, name)
    for name, task in params.tasks.items():
        if task.training.image_size is not None:
            where = source.where(("tasks", name, "training", "image_size"))
            what = f"a task keeps the resolution of its base '{task.base}'"
            errors.append(UserError(where, what, "leave it out"))
        if params.calibrated(task.base):
            where = source.where(("tasks", name, "base"))
            what = f"'{task.base}' has a calibrator, which knows no more classes"
            fix = "extend the student of that pair, or another model"
            errors.append(UserError(where, what, fix))
    return errors


def _pair_faults(source: Source, params: Params, name: str) -> list[UserError]:
    """What Meta Pseudo Labels cannot do."""
    spec, training = params.meta_pseudo_labels[name], params.training_of(name)
    place, errors = ("meta_pseudo_labels", name), []
    if not spec.network and "width" in spec.model_fields_set:
        what = f"without `network` the student has the width of its teacher '{spec.teacher}'"
        errors.append(UserError(source.where((*place, "width")), what, "add `network`"))
    measured = spec.labels == "soft" or spec.feedback == "inner_product"
    if training.optimizer != "sgd" and measured and spec.feedback != "none":
        what = f"'{training.optimizer}' has no such feedback: it is known for sgd"
        fix = "use feedback: loss_difference with hard labels, or optimizer: sgd"
        errors.append(UserError(source.where((*place, "feedback")), what, fix))
    if training.clip_norm and spec.labels == "soft" and spec.feedback != "none":
        what = f"the gradient of soft labels is not known through clip_norm {training.clip_norm:g}"
        fix = f"set training.clip_norm to 0 for '{name}', or use labels: hard"
        errors.append(UserError(source.where((*place, "labels")), what, fix))
    if spec.reduced and "uda" in spec.model_fields_set:
        what = "a reduced teacher sees no images, so it has no consistency loss"
        errors.append(UserError(source.where((*place, "uda")), what, "leave it out"))
    if spec.reduced and params.calibrated(spec.teacher):
        what = f"'{spec.teacher}' has a calibrator already"
        plain = next(m for m in reversed(params.chain(spec.teacher)) if not params.calibrated(m))
        errors.append(UserError(source.where((*place, "teacher")), what, f"name '{plain}'"))
    if spec.student_wait >= training.steps:
        what = f"the student would wait for all {training.steps} steps"
        errors.append(UserError(source.where((*place, "student_wait")), what, "lower it"))
    return errors


def _frozen_faults(source: Source, params: Params) -> list[UserError]:
    """Random weights that would stay as they are."""
    errors = []
    places: dict[str, tuple] = {"teacher": ("teacher",)}
    for block in ("generations", "meta_pseudo_labels", "baselines"):
        places |= {name: (block, name) for name in getattr(params, block)}
    models = params.models()
    for name, place in places.items():
        train, spec = params.training_of(name).train, models[name]
        if train == "all" or spec.pretrained or getattr(spec, "init", "") == "teacher":
            continue
        what = f"'{train}' leaves random weights of '{name}' as they are"
        fix = "begin with `pretrained`, or with `init: teacher`, or train `all`"
        errors.append(UserError(source.where((*place, "training", "train")), what, fix))
    return errors


def _option_faults(source: Source) -> list[UserError]:
    """Methods of a task, or the learner of a baseline, without the options they need."""
    errors = []
    for loc, spec in _models(source):
        named = {"tasks": spec.get("methods"), "baselines": [spec.get("learner")]}.get(loc[0])
        for name in dict.fromkeys(_names(named)):
            if name not in Task.model_fields or spec.get(name) is not None:
                continue
            options = block_in(Task.model_fields[name].annotation).model_fields
            needed = ", ".join(key for key, field in options.items() if field.is_required())
            beside = "methods" if loc[0] == "tasks" else "learner"
            what = f"the {beside.removesuffix('s')} '{name}' has no options"
            fix = f"add `{name}: {{{needed}}}` beside `{beside}`"
            errors.append(UserError(source.where(loc), what, fix))
    return errors


def _classes_by_model(source: Source) -> dict[str, set[str]]:
    """The classes each model knows, as far as the file tells."""
    data = source.values.get("data")
    known = {"teacher": set(_names(data.get("classes") if isinstance(data, dict) else None))}
    models = dict(_models(source))
    for _ in models:  # a parent may stand behind its child; so many rounds reach everyone
        for (block, name), spec in models.items():
            parent = str(spec.get(PARENT_KEY[block]))
            new = set(_names(spec.get("classes"))) if block == "tasks" else set()
            if parent in known and block == "tasks":
                known[str(name)] = known[parent] | new
            elif parent in known or block == "baselines":
                known[str(name)] = known[teacher_of(str(name))] = known["teacher"]
    return known


def _names(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []
