"""What a person does apart from the stages: `python -m pipeline <command>`.

A command is a module with `run`, whose docstring is its help, and perhaps `arguments`, which adds
its own to a parser. Modules import what takes long within `run`.
"""

from pipeline.commands import (
    check,
    clean,
    cross_validate,
    duplicates,
    export,
    init,
    params,
    predict,
    show,
    suggest,
    sync,
    ui,
)

COMMANDS = {
    "init": init,
    "check": check,
    "show": show,
    "cross-validate": cross_validate,
    "duplicates": duplicates,
    "predict": predict,
    "suggest": suggest,
    "export": export,
    "ui": ui,
    "sync": sync,
    "clean": clean,
    "params": params,
}
