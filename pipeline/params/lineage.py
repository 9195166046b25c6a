"""Names, parents, rings and classes, read from the raw values, so that a fault elsewhere in the
file does not hide these."""

import re
from collections.abc import Iterator
from typing import Any

from pipeline.core.errors import UserError, nearest
from pipeline.core.lineage import corrected
from pipeline.core.yaml_file import Source
from pipeline.params.schema import PARENT_KEYS

NAME = re.compile(r"[a-z][a-z0-9_-]*")
RESERVED = {"base"}


def lineage_faults(source: Source) -> list[UserError]:
    """Every fault in who teaches or extends whom."""
    errors = []
    parents: dict[str, list[Any]] = {"teacher": []}
    models = list(entries(source))
    for loc, spec in models:
        errors += _name_faults(source, loc, parents)
        name = str(loc[-1])
        parents.setdefault(name, [spec.get(key) for key in PARENT_KEYS[loc[0]]])
        if loc[0] != "meta_pseudo_labels":
            continue
        if corrected(name) in parents:
            what = f"the name '{corrected(name)}', of what its teacher becomes, is taken"
            errors.append(UserError(source.where(loc), what, "choose another"))
        parents.setdefault(corrected(name), [spec.get("teacher")])
    for loc, _ in models:
        for place, key in enumerate(PARENT_KEYS[loc[0]]):
            errors += _parent_faults(source, (*loc, key), parents, place)
    final = source.values.get("final")
    if isinstance(final, str) and final not in parents:
        where = source.where(("final",))
        errors.append(UserError(where, f"no model is named '{final}'", nearest(final, parents)))
    return errors + _class_faults(source)


def entries(source: Source) -> Iterator[tuple[tuple, dict]]:
    """The place and the raw block of every model but the teacher."""
    for block in PARENT_KEYS:
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


def _parent_faults(source: Source, loc: tuple, parents: dict, place: int) -> list[UserError]:
    """Of one parent of a model.

    Args:
        loc: of the key that names it.
        place: which of the model's parents it is.
    """
    block, name = loc[0], str(loc[1])
    parent = parents[name][place] if place < len(parents.get(name, [])) else None
    if not isinstance(parent, str):
        return []  # missing or of the wrong type, which was said
    where = source.where(loc)
    if parent not in parents:
        return [UserError(where, f"no model is named '{parent}'", nearest(parent, parents))]
    known = _heads_by_model(source).get(parent, [])
    blocks = {other[0] for other, _ in entries(source) if str(other[-1]) == parent}
    taught = block in ("generations", "meta_pseudo_labels")
    if taught and len(known) > 1 and len(blocks) == 1:
        learnt = "is a task: it" if blocks == {"tasks"} else "has learnt a task: it"
        what = f"'{parent}' {learnt} answers with classes that the base task does not have"
        return [UserError(where, what, "name the teacher or a generation")]
    ring = _ring(block, name, parent, parents)
    if ring:
        what = f"teaches itself ({' -> '.join(ring)})"
        return [UserError(where, what, "begin the chain at 'teacher'")]
    return []


def _ring(block: str, name: str, parent: str, parents: dict) -> list[str]:
    """The models from this one through a parent back to itself; none if all chains from there end,
    or are caught in a ring further up, which is reported where it stands."""
    made = (name, corrected(name)) if block == "meta_pseudo_labels" else (name,)
    paths, seen = [[name, parent]], set()
    while paths:
        path = paths.pop()
        if path[-1] in made:
            return path
        if path[-1] in seen:
            continue
        seen.add(path[-1])
        above = [other for other in parents[path[-1]] if isinstance(other, str)]
        paths += [[*path, other] for other in reversed(above) if other in parents]
    return []


def _class_faults(source: Source) -> list[UserError]:
    """Classes learnt twice along a chain; those of a `domain` that no head answers."""
    errors, known = [], _heads_by_model(source)
    for loc, spec in entries(source):
        if loc[0] != "tasks" or str(spec.get("base")) not in known:
            continue
        heads, named = known[str(spec["base"])], _names(spec.get("classes"))
        again = {name for head in heads for name in head} & set(named)
        what = fix = ""
        if spec.get("scenario") == "domain":
            if named and named not in heads:
                what = f"'{spec['base']}' has no head of just the classes {', '.join(named)}"
                fix = f"name those of one task: {'; '.join(', '.join(head) for head in heads)}"
        elif again:
            what = f"'{spec['base']}' knows {', '.join(sorted(again))} already"
            fix = "name new classes only"
        if what:
            errors.append(UserError(source.where((*loc, "classes")), what, fix))
    return errors


def _heads_by_model(source: Source) -> dict[str, list[list[str]]]:
    """The classes of each head of each model, as far as the file says."""
    data = source.values.get("data")
    known = {"teacher": [_names(data.get("classes") if isinstance(data, dict) else None)]}
    models = dict(entries(source))
    for _ in models:  # a parent may stand behind its child; so many rounds reach everyone
        for (block, name), spec in models.items():
            parent = str(spec.get(next(iter(PARENT_KEYS[block]), "")))
            grows = block == "tasks" and spec.get("scenario") != "domain"
            if parent in known and block == "tasks":
                known[str(name)] = known[parent] + [_names(spec.get("classes"))] * grows
            elif parent in known or block == "baselines":
                known[str(name)] = known[corrected(str(name))] = known["teacher"]
    return known


def _names(values: Any) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []
