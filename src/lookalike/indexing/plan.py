"""The plan of an index run: the images that need work, and the rows to remove afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np

from lookalike.errors import ReadOnlyError
from lookalike.indexing.sweep import (
    MissingRow,
    RootFacts,
    SweepDecision,
    Withheld,
    changed_device,
    decide,
    empty_folders,
    next_devices,
)
from lookalike.indexing.worker import Task
from lookalike.sources import Source, resolve_uri
from lookalike.store.diff import ScanDiff
from lookalike.store.table import Table
from lookalike.store.trash import RemovalReason
from lookalike.tracing import span
from lookalike.types import Ids, Item

__all__ = ["Plan", "Sweep"]

# Items per look-up in the table.
_CHUNK_SIZE = 1024


@dataclass(slots=True)
class Sweep:
    """The rows whose files are missing.

    Attributes
    ----------
    moved
        The number of images whose content is in the table under a new uri.
    removed
        The number of other images that were removed.
    withheld
        The folders whose rows were kept, because their files may come back.
    """

    moved: int = 0
    removed: int = 0
    withheld: list[Withheld] = field(default_factory=list)


class Plan:
    """Compares the images of a source with the rows of a table.

    Parameters
    ----------
    table
        The table to bring up to date.
    source
        The images.
    spaces
        The Spaces that each image must have.
    retry_failures
        Whether to include unchanged files that failed before.
    progress
        Called with the number of images that need no work.

    Attributes
    ----------
    unchanged, failed
        The numbers of images and of failures that need no work.
    restored
        The uris of the images whose rows came back from the trash without being read.
    """

    def __init__(
        self,
        table: Table,
        source: Source,
        spaces: Collection[str],
        *,
        retry_failures: bool,
        progress: Callable[[int], None],
    ) -> None:
        self.unchanged = 0
        self.failed = 0
        self.restored: set[str] = set()
        self._table = table
        self._source = source
        self._spaces = spaces
        self._retry_failures = retry_failures
        self._progress = progress
        self._seen_ids: list[Ids] = []
        self._ids_before: dict[str, Ids] = {}
        for root in source.roots:
            ids = self._ids_below(root)
            self._ids_before[root] = ids

    def chunks(self) -> Iterator[list[Task]]:
        """Yield the images that need work, by chunks; one look-up in the table for each chunk."""
        items = iter(self._source)
        while True:
            chunk = list(islice(items, _CHUNK_SIZE))
            if not chunk:
                return
            tasks = self._look_up(chunk)
            up_to_date = len(chunk) - len(tasks)
            self._progress(up_to_date)
            if tasks:
                yield tasks

    def sweep(self, new_contents: Counter[bytes], *, prune: bool) -> Sweep:
        """Remove the rows that the scan did not meet, below each root that was read to its end.

        They are moved into the trash. See `lookalike.indexing.sweep.decide` for rows that are kept.

        Parameters
        ----------
        new_contents
            The hashes of the images that this run added. A removed row with one of them is a move.
        prune
            Whether to remove the rows of all missing files without asking.
        """
        seen_ids = self._all_seen_ids()
        # Each removed row uses up one new image with its content.
        unmatched = Counter(new_contents)
        sweep = Sweep()
        kept_by_root: dict[str, list[MissingRow]] = {}
        completed = self._source.completed()
        for root, image_count in completed.items():
            missing_ids = np.setdiff1d(self._ids_before[root], seen_ids)
            kept_by_root[root] = []
            if len(missing_ids):
                missing = _Missing(root, missing_ids, image_count)
                kept = self._remove_missing(missing, unmatched, sweep, prune=prune)
                kept_by_root[root] = kept
        self._record_devices(kept_by_root)
        return sweep

    def _look_up(self, items: list[Item]) -> list[Task]:
        """Return the images that need work, with their current rows."""
        with span("look up rows"):
            self._table.refresh()
            diff = self._diff(items)
            new_items = [item for item, existing in diff.work if existing is None]
            restored = self._table.trash.restore_unchanged(new_items)
            if restored:
                # Rows from the trash may lack a Space or have another label.
                diff = self._diff(items)
        tasks = [Task(item, existing) for item, existing in diff.work]
        working = {task.item.uri for task in tasks}
        self.restored |= restored
        self.unchanged += diff.unchanged - len(restored - working)
        self.failed += diff.failed
        # The sweep spares these rows.
        self._seen_ids.append(diff.seen_ids)
        return tasks

    def _diff(self, items: list[Item]) -> ScanDiff:
        return self._table.diff(
            items, spaces=self._spaces, retry_failures=self._retry_failures
        )

    def _all_seen_ids(self) -> Ids:
        """Return the rows that the scan met, and those below broken links."""
        no_ids = np.empty(0, np.int64)
        parts = [no_ids, *self._seen_ids]
        for uri in self._source.unreachable():
            ids = self._ids_below(uri)
            parts.append(ids)
        return np.concatenate(parts)

    def _ids_below(self, root: str) -> Ids:
        prefixes = self._source.prefixes(root)
        return self._table.ids_under(prefixes)

    def _remove_missing(
        self,
        missing: _Missing,
        new_contents: Counter[bytes],
        sweep: Sweep,
        *,
        prune: bool,
    ) -> list[MissingRow]:
        """Remove rows that the scan did not meet; return those that are kept for now."""
        contents_before = Counter(new_contents)

        def step() -> tuple[Ids, SweepDecision]:
            # As before an attempt that conflicted with another process.
            new_contents.clear()
            new_contents.update(contents_before)
            moved_ids, rows = self._without_files(missing, new_contents)
            self._table.trash.discard_moved(moved_ids)

            decision = SweepDecision(removed=rows, kept=[], withheld=[])
            if not prune:
                facts = self._root_facts(missing, rows)
                decision = decide(rows, facts)
            removed_ids = [row.id for row in decision.removed]
            ids = np.array(removed_ids, np.int64)
            self._table.trash.discard(ids, RemovalReason.MISSING)
            return moved_ids, decision

        moved_ids, decision = self._table.transaction(step)
        sweep.moved += len(moved_ids)
        sweep.removed += sum(row.is_image for row in decision.removed)
        sweep.withheld += decision.withheld
        return decision.kept

    def _without_files(
        self, missing: _Missing, new_contents: Counter[bytes]
    ) -> tuple[Ids, list[MissingRow]]:
        """Return the ids of moved images, and the other rows whose files are missing."""
        # Another process may have removed some of the rows.
        current_ids = self._ids_below(missing.root)
        ids = np.intersect1d(missing.ids, current_ids)
        stored = self._table.take(ids, ["uri", "sha256"])
        uris = stored["uri"].to_pylist()
        hashes = stored["sha256"].to_pylist()

        moved_ids = []
        rows = []
        for row_id, uri, sha256 in zip(ids.tolist(), uris, hashes, strict=True):
            # A row without a hash is a failure: it holds no image that could be lost.
            is_image = sha256 is not None
            if is_image and self._source.exists(uri):
                # The scan left it out, as it does a hidden file.
                continue
            if is_image and new_contents[sha256] > 0:
                new_contents[sha256] -= 1
                moved_ids.append(row_id)
                continue
            folders = tuple(self._source.folders_of(uri))
            rows.append(MissingRow(row_id, is_image, folders))
        return np.array(moved_ids, np.int64), rows

    def _root_facts(self, missing: _Missing, rows: list[MissingRow]) -> RootFacts:
        """Look at the folders around missing files."""
        recorded = self._table.devices
        current = self._source.devices()
        changed: dict[str, int] = {}
        for folders in {row.folders for row in rows}:
            folder = changed_device(folders, recorded, current)
            if folder is not None and folder not in changed:
                changed[folder] = self._count_images_before(missing.root, folder)
        return RootFacts(
            folder=missing.root,
            images_before=self._count_images_before(missing.root, missing.root),
            images_now=missing.image_count,
            empty=empty_folders(rows, self._source.folder_state),
            changed=changed,
        )

    def _count_images_before(self, root: str, folder: str) -> int:
        """Return the number of images that the table had below a folder before the run."""
        prefixes = self._source.prefixes(folder)
        ids = self._table.ids_under(prefixes, images=True)
        before = np.intersect1d(ids, self._ids_before[root])
        return len(before)

    def _record_devices(self, kept_by_root: Mapping[str, list[MissingRow]]) -> None:
        """Store the file systems of the folders, if they differ from the stored ones."""
        table = self._table
        updated = self._updated_devices(kept_by_root)
        if updated == table.devices:
            return
        # A read-only collection keeps the old ones.
        with suppress(ReadOnlyError):
            step = partial(self._replace_devices, kept_by_root)
            table.transaction(step)

    def _replace_devices(self, kept_by_root: Mapping[str, list[MissingRow]]) -> None:
        devices = self._updated_devices(kept_by_root)
        self._table.record_devices(devices)

    def _updated_devices(
        self, kept_by_root: Mapping[str, list[MissingRow]]
    ) -> dict[str, str]:
        """Return the recorded file systems with those of the roots brought up to date."""
        current = self._source.devices()
        recorded = self._table.devices
        devices = dict(recorded)
        for root, kept in kept_by_root.items():
            current_below = self._only_in(root, current)
            if not current_below:
                continue
            recorded_below = self._only_in(root, recorded)
            for folder in recorded_below:
                del devices[folder]
            newer = next_devices(kept, recorded, current_below)
            devices |= newer
        return devices

    def _only_in(self, root: str, devices: Mapping[str, str]) -> dict[str, str]:
        """Return the entries of a root and of the folders below it."""
        root_uri = resolve_uri(root)
        root_prefixes = self._source.prefixes(root)
        prefixes = tuple(root_prefixes)

        entries = {}
        for folder, device in devices.items():
            is_root = folder == root_uri
            is_below = folder.startswith(prefixes)
            is_inside = is_root or is_below
            if is_inside:
                entries[folder] = device
        return entries


@dataclass(frozen=True, slots=True)
class _Missing:
    """Rows of a root that a scan did not meet.

    Attributes
    ----------
    root
        The root.
    ids
        int64 ``[n]``, the rows.
    image_count
        The number of images that the scan found below the root.
    """

    root: str
    ids: Ids
    image_count: int
