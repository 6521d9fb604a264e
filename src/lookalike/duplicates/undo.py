"""Bring back the copies that a run removed, or delete them for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from lookalike.duplicates.journal import Entry, Journal, JournalWriter, State
from lookalike.duplicates.removal import SkippedCopy
from lookalike.duplicates.runs import find_run, finish_run, finish_runs, list_runs
from lookalike.duplicates.steps import StepError, bring_back, is_back, settle
from lookalike.io.file_moves import remove_file
from lookalike.sources import local_file
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.lock import DUPLICATES, hold
from lookalike.store.table import Table

__all__ = ["UndoReport", "delete_removed", "undo_removal"]


@dataclass(slots=True)
class UndoReport:
    """The result of bringing copies back.

    Attributes
    ----------
    run
        The run that was undone.
    restored
        The uris of the copies that are back, as they were.
    withheld
        Those that are not, each with the reason. They can be brought back later.
    """

    run: str
    restored: list[str] = field(default_factory=list)
    withheld: list[SkippedCopy] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike duplicates undo --json`` prints it."""
        return asdict(self)


def undo_removal(
    table: Table,
    run: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> UndoReport:
    """Bring back the files that a run removed, and their rows with metadata and vectors.

    No file is overwritten. Rows come back as long as they are in the trash of the collection.

    Parameters
    ----------
    table
        The collection's table.
    run
        The name of the run; None for the newest.
    progress
        Called with the number of copies that were just processed.

    Raises
    ------
    InputError
        If there is no such run, or nothing is left to undo.
    BusyError
        If another process removes duplicates for too long.
    CollectionError
        If the collection or its trash cannot be written.
    """
    with hold(table.path, DUPLICATES):
        finish_runs(table)
        journal = find_run(table, run)
        report = UndoReport(journal.run)
        try:
            with translate_errors(table.path, Operation.WRITE):
                _bring_all_back(journal, report, progress)
        finally:
            finish_run(table, journal.folder)
    return report


def _bring_all_back(
    journal: Journal, report: UndoReport, progress: Callable[[int], None] | None
) -> None:
    with JournalWriter(journal.folder) as writer:
        for entry in reversed(journal.removed):
            # From here on, the disk says how far the way back has come.
            writer.mark(entry, State.BEGUN)
            reason = _bring_back(entry)
            if reason is None:
                writer.mark(entry, State.UNDONE)
                report.restored.append(entry.uri)
            else:
                # A later try may succeed.
                writer.mark(entry, State.DONE, reason)
                report.withheld.append(SkippedCopy(entry.uri, reason))
            if progress is not None:
                progress(1)


def _bring_back(entry: Entry) -> str | None:
    """Bring a copy back; return the reason if that is not possible."""
    keeper = local_file(entry.keeper)
    try:
        bring_back(entry, keeper)
    except StepError as error:
        # Somebody may have put the same content there.
        state = settle(entry, is_killed=False)
        was_there = state is State.FAILED and is_back(entry)
        return None if was_there else str(error)
    return None


def delete_removed(table: Table, run: str | None = None) -> tuple[int, int]:
    """Delete the files that runs put into the trash, for good.

    Links stay links, and files that were moved to a folder stay there. These runs can no longer be
    undone.

    Parameters
    ----------
    table
        The collection's table.
    run
        The name of one run; None for all.

    Returns
    -------
    count, size
        The number of deleted files, and their bytes.

    Raises
    ------
    InputError
        If there is no such run.
    BusyError
        If another process removes duplicates for too long.
    CollectionError
        If the trash cannot be written.
    """
    count = 0
    size = 0
    with hold(table.path, DUPLICATES):
        finish_runs(table)
        newest = find_run(table, run)
        chosen = [newest]
        if run is None:
            chosen = list_runs(table)
        for journal in chosen:
            with translate_errors(table.path, Operation.WRITE):
                for entry in journal.removed:
                    if _delete(entry):
                        count += 1
                        size += entry.stamp.size
                _forget(journal)
            finish_run(table, journal.folder)
    return count, size


def _delete(entry: Entry) -> bool:
    """Delete the file of a copy in the trash; return whether it was there."""
    if entry.action != "trash":
        return False
    try:
        remove_file(entry.target)
    except FileNotFoundError:
        return False
    return True


def _forget(journal: Journal) -> None:
    with JournalWriter(journal.folder) as writer:
        for entry in journal.removed:
            writer.mark(entry, State.FAILED, "deleted for good")
