"""Optimize a collection: compact its files, update its indices, tune approximate search."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from lookalike.errors import BusyError, InputError, ReadOnlyError
from lookalike.maintenance import calibrate
from lookalike.store import ann, tuning, upkeep
from lookalike.store.ann import IndexTuning
from lookalike.store.engine import TableEngine
from lookalike.store.table import Table
from lookalike.store.trash import Trash

__all__ = [
    "DIM_MULTIPLE",
    "RECALL",
    "OptimizeReport",
    "SpaceIndex",
    "maintain",
    "optimize",
]

RECALL = 0.99
# After an index run the index is updated if more than this share of the rows is not in it.
_UNINDEXED_SHARE = 0.05
# An index is built again when the Space has this many times the rows that it was built for.
_REBUILD_GROWTH = 2
# An index run calibrates a Space again if more than this share of its rows was added or removed.
_CHANGE_TO_MAINTAIN = 0.5
_CHANGE_TO_OPTIMIZE = 0.1
# Lance's index takes vectors whose dimension is a multiple of this.
DIM_MULTIPLE = 8

IndexAction = Literal["built", "updated", "tuned", "kept", "none"]


@dataclass(frozen=True, slots=True)
class SpaceIndex:
    """The index of one Space after `optimize`.

    Attributes
    ----------
    space, rows
        The Space, and the number of images with a vector in it.
    did
        What was done: ``built``, ``updated`` with new rows, ``tuned`` alone, ``kept`` as it was, or
        ``none`` without an index.
    index
        A description of the index; None without one.
    target
        The recall that was requested.
    recall
        The recall measured at k = 10; None if no setting reached the target, so that the search is
        exact.
    probes, candidates
        The setting that gives this recall: the partitions that are searched, and the rows taken
        from them and compared exactly.
    filtered_recall
        The recall measured at k = 10 under a filter.
    """

    space: str
    rows: int
    did: IndexAction
    index: str | None = None
    target: float | None = None
    recall: float | None = None
    probes: int | None = None
    candidates: int | None = None
    filtered_recall: float | None = None


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """The result of `optimize`.

    Attributes
    ----------
    fragments_before, fragments
        The number of fragments before and after.
    freed
        The bytes of old versions and of files of no version that were removed.
    purged, trash
        The number of images that were deleted from the trash because their time was over, and of
        those that are still in it.
    seconds
        The duration.
    spaces
        The index of each Space.
    """

    fragments_before: int
    fragments: int
    freed: int
    purged: int
    trash: int
    seconds: float
    spaces: list[SpaceIndex]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike optimize --json`` prints it."""
        rounded_seconds = round(self.seconds, 3)
        fields = asdict(self)
        fields["seconds"] = rounded_seconds
        return fields


def optimize(
    table: Table,
    *,
    spaces: Sequence[str] = (),
    recall: float = RECALL,
    keep_days: float = 1.0,
    trash_days: float | None = None,
    min_rows: int = ann.MIN_ROWS,
    engine: TableEngine | None = None,
    progress: Callable[[str], None] | None = None,
) -> OptimizeReport:
    """Make a collection fast to search, and its files few.

    Small fragments are merged. Each Space with enough rows gets an index for approximate search,
    and the search setting whose measured recall reaches the target. Old versions are removed. A
    process that is interrupted or killed leaves a collection that opens and answers as before.
    Others may write and search meanwhile; a second `optimize` waits for the first.

    Parameters
    ----------
    table
        The collection's table.
    spaces
        The Spaces whose search is tuned; all if none is named.
    recall
        The share of the 10 true neighbors that an approximate search must find, in (0, 1].
    keep_days
        Versions that were replaced more than this many days ago are removed; open readers of those
        versions must reopen the collection. Files of no version go too, in buckets after a week.
    trash_days
        Rows that were moved into the trash more than this many days ago are deleted for good; None
        for ``LOOKALIKE_TRASH_DAYS``, or 30.
    min_rows
        Spaces with fewer rows get no new index, because an exact search is faster.
    engine
        What merges fragments and builds indices instead, such as `lookalike.cluster.RayEngine`.
    progress
        Called with a description of the next step.

    Raises
    ------
    InputError
        If `recall`, `keep_days` or `trash_days` is out of range.
    SpaceError
        If the collection has no such Space.
    BusyError
        If another process holds the collection for too long.
    CollectionError
        If the collection cannot be read or written.
    """
    _check_ranges(recall, keep_days, trash_days)
    start = time.perf_counter()
    report_step = progress or _ignore_step
    with upkeep.maintenance_lock(table):
        fragments_before = table.fragment_count
        indices = _update_indices(table, spaces, recall, min_rows, engine, report_step)

        report_step("Removing old versions")
        keep_age = timedelta(days=keep_days)
        freed = upkeep.remove_old_versions(table, keep_age, orphans=True)
        purged, freed_from_trash = _tidy_trash(table.trash, trash_days)
    return OptimizeReport(
        fragments_before=fragments_before,
        fragments=table.fragment_count,
        freed=freed + freed_from_trash,
        purged=purged,
        trash=table.trash.count(),
        seconds=time.perf_counter() - start,
        spaces=indices,
    )


