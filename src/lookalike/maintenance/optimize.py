"""Optimize: gather a collection's files, bring its indices up to date, and tune approximate search to a recall."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from lookalike.errors import BusyError, InputError, ReadOnlyError
from lookalike.store import ann, tuning, upkeep
from lookalike.store.ann import IndexTuning
from lookalike.store.table import Table

__all__ = ["RECALL", "OptimizeReport", "SpaceIndex", "keep_up", "optimize"]

RECALL = 0.99
# After an index run the index is brought up to date if more than this share of the rows is unknown to it.
_UNKNOWN_SHARE = 0.05
# An index is built anew once the rows are so many times those that it was built for.
_GROWN = 2
# The store's index takes vectors of so many numbers, or a multiple.
_DIM = 8

Did = Literal["built", "updated", "tuned", "kept", "none"]


@dataclass(frozen=True, slots=True)
class SpaceIndex:
    """What `optimize` did for one Space, and how the Space is searched now.

    Attributes
    ----------
    space, rows
        Its name, and how many images have a vector in it.
    did
        Whether its index was built, updated with new rows, only tuned, or kept as it was; ``none`` if it has none.
    index
        What the index is, in words; None without one.
    target
        The recall that was asked for.
    recall
        The recall measured at k = 10; None where no setting reached the target, so that the search is exact.
    probes, candidates
        The setting that gives it: partitions looked into, and rows taken from them to be compared exactly.
    filtered_recall
        The recall measured at k = 10 under a filter.
    """

    space: str
    rows: int
    did: Did
    index: str | None = None
    target: float | None = None
    recall: float | None = None
    probes: int | None = None
    candidates: int | None = None
    filtered_recall: float | None = None


@dataclass(frozen=True, slots=True)
class OptimizeReport:
    """What `optimize` did.

    Attributes
    ----------
    fragments_before, fragments
        In how many fragments the table's rows lay, and lie.
    freed
        Bytes of old versions and of files that belonged to none.
    seconds
        How long it took.
    spaces
        Each Space's index.
    """

    fragments_before: int
    fragments: int
    freed: int
    seconds: float
    spaces: list[SpaceIndex]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: what ``lookalike optimize --json`` prints."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


def optimize(
    table: Table,
    *,
    spaces: Sequence[str] = (),
    recall: float = RECALL,
    keep_days: float = 1.0,
    min_rows: int = ann.MIN_ROWS,
    progress: Callable[[str], None] | None = None,
) -> OptimizeReport:
    """Make a collection quick to search and its files few.

    Small fragments are gathered; every Space of enough rows gets an index for approximate search, built, updated or
    built anew as need be, and the setting of it whose measured recall reaches what is asked for; old versions go.
    Interrupted or killed, it leaves a collection that opens and answers as before. Others may write and search
    meanwhile; a second optimization waits its turn.

    Parameters
    ----------
    table
        The collection's table.
    spaces
        The Spaces whose search is tuned; all, if none is named.
    recall
        The share of the 10 true neighbours that an approximate search must find, above 0 and at most 1.
    keep_days
        Versions of the table that were replaced longer ago are removed; who still reads one must open the collection
        again. So are files of no version, whatever their age.
    min_rows
        Spaces of fewer rows get no index: there, comparing every row is quicker. One that is there is kept up.
    progress
        Called with what is done next, in words.

    Raises
    ------
    InputError
        If `recall` or `keep_days` is out of its range.
    SpaceError
        If the collection has no such Space.
    BusyError
        If another process keeps the collection for too long.
    CollectionError
        If the collection cannot be read or written.
    """
    if not 0 < recall <= 1:
        raise InputError(
            f"recall = {recall} cannot be reached; expected a share above 0 and at most 1, such as 0.99."
        )
    if keep_days < 0:
        raise InputError(
            f"keep_days = {keep_days} lies in the future; expected a number of days from 0."
        )
    start = time.perf_counter()
    tell = progress or (lambda _: None)
    with upkeep.maintenance_lock(table):
        names = [table.space(name) for name in dict.fromkeys(spaces)] or list(table.models)
        before = len(table.table.get_fragments())
        tell("Gathering fragments")
        upkeep.update_scalar_indices(
            table, make=any(table.count(name) >= min_rows for name in names)
        )
        upkeep.compact(table)
        indices = [_index(table, name, recall, min_rows, tell) for name in names]
        # Once more: what an index did not know lay apart from what it knew.
        upkeep.compact(table)
        tell("Removing old versions")
        freed = upkeep.remove_old_versions(table, timedelta(days=keep_days), orphans=True)
        fragments = len(table.table.get_fragments())
    return OptimizeReport(before, fragments, freed, time.perf_counter() - start, indices)


def keep_up(collection: Table, *, min_rows: int = ann.MIN_ROWS) -> None:
    """Do after an index run what is worth its time then: tidy, and build or update indices that searches would miss.

    Where another process is at it, or the collection can only be read, nothing is done: what is left is done after a
    later run.
    """
    with suppress(BusyError, ReadOnlyError), upkeep.maintenance_lock(collection, timeout=0):
        _keep_up(collection, min_rows)


def _keep_up(collection: Table, min_rows: int) -> None:
    upkeep.tidy(collection)
    for space in collection.models:
        record = ann.current_tuning(collection, space)
        rows = collection.count(space)
        grown = (
            record is not None and tuning.count_unindexed(collection, space) > _UNKNOWN_SHARE * rows
        )
        if grown or (record is None and rows >= min_rows):
            before = ann.stored_tuning(collection, space)
            upkeep.update_scalar_indices(collection, make=True)
            _index(
                collection,
                space,
                RECALL if before is None else before.target,
                min_rows,
                lambda _: None,
            )


def _index(
    collection: Table, space: str, target: float, min_rows: int, tell: Callable[[str], None]
) -> SpaceIndex:
    """Bring the index of a Space up to date, tune it, and build it anew if it no longer serves."""
    rows = collection.count(space)
    present = bool(ann.index_segments(collection, space))
    if collection.models[space].dim % _DIM or not (present or rows >= min_rows):
        return SpaceIndex(space, rows, "none")
    record = ann.current_tuning(collection, space)
    did: Did = "built"
    if record is not None and rows < _GROWN * record.built:
        if tuning.count_unindexed(collection, space):
            tell(f"Updating the index of {space}")
            record, did = tuning.update_index(collection, space, record), "updated"
        elif (record.rows, record.target) == (rows, target):
            return _told(space, rows, "kept", record)
        else:
            did = "tuned"
        record = _tune(collection, space, record, target, tell)
    worn = record is not None and not record.plain and (did == "updated" or record.built != rows)
    if record is None or did == "built" or worn:
        tell(f"Building the index of {space} for {rows:,} rows")
        record, did = (
            _tune(collection, space, tuning.build_index(collection, space), target, tell),
            "built",
        )
    return _told(space, rows, did, record)


def _tune(
    collection: Table, space: str, built: IndexTuning, target: float, tell: Callable[[str], None]
) -> IndexTuning:
    tell(f"Measuring the recall of {space}")
    return tuning.tune(collection, space, built, target, tuning.draw_sample(collection, space))


def _told(space: str, rows: int, did: Did, record: IndexTuning) -> SpaceIndex:
    partitions = f"{record.partitions} partition{'s' * (record.partitions > 1)}"
    index = f"{tuning.KIND}, {partitions}, {record.bits} bits a number"
    plain, filtered = record.setting(10, filtered=False), record.setting(10, filtered=True)
    if plain is None:
        return SpaceIndex(space, rows, did, index, record.target)
    return SpaceIndex(
        space,
        rows,
        did,
        index,
        record.target,
        recall=plain.recall,
        probes=plain.probes,
        candidates=plain.candidates,
        filtered_recall=None if filtered is None else filtered.recall,
    )
