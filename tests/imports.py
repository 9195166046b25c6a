"""Which files of ours import which, read from their sources: at the top or within a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("pipeline", "stages")


def closure(module: str, without: frozenset[str] = frozenset()) -> set[str]:
    """Paths of all our files with code that `module` runs, directly or not, itself included.

    Modules named in `without` are left out, and so is what only they need.
    """
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if any(is_within(name, other) for other in without):
            continue
        path = file_of(name)
        if path is None or path in reached:
            continue
        reached.add(path)
        waiting += [*_parents(name), *imports(path)]
    return {path for path in reached if has_code(path)}


def is_within(module: str, package: str) -> bool:
    """Whether a module is a package or stands in it."""
    return module == package or module.startswith(f"{package}.")


def file_of(module: str) -> str | None:
    """The path of a module of ours below the root; None for any other."""
    base = Path(*module.split("."))
    if base.parts[0] not in OURS:
        return None
    paths = (base.with_suffix(".py"), base / "__init__.py")
    return next((str(path) for path in paths if (ROOT / path).is_file()), None)


@cache
def imports(path: str) -> frozenset[str]:
    """The modules that a file names in its imports: of `from a import b` it is `a.b` where that is
    a file of ours, else `a`. Those that only a type checker sees are left out."""
    named: list[str] = []
    for node in _nodes(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            named += [name if file_of(name) else node.module for name in full]
    return frozenset(named)


@cache
def all_code() -> frozenset[str]:
    """Every file of ours with code, as `closure` names them."""
    paths = (p.relative_to(ROOT) for folder in OURS for p in (ROOT / folder).rglob("*.py"))
    return frozenset(str(path) for path in paths if has_code(str(path)))


@cache
def has_code(path: str) -> bool:
    """Whether a file holds more than a docstring."""
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)


def _parents(module: str) -> list[str]:
    """The packages that a module stands in, whose `__init__` runs first."""
    return [module.rsplit(".", up)[0] for up in range(1, module.count(".") + 1)]


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _nodes(node)
