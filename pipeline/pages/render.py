"""Templates as pages.

A page extends `frame.html`: no scripts and no outside files; a policy in its head forbids both,
besides the escaping of every name that comes from data.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.pages.formats import FILTERS

SHARED = Path(__file__).with_name("templates")


def environment(templates: Path) -> Environment:
    """The templates of a folder and those that all pages share; they escape all they are given,
    and fail on what they are not given."""
    made = Environment(
        loader=FileSystemLoader([templates, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= FILTERS
    return made
