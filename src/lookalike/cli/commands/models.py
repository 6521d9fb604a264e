"""The ``models`` command."""

from __future__ import annotations

from lookalike.cli import output
from lookalike.cli.command import JsonOption, command


@command("models", examples=["lookalike models", "lookalike models --json"])
def models_command(as_json: JsonOption = False) -> None:
    """List the models that --model accepts by name."""
    from lookalike.models import registry, weights

    catalog = registry.catalog()
    if as_json:
        listed = []
        for model in catalog.values():
            entry = {
                "name": model.name,
                "title": model.title,
                "dim": model.dim,
                "size": list(model.size),
                "precision": model.precision,
                "available": weights.is_available(model),
            }
            listed.append(entry)
        output.print_json({"models": listed, "default": registry.DEFAULT})
        return

    rows = [["name", "dimensions", "input", "weights", "description"]]
    for model in catalog.values():
        size = f"{model.size[1]} x {model.size[0]}"
        rows.append(
            [
                model.name,
                str(model.dim),
                size,
                weights.describe_source(model),
                model.title,
            ]
        )
    output.print_table(rows, styles=("bold",), right=(1,))
    output.say(
        f"A new collection uses {registry.DEFAULT} unless --model names another model."
    )
