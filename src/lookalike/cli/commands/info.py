"""The ``info`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
)


@command("Example: lookalike info --failures")
def info(
    collection: CollectionOption = None,
    where: WhereOption = None,
    failures: Annotated[
        bool,
        typer.Option("--failures", help="List the files that could not be indexed, with reasons."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a collection holds."""
    from lookalike.store import filters

    table = open_collection(collection).table
    matching = None if where is None else len(table.select(where))
    failed = table.failures()
    if as_json:
        named = ("dim", "precision", "runtime")
        spaces = [
            {"name": name, "model": model.name, **{key: getattr(model, key) for key in named}}
            for name, model in table.models.items()
        ]
        counts = {"images": table.count(), **({} if matching is None else {"matching": matching})}
        columns = [{"name": name, "type": kind} for name, kind in table.metadata.items()]
        listed = {"failed": failed.to_pylist()} if failures else {}
        output.print_json(
            {**counts, "spaces": spaces, "columns": columns, "failures": len(failed), **listed}
        )
        return
    rows = [["Table", table.path], ["Images", f"{table.count():,}"]]
    rows += [] if matching is None else [["Matching", f"{matching:,}"]]
    rows.append(["Failures", f"{len(failed):,}"])
    for name, model in table.models.items():
        by = "" if model.architecture == "pixels" else f" ({model.precision}, {model.runtime})"
        rows.append(
            [
                "Space",
                f"{name}: {model.title}{by}; {model.dim} numbers; {table.count(name):,} images",
            ]
        )
    for name, kind in table.metadata.items():
        written = filters.Column(name, kind).written
        rows.append(
            ["Column", f"{written}: {kind}; {len(table.select(f'{written} is not null')):,} images"]
        )
    output.columns(rows, styles=("dim",))
    if failures:
        for uri, error in zip(failed["uri"].to_pylist(), failed["error"].to_pylist(), strict=True):
            output.say(f"{output.printable(uri)}: {output.printable(error)}")
