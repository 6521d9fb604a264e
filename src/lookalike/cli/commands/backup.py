"""The ``backup`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar
from lookalike.io.sizes import file_size

if TYPE_CHECKING:
    from lookalike.maintenance.backup import BackupReport

__all__ = ["print_backup_report"]


@command("backup", examples=["lookalike backup /mnt/disk/pictures -c pictures"])
def backup_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A new folder or an address such as s3://bucket/prefix, or an earlier backup of "
            "this collection.",
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up a collection: copy its newest version, or update an earlier backup.

    The collection can be used during a backup. The new backup is read in full before it replaces
    the earlier one. A backup is itself a collection and can be searched.
    """
    opened = open_collection(collection)
    with progress_bar("Copying", unit="bytes", finishing="Reading") as bar:
        report = opened.backup(target, progress=bar.update)

    if as_json:
        fields = report.to_dict()
        output.print_json(fields)
    else:
        version = report.version
        summary = f"a backup of version {version}. Search it with -c"
        print_backup_report(report, summary)


def print_backup_report(report: BackupReport, summary: str) -> None:
    """Print the result of a backup or a restore."""
    output.print_contents(report.images, report.path, summary)
    copied = file_size(report.copied)
    files = f"{copied} copied"
    if report.kept:
        kept = file_size(report.kept)
        files += f", {kept} already there"
    seconds = f"{report.seconds:.1f} s"
    output.say(f"{files}. The copy was read in full. Took {seconds}.")
