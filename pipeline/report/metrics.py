"""The flat numbers of `report/metrics.json`, and the hashes of what was measured."""

from pipeline.core import files
from pipeline.core.lineage import Lineage
from pipeline.data import tasks
from pipeline.networks import evaluate
from pipeline.report import continual
from pipeline.report.label_quality import LabelQuality
from pipeline.report.measure import Measured


def metrics(measured: dict[str, Measured], quality: dict[str, LabelQuality]) -> dict[str, float]:
    """Every number by `<what>/<model>`, rounded to six digits."""
    result: dict[str, float] = {}
    for name, model in measured.items():
        result |= {f"{key}/{name}": value for key, value in _of_model(model).items()}
    result |= continual.metrics(measured)
    for name, labels in quality.items():
        result |= {f"pseudo_labels/{name}/{key}": v for key, v in _of_labels(labels).items()}
        if labels.confidence:
            result[f"confidence_gap/{name}"] = labels.confidence.gap
    return {key: round(v, 6) if isinstance(v, float) else v for key, v in result.items()}


def _of_model(model: Measured) -> dict[str, float]:
    val = model.answers["val"]
    low, high = val.interval
    result = {"val_acc": val.accuracy}
    if val.measure == "accuracy":
        result |= {"val_acc_low": low, "val_acc_high": high}
    else:
        result |= {"val_miou": val.value, "val_miou_low": low, "val_miou_high": high}
    result["val_loss"] = evaluate.negative_log_likelihood(val.logits, val.labels)
    if test := model.answers.get("test"):
        result["acc"] = test.accuracy
        result |= {} if test.measure == "accuracy" else {"miou": test.value}
    result |= {key: model.card[key] for key in ("num_parameters", "images_seen")}
    known = model.unlabelled is not None
    return result | ({"unlabelled_acc": model.unlabelled} if known else {})


def _of_labels(labels: LabelQuality) -> dict[str, float]:
    result = {"kept_share": labels.kept_share, "rows": labels.rows}
    where_known = {"accuracy": labels.accuracy, "foreign_share": labels.foreign_share}
    return result | {key: value for key, value in where_known.items() if value is not None}


def outputs(lineage: Lineage, measured: dict[str, Measured]) -> dict[str, str]:
    """The hash of what every stage of the pipeline made, by stage."""
    result = {"prepare": tasks.dataset("base").card["seal"]}
    for name in lineage.of("tasks"):
        result[f"prepare_task@{name}"] = tasks.dataset(name).card["seal"]
    for name in lineage.of("generations"):
        path = f"data/pseudo_labels/{name}.safetensors"
        result[f"pseudo_label@{name}"] = files.sha256(path)
    for name, model in measured.items():  # a pair is known by its student, which comes first
        result.setdefault(lineage[name].stage, model.card["sha256"])
    return result
