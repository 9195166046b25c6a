"""Several models become one that gives their common answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pipeline.core import machine
from pipeline.core.errors import UserError
from pipeline.data import tasks
from pipeline.ensembles.options import Together
from pipeline.networks import checkpoint
from pipeline.running.run import Run
from pipeline.training.fit import Val, scores, write
from pipeline.training.model import ModelConfig

# of a card: all that its network is built from
BUILT_FROM = ("name", "network", "heads", "image_shape", "normalisation")
BUILT_FROM += ("generalist", "members", "subsets", "kind")


@dataclass(frozen=True)
class Member:
    """A model of an ensemble.

    Attributes:
        card: of it, as far as its answers depend on it.
        weights: its tensors, as its own file names them.
        val_acc: its accuracy on val, 0..1.
    """

    card: dict
    weights: dict[str, Tensor]
    val_acc: float


def gather(config: ModelConfig, run: Run) -> dict:
    """Write `models/<name>/`, an ensemble of two models; returns its card.

    Raises:
        UserError: they know other classes, or are told the task of each image.
    """
    options: Together = config.options
    cards = [
        checkpoint.read_card(Path("models") / name) for name in (options.first, options.second)
    ]
    check(cards)
    members = [member for card in cards for member in members_of(card)]
    equal = options.weights == "equal"
    weights = [1.0 if equal else member.val_acc for member in members]
    first = cards[0]
    heads = [{key: head[key] for key in ("task", "classes")} for head in first["heads"]]
    card = {
        "name": config.name,
        "network": {
            "name": "ensemble",
            "width": 1.0,
            "image_size": max(m.card["network"]["image_size"] for m in members),
            "mean": options.mean,
        },
        "members": [member.card for member in members],
        "weights": weights,
        "heads": heads,
        "image_shape": first["image_shape"],
        "normalisation": first["normalisation"],
        "parents": {card["name"]: card["sha256"] for card in cards},
        "data": first["data"],
        "images_seen": 0,
    }
    card |= {key: first[key] for key in ("tasks", "kind") if key in first}
    network = checkpoint.build(card)
    for built, member in zip(network.members, members):
        built.load_state_dict(member.weights)
    network.to(run.device).eval()
    val = Val(card, run.device)
    autocast = machine.configure(run.machine, network, checkpoint.pixels(card))
    metrics = scores(val.logits(network, autocast), val.labels)
    return write(network, card | {"metrics": metrics}, [{"step": 0, **metrics}])


def members_of(card: dict) -> list[Member]:
    """The model itself, or those of an ensemble."""
    network, card = checkpoint.load(Path("models") / card["name"])
    if card["network"]["name"] != "ensemble":
        kept = {key: card[key] for key in BUILT_FROM if key in card}
        kept["val_acc"] = card["metrics"]["val_acc"]
        return [Member(kept, network.state_dict(), kept["val_acc"])]
    return [
        Member(own, built.state_dict(), own["val_acc"])
        for own, built in zip(card["members"], network.members)
    ]


def check(cards: list[dict]) -> None:
    """Refuse models that do not answer the same question.

    Raises:
        UserError: naming the card at fault.
    """
    first, *others = cards
    for card in cards:
        if tasks.is_task_known(card):
            what = f"'{card['name']}' is told the task of each image"
            fix = "name models of scenario: class"
            raise UserError(f"models/{card['name']}/card.json", what, fix)
    for card in others:
        mine, theirs = checkpoint.classes(first), checkpoint.classes(card)
        if mine != theirs:
            what = f"'{card['name']}' knows {theirs}, '{first['name']}' {mine}"
            fix = "name models of the same classes in the same order"
            raise UserError(f"models/{card['name']}/card.json", what, fix)
