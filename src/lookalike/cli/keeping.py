"""Commands that keep a collection safe: check it, back it up, restore it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lookalike
from lookalike.cli import console
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
        from lookalike.store.table import default_path

    with console.reading() as progress:
        report = lookalike.check(collection or default_path(), files=files, progress=progress)
    if as_json:
        console.print_json(report.to_dict())
    else:
        console.print_checked(report)
    if not report.sound:
        raise typer.Exit(1)


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
        from lookalike.store.table import default_path

    with console.copying() as progress:
        done = lookalike.backup(collection or default_path(), target, progress=progress)
    if as_json:
        console.print_json(done.to_dict())
    else:
        console.print_copied(
            done, f"a backup of version {done.version}, which can be searched with -c"
        )


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
        from lookalike.store.table import default_path

    with console.copying() as progress:
        done = lookalike.restore(source, collection or default_path(), progress=progress)
    if as_json:
        console.print_json(done.to_dict())
    else:
        console.print_copied(done, f"restored from {console.printable(str(source))}")
