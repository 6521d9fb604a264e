"""Templates of exported pages, in which every text is escaped, and the images in them."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

__all__ = ["data_uri", "render_template"]

_FOLDER = Path(__file__).with_name("templates")


def render_template(name: str, **values: object) -> str:
    """Return a template filled with values; only those marked ``safe`` in it are taken as HTML.

    Raises
    ------
    jinja2.UndefinedError
        If the template needs a value that is not given.
    """
    environment = _environment()
    template = environment.get_template(name)
    return template.render(**values)


def data_uri(image: bytes, kind: str = "webp") -> str:
    """Return an encoded image as a data URI, with which a page carries it."""
    encoded = base64.b64encode(image)
    text = encoded.decode()
    return f"data:image/{kind};base64,{text}"


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
