"""The model registry: a version for each model that ships, the alias `champion` for the best."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from filelock import FileLock

from pipeline.core import files, machine
from pipeline.core.errors import UserError
from pipeline.networks import checkpoint, temperature
from pipeline.networks import servable as export
from pipeline.tracking.champion import CHAMPION, current
from pipeline.tracking.tracker import NullTracker, uri


def register(tracker: NullTracker, source: str, name: str, score: float, sha256: str) -> str | None:
    """Register `models/<name>` as a version of `lineage-<source>` and move `champion` to it if it
    is at least as good on the same val images.

    Args:
        score: accuracy or mean IoU on val, 0..1.
        sha256: of the weights that are meant; others are not registered in their place.

    Returns:
        one sentence on what became of the champion; None if the tracker cannot be asked.
    """
    try:
        there = checkpoint.read_card(f"models/{name}")["sha256"]
    except UserError:
        there = ""
    if there != sha256:
        return f"{name} is not registered: models/{name} is no longer the one that was measured"
    model = f"lineage-{source}"

    def promote(client: Any) -> str:
        with FileLock(machine.root() / ".lineage" / "registry.lock", timeout=120):
            return _promote(client, tracker.run_id, model, name, score)

    return tracker.attempt(promote)


def _promote(client: Any, run_id: str, model: str, name: str, score: float) -> str:
    network, card = checkpoint.load(f"models/{name}")
    val = {task: digests["val"] for task, digests in card["data"].items()}
    scenario = card.get("task", {}).get("scenario")  # with the task known the question is another
    tags = {
        "model.sha256": card["sha256"],
        "val_acc": f"{score:.6f}",
        "val_digest": files.digest([val, scenario]),
        "temperature": f"{temperature.of(card):g}",
        "classes": json.dumps(checkpoint.classes(card)),
        "name": name,
    }
    number = _known(client, model, tags) or _log(run_id, model, network, card)
    for key, value in tags.items():
        client.set_model_version_tag(model, number, key, value)
    champion = current(client, model)
    moves, why = better(champion.tags if champion else None, tags)
    if moves:
        client.set_registered_model_alias(model, CHAMPION, number)
    holder = f"version {number} ({name})" if moves else f"version {champion.version}"
    return f"champion of {model} is {holder}: {why}"


def better(champion: Mapping[str, str] | None, candidate: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the alias moves from a version with the tags `champion` to one with `candidate`'s,
    and why."""
    if champion is None:
        return True, "there was none before"
    same_images = champion.get("val_digest") == candidate["val_digest"]
    if same_images and champion.get("model.sha256") == candidate["model.sha256"]:
        return True, "it is the same model"
    if not same_images:
        return False, (
            "the candidate was measured on other val images, so the two cannot be compared; set "
            "the alias by hand if it shall move"
        )
    old, new = float(champion["val_acc"]), float(candidate["val_acc"])
    sign = ">=" if new >= old else "<"
    return new >= old, f"{new:.4f} on val {sign} {old:.4f} of the champion before"


def _known(client: Any, model: str, tags: Mapping[str, str]) -> str | None:
    """The version of the same weights, calibrated and measured on the same images, if there is
    one."""
    keys = ("model.sha256", "val_digest", "temperature")
    same = [f"tags.`{key}` = '{tags[key]}'" for key in keys]
    versions = client.search_model_versions(" and ".join([f"name = '{model}'", *same]))
    return versions[0].version if versions else None


def _log(run_id: str, model: str, network: Any, card: dict) -> str:
    """Export the model into its run and register it; returns the version."""
    import mlflow.pytorch
    from mlflow.models import infer_signature

    images = export.example(card)
    servable = export.Servable(network, card)
    probabilities = servable(_tensor(images)).detach().numpy()
    mlflow.set_tracking_uri(uri())
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.pytorch.log_model(
            servable,
            name=f"model-{card['name']}",
            registered_model_name=model,
            signature=infer_signature(images, probabilities),
            input_example=images,
            serialization_format="pt2",
            metadata={"card": card},
            pip_requirements=[
                f"torch=={version('torch').split('+')[0]}",
                f"numpy=={version('numpy')}",
            ],
        )
    return str(logged.registered_model_version)


def _tensor(images: Any) -> Any:
    import torch

    return torch.from_numpy(images)
