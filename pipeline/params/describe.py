"""Every parameter as a table, from the same models that check them."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from pipeline.params.blocks import Block, Data, FineTune, Labels, Pretrained, Report, Training
from pipeline.params.methods import UDA, FixMatch, LwF, OnlinePseudoLabel
from pipeline.params.models import Baseline, Generation, MetaPseudoLabels, Task, Teacher
from pipeline.params.schema import Params
from pipeline.params.words import expected

BLOCKS: dict[str, type[Block]] = {
    "": Params,
    "data": Data,
    "training": Training,
    "labels": Labels,
    "teacher": Teacher,
    "<model>.pretrained": Pretrained,
    "<model>.fine_tune": FineTune,
    "generations.<name>": Generation,
    "meta_pseudo_labels.<name>": MetaPseudoLabels,
    "baselines.<name>": Baseline,
    "tasks.<name>": Task,
    "<model>.pseudo_label": OnlinePseudoLabel,
    "<model>.uda": UDA,
    "<model>.fixmatch": FixMatch,
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
                lines.append(
                    f"| `{key}` | {expected(field)}{_default(field)} | {field.description} |"
                )
    return "\n".join(lines)


def _default(field: FieldInfo) -> str:
    """What a key is when it is left out, where that is a plain value."""
    if field.is_required() or field.default is None or isinstance(field.default, Block):
        return ""
    value = field.default
    return f"; {', '.join(value) if isinstance(value, list) else value} if left out"