def _update_indices(
    table: Table,
    spaces: Sequence[str],
    recall: float,
    min_rows: int,
    engine: TableEngine | None,
    report_step: Callable[[str], None],
) -> list[SpaceIndex]:
    """Merge fragments, and bring all indices and calibrations up to date."""
    report_step("Compacting fragments")
    names = _spaces_to_tune(table, spaces)
    is_large = any(table.count(name) >= min_rows for name in names)
    upkeep.update_scalar_indices(table, make=is_large)
    upkeep.compact(table, engine)

    indices = []
    for name in names:
        indexer = _SpaceIndexer(table, name, recall, min_rows, engine, report_step)
        index = indexer.run()
        indices.append(index)
    # Again: the indices now cover fragments that they did not cover before, and only fragments
    # that are covered alike can be merged.
    upkeep.compact(table, engine)
    report_step("Calibrating")
    calibrate.refresh(table, _CHANGE_TO_OPTIMIZE)
    return indices


def _tidy_trash(trash: Trash, days: float | None) -> tuple[int, int]:
    """Delete expired rows; return their number, and the bytes that were freed."""
    trash.settle()
    purged = trash.purge(days)
    freed = trash.compact()
    return purged, freed


def _spaces_to_tune(table: Table, named: Sequence[str]) -> list[str]:
    """Return the named Spaces, each once, or all Spaces if none is named."""
    if not named:
        return list(table.models)
    distinct = dict.fromkeys(named)
    spaces = []
    for name in distinct:
        space = table.space(name)
        spaces.append(space)
    return spaces


def _check_ranges(recall: float, keep_days: float, trash_days: float | None) -> None:
    if not 0 < recall <= 1:
        raise InputError(
            f"recall = {recall} is out of range. "
            "Expected a share above 0 and at most 1, such as 0.99."
        )
    if keep_days < 0:
        raise InputError(
            f"keep_days = {keep_days} is out of range. Expected a number of days, 0 or more."
        )
    if trash_days is not None and not trash_days >= 0:
        raise InputError(
            f"trash_days = {trash_days} is out of range. Expected a number of days, 0 or more."
        )


def maintain(
    table: Table, *, min_rows: int = ann.MIN_ROWS, engine: TableEngine | None = None
) -> None:
    """Merge many fragments, and update outdated indices and calibrations, after an index run.

    Nothing is done if another process is maintaining the collection or the collection is read-only;
    a later run does the rest.
    """
    skipped_if_refused = suppress(BusyError, ReadOnlyError)
    with skipped_if_refused, upkeep.maintenance_lock(table, timeout=0):
        upkeep.tidy(table, engine)
        table.trash.purge()
        for space in table.models:
            needs_indexing = _needs_indexing(table, space, min_rows)
            if not needs_indexing:
                continue
            # The recall that the last `optimize` was asked for.
            target = RECALL
            previous = ann.stored_tuning(table, space)
            if previous is not None:
                target = previous.target
            upkeep.update_scalar_indices(table, make=True)
            indexer = _SpaceIndexer(
                table, space, target, min_rows, engine, _ignore_step
            )
            indexer.run()
        calibrate.refresh(table, _CHANGE_TO_MAINTAIN)


