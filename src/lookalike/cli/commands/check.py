"""The ``check`` command."""

from __future__ import annotations

from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, store_imported


@command("Example: lookalike check --files")
def check(
    collection: CollectionOption = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files", help="Read the pictures too, and tell which are gone or have changed."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a collection: read all of it through, and tell what is wrong and what to do about it.

    Exit status: 0 if it is sound, 1 if faults were found, 2 if it cannot be opened.
    """
    with store_imported():
        from lookalike.collection import default_path

    with output.reading() as progress:
        report = lookalike.check(collection or default_path(), files=files, progress=progress)
    if as_json:
        output.print_json(report.to_dict())
    else:
        output.print_checked(report)
    if not report.sound:
        raise typer.Exit(1)
