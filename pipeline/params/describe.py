"""Every parameter as a table, from the same models that check them."""

from __future__ import annotations

from pipeline.params.schema import (
    Block,
    Data,
    Generation,
    Labels,
    LwF,
    Params,
    Pretrained,
    Report,
    Task,
    Teacher,
    Training,
)
from pipeline.params.words import expected

BLOCKS: dict[str, type[Block]] = {
    "": Params,
    "data": Data,
    "training": Training,
    "labels": Labels,
    "teacher": Teacher,
    "teacher.pretrained": Pretrained,
    "generations.<name>": Generation,
    "generations.<name>.pretrained": Pretrained,
    "tasks.<name>": Task,
    "tasks.<name>.lwf": LwF,
    "report": Report,
}


def markdown() -> str:
    """A Markdown table: key, what it may be, what it does."""
    lines = ["| key | value | meaning |", "|---|---|---|"]
    for prefix, block in BLOCKS.items():
        for name, field in block.keys().items():
            if field.description:
                key = f"{prefix}.{name}".lstrip(".")
                lines.append(f"| `{key}` | {expected(field)} | {field.description} |")
    return "\n".join(lines)
