"""The documentation of the REST interface as a page, made from its OpenAPI description."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["CONTENT_POLICY", "documentation_page"]

_TEMPLATES = Path(__file__).with_name("templates")
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
section { border-top: 1px solid; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
pre { overflow-x: auto; }
"""
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The page loads nothing, runs nothing, and has this style only.
CONTENT_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_LIMIT_WORDS = {
    "minimum": "At least",
    "exclusiveMinimum": "More than",
    "maximum": "At most",
    "exclusiveMaximum": "Less than",
    "minLength": "Minimum length",
    "maxLength": "Maximum length",
    "minItems": "Minimum count",
    "maxItems": "Maximum count",
    "pattern": "Pattern",
}


def documentation_page(document: Mapping[str, Any]) -> str:
    """Return an HTML page that lists the operations and schemas of an OpenAPI description."""
    operations = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = {"method": method.upper(), "path": path, **operation}
            operations.append(named)
    prefix = document["servers"][0]["url"].rstrip("/")
    return _template().render(
        document=document,
        operations=operations,
        prefix=prefix,
        style=_STYLE,
        limit_words=_LIMIT_WORDS,
    )


@cache
def _template() -> Template:
    # Jinja2 takes a while to import, and few servers show this page.
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("documentation.html")
