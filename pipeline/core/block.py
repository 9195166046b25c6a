"""A block of params.yaml as a frozen object, and what it says is wrong with itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from copy import copy
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo


def _class_name(value: Any) -> Any:
    """`0` in YAML means the class called "0"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, BeforeValidator(_class_name), Field(min_length=1)]
LabelsPerClass = Literal["all"] | Annotated[int, Field(ge=1, le=1_000_000)]


class Fault(NamedTuple):
    """Values that are allowed one by one and wrong together."""

    key: str  # below the block
    what: str
    fix: str


class Block(BaseModel):
    """A part of params.yaml: immutable, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def by_key(cls) -> dict[str, FieldInfo]:
        """The fields by the names they have in the file."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    def faults(self) -> Iterator[Fault]:
        """What is wrong with this block by itself."""
        return iter(())

    def override(self, by: Block) -> Block:
        """This block with the keys that an override of it sets."""
        return self.model_copy(update={key: getattr(by, key) for key in by.model_fields_set})


def override_of(block: type[Block], without: Collection[str] = ()) -> type[Block]:
    """`block` with every field optional, but for those that it is `without`: what may stand in an
    override."""
    fields = {}
    for name, field in block.model_fields.items():
        if name in without:
            continue
        optional = copy(field)
        optional.default = None
        fields[name] = (field.annotation, optional)
    return create_model(f"{block.__name__}Override", __base__=Block, **fields)


def repeated(key: str, names: list[str]) -> Iterator[Fault]:
    """A fault for each name that a list has twice."""
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(key, f"'{name}' is named twice", "name it once")
