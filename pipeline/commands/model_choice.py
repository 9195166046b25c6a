"""Which model a command means: `--model champion`, a name, a folder, or none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import files
from pipeline.core.errors import UserError, nearest
from pipeline.data.kinds import BACKGROUND

if TYPE_CHECKING:
    from pipeline.predict.model import Model

CHAMPION = "champion"
MODELS = Path("models")
VERDICT = Path("report/data/verdict.json")


def chosen(asked: str | None) -> Model | Path:
    """The model that is asked for; without a word the one that ships.

    Args:
        asked: `champion`, a name of params.yaml, or a folder that holds a model.

    Raises:
        UserError: there is no such model, or not yet.
    """
    if asked is None:
        return ships()
    if asked == CHAMPION:
        return champion()
    for folder in (Path(asked), MODELS / asked):
        if (folder / "card.json").is_file():
            return folder
    named = _named()
    if asked in named:
        raise UserError(str(MODELS / asked), "is not trained yet", "run `dvc repro`")
    what = f"'{asked}' is no model of params.yaml and no folder of one"
    raise UserError("--model", what, nearest(asked, {*named, *_on_disk(), CHAMPION}))


def ships() -> Path:
    """The folder of the model that the last report says ships; that params.yaml asks for other
    models by now is said.

    Raises:
        UserError: there is no report, or the model that it names is not here.
    """
    if not VERDICT.is_file():
        names = ", ".join(sorted(_on_disk()))
        fix = "run `dvc repro`" + (f", or add --model with one of: {names}" if names else "")
        raise UserError(str(VERDICT), "no such file: nothing says which model ships", fix)
    folder = MODELS / files.read_json(VERDICT)["ships"]
    if not (folder / "card.json").is_file():
        what = f"ships by {VERDICT}, but is not here"
        raise UserError(str(folder), what, "run `dvc repro`, which trains what params.yaml names")
    if _is_of_others(folder):
        what = f"note: {folder.name}, which ships by {VERDICT}, is no model of params.yaml as it is"
        print(f"{what} now; `dvc repro` trains those", file=sys.stderr)
    return folder


def _is_of_others(folder: Path) -> bool:
    """Whether params.yaml names no such model, or other classes of the base task."""
    from pipeline.params.check import load as load_params

    with suppress(UserError):
        params = load_params()
        first = files.read_json(folder / "card.json")["heads"][0]
        known = [name for name in first["classes"] if name != BACKGROUND]
        return folder.name not in params.lineage() or known != params.data.classes
    return False


def champion() -> Model | Path:
    """The registry's champion: its folder where it is a model of this project, else what is
    registered itself. Without one, what ships, which is said.

    Raises:
        UserError: it is neither here nor can it be fetched.
    """
    from pipeline.params.check import load as load_params
    from pipeline.predict.model import Model
    from pipeline.tracking import champion as registered

    held = registered.find(load_params().data.source)
    if held is None:
        folder = ships()
        print(
            f"note: no champion is registered; this is {folder.name}, which ships by {VERDICT}",
            file=sys.stderr,
        )
        return folder
    for folder, card in _cards():
        if all(held.tags.get(key, value) == value for key, value in _tags(card).items()):
            return folder
    return Model(*registered.load(held))


def _tags(card: dict) -> dict[str, str]:
    """What a registered version of a model is known by; older ones lack the second."""
    from pipeline.networks import temperature

    return {"model.sha256": card["sha256"], "temperature": f"{temperature.of(card):g}"}


def _cards() -> Iterator[tuple[Path, dict]]:
    """The models of this project that are whole."""
    from pipeline.networks import checkpoint

    for name in sorted(_on_disk()):
        with suppress(UserError):
            yield MODELS / name, checkpoint.read_card(MODELS / name)


def _on_disk() -> set[str]:
    return {path.parent.name for path in MODELS.glob("*/card.json")}


def _named() -> set[str]:
    """The models of params.yaml, where there is one that can be read."""
    from pipeline.params.check import load as load_params

    with suppress(UserError):
        return set(load_params().lineage())
    return set()
