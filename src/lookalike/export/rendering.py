"""Templates of exported pages, in which every text is escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["render"]

_FOLDER = Path(__file__).with_name("templates")


def render(name: str, **values: object) -> str:
    """Return a template filled with values; only those marked ``safe`` in it are taken as HTML.

    Raises
    ------
    jinja2.UndefinedError
        If the template needs a value that is not given.
    """
    template = _environment().get_template(name)
    return template.render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
