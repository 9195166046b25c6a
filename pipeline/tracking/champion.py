"""The model that the registry's alias `champion` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.errors import UserError
from pipeline.tracking.tracker import reached, uri

CHAMPION = "champion"
SQLITE = "sqlite:///"


class Champion(NamedTuple):
    """A version of a registered model."""

    model: str  # `lineage-<source>`
    version: str
    tags: dict[str, str]


def find(source: str) -> Champion | None:
    """The champion of `lineage-<source>`; None where there is none, or no registry to ask."""
    address = uri()
    if address.startswith(SQLITE) and not Path(address.removeprefix(SQLITE)).is_file():
        return None  # else a database would be made
    model = f"lineage-{source}"
    held = reached(lambda client: current(client, model))
    return Champion(model, str(held.version), dict(held.tags)) if held else None


def current(client: Any, model: str) -> Any:
    """MLflow's version that has the alias; None if none has."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            return None
        raise


def load(champion: Champion) -> tuple[dict, Callable[[np.ndarray], np.ndarray]]:
    """The card of what is registered, and what answers: images uint8 (N, C, H, W) to probabilities
    float32 (N, K).

    Raises:
        UserError: it cannot be fetched, or was registered without its card.
    """
    import mlflow.pyfunc

    where = f"{champion.model} version {champion.version}"
    mlflow.set_tracking_uri(uri())
    try:
        served = mlflow.pyfunc.load_model(f"models:/{champion.model}/{champion.version}")
    except Exception as error:  # whatever its kind, the user can only choose another
        what = f"cannot be fetched ({type(error).__name__}: {str(error).splitlines()[0][:120]})"
        raise UserError(where, what, "run `dvc repro`, or name another with --model") from error
    if not served.metadata.metadata:
        fix = "run `dvc repro`, or name another with --model"
        raise UserError(where, "was registered without its card", fix)
    return served.metadata.metadata["card"], served.predict
