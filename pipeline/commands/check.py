"""`python -m pipeline check`."""

import argparse


def run(_: argparse.Namespace) -> None:
    """check params.yaml, the files and images it names and this machine's settings"""
    from pipeline.core import machine
    from pipeline.core.errors import UserError
    from pipeline.networks import pretrained
    from pipeline.params.check import load
    from pipeline.sources.survey import survey
    from pipeline.students import brought

    params = load()
    machine.load()
    errors = []
    for name in params.places():
        options = getattr(params.options(name), "pretrained", None)
        if options:
            config = params.config(name)
            errors += pretrained.faults(f"{config.key}.pretrained", options, config.network)
        if getattr(params.options(name), "from_", None):
            errors += brought.faults(params.config(name))
    said: list[str] = []
    try:
        said = survey(params.sources(), params.data_sets(), params.learns_from_unlabelled)
    except UserError as error:
        errors.append(error)
    if errors:
        raise UserError.all(errors)
    for sentence in said:
        print(sentence)
    print(f"params.yaml is right: {' -> '.join(params.lineage().chain(params.final))}")
