"""Forms of params.yaml that earlier versions read, each answered by the form that is read now."""

from typing import Any

from pipeline.core.errors import UserError
from pipeline.core.yaml_file import Source
from pipeline.params.lineage import entries

METHODS = ("lwf", "pseudo_label", "uda", "fixmatch")


def old_forms(source: Source) -> dict[tuple, UserError]:
    """One line for each model that lists methods, or names a learner, with options next to it: by
    the place of each key that is of the old form."""
    errors = {}
    for loc, spec in entries(source):
        if loc[0] not in ("baselines", "tasks"):
            continue
        if loc[0] == "tasks" and spec and "data" not in spec:
            errors[(*loc, "data")] = _without_data(source, loc)
        old = [key for key in (*METHODS, "learner") if key in spec]
        if not old and not isinstance(spec.get("methods"), list):
            continue
        old += ["methods"] if "methods" in spec else []
        new = f"methods: {_flow(_new_form(spec))}"
        what = "methods are a block now, each with its options under its name"
        fix = f"write `{new}` in place of {', '.join(f'`{key}`' for key in old)}"
        error = UserError(source.where((*loc, old[-1])), what, fix)
        errors |= dict.fromkeys([(*loc, key) for key in old], error)
        errors[(*loc, "methods")] = error
    return errors


def _without_data(source: Source, loc: tuple) -> UserError:
    data = source.values.get("data")
    root = data.get("root") if isinstance(data, dict) else None
    fix = f"write `data: {{root: {root or 'its folder'}}}`"
    return UserError(source.where(loc), f"'{loc[-1]}' does not say where its images lie", fix)


def _new_form(spec: dict) -> dict:
    """What the methods that an old block switches on are with their options under their names."""
    methods = spec.get("methods")
    named = list(methods) if isinstance(methods, list | dict) else []
    learner = spec.get("learner", "supervised")
    named += [] if learner == "supervised" else [learner]
    inside = methods if isinstance(methods, dict) else {}
    return {name: spec.get(name) or inside.get(name) for name in map(str, named)}


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(item)}' for key, item in value.items())}}}"
    return "{}" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
