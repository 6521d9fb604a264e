"""The ``models`` command."""

from __future__ import annotations

from lookalike.cli import output
from lookalike.cli.command import (
    JsonOption,
    command,
)


@command("Example: lookalike models")
def models(as_json: JsonOption = False) -> None:
    """List the models that can be named with --model."""
    from lookalike.models import registry, weights

    known = registry.catalog()
    if as_json:
        listed = [
            {
                "name": m.name,
                "title": m.title,
                "dim": m.dim,
                "size": list(m.size),
                "precision": m.precision,
                "available": weights.is_available(m),
            }
            for m in known.values()
        ]
        output.print_json({"models": listed, "default": registry.DEFAULT})
        return
    header = ["name", "numbers", "input", "weights", "what it is"]
    rows = [
        [m.name, str(m.dim), f"{m.size[1]} x {m.size[0]}", weights.describe_source(m), m.title]
        for m in known.values()
    ]
    output.columns([header, *rows], styles=("bold",), right=(1,))
    output.say(f"A new collection gets {registry.DEFAULT}, unless --model names another.")
