"""The closing table: every model, who taught it, how right it is."""

from collections.abc import Mapping

from pipeline.core.errors import UserError
from pipeline.core.lineage import Lineage
from pipeline.pages.formats import aligned


def closing_table(
    lineage: Lineage, metrics: Mapping[str, float], verdict: Mapping, unread: str = "not read"
) -> str:
    """A table for a terminal from `report/metrics.json`'s numbers, and the gate's words.

    Args:
        unread: what to say in the place of a test accuracy that is not there.

    Raises:
        UserError: they lack a model of the lineage.
    """
    missing = [name for name in lineage if f"val_acc/{name}" not in metrics]
    if missing:
        what = f"has no numbers of '{missing[0]}'"
        raise UserError("report/metrics.json", what, "run `dvc repro` to report it")
    dense = any(key.startswith("val_miou/") for key in metrics)
    what, short = ("miou", "mIoU") if dense else ("acc", "acc")
    rows = [("model", "taught by", "weights", f"val {short} (95 %)", f"test {short}")]
    rows += [_row(name, lineage[name].taught_by, metrics, unread, what) for name in lineage]
    return f"{aligned(rows)}\n\n" + "\n".join(verdict["sentences"])


def _row(
    name: str, taught_by: str, metrics: Mapping[str, float], unread: str, what: str
) -> tuple[str, ...]:
    low, high = metrics[f"val_{what}_low/{name}"], metrics[f"val_{what}_high/{name}"]
    val = f"{metrics[f'val_{what}/{name}']:.4f} ({low:.3f}-{high:.3f})"
    test = metrics.get(f"{what}/{name}")
    weights = f"{metrics[f'num_parameters/{name}']:,.0f}"
    return name, taught_by, weights, val, unread if test is None else f"{test:.4f}"
