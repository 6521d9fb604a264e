"""The ``restore`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, store_imported
from lookalike.cli.commands.backup import print_backup_report
from lookalike.cli.progress import progress_bar


@command("restore", examples=["lookalike restore /mnt/disk/pictures -c pictures"])
def restore_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="The folder or the address of a backup, or of any collection.",
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup as a new collection. Existing files are never overwritten."""
    with store_imported():
        from lookalike.shortcuts import restore

    with progress_bar("Copying", unit="bytes", finishing="Reading") as bar:
        report = restore(source, collection, progress=bar.update)

    if as_json:
        output.print_json(report.to_dict())
    else:
        folder = output.printable(source)
        summary = f"restored from {folder}"
        print_backup_report(report, summary)
