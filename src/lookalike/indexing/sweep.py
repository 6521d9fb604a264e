"""Which rows of missing files a sweep removes, and which it withholds until someone agrees.

A file is missing because somebody deleted it, or because its drive is not mounted. Only the second
leaves a folder that is empty, that lies on another file system than before, or that lacks a large
share of its images. See docs/decisions/0030-trash.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lookalike.sources import FolderState

__all__ = [
    "MissingRow",
    "RootFacts",
    "SweepDecision",
    "Withheld",
    "WithheldReason",
    "changed_device",
    "decide",
    "empty_folders",
    "next_devices",
]

# A root with at least this number of images may lose at most one in `_SHARE` of them at once.
_LARGE_ROOT = 100
_SHARE = 3


class WithheldReason(StrEnum):
    """Why a sweep withholds the rows of a folder.

    The folder is empty, it lies on another device than it was indexed from, or too large a share of
    its images is missing.
    """

    EMPTY = "empty"
    DEVICE = "device"
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Withheld:
    """The rows of a folder that a sweep kept, although their files are missing.

    Attributes
    ----------
    folder
        The folder.
    reason
        Why the rows were kept.
    missing
        The number of images whose files are missing.
    images
        The number of images that the collection has below the folder.
    """

    folder: str
    reason: WithheldReason
    missing: int
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class MissingRow:
    """A row whose file is missing, and whose content has no new row.

    Attributes
    ----------
    id
        The row id.
    is_image
        Whether the row is an image; a failure is swept and kept with the images around it.
    folders
        The folders that held the file, the nearest first, the root last.
    """

    id: int
    is_image: bool
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RootFacts:
    """The facts about a root that a decision needs.

    Attributes
    ----------
    folder
        The root, as shown to users.
    images_before, images_now
        The number of images that the collection has below the root, and that the scan found.
    empty
        The folders of missing rows that exist and hold no file.
    changed
        For each folder of missing rows on another device than it was indexed from, the number of
        images that the collection has below it.
    """

    folder: str
    images_before: int
    images_now: int
    empty: frozenset[str] = frozenset()
    changed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SweepDecision:
    """The decision about the missing rows of a root.

    Attributes
    ----------
    removed
        The rows to remove.
    kept
        The rows to keep.
    withheld
        The folders of the kept rows.
    """

    removed: list[MissingRow]
    kept: list[MissingRow]
    withheld: list[Withheld]


def decide(missing: Sequence[MissingRow], root: RootFacts) -> SweepDecision:
    """Decide which missing rows of a root a sweep removes without asking.

    Rows are kept below a folder that holds nothing, below a folder on another device if more than a
    third of its images is missing, and if more than a third of a root of 100 images or more is
    missing. On another device most files still being there means that the same drive has another
    number.
    """
    decision = SweepDecision([], [], [])
    if root.images_now == 0:
        _keep(decision, root.folder, WithheldReason.EMPTY, missing)
        return decision

    rest: list[MissingRow] = []
    in_empty: dict[str, list[MissingRow]] = defaultdict(list)
    on_changed: dict[str, list[MissingRow]] = defaultdict(list)
    for row in missing:
        # The outermost empty folder is the one that a user recognizes.
        empty = _last_of(row.folders, root.empty)
        changed = _first_of(row.folders, root.changed)
        if empty is not None:
            in_empty[empty].append(row)
        elif changed is not None:
            on_changed[changed].append(row)
        else:
            rest.append(row)

    for folder, rows in in_empty.items():
        _keep(decision, folder, WithheldReason.EMPTY, rows)
    for folder, rows in on_changed.items():
        images = root.changed[folder]
        if _is_large_share(rows, images):
            _keep(decision, folder, WithheldReason.DEVICE, rows, images)
        else:
            rest += rows

    is_large = root.images_before >= _LARGE_ROOT
    if is_large and _is_large_share(rest, root.images_before):
        images = root.images_before
        _keep(decision, root.folder, WithheldReason.SHARE, rest, images)
    else:
        decision.removed.extend(rest)
    return decision


def _keep(
    decision: SweepDecision,
    folder: str,
    reason: WithheldReason,
    rows: Sequence[MissingRow],
    images: int | None = None,
) -> None:
    """Add rows that are kept; `images` is None if every image of the folder is missing."""
    missing = _count_images(rows)
    if images is None:
        images = missing
    decision.kept.extend(rows)
    if missing:
        withheld = Withheld(folder, reason, missing, images)
        decision.withheld.append(withheld)


def _is_large_share(rows: Sequence[MissingRow], images: int) -> bool:
    missing = _count_images(rows)
    return _SHARE * missing > images


def _count_images(rows: Iterable[MissingRow]) -> int:
    count = 0
    for row in rows:
        if row.is_image:
            count += 1
    return count


def _first_of(folders: Iterable[str], wanted: Iterable[str]) -> str | None:
    for folder in folders:
        if folder in wanted:
            return folder
    return None


def _last_of(folders: Sequence[str], wanted: Iterable[str]) -> str | None:
    outermost_first = reversed(folders)
    return _first_of(outermost_first, wanted)


def empty_folders(
    missing: Iterable[MissingRow], state_of: Callable[[str], FolderState]
) -> frozenset[str]:
    """Return the folders of missing rows that exist and hold no file.

    Each folder is looked at once, and none above a folder that holds files.
    """
    states: dict[str, FolderState] = {}
    for row in missing:
        for folder in row.folders:
            state = states.get(folder)
            if state is None:
                state = state_of(folder)
                states[folder] = state
            if state is FolderState.FILLED:
                break
    return frozenset(
        folder for folder, state in states.items() if state is FolderState.EMPTY
    )


def changed_device(
    folders: Sequence[str], recorded: Mapping[str, str], current: Mapping[str, str]
) -> str | None:
    """Return the folder whose device is not the recorded one, or None if it is the same.

    Parameters
    ----------
    folders
        The folders around a file, the nearest first.
    recorded, current
        The devices by folder, when the file was indexed and now. A folder without an entry is on
        the device of its parent.
    """
    recorded_folder = _first_of(folders, recorded)
    current_folder = _first_of(folders, current)
    if recorded_folder is None or current_folder is None:
        return None
    recorded_device = recorded[recorded_folder]
    current_device = current[current_folder]
    if recorded_device == current_device:
        return None
    # The nearer of the two: a drive was mounted there, or was there before.
    known_folders = {recorded_folder, current_folder}
    return _first_of(folders, known_folders)


def next_devices(
    kept: Iterable[MissingRow], recorded: Mapping[str, str], current: Mapping[str, str]
) -> dict[str, str]:
    """Return the devices to record for a root after a sweep.

    They are the current ones. A folder whose rows were kept has the device that it had before, so
    that the next sweep decides in the same way.
    """
    devices = dict(current)
    for row in kept:
        changed = changed_device(row.folders, recorded, current)
        if changed is None:
            recorded_folder = _first_of(row.folders, recorded)
            if recorded_folder is not None:
                devices[recorded_folder] = recorded[recorded_folder]
        elif changed in recorded:
            devices[changed] = recorded[changed]
        else:
            devices.pop(changed, None)
    return devices