def _needs_indexing(table: Table, space: str, min_rows: int) -> bool:
    """Return whether a Space lacks an index, or has many rows that its index does not cover."""
    rows = table.count(space)
    current = ann.current_tuning(table, space)
    if current is None:
        return rows >= min_rows
    unindexed = tuning.count_unindexed(table, space)
    tolerated = _UNINDEXED_SHARE * rows
    return unindexed > tolerated


def _ignore_step(step: str) -> None:
    """Report no progress."""


class _SpaceIndexer:
    """Brings the index of one Space up to date."""

    def __init__(
        self,
        table: Table,
        space: str,
        target: float,
        min_rows: int,
        engine: TableEngine | None,
        report_step: Callable[[str], None],
    ) -> None:
        self._table = table
        self._space = space
        self._target = target
        self._min_rows = min_rows
        self._engine = engine
        self._report_step = report_step
        self._rows = table.count(space)

    def run(self) -> SpaceIndex:
        """Update and tune the index, or build it again if it no longer reaches the target."""
        table = self._table
        space = self._space
        rows = self._rows
        if not self._needs_index():
            return SpaceIndex(space, rows, "none")

        # The index is missing, or was built for far fewer rows.
        current = ann.current_tuning(table, space)
        if current is None or rows >= _REBUILD_GROWTH * current.built:
            return self._build()

        # It lacks rows, or it is up to date.
        unindexed = tuning.count_unindexed(table, space)
        if unindexed:
            return self._update(current)
        if current.rows == rows and current.target == self._target:
            return self._report("kept", current)

        # Its recall was measured with other rows or for another target.
        tuned = self._tune(current)
        # No setting reaches the target. An index built for the same rows would be no better.
        if not tuned.plain and tuned.built != rows:
            return self._build()
        return self._report("tuned", tuned)

    def _needs_index(self) -> bool:
        """Return whether the Space can have an index, and has one or is large enough for one."""
        table = self._table
        space = self._space
        model = table.models[space]
        if model.dim % DIM_MULTIPLE:
            return False
        if self._rows >= self._min_rows:
            return True
        segments = ann.index_segments(table, space)
        return bool(segments)

    def _update(self, current: IndexTuning) -> SpaceIndex:
        space = self._space
        step = f"Updating the index of {space}"
        self._report_step(step)
        updated = tuning.update_index(self._table, space, current)
        tuned = self._tune(updated)
        # No setting reaches the target: its partitions no longer fit the rows.
        if not tuned.plain:
            return self._build()
        return self._report("updated", tuned)

    def _build(self) -> SpaceIndex:
        space = self._space
        step = f"Building the index of {space} for {self._rows:,} rows"
        self._report_step(step)
        built = tuning.build_index(self._table, space, self._engine)
        tuned = self._tune(built)
        return self._report("built", tuned)

    def _tune(self, index: IndexTuning) -> IndexTuning:
        table = self._table
        space = self._space
        step = f"Measuring the recall of {space}"
        self._report_step(step)
        sample = tuning.draw_sample(table, space, tuning.SAMPLE_ROWS)
        return tuning.tune(table, space, index, self._target, sample)

    def _report(self, did: IndexAction, index: IndexTuning) -> SpaceIndex:
        plural = "s" if index.partitions > 1 else ""
        partitions = f"{index.partitions} partition{plural}"
        description = f"{tuning.KIND}, {partitions}, {index.bits} bits a number"
        plain = index.setting(10, filtered=False)
        filtered = index.setting(10, filtered=True)
        if plain is None:
            return SpaceIndex(self._space, self._rows, did, description, index.target)
        return SpaceIndex(
            self._space,
            self._rows,
            did,
            description,
            index.target,
            recall=plain.recall,
            probes=plain.probes,
            candidates=plain.candidates,
            filtered_recall=None if filtered is None else filtered.recall,
        )
