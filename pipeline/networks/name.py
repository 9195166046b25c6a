"""The name of a network in params.yaml: one of `NETWORKS`, or one of timm's."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import WrapValidator
from pydantic_core import PydanticCustomError

from pipeline.networks import NETWORKS, timm


def _or_timms(value: Any, literal: Callable[[Any], str]) -> str:
    """timm is asked for its names only where one of them is given."""
    if not isinstance(value, str) or not value.startswith(timm.PREFIX):
        return literal(value)
    if fault := timm.fault(value):
        raise PydanticCustomError("fault", "{what}", fault._asdict())
    return value


NetworkName = Annotated[Literal[tuple(NETWORKS)], WrapValidator(_or_timms)]
