"""Write results of indexing to a table: few commits, and none that undoes another process's."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lookalike.indexing.worker import (
    Failed,
    Moved,
    New,
    Restored,
    Result,
    SameContent,
    Stale,
    Updated,
)
from lookalike.store.diff import ExistingRow, is_up_to_date
from lookalike.store.table import Table
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import VectorsF32

__all__ = ["Writer"]


class Writer:
    """Collects results, and commits them when there are enough or enough time has passed.

    Parameters
    ----------
    table
        The table to write to.
    before
        The table before the run's first commit. Values of moved images are copied from it: by the
        time of a later commit, the row to copy from may have another content.
    spaces
        The Spaces that the run fills. Another process that adds Spaces also fills them.
    commit_rows, commit_seconds
        The number of results, and the time since the last commit, after which to commit.
    """

    def __init__(
        self,
        table: Table,
        before: View,
        spaces: Iterable[str],
        *,
        commit_rows: int,
        commit_seconds: float,
    ) -> None:
        self._table = table
        self._before = before
        self._spaces = frozenset(spaces)
        self._commit_rows = commit_rows
        self._commit_seconds = commit_seconds
        self._results: list[Result] = []
        # The rows of the trash whose values and metadata have a new uri.
        self._used_trash_ids: set[int] = set()
        self._last_commit = time.monotonic()

    def add(self, results: Sequence[Result]) -> None:
        """Take results, and commit them if they are enough or have waited long enough."""
        self._results += results
        now = time.monotonic()
        elapsed = now - self._last_commit
        is_full = len(self._results) >= self._commit_rows
        is_due = elapsed >= self._commit_seconds
        if is_full or is_due:
            self.commit()

    def commit(self) -> None:
        """Write all results: one commit per kind of result, for most runs one in total."""
        if self._results:
            with span("commit"):
                self._commit_results()
            self._results.clear()
        self._last_commit = time.monotonic()

    def finish(self) -> None:
        """Commit, then delete the rows of the trash that came back under a new uri.

        They stay until here, because a later result may have the same content.
        """
        self.commit()
        used = self._used_trash_ids
        used_ids = sorted(used)
        trash = self._table.trash
        trash.forget(used_ids)
        used.clear()

    def _commit_results(self) -> None:
        used_before = frozenset(self._used_trash_ids)

        def step() -> None:
            # Not those of an attempt that conflicted with another process.
            self._used_trash_ids = set(used_before)
            self._restore_moved()
            results = self._without_conflicts()
            self._write(results)

        self._table.transaction(step)

    def _restore_moved(self) -> None:
        """Put back the trashed rows of uris whose content was found in another row.

        Such a uri came back beside a copy of its file, and has metadata of its own.
        """
        contents = {}
        for result in self._results:
            if isinstance(result, Moved) and result.existing is None:
                contents[result.item.uri] = result.sha256
        self._table.trash.restore_contents(contents)

    def _without_conflicts(self) -> list[Result]:
        """Return the results adapted to the changes of other processes since the look-up."""
        uris = _uris(self._results)
        rows = self._table.existing_rows(uris)
        current = []
        for result in self._results:
            uri = result.item.uri
            row = rows.get(uri)
            if row == result.existing:
                current.append(result)
                continue
            adapted = self._adapt(result, row)
            if adapted is not None:
                current.append(adapted)
        return current

    def _adapt(self, result: Result, row: ExistingRow | None) -> Result | None:
        """Return a result for a row that another process changed, or None to drop the result.

        If the row has other content than was read here, one of the two is older, and the next run
        will see which. If it has the same content, the result adds to it.
        """
        if row is None:
            return None
        if isinstance(result, Failed | Stale):
            return None
        if row.sha256 != result.sha256:
            return None
        adds_nothing = is_up_to_date(result.item, row, self._spaces)
        if adds_nothing:
            return None
        if isinstance(result, Moved | SameContent):
            return replace(result, existing=row)
        return SameContent(result.item, row, result.sha256, result.vectors)

    def _write(self, results: Sequence[Result]) -> None:
        failed: list[Failed] = []
        stale: list[Stale] = []
        embedded: list[New | Updated] = []
        moved_to_new_uri: list[Moved] = []
        moved_to_known_uri: list[Moved] = []
        restored: dict[tuple[str, ...], list[Restored]] = defaultdict(list)
        same: dict[tuple[str, ...], list[SameContent]] = defaultdict(list)
        for result in results:
            if isinstance(result, Failed):
                failed.append(result)
            elif isinstance(result, Stale):
                stale.append(result)
            elif isinstance(result, New | Updated):
                embedded.append(result)
            elif isinstance(result, Restored):
                new_spaces = tuple(result.vectors)
                restored[new_spaces].append(result)
            elif isinstance(result, SameContent):
                new_spaces = tuple(result.vectors)
                same[new_spaces].append(result)
            elif result.existing is None:
                moved_to_new_uri.append(result)
            else:
                moved_to_known_uri.append(result)

        self._write_failed(failed)
        self._write_stale(stale)
        self._write_embedded(embedded)
        # A known uri keeps its own metadata; a new one takes over the metadata of its content.
        self._write_moved(moved_to_known_uri, with_metadata=False)
        self._write_moved(moved_to_new_uri, with_metadata=True)
        for spaces, restored_group in restored.items():
            self._write_restored(restored_group, spaces)
        for spaces, group in same.items():
            self._write_same_content(group, spaces)

    def _write_failed(self, results: Sequence[Failed]) -> None:
        columns = _item_columns(results)
        columns["error"] = [result.reason for result in results]
        sizes = columns["size"]
        times = columns["mtime_ns"]
        # No file has this stamp, so the next run tries an unreadable file again.
        for row, result in enumerate(results):
            if not result.readable:
                sizes[row] = -1
                times[row] = -1
        self._upsert(columns, replace_rows=True)

    def _write_stale(self, results: Sequence[Stale]) -> None:
        uris = _uris(results)
        reasons = [result.reason for result in results]
        columns = {"uri": uris, "error": reasons}
        self._upsert(columns, replace_rows=False)

    def _write_embedded(self, results: Sequence[New | Updated]) -> None:
        if not results:
            return
        # Every result of a run has a vector in the same Spaces.
        spaces = list(results[0].vectors)
        spaces_in_order = _ordered(spaces, self._table.models)

        columns = _item_columns(results)
        columns["spaces"] = [spaces_in_order] * len(results)
        for name in ("sha256", "width", "height", "thumbnail"):
            columns[name] = []
        for result in results:
            width, height = result.size
            columns["sha256"].append(result.sha256)
            columns["width"].append(width)
            columns["height"].append(height)
            columns["thumbnail"].append(result.thumbnail)
        columns |= _vector_columns(results, spaces)
        self._upsert(columns, replace_rows=True)

    def _write_moved(self, results: Sequence[Moved], *, with_metadata: bool) -> None:
        if not results:
            return
        before = self._before
        names = ["width", "height", "thumbnail", "spaces", *before.models]
        if with_metadata:
            names += before.metadata
        source_ids = [result.source_id for result in results]
        source_rows = before.take(source_ids, names)

        columns = _item_columns(results)
        columns["sha256"] = [result.sha256 for result in results]
        for name in names:
            columns[name] = source_rows[name]
        self._upsert(columns, replace_rows=True)

    def _write_restored(
        self, results: Sequence[Restored], new_spaces: tuple[str, ...]
    ) -> None:
        """Write rows with the values that the trash has for their content."""
        hashes = []
        to_new_uri: list[Restored] = []
        to_known_uri: list[Restored] = []
        for result in results:
            hashes.append(result.sha256)
            is_known = result.existing is not None
            group = to_known_uri if is_known else to_new_uri
            group.append(result)

        rows = self._table.trash.with_contents(hashes)
        matches = _match_trash(to_new_uri, rows, self._used_trash_ids)
        self._write_matches(matches, rows, new_spaces, with_metadata=True)
        # A known uri keeps its own metadata. That of the trash stays there.
        matches = _match_trash(to_known_uri, rows, set())
        self._write_matches(matches, rows, new_spaces, with_metadata=False)

    def _write_matches(
        self,
        matches: Sequence[_TrashMatch],
        rows: pa.Table,
        new_spaces: Sequence[str],
        *,
        with_metadata: bool,
    ) -> None:
        if not matches:
            return
        columns = self._restored_columns(matches, rows, with_metadata=with_metadata)
        results = [match.result for match in matches]
        columns |= _vector_columns(results, new_spaces)
        self._upsert(columns, replace_rows=True)

    def _restored_columns(
        self, matches: Sequence[_TrashMatch], rows: pa.Table, *, with_metadata: bool
    ) -> dict[str, Any]:
        """Return the columns of restored rows, without vectors that the trash lacks."""
        names = ["width", "height", "thumbnail", *self._table.models]
        if with_metadata:
            names += self._table.metadata
        taken = rows.take([match.row.position for match in matches])

        results = [match.result for match in matches]
        columns = _item_columns(results)
        columns["sha256"] = [result.sha256 for result in results]
        for name in names:
            if name in taken.column_names:
                columns[name] = taken[name]
        order = list(self._table.models)
        columns["spaces"] = []
        filled = taken["spaces"].to_pylist()
        for result, spaces in zip(results, filled, strict=True):
            all_spaces = {*(spaces or ()), *result.vectors}
            columns["spaces"].append(_ordered(all_spaces, order))
        return columns

    def _write_same_content(
        self, results: Sequence[SameContent], new_spaces: tuple[str, ...]
    ) -> None:
        columns = _item_columns(results)
        if new_spaces:
            order = list(self._table.models)
            columns["spaces"] = []
            for result in results:
                spaces = result.existing.spaces.union(new_spaces)
                spaces_in_order = _ordered(spaces, order)
                columns["spaces"].append(spaces_in_order)
            columns |= _vector_columns(results, new_spaces)
        self._upsert(columns, replace_rows=False)

    def _upsert(self, columns: Mapping[str, Any], *, replace_rows: bool) -> None:
        row_count = len(columns["uri"])
        if row_count > 0:
            self._table.upsert(columns, replace=replace_rows)


def _uris(results: Sequence[Result]) -> list[str]:
    return [result.item.uri for result in results]


class _TrashRow(NamedTuple):
    """The id and the uri of a row of the trash, and its position among the rows that were read."""

    id: int
    uri: str
    position: int


class _TrashMatch(NamedTuple):
    """A result, and the row of the trash that it takes its values from."""

    result: Restored
    row: _TrashRow


def _match_trash(
    results: Sequence[Restored], rows: pa.Table, used_ids: set[int]
) -> list[_TrashMatch]:
    """Give each result a row of the trash with its content.

    Another process may have emptied the trash. Results without a row are left out, and the next run
    embeds their images.
    """
    by_content: dict[bytes, list[_TrashRow]] = defaultdict(list)
    columns = [rows[name].to_pylist() for name in ("_rowid", "uri", "sha256")]
    for position, (row_id, uri, sha256) in enumerate(zip(*columns, strict=True)):
        row = _TrashRow(row_id, uri, position)
        by_content[sha256].append(row)

    matches = []
    for result in results:
        candidates = by_content[result.sha256]
        if candidates:
            row = _choose_row(candidates, result.item.uri, used_ids)
            used_ids.add(row.id)
            matches.append(_TrashMatch(result, row))
    return matches


def _choose_row(
    candidates: Sequence[_TrashRow], uri: str, used_ids: Container[int]
) -> _TrashRow:
    """Return the row of a uri, or else one that no other result has, the newest first."""
    for row in candidates:
        if row.uri == uri:
            return row
    for row in candidates:
        if row.id not in used_ids:
            return row
    return candidates[0]


def _item_columns(results: Sequence[Result]) -> dict[str, Any]:
    """Return the columns that an Item fills, for rows without an error."""
    columns: dict[str, Any] = {
        "uri": [],
        "size": [],
        "mtime_ns": [],
        "label": [],
        "error": [],
    }
    for result in results:
        item = result.item
        columns["uri"].append(item.uri)
        columns["size"].append(item.size)
        columns["mtime_ns"].append(item.mtime_ns)
        columns["label"].append(item.label)
        columns["error"].append(None)
    return columns


def _ordered(spaces: Container[str], order: Iterable[str]) -> list[str]:
    """Return the Spaces in the order of the table."""
    ordered = []
    for name in order:
        if name in spaces:
            ordered.append(name)
    return ordered


def _vector_columns(
    results: Sequence[New | Updated | Restored | SameContent], spaces: Sequence[str]
) -> dict[str, VectorsF32]:
    """Return the vectors of each Space: float32 ``[n, dim]``."""
    columns = {}
    for space in spaces:
        vectors = []
        for result in results:
            vector = result.vectors[space]
            vectors.append(vector)
        columns[space] = np.stack(vectors)
    return columns
