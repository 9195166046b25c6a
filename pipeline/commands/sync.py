"""`python -m pipeline sync`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """send to MLflow the runs of this project that it has missed"""
    from pipeline import tracking
    from pipeline.core.errors import UserError

    if not tracking.is_on():
        raise UserError("LINEAGE_TRACKING", "is off", "unset it")
    missed = tracking.unsent()
    for sentence in tracking.send(now=True).values():
        print(sentence)
    left = tracking.unsent()
    if left:
        what = f"{left} of {missed} runs are not there yet"
        raise UserError(tracking.uri(), what, "start the server, and run this again")
    print(f"{missed or 'no'} runs sent to {tracking.uri()}: it has all that ended")
