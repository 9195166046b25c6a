"""ensemble@e: two models, perhaps ensembles themselves, that answer together -> models/e."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.ensembles.gather import gather
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.training.fit import on_val


def main(argv: Sequence[str] = ()) -> None:
    """Put them into one model."""
    params = load()
    name = argument("ensemble", params.ensembles, argv)
    config, stage = params.config(name), f"ensemble@{name}"
    with tracking.stage_run(stage) as tracker:
        card = gather(config, run.begin(stage, name, config.seed, tracker))
        tracking.record_model(tracker, card)
    members = ", ".join(f"{m['name']} {m['val_acc']:.4f}" for m in card["members"])
    what, value = on_val(card)
    print(f"{stage}: val {what} {value:.4f}, of {members}")


if __name__ == "__main__":
    enter(main)
