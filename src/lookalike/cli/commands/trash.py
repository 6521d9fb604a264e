"""The ``trash`` command."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection

if TYPE_CHECKING:
    import pyarrow as pa

    from lookalike.collection import Collection
    from lookalike.store.trash import RestoreReport


@command(
    "trash",
    examples=[
        "lookalike trash list",
        "lookalike trash restore ~/Pictures/2019",
        "lookalike trash empty",
    ],
)
def trash_command(
    action: Annotated[
        Literal["list", "restore", "empty"],
        typer.Argument(
            metavar="ACTION",
            help="list: show the images; restore: put them back; empty: delete them for good.",
        ),
    ],
    uris: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URI",
            help="Images, or folders with everything below them.",
            show_default="all",
        ),
    ] = None,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show, restore, or delete the images in the trash of a collection.

    Images that were removed, and images whose files are missing, stay there for 30 days with their
    metadata and vectors. Indexing a file that comes back restores its image. `lookalike optimize`
    deletes older ones. LOOKALIKE_TRASH_DAYS sets the number of days.
    """
    opened = open_collection(collection)
    named = uris or []
    if action == "list":
        rows = opened.trash(named)
        if as_json:
            _print_rows_as_json(rows)
        else:
            _print_rows(opened, rows)
    elif action == "restore":
        report = opened.restore_trash(named)
        if as_json:
            output.print_json(report.to_dict())
        else:
            _print_restore_report(report)
    else:
        deleted = opened.empty_trash(named)
        if as_json:
            output.print_json({"deleted": deleted})
        else:
            output.say(f"{output.plural(deleted, 'image')} deleted for good.")


def _print_rows_as_json(rows: pa.Table) -> None:
    from lookalike.store.trash import trash_days

    images = rows.to_pylist()
    for image in images:
        image["removed_at"] = image["removed_at"].isoformat()
    days = trash_days()
    output.print_json({"days": days, "images": images})


def _print_rows(collection: Collection, rows: pa.Table) -> None:
    """Print one line for the images of a folder that were removed on one day."""
    from lookalike.sources import display_folder
    from lookalike.store.trash import trash_days

    if not len(rows):
        output.say(f"The trash of {output.printable(collection.path)} is empty.")
        return

    groups: Counter[tuple[str, str, str, str]] = Counter()
    days = timedelta(days=trash_days())
    for row in rows.to_pylist():
        removed = row["removed_at"].astimezone()
        until = removed + days
        folder = display_folder(row["uri"])
        group = (f"{removed:%Y-%m-%d}", f"{until:%Y-%m-%d}", row["reason"], folder)
        groups[group] += 1

    table = [["Images", "Removed", "Kept until", "Reason", "Folder"]]
    table += [[f"{count:,}", *group] for group, count in sorted(groups.items())]
    output.print_table(table, right={0})
    images = output.plural(len(rows), "image")
    output.say(f"{images}. Put them back with: lookalike trash restore FOLDER")


def _print_restore_report(report: RestoreReport) -> None:
    output.say(f"{output.plural(report.restored, 'image')} restored.")
    if report.occupied:
        output.say("Not restored, because the collection has another image there:")
        output.print_list(report.occupied)
