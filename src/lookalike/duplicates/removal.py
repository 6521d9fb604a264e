"""Remove the copies of groups of duplicates: into the trash, to a folder, or by hard links.

Before each step both files are read again and compared with the result of the search. The journal
is written before and after it, so that `lookalike.duplicates.undo` can take every step back.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lookalike.duplicates.groups import Duplicate, Duplicates, Tier
from lookalike.duplicates.journal import Action, Entry, JournalWriter, State, new_run
from lookalike.duplicates.places import MovePlaces, NewPlaces, TrashPlaces, check_folder
from lookalike.duplicates.runs import file_trash, finish_run, finish_runs
from lookalike.duplicates.steps import StepError, remove_copy, settle
from lookalike.errors import InputError
from lookalike.io.file_moves import FileStamp, hash_regular_file
from lookalike.io.reasons import system_reason
from lookalike.sources import local_file
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.lock import DUPLICATES, hold
from lookalike.store.table import Table

__all__ = [
    "RemovalReport",
    "RemovalSettings",
    "RemovedCopy",
    "SkippedCopy",
    "remove_copies",
]

_PROTECTED = "in a protected folder"
_OTHER_TIER = "of another tier"
_NOT_LOCAL = "not a local file of its own"
_OTHER_BYTES = "with the same pixels but other bytes"
_REMOVED = "that the collection has no longer"
_SAME_FILE = "the same file as the image to keep"


@dataclass(frozen=True, slots=True)
class RemovalSettings:
    """What happens to which copies.

    Attributes
    ----------
    action
        ``trash`` moves a copy into a trash on its own disk. ``move`` moves it to `folder`.
        ``hardlink`` replaces it by a link to the image to keep, so that both are one file.
    tiers
        The tiers whose copies are removed.
    folder
        The folder of ``move``.
    """

    action: Action
    tiers: tuple[Tier, ...] = ("identical",)
    folder: Path | None = None

    def __post_init__(self) -> None:
        needs_folder = self.action == "move"
        if needs_folder != (self.folder is not None):
            raise InputError(
                "Only the action 'move' takes a folder, and needs one. "
                "Write: lookalike duplicates --apply move --to FOLDER"
            )


@dataclass(frozen=True, slots=True)
class RemovedCopy:
    """A copy that was removed, or would be.

    Attributes
    ----------
    uri, keeper
        The copy, and the image that is kept instead.
    tier
        How they compare.
    bytes
        The size of the copy.
    """

    uri: str
    keeper: str
    tier: Tier
    bytes: int


@dataclass(frozen=True, slots=True)
class SkippedCopy:
    """A copy that stays because of the state of the files.

    Attributes
    ----------
    uri
        The copy.
    reason
        Why it stays.
    """

    uri: str
    reason: str


@dataclass(slots=True)
class RemovalReport:
    """The result of a removal.

    Attributes
    ----------
    action
        What happened to the files.
    run
        The name of the run, which `undo` takes; None if nothing was changed.
    removed
        The copies that were removed, or would be without a `run`.
    withheld
        Copies that stay because a file is missing, changed or cannot be moved.
    skipped
        The number of copies that were not considered, by the reason.
    """

    action: Action
    run: str | None = None
    removed: list[RemovedCopy] = field(default_factory=list)
    withheld: list[SkippedCopy] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of the removed copies."""
        total = 0
        for copy in self.removed:
            total += copy.bytes
        return total

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike duplicates --apply --json`` prints it."""
        values = asdict(self)
        values["bytes"] = self.bytes
        return values


@dataclass(slots=True)
class _Group:
    """The image to keep of a group, and the copies to remove, each with its file."""

    keeper: Duplicate
    keeper_path: Path
    copies: list[tuple[Duplicate, Path]] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    """The file of an image to keep, once it was read again."""

    path: Path
    stamp: FileStamp | None = None


def remove_copies(
    table: Table,
    duplicates: Duplicates,
    settings: RemovalSettings,
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RemovalReport:
    """Remove the copies of groups of duplicates, so that the images to keep stay.

    Each step is written into a journal first, and `lookalike.duplicates.undo.undo_removal` takes it
    back. The rows of removed files go into the trash of the collection.

    Parameters
    ----------
    table
        The collection's table.
    duplicates
        The groups.
    settings
        What happens to which copies.
    dry_run
        Whether to change nothing, and only report what would be removed. Files are then compared by
        their sizes, not by their contents.
    progress
        Called with the number of copies that were just processed.

    Raises
    ------
    InputError
        If the collection lies in object storage, or the folder of ``move`` cannot be used.
    BusyError
        If another process removes duplicates for too long.
    CollectionError
        If the collection or its trash cannot be written. What was removed is in the journal.
    """
    report = RemovalReport(settings.action)
    groups = _choose_copies(duplicates, settings, report)
    check_folder(table, settings.folder)
    removal = _Removal(table, settings, report, progress or _ignore)
    if dry_run:
        removal.preview(groups)
        return report
    if not groups:
        return report
    trash = file_trash(table)
    with hold(table.path, DUPLICATES):
        finish_runs(table)
        # Since the search, other runs may have removed some of them.
        groups = _in_collection(table, groups, report)
        if groups:
            removal.run(groups, trash)
    return report


def _ignore(count: int) -> None:
    pass


def _choose_copies(
    duplicates: Duplicates, settings: RemovalSettings, report: RemovalReport
) -> list[_Group]:
    """Return the copies to remove, and count those that are not considered."""
    skipped: Counter[str] = Counter()
    groups = []
    for group in duplicates:
        keeper = group.keeper
        keeper_path = local_file(keeper.uri)
        chosen = _Group(keeper, keeper_path or Path())
        for copy in group.copies:
            path = local_file(copy.uri)
            reason = _reason_to_skip(keeper, copy, settings)
            if reason is None and (path is None or keeper_path is None):
                reason = _NOT_LOCAL
            if reason is not None:
                skipped[reason] += 1
            elif path is not None:
                chosen.copies.append((copy, path))
        if chosen.copies:
            groups.append(chosen)
    report.skipped.update(skipped)
    return groups


def _reason_to_skip(
    keeper: Duplicate, copy: Duplicate, settings: RemovalSettings
) -> str | None:
    if copy.is_protected:
        return _PROTECTED
    if copy.tier not in settings.tiers:
        return _OTHER_TIER
    if settings.action == "hardlink" and copy.sha256 != keeper.sha256:
        return _OTHER_BYTES
    return None


def _in_collection(
    table: Table, groups: Sequence[_Group], report: RemovalReport
) -> list[_Group]:
    """Return groups without the copies that the collection has no longer, and count these."""
    table.refresh()
    uris = [copy.uri for group in groups for copy, _ in group.copies]
    existing = table.existing_rows(uris)
    left = []
    for group in groups:
        copies = [pair for pair in group.copies if pair[0].uri in existing]
        if copies:
            left.append(_Group(group.keeper, group.keeper_path, copies))
    missing = len(uris) - sum(len(group.copies) for group in left)
    if missing:
        report.skipped[_REMOVED] = missing
    return left


class _Removal:
    """The removal of chosen copies, with its report."""

    def __init__(
        self,
        table: Table,
        settings: RemovalSettings,
        report: RemovalReport,
        progress: Callable[[int], None],
    ) -> None:
        self._table = table
        self._settings = settings
        self._report = report
        self._progress = progress
        self._count = 0

    def preview(self, groups: Sequence[_Group]) -> None:
        """Report what would be removed, by the sizes of the files."""
        for group in groups:
            for copy, path in group.copies:
                try:
                    keeper_stamp = FileStamp.at(group.keeper_path)
                    _check_stamp(group.keeper, keeper_stamp)
                except StepError as error:
                    self._withhold(
                        copy, f"the image to keep, {group.keeper.uri}, {error}"
                    )
                except OSError as error:
                    reason = system_reason(error)
                    self._withhold(
                        copy, f"the image to keep, {group.keeper.uri}: {reason}"
                    )
                else:
                    self._preview_copy(group, copy, path, keeper_stamp)
                self._progress(1)

    def _preview_copy(
        self, group: _Group, copy: Duplicate, path: Path, keeper_stamp: FileStamp
    ) -> None:
        try:
            stamp = FileStamp.at(path)
            _check_stamp(copy, stamp)
        except StepError as error:
            self._withhold(copy, f"the file {error}")
        except OSError as error:
            self._withhold(copy, system_reason(error))
        else:
            if stamp.is_same_file(keeper_stamp):
                self._skip(_SAME_FILE)
            else:
                self._add(group, copy, stamp)

    def run(self, groups: Sequence[_Group], trash: Path) -> None:
        """Remove the copies, then the rows of their files."""
        path = self._table.path
        with translate_errors(path, Operation.WRITE):
            folder = new_run(trash, self._settings.action)
        self._report.run = folder.name
        try:
            with (
                translate_errors(path, Operation.WRITE),
                JournalWriter(folder) as writer,
            ):
                places = self._places(folder, groups)
                for group in groups:
                    self._remove_group(group, writer, places)
        finally:
            is_left = finish_run(self._table, folder)
            if not is_left:
                self._report.run = None

    def _places(self, run_folder: Path, groups: Sequence[_Group]) -> NewPlaces:
        settings = self._settings
        if settings.folder is None:
            return TrashPlaces(self._table, run_folder)
        paths = [path for group in groups for _, path in group.copies]
        return MovePlaces(self._table, settings.folder, paths)

    def _remove_group(
        self, group: _Group, writer: JournalWriter, places: NewPlaces
    ) -> None:
        keeper = _File(group.keeper_path)
        for copy, path in group.copies:
            try:
                keeper_stamp = _verify_keeper(keeper, group.keeper)
                self._remove_copy(group, copy, path, keeper_stamp, writer, places)
            except StepError as error:
                self._withhold(copy, str(error))
            self._progress(1)

    def _remove_copy(
        self,
        group: _Group,
        copy: Duplicate,
        path: Path,
        keeper_stamp: FileStamp,
        writer: JournalWriter,
        places: NewPlaces,
    ) -> None:
        stamp = _verify(path, copy, "the file")
        if stamp.is_same_file(keeper_stamp):
            self._skip(_SAME_FILE)
            return
        target = places.target(path, stamp)
        if os.path.lexists(target):
            raise StepError(f"there is a file {target} already")
        entry = Entry(
            run=writer.folder.name,
            number=self._count,
            action=self._settings.action,
            uri=copy.uri,
            keeper=group.keeper.uri,
            path=path,
            target=target,
            sha256=copy.sha256,
            stamp=stamp,
        )
        self._count += 1
        writer.begin(entry)
        try:
            remove_copy(entry, group.keeper_path, keeper_stamp)
        except StepError as error:
            state = settle(entry, is_killed=False)
            writer.mark(entry, state, str(error))
            if state is not State.DONE:
                raise
        else:
            writer.mark(entry, State.DONE)
        self._add(group, copy, stamp)

    # The report

    def _add(self, group: _Group, copy: Duplicate, stamp: FileStamp) -> None:
        keeper = group.keeper
        tier = copy.tier or "similar"
        removed = RemovedCopy(copy.uri, keeper.uri, tier, stamp.size)
        report = self._report
        report.removed.append(removed)

    def _withhold(self, copy: Duplicate, reason: str) -> None:
        skipped = SkippedCopy(copy.uri, reason)
        report = self._report
        report.withheld.append(skipped)

    def _skip(self, reason: str) -> None:
        report = self._report
        skipped = report.skipped
        count = skipped.get(reason, 0)
        skipped[reason] = count + 1


def _check_stamp(image: Duplicate, stamp: FileStamp) -> None:
    known_size = image.bytes
    if known_size is None:
        return
    if known_size != stamp.size:
        raise StepError("changed since the search")


def _verify_keeper(file: _File, keeper: Duplicate) -> FileStamp:
    """Read the image to keep again, unless it was read and has the same stamp still."""
    stamp = file.stamp
    try:
        is_known = stamp is not None and FileStamp.at(file.path) == stamp
    except OSError:
        is_known = False
    if stamp is None or not is_known:
        stamp = _verify(file.path, keeper, f"the image to keep, {keeper.uri},")
        file.stamp = stamp
    return stamp


def _verify(path: Path, image: Duplicate, subject: str) -> FileStamp:
    """Read a file, and return its stamp if it has the content that the search has compared."""
    try:
        sha256, stamp = hash_regular_file(path)
    except FileNotFoundError:
        raise StepError(f"{subject} is missing") from None
    except OSError as error:
        reason = system_reason(error)
        raise StepError(f"{subject} cannot be read: {reason}") from error
    if sha256 != image.sha256:
        raise StepError(f"{subject} changed since the search")
    return stamp
