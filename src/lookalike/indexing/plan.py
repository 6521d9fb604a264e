"""The plan of an index run: the images that need work, and the rows to remove afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lookalike.errors import SourceError
from lookalike.indexing.worker import Task
from lookalike.sources import Source
from lookalike.store.table import Table
from lookalike.tracing import span
from lookalike.types import Ids, Item

__all__ = ["Plan", "Sweep"]

# Items per look-up in the table.
_CHUNK_SIZE = 1024


@dataclass(slots=True)
class Sweep:
    """The rows that a sweep removed.

    Attributes
    ----------
    moved
        Images whose content is in the table under a new uri.
    removed
        The other images.
    """

    moved: int = 0
    removed: int = 0


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

    def sweep(self, new_contents: Counter[bytes]) -> Sweep:
        """Remove the rows that the scan did not meet, below each root that was read to its end.

        Parameters
        ----------
        new_contents
            The hashes of the images that this run added. A removed row with one of them is a move.

        Raises
        ------
        SourceError
            If a root that had rows has no images now. Its rows stay.
        """
        seen_ids = self._all_seen_ids()
        # Each removed row uses up one new image with its content.
        unmatched = Counter(new_contents)
        sweep = Sweep()
        empty_roots = []
        completed = self._source.completed()
        for root, image_count in completed.items():
            ids = self._ids_before[root]
            # A folder without any image may be a drive that is not mounted.
            root_is_empty = image_count == 0
            if root_is_empty and len(ids):
                empty_roots.append(root)
                continue
            missing_ids = np.setdiff1d(ids, seen_ids)
            self._remove_missing(root, missing_ids, unmatched, sweep)
        if empty_roots:
            first_empty = empty_roots[0]
            raise self._empty_root_error(first_empty)
        return sweep

    def _look_up(self, items: list[Item]) -> list[Task]:
        """Return the images that need work, with their current rows."""
        with span("look up rows"):
            self._table.refresh()
            diff = self._table.diff(
                items, spaces=self._spaces, retry_failures=self._retry_failures
            )
        self.unchanged += diff.unchanged
        self.failed += diff.failed
        # The sweep spares these rows.
        self._seen_ids.append(diff.seen_ids)
        return [Task(item, existing) for item, existing in diff.work]

    def _all_seen_ids(self) -> Ids:
        """Return the rows that the scan met, and those below links that lead nowhere."""
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
        self, root: str, ids: Ids, new_contents: Counter[bytes], sweep: Sweep
    ) -> None:
        """Remove rows that the scan did not meet, unless their file exists (a hidden one may)."""
        if not len(ids):
            return
        with self._table.write_lock():
            # Another process may have removed some of the rows.
            current_ids = self._ids_below(root)
            ids = np.intersect1d(ids, current_ids)
            rows = self._table.take(ids, ["uri", "sha256"])
            uris = rows["uri"].to_pylist()
            hashes = rows["sha256"].to_pylist()

            removed_ids = []
            for row_id, uri, sha256 in zip(ids, uris, hashes, strict=True):
                # A row without a hash is a failure: it holds no image that could be lost.
                is_image = sha256 is not None
                if is_image and self._source.exists(uri):
                    continue
                removed_ids.append(row_id)
                if is_image:
                    _count_removed(sha256, new_contents, sweep)
            ids = np.array(removed_ids, np.int64)
            self._table.delete(ids)

    def _empty_root_error(self, root: str) -> SourceError:
        count = len(self._ids_before[root])
        return SourceError(
            f"{root} holds no images now, but the collection has {count} from it; "
            "none was removed. If its drive is not mounted, mount it. If they are really gone: "
            f"lookalike remove {root} -c {self._table.path}"
        )


def _count_removed(sha256: bytes, unmatched: Counter[bytes], sweep: Sweep) -> None:
    """Count an image as moved if a new image with its content is left, and as removed otherwise."""
    if unmatched[sha256] > 0:
        unmatched[sha256] -= 1
        sweep.moved += 1
    else:
        sweep.removed += 1
