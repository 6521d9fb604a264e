"""One version of a collection's table, read-only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

import lance
import numpy as np
import pyarrow as pa

from lookalike.errors import CollectionError, SpaceError
from lookalike.store import filters, vector_cache
from lookalike.store.diff import ContentIndex, ExistingRow, ScanDiff, is_up_to_date
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.filter_tree import Column, to_lance
from lookalike.store.places import locate
from lookalike.store.schema import (
    column_vectors,
    content_clause,
    has_value,
    id_clause,
    metadata_of,
    models_of,
    prefix_clause,
    quote,
    row_ids,
    vector_clause,
)
from lookalike.store.vector_cache import CachedVectors, VectorCacheKey
from lookalike.tracing import span
from lookalike.types import Ids, Item, Kind, Model, VectorsF16

if TYPE_CHECKING:
    from lookalike.store.ann import IndexTuning
    from lookalike.store.row_columns import RowColumns

__all__ = ["DEVICES_KEY", "View"]

_IS_IMAGE = "sha256 IS NOT NULL"
_URIS_AT_ONCE = 10_000
_SCAN_ROWS = 1 << 13
DEVICES_KEY = "lookalike.devices"


class View:
    """A collection at one version; commits of others become visible only with `refresh`.

    Attributes
    ----------
    path
        The collection's folder or address.
    location
        The same place as a `lookalike.store.location.Location`.
    tuning_cache
        The index tuning of each Space, with the version that it was read from; see
        `lookalike.store.ann`.
    row_columns
        Columns in memory; see `lookalike.store.row_columns`.
    """

    def __init__(self, path: str, dataset: lance.LanceDataset) -> None:
        self.path = path
        self.location = locate(path)
        self.tuning_cache: dict[str, tuple[int, IndexTuning | None]] = {}
        self.row_columns: RowColumns | None = None
        # The store's tag of a version, and the cached vectors of each Space, with their version.
        self._version_tag: tuple[int, str | None] | None = None
        self._cached_vectors: dict[str, tuple[int, CachedVectors | None]] = {}
        self._dataset = dataset

    @property
    def lance_dataset(self) -> lance.LanceDataset:
        """The Lance dataset, for modules of the store alone."""
        return self._dataset

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the table."""
        return self._dataset.schema

    @property
    def models(self) -> dict[str, Model]:
        """The Model that fills each Space, by the Space's name."""
        return models_of(self.schema)

    @property
    def metadata(self) -> dict[str, Kind]:
        """The kind of each metadata column, by the column's name."""
        return metadata_of(self.schema)

    @property
    def devices(self) -> dict[str, str]:
        """The file system of indexed folders; see `lookalike.sources.Source.devices`."""
        stored = self._dataset.metadata
        text = stored.get(DEVICES_KEY, "{}")
        devices: dict[str, str] = json.loads(text)
        return devices

    @property
    def version(self) -> int:
        """The number of this version; each commit makes a new one."""
        version = self._dataset.version
        return int(version)

    @property
    def fragment_count(self) -> int:
        """The number of fragments that hold the rows."""
        fragments = self._dataset.get_fragments()
        return len(fragments)

    def refresh(self) -> None:
        """Move to the newest version."""
        path = self.path
        dataset = self._dataset
        with translate_errors(path, Operation.OPEN):
            dataset.checkout_latest()

    def newest_stamp(self) -> tuple[int, int, int]:
        """Return a stamp of the newest version.

        It differs between a collection and another one made later at the same path.

        Raises
        ------
        CollectionError
            If the collection no longer exists.
        """
        # No part is enough alone: a folder that is made again may get the inode of the old one,
        # and its table the same version number.
        path = self.path
        location = self.location
        dataset = self._dataset
        with translate_errors(path, Operation.OPEN):
            inode, changed_ns = location.versions_stamp()
            newest = dataset.latest_version
            version = int(newest)
        return inode, changed_ns, version

    @contextmanager
    def translate_read_errors(
        self, operation: Operation = Operation.READ
    ) -> Iterator[None]:
        """Raise errors of Lance as a `CollectionError` that says if this version was removed."""
        try:
            with translate_errors(self.path, operation):
                yield
        except CollectionError as error:
            if not self._was_removed():
                raise
            raise CollectionError(
                f"Version {self.version} of the collection {self.path} was removed by another "
                "process while it was being read. "
                "Open the collection again, or run the command again."
            ) from error

    def _was_removed(self) -> bool:
        """Return whether the collection can be opened, but no longer has this version."""
        table_uri = self.location.table_uri
        try:
            newest = lance.dataset(table_uri)
            versions = newest.versions()
        except (OSError, ValueError, RuntimeError):
            return False
        numbers = [version["version"] for version in versions]
        return self.version not in numbers

    def space(self, name: str | None) -> str:
        """Return the name of a Space; None stands for the first one.

        Raises
        ------
        SpaceError
            If the collection has no such Space.
        """
        names = list(self.models)
        if name is None and names:
            return names[0]
        if name not in names:
            raise SpaceError(
                f"The collection {self.path} has no Space {name!r}; it has {', '.join(names)}. "
                f"Add it with: lookalike index FOLDER -c {self.path} --model {name}"
            )
        return name

    # Filters

    def filter_columns(self) -> dict[str, Column]:
        """Return the columns that a filter may name, by their names."""
        schema = self.schema
        return filters.columns_of(schema)

    def filter_clause(self, where: str) -> str:
        """Return a filter such as ``label = 'cat'`` in Lance's own language; see `select`."""
        columns = self.filter_columns()
        tree = filters.parse(where, columns)
        condition = to_lance(tree)
        return _of_images(condition)

    def select(self, where: str) -> Ids:
        """Return the int64 ids, ascending, of the images that match a filter.

        A filter is a text such as ``label = 'cat' and width > 300``.

        Raises
        ------
        InputError
            If the filter cannot be parsed, or does not fit the columns; see
            `lookalike.store.filters`.
        """
        with span("select"):
            clause = self.filter_clause(where)
            rows = self._read([], clause)
            ids = row_ids(rows)
            ids.sort()
            return ids

    # Rows

    def count(self, space: str | None = None) -> int:
        """Return the number of images, or of images with a vector in one Space."""
        clause = _IS_IMAGE
        if space is not None:
            clause = vector_clause(space)
        return self.count_where(clause)

    def count_where(self, clause: str | None) -> int:
        """Return the number of rows that match a clause in Lance's own language; None for all."""
        dataset = self._dataset
        with self.translate_read_errors():
            count = dataset.count_rows(clause)
        return int(count)

    def ids_under(self, prefixes: Sequence[str], *, images: bool = False) -> Ids:
        """Return the int64 ids of the rows whose uri has one of `prefixes`.

        Parameters
        ----------
        prefixes
            The prefixes.
        images
            Whether to leave out failures that hold no image.
        """
        clause = prefix_clause(prefixes)
        if images:
            clause = _of_images(clause)
        rows = self._read([], clause)
        return row_ids(rows)

    def ids_with_content(self, sha256: bytes) -> Ids:
        """Return the int64 ids of the images with this content."""
        clause = content_clause([sha256])
        rows = self._read([], clause)
        return row_ids(rows)

    def take_contents(
        self,
        hashes: Iterable[bytes],
        columns: Sequence[str],
        *,
        exclude: Ids,
        where: str | None = None,
    ) -> pa.Table:
        """Return columns of the images with some contents, and each ``sha256``.

        Parameters
        ----------
        hashes
            The sha256 of each content.
        columns
            The columns to read.
        exclude
            int64 ``[n]``, the ids of rows to leave out.
        where
            A clause in Lance's own language that selects rows; None for all.
        """
        clause = content_clause(set(hashes))
        if where is not None:
            clause = f"({where}) AND ({clause})"
        rows = self._read(["sha256", *columns], clause)
        ids = row_ids(rows)
        is_excluded = np.isin(ids, exclude)
        is_included = pa.array(~is_excluded)
        included = rows.filter(is_included)
        return included.drop(["_rowid"])

    def take(self, ids: Sequence[int] | Ids, columns: Sequence[str]) -> pa.Table:
        """Return columns of rows by id, in the order of `ids`, with the ids as the column ``id``.

        Raises
        ------
        CollectionError
            If an id is not in the collection.
        """
        names = list(columns)
        wanted = [int(row_id) for row_id in ids]
        id_column = pa.array(wanted, pa.int64())
        if not wanted:
            empty = self.schema.empty_table()
            selected = empty.select(names)
            return selected.append_column("id", id_column)

        # Lance returns each row once, in an order of its own.
        clause = id_clause(wanted)
        rows = self._read(names, clause)
        id_values = rows["_rowid"]
        found_ids = id_values.to_pylist()
        position = {row_id: index for index, row_id in enumerate(found_ids)}

        order = []
        for row_id in wanted:
            if row_id not in position:
                raise CollectionError(
                    f"The collection {self.path} has no row with the id {row_id}."
                )
            index = position[row_id]
            order.append(index)
        ordered = rows.take(order)
        without_row_ids = ordered.drop(["_rowid"])
        return without_row_ids.append_column("id", id_column)

    def uris(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the uri of each row by its id; unknown ids are left out."""
        if not ids:
            return {}
        clause = id_clause(ids)
        rows = self._read(["uri"], clause)
        id_column = rows["_rowid"]
        uri_column = rows["uri"]
        found_ids = id_column.to_pylist()
        found_uris = uri_column.to_pylist()
        pairs = zip(found_ids, found_uris, strict=True)
        return dict(pairs)

    def scan(
        self, columns: Sequence[str], where: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the images in batches, with their ids as ``_rowid``.

        Parameters
        ----------
        columns
            The columns to read.
        where
            A clause in Lance's own language; None for all images.
        """
        names = list(columns)
        clause = _IS_IMAGE
        if where is not None:
            clause = _of_images(where)
        with self.translate_read_errors():
            scanner = self._dataset.scanner(
                columns=names, filter=clause, with_row_id=True
            )
            yield from scanner.to_batches()

    def vectors(self, space: str, clause: str | None = None) -> tuple[Ids, VectorsF16]:
        """Return the vectors of a Space by ascending id.

        Parameters
        ----------
        space
            The Space.
        clause
            A clause in Lance's own language that selects rows; None for all.

        Returns
        -------
        tuple
            The ids, int64 ``[n]``, and the vectors, float16 ``[n, dim]``.
        """
        with span("read vectors"):
            name = self.space(space)
            if clause is None:
                return self._all_vectors(name)
            return self._read_vectors(name, clause)

    def scan_vectors(self, space: str) -> Iterator[tuple[Ids, VectorsF16]]:
        """Yield the ids and vectors of a Space, some thousands at a time, in no order."""
        cached = self.cached_vectors(space)
        if cached is not None:
            all_ids = cached.ids
            matrix = cached.vectors
            for first in range(0, len(all_ids), _SCAN_ROWS):
                part = slice(first, first + _SCAN_ROWS)
                yield all_ids[part], matrix[part]
            return
        with self.translate_read_errors():
            scanner = self._dataset.scanner(
                columns=[space],
                with_row_id=True,
                batch_size=_SCAN_ROWS,
                batch_readahead=2,
                fragment_readahead=1,
            )
            for batch in scanner.to_batches():
                column = batch[space]
                has_vector = has_value(column)
                if has_vector.any():
                    all_ids = row_ids(batch)
                    yield all_ids[has_vector], column_vectors(column)

    def cached_vectors(self, space: str) -> CachedVectors | None:
        """Return the vectors of a Space in the local cache; None if the table's files are here."""
        version = self.version
        known = self._cached_vectors.get(space)
        if known is not None:
            known_version, known_vectors = known
            if known_version == version:
                return known_vectors

        cached = None
        key = self._cache_key(space)
        if key is not None:
            cached = vector_cache.look_up(key)
        self._cached_vectors[space] = (version, cached)
        return cached

    def prepare_cache(self, space: str) -> None:
        """Read all vectors of a Space into the local cache, if the table lies elsewhere."""
        key = self._cache_key(space)
        if key is None:
            return
        cached = self.cached_vectors(space)
        if cached is not None:
            return
        model = self.models[space]
        row_bytes = 2 * model.dim
        size = self.count(space) * row_bytes
        if size <= vector_cache.MOST_BYTES:
            self._all_vectors(space)

    def _all_vectors(self, name: str) -> tuple[Ids, VectorsF16]:
        """Return all vectors of a Space, from the local cache if the table lies elsewhere."""
        cached = self.cached_vectors(name)
        if cached is not None:
            return cached.ids, cached.vectors
        ids, matrix = self._read_vectors(name)
        key = self._cache_key(name)
        if key is not None:
            vector_cache.keep(key, ids, matrix)
            kept = vector_cache.look_up(key)
            self._cached_vectors[name] = (key.version, kept)
        return ids, matrix

    def _cache_key(self, space: str) -> VectorCacheKey | None:
        """Return the key of a Space's vectors in the local cache; None without a cache."""
        version = self.version
        known = self._version_tag
        location = self.location
        if known is None or known[0] != version:
            tag = None
            # Without a tag, the vectors are read from the store.
            with suppress(OSError):
                tag = location.version_tag(version)
            known = (version, tag)
            self._version_tag = known
        _, tag = known
        if tag is None:
            return None
        identity = location.identity
        return VectorCacheKey(identity, version, tag, space)

    def _read_vectors(
        self, name: str, clause: str | None = None
    ) -> tuple[Ids, VectorsF16]:
        """Read vectors from the table."""
        names = [name]
        rows = self._read(names, clause)
        column = rows[name]
        all_ids = row_ids(rows)
        has_vector = has_value(column)
        ids = all_ids[has_vector]
        matrix = column_vectors(column)
        return _by_id(ids, matrix)

    def failures(self) -> pa.Table:
        """Return the files that could not be indexed: a table with ``uri`` and ``error``."""
        rows = self._read(["uri", "error"], "error IS NOT NULL")
        without_ids = rows.drop(["_rowid"])
        return without_ids.sort_by("uri")

    # Comparison with a scan

    def existing_rows(self, uris: Iterable[str]) -> dict[str, ExistingRow]:
        """Return the row of each uri that the table holds, with one look-up for 10,000 uris."""
        existing: dict[str, ExistingRow] = {}
        remaining = iter(uris)
        while batch := list(islice(remaining, _URIS_AT_ONCE)):
            rows_of_batch = self._existing_rows(batch)
            existing.update(rows_of_batch)
        return existing

    def _existing_rows(self, uris: Iterable[str]) -> dict[str, ExistingRow]:
        names = ["uri", "size", "mtime_ns", "label", "sha256", "spaces", "error"]
        quoted = ", ".join(map(quote, uris))
        rows = self._read(names, f"uri IN ({quoted})")
        columns = [rows[name].to_pylist() for name in ("_rowid", *names)]
        existing = {}
        for row_id, uri, size, mtime_ns, label, sha256, spaces, error in zip(
            *columns, strict=True
        ):
            filled_spaces = frozenset(spaces or ())
            has_failed = error is not None
            existing[uri] = ExistingRow(
                row_id, size, mtime_ns, label, sha256, filled_spaces, has_failed
            )
        return existing

    def diff(
        self,
        items: Sequence[Item],
        *,
        spaces: Iterable[str] | None = None,
        retry_failures: bool = False,
    ) -> ScanDiff:
        """Compare Items with the table: which are new, have changed, or lack a vector.

        Parameters
        ----------
        items
            The Items that a scan found.
        spaces
            The Spaces in which a vector is needed; None for all.
        retry_failures
            Whether files that failed are work again although they have not changed.
        """
        if spaces is None:
            spaces = self.models
        needed = frozenset(spaces)
        uris = [item.uri for item in items]
        existing = self.existing_rows(uris)

        work: list[tuple[Item, ExistingRow | None]] = []
        unchanged = 0
        failed = 0
        for item in items:
            uri = item.uri
            row = existing.get(uri)
            item_and_row = (item, row)
            if row is None or not is_up_to_date(item, row, needed):
                work.append(item_and_row)
            elif not row.failed:
                unchanged += 1
            elif retry_failures:
                work.append(item_and_row)
            else:
                failed += 1

        rows = existing.values()
        existing_ids = [row.id for row in rows]
        seen_ids = np.array(existing_ids, np.int64)
        return ScanDiff(work, seen_ids, unchanged, failed)

    def content_index(self) -> ContentIndex:
        """Return an index of the contents that have a vector in every Space."""
        clauses = [_IS_IMAGE]
        models = self.models
        for space in models:
            has_vector = vector_clause(space)
            clauses.append(has_vector)
        all_clauses = " AND ".join(clauses)

        rows = self._read(["sha256"], all_clauses)
        ids = row_ids(rows)
        contents = rows["sha256"]
        hashes = contents.to_pylist()
        return ContentIndex.of(hashes, ids)

    def _read(self, columns: list[str], where: str | None = None) -> pa.Table:
        with self.translate_read_errors():
            return self._dataset.to_table(
                columns=columns, filter=where, with_row_id=True
            )


def _by_id(ids: Ids, matrix: VectorsF16) -> tuple[Ids, VectorsF16]:
    """Return ids in ascending order, and the rows of a matrix in the same order."""
    # The rows usually are in order already: then the matrix is not copied.
    steps = np.diff(ids)
    is_descending = steps < 0
    if not is_descending.any():
        return ids, matrix
    order = np.argsort(ids, kind="stable")
    ordered_ids = ids[order]
    ordered_matrix = matrix[order]
    return ordered_ids, ordered_matrix


def _of_images(clause: str) -> str:
    """Return a clause that selects the images among the rows that `clause` selects."""
    return f"{_IS_IMAGE} AND ({clause})"
