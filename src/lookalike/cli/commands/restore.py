"""The ``restore`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, store_imported


@command("Example: lookalike restore /mnt/disk/pictures -c pictures")
def restore(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The folder of a backup, or of any collection.")
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup: make a new collection of it. Nothing that is there is overwritten."""
    with store_imported():
        from lookalike.collection import default_path

    with output.copying() as progress:
        done = lookalike.restore(source, collection or default_path(), progress=progress)
    if as_json:
        output.print_json(done.to_dict())
    else:
        output.print_copied(done, f"restored from {output.printable(str(source))}")
