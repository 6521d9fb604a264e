"""The ``backup`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, store_imported


@command("Example: lookalike backup /mnt/disk/pictures")
def backup(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="A new folder, or one with an earlier backup of this collection."
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back a collection up: copy its newest version, while others may use it, or bring an earlier backup up to date.

    The backup is read through before it takes the earlier one's place. It is itself a collection, to be searched.
    """
    with store_imported():
        from lookalike.collection import default_path

    with output.copying() as progress:
        done = lookalike.backup(collection or default_path(), target, progress=progress)
    if as_json:
        output.print_json(done.to_dict())
    else:
        output.print_copied(
            done, f"a backup of version {done.version}, which can be searched with -c"
        )
