"""YAML to plain values, read as DVC reads it (YAML 1.2: `1e-3` is a number), with line numbers."""

from pathlib import Path
from typing import Any

from pipeline.core.errors import UserError


class Source:
    """The values of a YAML file, and the line each key stands on."""

    def __init__(self, path: Path, tree: Any):
        self.path = path
        self._tree = tree
        self.values = _plain(tree)

    def where(self, location: tuple[str | int, ...]) -> str:
        """`params.yaml:12 (generations.g1.teacher)`; the line of the nearest key that exists."""
        node, line = self._tree, 0
        for part in location:
            if not isinstance(node, dict) or part not in node:
                break
            line = node.lc.key(part)[0] + 1
            node = node[part]
        name = ".".join(str(part) for part in location)
        at = f"{self.path}:{line}" if line else str(self.path)
        return f"{at} ({name})" if name else at


def read(path: Path | str) -> Source:
    """Parse a YAML file that must hold a mapping.

    Raises:
        UserError: no such file, broken YAML, a duplicate key, or not a mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    path = Path(path)
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fix = "run this in the folder that holds params.yaml"
        raise UserError(str(path), "no such file", fix) from None
    except DuplicateKeyError as error:
        key = error.problem.split('"')[1]
        where = f"{path}:{error.problem_mark.line + 1}"
        raise UserError(where, f"'{key}' stands here a second time", "keep one of them") from None
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(where, f"not valid YAML ({problem})", "mend the syntax") from None
    if not isinstance(tree, dict):
        raise UserError(str(path), "holds no `key: value` lines", "start from the README's example")
    return Source(path, tree)


def _plain(value: Any) -> Any:
    """ruamel's annotated scalars and containers as Python's own."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
