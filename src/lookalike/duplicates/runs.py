"""The runs that removed duplicates, and the accord of files and rows after each of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from lookalike.duplicates.journal import (
    Entry,
    Journal,
    JournalWriter,
    State,
    journals,
    read_journal,
)
from lookalike.duplicates.steps import settle
from lookalike.errors import InputError
from lookalike.sources import uri_exists
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.location import FILE_TRASH
from lookalike.store.table import Table
from lookalike.store.trash import RemovalReason

__all__ = ["file_trash", "find_run", "finish_run", "finish_runs", "list_runs"]


def file_trash(table: Table) -> Path:
    """Return the folder of the runs of a collection.

    Raises
    ------
    InputError
        If the collection lies in object storage, which has no place for files.
    """
    folder = table.location.file_trash
    if folder is None:
        raise InputError(
            f"The collection {table.path} lies in object storage, which cannot hold a trash of "
            "local files. Copy it with: lookalike restore ADDRESS -c FOLDER, "
            "and remove the duplicates there."
        )
    return folder


def list_runs(table: Table) -> list[Journal]:
    """Return the runs with anything to undo, the oldest first."""
    trash = table.location.file_trash
    if trash is None:
        return []
    with translate_errors(table.path, Operation.READ):
        return [journal for journal in journals(trash) if journal.removed]


def find_run(table: Table, run: str | None) -> Journal:
    """Return a run by its name; the newest for None.

    Raises
    ------
    InputError
        If there is none, or nothing is left to undo.
    """
    file_trash(table)
    found = list_runs(table)
    named = [journal for journal in found if run in {None, journal.run}]
    if named:
        return named[-1]
    if run is None:
        raise InputError(
            f"No duplicates of the collection {table.path} were removed, or all were brought back. "
            "There is nothing to undo."
        )
    raise InputError(
        f"The collection {table.path} has no run {run!r} to undo. "
        "List the runs with: lookalike duplicates undo --list"
    )


def finish_runs(table: Table) -> None:
    """Finish the runs whose process was killed; call it with the lock of duplicates."""
    trash = table.location.file_trash
    if trash is None or not trash.is_dir():
        return
    for journal in journals(trash):
        is_finished = journal.is_ended and journal.removed
        if not is_finished:
            finish_run(table, journal.folder)
    # A run that was killed before it had a journal leaves an empty folder.
    with suppress(OSError):
        folders = trash.iterdir()
        for folder in folders:
            _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def finish_run(table: Table, folder: Path) -> bool:
    """Bring the files, the journal and the rows of a run into accord; call it with the lock.

    Returns
    -------
    is_left
        Whether the run has anything to undo. Otherwise its folders are removed, if they are empty.

    Raises
    ------
    CollectionError
        If the journal or the collection cannot be written.
    """
    with translate_errors(table.path, Operation.WRITE), JournalWriter(folder) as writer:
        _settle_entries(read_journal(folder), writer)
        journal = read_journal(folder)
        _match_table(table, journal.entries)
        # Else the next run looks at the files again.
        if not _has_begun(journal):
            writer.end()
    _remove_empty_folders(journal)
    is_left = bool(journal.removed)
    if not is_left:
        with translate_errors(table.path, Operation.WRITE):
            journal.remove()
    return is_left


def _settle_entries(journal: Journal, writer: JournalWriter) -> None:
    """Write down how the removals ended that a kill has cut short."""
    for entry in journal.entries:
        if entry.state is not State.BEGUN:
            continue
        state = settle(entry)
        writer.mark(entry, state)


def _has_begun(journal: Journal) -> bool:
    states = {entry.state for entry in journal.entries}
    return State.BEGUN in states


def _match_table(table: Table, entries: Iterable[Entry]) -> None:
    """Remove the rows of files that were moved, and restore those of files that came back."""
    moved = {}
    back = {}
    for entry in entries:
        if entry.action == "hardlink":
            continue
        is_there = uri_exists(entry.uri)
        content = bytes.fromhex(entry.sha256)
        if entry.state is State.DONE and not is_there:
            moved[entry.uri] = content
        elif entry.state is not State.DONE and is_there:
            back[entry.uri] = content

    ids = []
    for uri, row in table.existing_rows(moved).items():
        if row.sha256 == moved[uri]:
            ids.append(row.id)
    if ids:
        table.trash.discard(np.array(ids, np.int64), RemovalReason.REMOVED)
    if back:
        restored = table.trash.restore_contents(back)
        table.trash.settle(sorted(restored))


def _remove_empty_folders(journal: Journal) -> None:
    """Remove the folders of the trash that nothing is left in."""
    for entry in journal.entries:
        if entry.action == "move":
            continue
        for folder in entry.target.parents:
            if FILE_TRASH not in folder.parts:
                break
            if folder == journal.folder:
                break
            try:
                folder.rmdir()
            except OSError:
                break
