"""One version of a collection's table: all that is read from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError, SpaceError
from lookalike.store import filters
from lookalike.store.diff import ContentIndex, ExistingRow, ScanDiff, is_up_to_date
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.schema import metadata_of, models_of, quote
from lookalike.tracing import span
from lookalike.types import Item, Kind, Model

if TYPE_CHECKING:
    from lookalike.store.ann import IndexTuning

__all__ = ["View", "images"]

_IS_IMAGE = "sha256 IS NOT NULL"


def images(path: str) -> str:
    """Return where the table of the collection at `path` lies."""
    return str(Path(path, "images.lance"))


class View:
    """A collection as it was at one version, whatever others do to it, until `refresh` moves on.

    Attributes
    ----------
    path
        The folder that holds it.
    models
        The Model that fills each Space, by the Space's name.
    metadata
        The kind of each column that a user's file fills, by its name.
    """

    def __init__(self, path: str, table: lance.LanceDataset) -> None:
        self.path = path
        # The tuning of each Space's index, and the version that it was read at; see `lookalike.store.ann.tuned`.
        self.tunings: dict[str, tuple[int, IndexTuning | None]] = {}
        self._table = table

    @property
    def models(self) -> dict[str, Model]:
        """The Model that fills each Space, by the Space's name."""
        return models_of(self._table.schema)

    @property
    def metadata(self) -> dict[str, Kind]:
        """The kind of each column that a user's file fills, by its name."""
        return metadata_of(self._table.schema)

    @property
    def table(self) -> lance.LanceDataset:
        """The Lance table itself, for the store's other modules."""
        return self._table

    @property
    def version(self) -> int:
        """The number of the version that this object reads; each commit makes a new one."""
        return int(self._table.version)

    def refresh(self) -> None:
        """Move on to the newest version."""
        with translate_errors(self.path, Operation.OPEN):
            self._table.checkout_latest()

    @contextmanager
    def reading(self, operation: Operation = Operation.READ) -> Iterator[None]:
        """Turn what the store raises meanwhile into a CollectionError, one of its own if this version is gone."""
        try:
            with translate_errors(self.path, operation):
                yield
        except CollectionError as error:
            if not self._gone():
                raise
            raise CollectionError(
                f"Version {self.version} of the collection {self.path}, which was being read, is there no more: "
                "another process removed old versions meanwhile. Open it again, or run the command again."
            ) from error

    def _gone(self) -> bool:
        """Tell whether the collection is whole, but this version of it was removed."""
        try:
            newest = lance.dataset(images(self.path))
            return self.version not in {version["version"] for version in newest.versions()}
        except (OSError, ValueError, RuntimeError):
            return False

    def space(self, name: str | None) -> str:
        """Return the name of a Space; None stands for the first.

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

    def count(self, space: str | None = None) -> int:
        """Return how many images there are, or how many have a vector in one Space."""
        where = _IS_IMAGE if space is None else f"array_has(spaces, {quote(space)})"
        with self.reading():
            return int(self._table.count_rows(where))

    def count_where(self, clause: str) -> int:
        """Return how many rows fit a filter in the store's own language."""
        with self.reading():
            return int(self._table.count_rows(clause))

    def select(self, where: str) -> npt.NDArray[np.int64]:
        """Return the int64 ids, rising, of the images that fit a filter: ``label = 'cat' and width > 300``.

        Raises
        ------
        InputError
            If the filter cannot be read, or does not fit the columns; see `lookalike.store.filters`.
        """
        with span("select"):
            return np.sort(_ids(self._read([], self.filter_clause(where))))

    def filter_clause(self, where: str) -> str:
        """Return a filter in the store's own language; see `select`."""
        return f"{_IS_IMAGE} AND ({filters.render(filters.parse(where, filters.columns_of(self._table.schema)))})"

    def existing_rows(self, uris: Iterable[str]) -> dict[str, ExistingRow]:
        """Return what the table says of each uri that it knows: one look-up for all."""
        columns = ["uri", "size", "mtime_ns", "label", "sha256", "spaces", "error"]
        quoted = ", ".join(map(quote, uris))
        if not quoted:
            return {}
        rows = self._read(columns, f"uri IN ({quoted})")
        values = zip(
            rows["_rowid"].to_pylist(), *(rows[name].to_pylist() for name in columns), strict=True
        )
        return {
            uri: ExistingRow(
                row_id, size, mtime, label, sha256, frozenset(spaces or ()), error is not None
            )
            for row_id, uri, size, mtime, label, sha256, spaces, error in values
        }

    def diff(
        self,
        items: Sequence[Item],
        *,
        spaces: Iterable[str] | None = None,
        retry_failures: bool = False,
    ) -> ScanDiff:
        """Tell which of some Items need work: those that are not here, have changed, or lack one of some Spaces.

        Without `spaces`, all count. A file that failed is left alone until it changes, unless `retry_failures`.
        """
        known = self.existing_rows([item.uri for item in items])
        spaces = frozenset(self.models if spaces is None else spaces)
        work, unchanged, failed = [], 0, 0
        for item in items:
            row = known.get(item.uri)
            if (
                row is None
                or not is_up_to_date(item, row, spaces)
                or (row.failed and retry_failures)
            ):
                work.append((item, row))
            elif row.failed:
                failed += 1
            else:
                unchanged += 1
        seen = np.fromiter((row.id for row in known.values()), np.int64, len(known))
        return ScanDiff(work, seen, unchanged, failed)

    def ids_under(self, prefixes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 ids of every row, images and failures, whose uri begins with one of some prefixes."""
        return _ids(
            self._read([], " OR ".join(f"starts_with(uri, {quote(prefix)})" for prefix in prefixes))
        )

    def ids_with_content(self, sha256: bytes) -> npt.NDArray[np.int64]:
        """Return int64 ids of the images with this content."""
        return _ids(self._read([], f"sha256 = X'{sha256.hex()}'"))

    def content_index(self) -> ContentIndex:
        """Return which contents have a vector in every Space, to look them up without a query each."""
        clauses = [_IS_IMAGE, *(f"array_has(spaces, {quote(name)})" for name in self.models)]
        rows = self._read(["sha256"], " AND ".join(clauses))
        hashes = np.frombuffer(b"".join(rows["sha256"].to_pylist()), "<u8").reshape(-1, 4)
        return ContentIndex(hashes, _ids(rows))

    def take(self, ids: Sequence[int] | npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return the named columns of the rows with these ids, in their order, with the ids as the column ``id``.

        Raises
        ------
        CollectionError
            If an id is not in the collection.
        """
        wanted = [int(row_id) for row_id in ids]
        if not wanted:
            return (
                self._table.schema.empty_table()
                .select(list(columns))
                .append_column("id", pa.array([], pa.int64()))
            )
        rows = self._read(list(columns), f"_rowid IN ({', '.join(map(str, wanted))})")
        place = {row_id: index for index, row_id in enumerate(rows["_rowid"].to_pylist())}
        gone = [row_id for row_id in wanted if row_id not in place]
        if gone:
            raise CollectionError(f"The collection {self.path} has no row with the id {gone[0]}.")
        rows = rows.take([place[row_id] for row_id in wanted])
        return rows.drop(["_rowid"]).append_column("id", pa.array(wanted, pa.int64()))

    def vectors(
        self, space: str, clause: str | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
        """Return the ids ``[n]`` and the vectors, float16 ``[n, dim]``, of the images in a Space, by rising id.

        Of every one, or of those that fit a filter in the store's own language.
        """
        with span("read vectors"):
            rows = self._read([self.space(space)], clause)
            column = rows[space].combine_chunks()
            filled = column.is_valid().to_numpy(zero_copy_only=False)
            flat = column.drop_null().flatten().to_numpy(zero_copy_only=False)
            ids = _ids(rows)[filled]
            matrix = flat.reshape(len(ids), self.models[space].dim)
            order = np.argsort(ids, kind="stable")
            return ids[order], matrix[order] if (np.diff(ids) < 0).any() else matrix

    def failures(self) -> pa.Table:
        """Return the files that could not be indexed: columns uri and error."""
        return self._read(["uri", "error"], "error IS NOT NULL").drop(["_rowid"]).sort_by("uri")

    def scan(self, columns: Sequence[str], where: str | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the images in batches, with their ids as ``_rowid``."""
        clause = _IS_IMAGE if where is None else f"({where}) AND {_IS_IMAGE}"
        with self.reading():
            yield from self._table.scanner(
                columns=list(columns), filter=clause, with_row_id=True
            ).to_batches()

    def _read(self, columns: list[str], where: str | None = None) -> pa.Table:
        with self.reading():
            return self._table.to_table(columns=columns, filter=where, with_row_id=True)


def _ids(rows: pa.Table) -> npt.NDArray[np.int64]:
    ids: npt.NDArray[np.int64] = rows["_rowid"].to_numpy().astype(np.int64)
    return ids
