"""Which files of ours a module needs, read from its source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("pipeline", "stages")


def closure(module: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Paths of all our files with code that `module` runs, directly or not, itself included.

    Modules named in `without` are left out, and so is what only they need.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if any(name == other or name.startswith(f"{other}.") for other in without):
            continue
        path = _file(name)
        if path is None or str(path) in found:
            continue
        found.add(str(path))
        waiting += _imports(name, ROOT / path)
    return {path for path in found if has_code(ROOT / path)}


def _file(name: str) -> Path | None:
    base = Path(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if (ROOT / path).is_file():
            return path
    return None


def _imports(name: str, path: Path) -> list[str]:
    parents = [name.rsplit(".", i)[0] for i in range(1, name.count(".") + 1)]
    names = list(parents)
    for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [n for n in names if n.split(".")[0] in OURS]


def _walk(tree: ast.AST):
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _walk(node)


def has_code(path: Path) -> bool:
    """Whether a file holds more than a docstring."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)
