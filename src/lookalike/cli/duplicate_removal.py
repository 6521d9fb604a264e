"""The parts of the ``duplicates`` command that follow a search: files, removal, undo, verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lookalike.cli import output
from lookalike.cli.progress import progress_bar
from lookalike.io.sizes import file_size

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.duplicates.groups import Duplicates
    from lookalike.duplicates.journal import Action, Journal
    from lookalike.duplicates.removal import RemovalReport, RemovalSettings, SkippedCopy
    from lookalike.duplicates.undo import UndoReport
    from lookalike.duplicates.verdicts import Verdict

_WITHHELD = 1
_WOULD: dict[Action, str] = {
    "trash": "would go into the trash",
    "move": "would be moved",
    "hardlink": "would become links to the images that are kept",
}
_DID: dict[Action, str] = {
    "trash": "are in the trash",
    "move": "were moved",
    "hardlink": "are links to the images that are kept",
}


def save_duplicates(found: Duplicates, collection: Collection, target: Path) -> None:
    """Write a table, a page or an image, by the extension of the target."""
    extension = target.suffix.lower()
    table = collection.table
    if extension == ".csv":
        from lookalike.export.duplicates import write_duplicates_table

        write_duplicates_table(found, target)
    elif extension in {".html", ".htm"}:
        from lookalike.export.duplicates import write_duplicates_page

        write_duplicates_page(found, table, target)
    elif extension == ".json":
        from lookalike.io.files import atomic_write

        text = found.to_json()
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    else:
        from lookalike.drawing.duplicates import draw_duplicates

        draw_duplicates(found, table, target)


# ---- removal ------------------------------------------------------------------------------------


def remove(
    collection: Collection,
    found: Duplicates,
    settings: RemovalSettings,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove copies, or show what would be removed; exit with status 1 if any was withheld."""
    from lookalike.duplicates.removal import remove_copies

    text = "Comparing files again" if yes else "Looking at files"
    with progress_bar(text, unit="items", total=found.copies) as bar:
        report = remove_copies(
            collection.table, found, settings, dry_run=not yes, progress=bar.advance
        )
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_removal(report, is_dry_run=not yes)
    if report.withheld:
        raise typer.Exit(_WITHHELD)


def _print_removal(report: RemovalReport, *, is_dry_run: bool) -> None:
    copies = _copies(len(report.removed))
    size = file_size(report.bytes)
    words = _WOULD[report.action] if is_dry_run else _DID[report.action]
    if report.removed:
        output.say_with_heading(f"{copies} ({size})", f" {words}.")
    else:
        output.say("There is nothing to remove.")
    lines = [f"{copy.uri}  (keep {copy.keeper})" for copy in report.removed]
    output.print_list(lines)

    _print_skipped(report.withheld, "Not touched")
    for reason, count in report.skipped.items():
        output.say(f"Skipped: {_copies(count)} {reason}.")
    if report.removed and is_dry_run:
        output.say(
            "Nothing was changed. Do it by running the command again with --yes."
        )
    elif report.run is not None:
        output.say(f"Take it back with: lookalike duplicates undo {report.run}")
        if report.action == "trash":
            output.say("Free the space with: lookalike duplicates empty")


def _copies(count: int) -> str:
    if count == 1:
        return "1 copy"
    return f"{count:,} copies"


def _print_skipped(withheld: list[SkippedCopy], heading: str) -> None:
    if not withheld:
        return
    output.say(f"{heading}:")
    output.print_list([f"{one.uri}: {one.reason}" for one in withheld])


# ---- undo ---------------------------------------------------------------------------------------


def undo(collection: Collection, run: str | None, *, as_json: bool) -> None:
    """Bring back the copies of a run; exit with status 1 if any is left."""
    from lookalike.duplicates.undo import undo_removal

    with progress_bar("Bringing copies back", unit="items") as bar:
        report = undo_removal(collection.table, run, progress=bar.advance)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_undo(report)
    if report.withheld:
        raise typer.Exit(_WITHHELD)


def _print_undo(report: UndoReport) -> None:
    count = len(report.restored)
    copies = _copies(count)
    run = report.run
    output.say(f"{copies} of the run {run} came back.")
    _print_skipped(report.withheld, "Not brought back")


def print_runs(collection: Collection, *, as_json: bool) -> None:
    """Print the runs that can be undone."""
    from lookalike.duplicates.runs import list_runs

    runs = list_runs(collection.table)
    if as_json:
        fields = [_run_fields(run) for run in runs]
        output.print_json({"runs": fields})
        return
    if not runs:
        output.say("No run can be undone.")
        return
    rows = [["Run", "Action", "Copies", "Size"]]
    for run in runs:
        count = len(run.removed)
        copies = f"{count:,}"
        size = file_size(run.bytes)
        row = [run.run, run.action, copies, size]
        rows.append(row)
    output.print_table(rows, right={2})


def _run_fields(run: Journal) -> dict[str, object]:
    uris = [entry.uri for entry in run.removed]
    fields: dict[str, object] = {"run": run.run, "action": run.action}
    fields["bytes"] = run.bytes
    fields["uris"] = uris
    return fields


def empty(collection: Collection, run: str | None, *, as_json: bool) -> None:
    """Delete the files of runs for good."""
    from lookalike.duplicates.undo import delete_removed

    count, size = delete_removed(collection.table, run)
    if as_json:
        data = {"deleted": count, "bytes": size}
        output.print_json(data)
        return
    copies = _copies(count)
    freed = file_size(size)
    output.say(f"{copies} deleted for good ({freed}).")


# ---- verdicts -----------------------------------------------------------------------------------


def record_verdict(
    collection: Collection, uris: list[str], *, forget_it: bool, as_json: bool
) -> None:
    """Remember, or forget, that two images are not duplicates."""
    from lookalike.duplicates import verdicts

    first, second = verdicts.contents_of(collection.table, uris)
    pair = verdicts.content_pair(first, second)
    change = verdicts.forget if forget_it else verdicts.dismiss
    changed = change(collection.table, [pair])
    if as_json:
        output.print_json({"changed": changed})
    elif forget_it and changed:
        output.say("Forgotten.")
    elif forget_it:
        output.say("There was no such verdict.")
    else:
        output.say("Remembered: these contents are not duplicates of each other.")


def print_verdicts(collection: Collection, *, as_json: bool) -> None:
    """Print the pairs that are not duplicates."""
    from lookalike.duplicates.verdicts import verdicts

    listed = verdicts(collection.table)
    if as_json:
        output.print_json({"verdicts": [verdict.to_dict() for verdict in listed]})
        return
    if not listed:
        output.say("No verdict was given.")
        return
    output.print_list([_describe_verdict(verdict) for verdict in listed])


def _describe_verdict(verdict: Verdict) -> str:
    names = []
    for content, uris in zip(verdict.contents, verdict.uris, strict=True):
        name = f"a removed image {content[:12]}"
        if uris:
            name = uris[0]
        names.append(name)
    return " and ".join(names)
