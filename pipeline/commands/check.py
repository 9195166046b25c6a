"""`python -m pipeline check`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """check params.yaml, the files it names and this machine's settings"""
    from pipeline.core import machine
    from pipeline.core.errors import UserError
    from pipeline.networks import pretrained
    from pipeline.params.check import load

    params = load()
    machine.load()
    errors = []
    for name in params.places():
        options = getattr(params.options(name), "pretrained", None)
        if options:
            config = params.config(name)
            errors += pretrained.faults(f"{config.key}.pretrained", options, config.network)
    if errors:
        raise UserError.all(errors)
    print(f"params.yaml is right: {' -> '.join(params.lineage().chain(params.final))}")
