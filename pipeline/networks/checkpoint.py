"""A finished model on disk: `model.safetensors`, and `card.json` that says what it is.

The card holds no clock, host or path, so that the same seed gives the same bytes.
"""

import csv
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from pipeline.core import files
from pipeline.core.errors import UserError
from pipeline.data.kinds import CLASSIFICATION, is_dense
from pipeline.networks import architecture_of
from pipeline.networks.classifier import Classifier, num_parameters
from pipeline.networks.ensemble import Ensemble
from pipeline.networks.segmenter import Segmenter
from pipeline.networks.specialists import Specialists

SCHEMA = 3  # 2: `network.image_size`; 3: `methods`, images of every pass counted


CURVES = "curves.csv"
Network = Classifier | Ensemble | Specialists


def build(card: dict) -> Network:
    """The classifier, or several with one answer, that a card describes, with fresh weights from
    torch's generator.

    Raises:
        UserError: the images are too small for the network, or timm is not installed, which it is
            of.
    """
    spec = card["network"]
    if "members" in card:
        members = [build(member) for member in card["members"]]
        if spec["name"] == "ensemble":
            return Ensemble(members, card["weights"], spec["mean"])
        generalist = card["generalist"] and build(card["generalist"])
        size = len(classes(card))
        return Specialists(members, card["subsets"], size, generalist, spec["active"])
    check_images(card, spec["image_size"])
    channels = card["image_shape"][0]
    of = architecture_of(spec["name"])
    backbone = of.build(channels, spec["width"], spec["stochastic_depth"])
    heads = {head["task"]: len(head["classes"]) for head in card["heads"]}
    normalisation = card["normalisation"]
    if is_dense(card):
        mean, std, shape = normalisation["mean"], normalisation["std"], card["image_shape"]
        size = spec["image_size"]
        return Segmenter(backbone, heads, mean, std, spec["dropout"], size, shape=shape)
    return Classifier(
        backbone,
        heads,
        normalisation["mean"],
        normalisation["std"],
        spec["dropout"],
        spec["image_size"],
        spec.get("calibrator", 0),
        [head["task"] for head in card["heads"] if head.get("masked")],
        [head["task"] for head in card["heads"] if head.get("corrected")],
    )


def check_images(card: dict, image_size: int) -> None:
    """Refuse images that a card's network does not take, or would shrink to nothing.

    Args:
        image_size: side that they are resized to; 0 = as they are.

    Raises:
        UserError: a side is under the network's least, or not the only one that it takes.
    """
    network = card["network"]["name"]
    least, exact = architecture_of(network).least_side, architecture_of(network).exact_side
    height, width = [image_size] * 2 if image_size else card["image_shape"][1:]
    if exact and (height, width) != (exact, exact):
        what = f"'{network}' takes images of {exact}x{exact} alone, these are {height}x{width}"
        raise UserError(f"network of {card['name']}", what, f"set image_size to {exact}")
    if min(height, width) < least:
        what = f"'{network}' needs images of at least {least}x{least}, these are {height}x{width}"
        fix = "raise image_size, or choose another network"
        raise UserError(f"network of {card['name']}", what, fix)


def pixels(card: dict) -> int:
    """Pixels of a channel of the images that a card's network sees inside."""
    size = card["network"]["image_size"]
    return size**2 if size else card["image_shape"][1] * card["image_shape"][2]


def save(
    folder: Path | str,
    network: Network,
    card: dict,
    memory: dict[str, torch.Tensor] | None = None,
    curves: str | None = None,
) -> dict:
    """Write a model; returns the card as written, with the sha256 of its other files.

    Args:
        folder: `models/<name>`.
        network: the weights that are evaluated, teach and ship.
        card: architecture, heads with their ordered classes, image shape, normalisation, parents,
            data digests, recipe, metrics.
        memory: what methods carry to the next task, keys `<method>/<tensor>`.
        curves: a CSV with a row for each evaluation of the training.
    """
    folder = Path(folder)
    if curves is not None:
        files.write_text(folder / CURVES, curves)
        card = {**card, "curves_sha256": files.sha256(folder / CURVES)}
    _write(folder / "model.safetensors", network.state_dict())
    if memory is not None:
        _write(folder / "memory.safetensors", memory)
        card = {**card, "memory_sha256": files.sha256(folder / "memory.safetensors")}
    card = {
        **card,
        "schema": SCHEMA,
        "kind": card.get("kind", CLASSIFICATION),
        "num_parameters": num_parameters(network),
        "sha256": files.sha256(folder / "model.safetensors"),
    }
    return files.write_sealed(folder / "card.json", card)


def read_card(folder: Path | str) -> dict:
    """The card of a model.

    Raises:
        UserError: no model there, one of another version, or a card changed since.
    """
    return files.read_sealed(Path(folder) / "card.json", SCHEMA)


def load(
    folder: Path | str, device: torch.device | str = "cpu", noise: dict | None = None
) -> tuple[Network, dict]:
    """A model in eval mode, and its card.

    Args:
        noise: `dropout` and `stochastic_depth` to train on with, if not the card's own.

    Raises:
        UserError: missing, of another version, or not the bytes that were written.
    """
    card = read_card(folder)
    path = Path(folder) / "model.safetensors"
    files.check_sha256(path, card["sha256"])
    network = build({**card, "network": {**card["network"], **(noise or {})}})
    network.load_state_dict(load_tensors(path.read_bytes()))
    return network.to(device).eval(), card


def load_memory(folder: Path | str, card: dict) -> dict[str, torch.Tensor]:
    """What methods kept of a model's tasks; empty for a model that was not extended.

    Raises:
        UserError: missing, or not the bytes that were written.
    """
    if "memory_sha256" not in card:
        return {}
    path = Path(folder) / "memory.safetensors"
    files.check_sha256(path, card["memory_sha256"])
    memory = load_tensors(path.read_bytes())
    # safetensors gives them in an order that differs from time to time; a sum depends on it
    return {name: memory[name] for name in sorted(memory)}


def load_curves(folder: Path | str, card: dict) -> list[dict[str, str]]:
    """The rows of `curves.csv` of a model, empty where a phase has no such column.

    Raises:
        UserError: missing, or not the bytes that were written.
    """
    path = Path(folder) / CURVES
    if "curves_sha256" in card:  # models of before have none
        files.check_sha256(path, card["curves_sha256"])
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    files.write_bytes(path, save_tensors(tensors))


def classes(card: dict) -> list[str]:
    """All classes that a model knows, in the order of its logits."""
    return [name for head in card["heads"] for name in head["classes"]]
