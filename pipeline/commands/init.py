"""`python -m pipeline init`."""

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, and what a person knows better."""
    parser.add_argument("folder", type=Path, help="of photos, a folder for each class in it")
    parser.add_argument(
        "--unlabelled", action="append", default=[], help="a folder in it of photos without labels"
    )
    parser.add_argument(
        "--labels-per-class", type=_labels, default="all", help="hide all others, to experiment"
    )
    parser.add_argument("--minutes", type=float, default=10, help="that the chain may take")
    parser.add_argument("--out", type=Path, default=Path("params.yaml"), help="file to write")
    parser.add_argument("--force", action="store_true", help="even over a file that was changed")


def run(given: argparse.Namespace) -> None:
    """look at a folder of photos, write a params.yaml that fits it, say how long it will take"""
    from pipeline.proposal import stopwatch, written

    if not given.force and given.folder.is_dir():  # else that is what is wrong, said by `look`
        written.refuse_own(given.out)
    started = stopwatch.now()
    from pipeline.proposal import said
    from pipeline.proposal.place import look
    from pipeline.proposal.propose import propose
    from pipeline.sources.survey import survey

    start = stopwatch.seconds(started)  # nearly all that a stage needs to begin
    place = look(given.folder, given.unlabelled)
    print("\n".join(said.found(place)))
    if stopwatch.busy():
        print("look: this machine is busy: times are worked out from those of one thread")
    print("trying recipes on this machine ...", file=sys.stderr)
    made = propose(place, given.labels_per_class, given.minutes, start)
    params = made.params
    costs = survey(params.sources(), params.data_sets(), params.learns_from_unlabelled)
    kept = written.write(given.out, said.page(place, made, given))
    print("\n".join([*costs, "", said.times(made), ""]))
    print(f"wrote {given.out}" + (f"; the one before is {kept}" if kept else ""))
    print("next:  python -m pipeline check, dvc repro")


def _labels(word: str) -> str | int:
    return word if word == "all" else int(word)
