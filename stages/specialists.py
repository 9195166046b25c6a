"""specialists@s: models of the classes that a teacher confuses, and what they say together
-> models/s."""

from collections.abc import Sequence

from pipeline import tracking
from pipeline.data import store
from pipeline.networks import checkpoint
from pipeline.params.check import load
from pipeline.running import run
from pipeline.running.entry import argument, enter
from pipeline.specialists.train import specialise
from pipeline.students.learn import Job


def main(argv: Sequence[str] = ()) -> None:
    """Train them, one after another."""
    params = load()
    name = argument("specialists", params.specialists, argv)
    config, stage = params.config(name), f"specialists@{name}"
    teacher = checkpoint.read_card(f"models/{config.parent.name}")
    dataset = store.load("data/prepared/base")
    with tracking.stage_run(stage) as tracker:
        started = run.begin(stage, name, config.seed, tracker)
        card = specialise(Job(config, dataset, started, {teacher["name"]: teacher["sha256"]}))
        tracking.record_model(tracker, card)
    theirs, mine = (c["metrics"]["val_acc"] for c in (teacher, card))
    print(f"{stage}: val accuracy {mine:.4f}, its teacher {teacher['name']} {theirs:.4f}")
    for member in card["members"]:
        *own, others = member["heads"][0]["classes"]
        print(f"  {', '.join(own)} or {others}: {member['val_acc']:.4f}")


if __name__ == "__main__":
    enter(main)
