"""What could run code that a file brings, or reach out, is not in the source: read as syntax trees,
so that a comment hides nothing and a word in a text is no alarm."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from conftest import ROOT

# Unpickling runs code. One read of a user's weights goes through torch's own restricted reader.
ALLOWED = {("pipeline/networks/pretrained.py", "torch.load(weights_only=True)")}
RUNS_CODE = {
    "pickle": {"UnpicklingError"},  # an error's name may be imported
    "cPickle": set(),
    "dill": set(),
    "cloudpickle": set(),
    "joblib": set(),
    "marshal": set(),
    "shelve": set(),
}
CALLS = {"eval", "exec", "compile", "__import__"}
DOTTED = {"os.system", "os.popen", "torch.jit.load", "yaml.load", "yaml.unsafe_load"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def keywords(call: ast.Call) -> dict[str, object]:
    return {k.arg: getattr(k.value, "value", "?") for k in call.keywords if k.arg}


def dangers(tree: ast.AST) -> Iterator[str]:
    """What a module does that could run code of a file, or listen to the network."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name in RUNS_CODE)
        elif isinstance(node, ast.ImportFrom) and node.module in RUNS_CODE:
            names = {name.name for name in node.names} - RUNS_CODE[node.module]
            yield from (f"from {node.module} import {name}" for name in sorted(names))
        elif isinstance(node, ast.Call):
            yield from _of_call(dotted(node.func), keywords(node), node)
        elif isinstance(node, ast.Constant) and node.value == "0.0.0.0":
            yield "listens to everybody"


def _of_call(name: str, given: dict[str, object], node: ast.Call) -> Iterator[str]:
    if name in CALLS or name in DOTTED:
        yield f"{name}()"
    if name == "torch.load":
        yield f"torch.load(weights_only={given.get('weights_only')})"
    if given.get("allow_pickle"):
        yield f"{name}(allow_pickle)"
    if given.get("shell"):
        yield f"{name}(shell)"
    if name.split(".")[-1] == "YAML" and given.get("typ", "rt") not in ("safe", "rt"):
        yield f"YAML(typ={given['typ']})"
    if name.split(".")[-1] == "Environment" and given.get("autoescape") is not True:
        yield "jinja2 without autoescape"


def found(folder: str) -> set[tuple[str, str]]:
    return {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }


def test_nothing_runs_code_of_a_file_but_for_one_call_that_is_named():
    assert found("pipeline") | found("stages") == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x')",
        "torch.load('x', weights_only=False)",
        "np.load('x', allow_pickle=True)",
        "eval('1')",
        "subprocess.run('x', shell=True)",
        "YAML(typ='unsafe')",
        "Environment(loader=x)",
        "Environment(autoescape=False)",
        "os.system('x')",
        "host = '0.0.0.0'",
    ],
)
def test_the_reader_sees(source):
    assert set(dangers(ast.parse(source))) - {danger for _, danger in ALLOWED}


def test_a_word_in_a_text_is_no_alarm():
    assert not set(dangers(ast.parse("'''pickle eval(x)'''\nYAML(typ='safe')\nnp.load('x')")))


def test_mlflows_page_is_for_this_machine_alone(monkeypatch):
    from pipeline.tracking import page

    commands = []

    class Server:
        def wait(self):
            """It ends at once."""

        terminate = wait

    monkeypatch.setattr(page, "send", lambda now: {})
    monkeypatch.setattr(page, "is_server", lambda: False)
    monkeypatch.setattr(page, "address", lambda base: base)
    monkeypatch.setattr(page, "_wait", lambda *_: None)
    monkeypatch.setattr(page, "_show", lambda shown: commands.append(shown))
    monkeypatch.setattr(
        page.subprocess, "Popen", lambda command, env: commands.append(command) or Server()
    )
    page.serve(5555)
    command, shown = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert shown == "http://127.0.0.1:5555"
