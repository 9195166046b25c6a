"""A model that is not trained here but brought: it teaches, or is compared with, as it is."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline.core import machine
from pipeline.core.block import Block
from pipeline.core.errors import UserError
from pipeline.data.store import Dataset
from pipeline.networks import checkpoint
from pipeline.running.run import Run
from pipeline.training.fit import Val, scores, write
from pipeline.training.model import ModelConfig


class Brought(Block):
    """A model of Lineage from elsewhere."""

    folder: str = Field(min_length=1, description="its folder, as `models/<name>` of any project")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="of the `model.safetensors` in it; `sha256sum` prints it",
    )


def bring(config: ModelConfig, dataset: Dataset, run: Run) -> dict:
    """Write `models/<name>/` from a model that was trained elsewhere; returns its card.

    It keeps its weights, recipe and normalisation, and is measured and calibrated on the val images
    here. Images are resized inside it to the side that it learnt at.

    Raises:
        UserError: no model there, not the one that params name, of another network, or of other
            classes or channels than the data set; all that does not fit in one pass.
    """
    options = config.options.from_
    # from the project's own folder: a temporary one of DVC's holds no files that git ignores
    folder = machine.root() / options.folder
    if errors := faults(config):
        raise UserError.all(errors)
    network, card = checkpoint.load(folder, run.device)
    _check(config, dataset, card)
    height, width = card["image_shape"][1:]
    if not network.image_size and dataset.image_shape[1:] != (height, width):
        network.image_size = height
    card = {key: value for key, value in card.items() if key != "seal"} | {
        "name": config.name,
        "network": card["network"] | {"image_size": network.image_size},
        "heads": [{"task": "base", "classes": dataset.classes}],
        "image_shape": list(dataset.image_shape),
        "parents": {},
        "data": {"base": {"val": dataset.digest("val")}},
        "model": {"from": card["sha256"]},
    }
    val = Val(card, run.device)
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    metrics = scores(val.logits(network, autocast), val.labels)
    return write(network, card | {"metrics": metrics}, [{"step": 0, **metrics}])


def faults(config: ModelConfig) -> list[UserError]:
    """Check a model that is to be brought, without reading its weights.

    Returns:
        an error where no such model is there.
    """
    options = config.options.from_
    try:
        card = checkpoint.read_card(machine.root() / options.folder)
    except UserError as error:
        return [error]
    if card["sha256"] == options.sha256:
        return []
    what = f"'{options.folder}' is another model: its sha256 is {card['sha256']}"
    return [
        UserError(f"{config.key}.from.sha256", what, "put that one there, or restore the model")
    ]


def _check(config: ModelConfig, dataset: Dataset, card: dict) -> None:
    where = str(Path(config.options.from_.folder) / "card.json")
    spec, known = card["network"], checkpoint.classes(card)
    channels, height, width = card["image_shape"]
    pairs = [
        ("network", spec["name"], config.network, f"write network: {spec['name']}"),
        ("width", spec["width"], config.width, f"write width: {spec['width']:g}"),
        ("classes", known, dataset.classes, "write data.classes in the model's order"),
        ("channels", channels, dataset.image_shape[0], "bring a model of such images"),
        ("heads", len(card["heads"]), 1, "bring a model before it learnt a task"),
        ("sides", height, width, "bring a model of square images"),
    ]
    errors = [
        UserError(where, f"{what} {there}, here {here}", fix)
        for what, there, here, fix in pairs
        if there != here
    ]
    if errors:
        raise UserError.all(errors)
