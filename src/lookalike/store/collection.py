"""A Collection: one Lance table of images, with a vector column for each Space.

A row is an image (it has a sha256), a failure (it has an error), or both: an image whose file can no longer be
read keeps its last good vectors. The uri is the table's key; ids are Lance's stable row ids, which the store
gives out at commit and never uses twice.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import platformdirs
import pyarrow as pa

from lookalike.errors import CollectionError, InputError, ModelError, SpaceError
from lookalike.files import removed_if_torn
from lookalike.sources import from_uri, prefixes, to_uri
from lookalike.store import filters
from lookalike.store.contents import Contents, Known, Missing, settled
from lookalike.store.guard import damaged, guard
from lookalike.store.schema import (
    BASE,
    FORMAT,
    array,
    column,
    format_of,
    metadata_column,
    metadata_of,
    models_of,
    quote,
)
from lookalike.tracing import span
from lookalike.types import Item, Kind, Model

__all__ = ["Collection", "default_path"]

_UNFINISHED = ".images."
_IS_IMAGE = "sha256 IS NOT NULL"


def default_path() -> str:
    """Return the collection used when none is named: ``LOOKALIKE_COLLECTION``, or a user data folder's ``default``."""
    named = os.environ.get("LOOKALIKE_COLLECTION")
    return named or str(Path(platformdirs.user_data_dir("lookalike", appauthor=False), "default"))


class Collection:
    """A table of images; made by `create` or `open`.

    Attributes
    ----------
    path
        The folder that holds it.
    kept
        What others have made of it and want to live as long as this object, by their own keys.
    models
        The Model that fills each Space, by the Space's name.
    metadata
        The kind of each column that a user's file fills, by its name.
    """

    def __init__(self, path: str, table: lance.LanceDataset) -> None:
        self.path = path
        self.kept: dict[tuple[str, str], Any] = {}
        self._table = table

    @classmethod
    def create(cls, path: str | os.PathLike[str], models: Sequence[Model]) -> Collection:
        """Make an empty collection with one Space for each Model.

        Raises
        ------
        CollectionError
            If the folder already holds something, or cannot be written.
        """
        path = os.path.expanduser(path)  # noqa: PTH111
        folder = Path(path)
        place = str(folder / f"{_UNFINISHED}{secrets.token_hex(4)}")
        if folder.is_file() or (folder.is_dir() and any(not p.name.startswith(_UNFINISHED) for p in folder.iterdir())):
            raise CollectionError(f"{path} already holds something. Open it, or name a new folder for the collection.")
        schema = BASE
        for model in models:
            schema = schema.append(column(model))
        with guard(path, "created"), removed_if_torn(Path(place)):
            folder.mkdir(parents=True, exist_ok=True)
            table = lance.write_dataset(schema.empty_table(), place, mode="create", enable_stable_row_ids=True)
            table.create_scalar_index("uri", "BTREE")
            Path(place).rename(_images(path))  # last: killed at any moment, the table is there whole or not at all
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Collection:
        """Open an existing collection at its newest version.

        Raises
        ------
        CollectionError
            If there is none, it is damaged, or a newer Lookalike wrote it.
        """
        path = os.path.expanduser(path)  # noqa: PTH111
        if not cls.exists(path):
            what = "is a folder but no collection" if Path(path).exists() else "does not exist"
            raise CollectionError(
                f"The collection {path} {what}. Make it with: lookalike index FOLDER -c {path}, "
                "or name another with -c or LOOKALIKE_COLLECTION."
            )
        with span("open collection"), guard(path, "opened"):
            table = lance.dataset(_images(path))
            schema = table.schema
        found = format_of(schema)
        if not found:
            raise damaged(path, "opened", "its newest version has no columns of ours")
        if found != FORMAT:
            raise CollectionError(
                f"The collection {path} has the format {found}; this Lookalike reads {FORMAT}. "
                "Use the Lookalike that wrote it, or index into a new folder."
            )
        try:
            models_of(schema)
        except ModelError as error:
            raise damaged(path, "opened", str(error)) from error
        return cls(path, table)

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Tell whether there is a collection at a path."""
        with guard(str(path), "opened"):
            return Path(_images(os.path.expanduser(path))).is_dir()  # noqa: PTH111

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

    def add_space(self, model: Model) -> None:
        """Add an empty Space for a Model; one that is there already must be filled by the same Model.

        Raises
        ------
        SpaceError
            If the Space is there but filled by another Model, or the name is taken by a column.
        """
        present = self.models.get(model.name)
        if present is None:
            if model.name in self._table.schema.names:
                raise SpaceError(f"A Space cannot be named {model.name!r}, for a column is. Rename the model.")
            with guard(self.path, "written"):
                self._table.add_columns(pa.schema([column(model)]))
        elif present.fingerprint != model.fingerprint:
            raise SpaceError(
                f"The Space {model.name!r} of {self.path} is filled by {present.title} ({present.fingerprint}), not by "
                f"{model.title} ({model.fingerprint}): their vectors cannot be compared. Give the other model another "
                "name in a .toml description, or index into a new collection with -c."
            )

    def add_metadata(self, kinds: Mapping[str, Kind]) -> None:
        """Add empty columns of metadata, in one commit; those that are there already stay."""
        fields = [metadata_column(name, kind) for name, kind in kinds.items() if name not in self.metadata]
        if fields:
            with guard(self.path, "written"):
                self._table.add_columns(pa.schema(fields))

    def count(self, space: str | None = None) -> int:
        """Return how many images there are, or how many have a vector in one Space."""
        where = _IS_IMAGE if space is None else f"array_has(spaces, {quote(space)})"
        with guard(self.path, "read"):
            return int(self._table.count_rows(where))

    def fitting(self, clause: str) -> int:
        """Return how many rows fit a filter in the store's own language."""
        with guard(self.path, "read"):
            return int(self._table.count_rows(clause))

    def select(self, where: str) -> npt.NDArray[np.int64]:
        """Return the int64 ids, rising, of the images that fit a filter: ``label = 'cat' and width > 300``.

        Raises
        ------
        InputError
            If the filter cannot be read, or does not fit the columns; see `lookalike.store.filters`.
        """
        with span("select"):
            return np.sort(_ids(self._read([], self.clause(where))))

    def clause(self, where: str) -> str:
        """Return a filter in the store's own language; see `select`."""
        return f"{_IS_IMAGE} AND ({filters.render(filters.parse(where, filters.columns_of(self._table.schema)))})"

    def known(self, uris: Iterable[str]) -> dict[str, Known]:
        """Return what the table says of each uri that it knows: one look-up for all."""
        columns = ["uri", "size", "mtime_ns", "label", "sha256", "spaces", "error"]
        quoted = ", ".join(map(quote, uris))
        if not quoted:
            return {}
        rows = self._read(columns, f"uri IN ({quoted})")
        values = zip(rows["_rowid"].to_pylist(), *(rows[name].to_pylist() for name in columns), strict=True)
        return {
            uri: Known(row_id, size, mtime, label, sha256, frozenset(spaces or ()), error is not None)
            for row_id, uri, size, mtime, label, sha256, spaces, error in values
        }

    def missing(self, items: Sequence[Item], *, retry_failures: bool = False) -> Missing:
        """Tell which of some Items need work: those that are not here, have changed, or lack a Space.

        A file that failed is left alone until it changes, unless `retry_failures`.
        """
        known = self.known([item.uri for item in items])
        spaces = frozenset(self.models)
        work, unchanged, failed = [], 0, 0
        for item in items:
            row = known.get(item.uri)
            if row is None or not settled(item, row, spaces) or (row.failed and retry_failures):
                work.append((item, row))
            elif row.failed:
                failed += 1
            else:
                unchanged += 1
        seen = np.fromiter((row.id for row in known.values()), np.int64, len(known))
        return Missing(work, seen, unchanged, failed)

    def ids_under(self, prefixes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return int64 ids of every row, images and failures, whose uri begins with one of some prefixes."""
        return _ids(self._read([], " OR ".join(f"starts_with(uri, {quote(prefix)})" for prefix in prefixes)))

    def ids_of(self, sha256: bytes) -> npt.NDArray[np.int64]:
        """Return int64 ids of the images with this content."""
        return _ids(self._read([], f"sha256 = X'{sha256.hex()}'"))

    def contents(self) -> Contents:
        """Return which contents have a vector in every Space, to look them up without a query each."""
        clauses = [_IS_IMAGE, *(f"array_has(spaces, {quote(name)})" for name in self.models)]
        rows = self._read(["sha256"], " AND ".join(clauses))
        hashes = np.frombuffer(b"".join(rows["sha256"].to_pylist()), "<u8").reshape(-1, 4)
        return Contents(hashes, _ids(rows))

    def take(self, ids: Sequence[int] | npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return the named columns of the rows with these ids, in their order, with the ids as the column ``id``.

        Raises
        ------
        CollectionError
            If an id is not in the collection.
        """
        wanted = [int(row_id) for row_id in ids]
        if not wanted:
            return self._table.schema.empty_table().select(list(columns)).append_column("id", pa.array([], pa.int64()))
        rows = self._read(list(columns), f"_rowid IN ({', '.join(map(str, wanted))})")
        place = {row_id: index for index, row_id in enumerate(rows["_rowid"].to_pylist())}
        gone = [row_id for row_id in wanted if row_id not in place]
        if gone:
            raise CollectionError(f"The collection {self.path} has no row with the id {gone[0]}.")
        rows = rows.take([place[row_id] for row_id in wanted])
        return rows.drop(["_rowid"]).append_column("id", pa.array(wanted, pa.int64()))

    def vectors(self, space: str, clause: str | None = None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float16]]:
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
        with guard(self.path, "read"):
            yield from self._table.scanner(columns=list(columns), filter=clause, with_row_id=True).to_batches()

    def write(self, columns: Mapping[str, Any], *, whole: bool) -> None:
        """Put rows in, in one commit: a uri that is there is overwritten, any other is added.

        Parameters
        ----------
        columns
            Arrays or lists of one length by column, ``uri`` among them, no uri twice; a Space's vectors as
            float ``[n, dim]``.
        whole
            Whether columns that are not given become null (new content), or keep what they hold. Metadata is of the
            uri and not of its content: it is kept.
        """
        schema = self._table.schema
        kept = self.metadata if whole else schema.names
        rows = self._rows(columns, [name for name in schema.names if name in columns or name not in kept])
        with guard(self.path, "written"):
            self._table.merge_insert("uri").when_matched_update_all().when_not_matched_insert_all().execute(rows)
            self._table.checkout_latest()

    def update(self, columns: Mapping[str, Any]) -> None:
        """Overwrite some columns of rows that are there, in one commit; a uri that is not there is passed over."""
        rows = self._rows(columns, list(columns))
        with guard(self.path, "written"):
            self._table.merge_insert("uri").when_matched_update_all().execute(rows)
            self._table.checkout_latest()

    def _rows(self, columns: Mapping[str, Any], names: list[str]) -> pa.Table:
        schema, count = self._table.schema, len(columns["uri"])
        arrays = [array(columns.get(name), schema.field(name).type, count) for name in names]
        return pa.table(arrays, schema=pa.schema([schema.field(name) for name in names]))

    def delete(self, ids: npt.NDArray[np.int64]) -> None:
        """Take rows out, in commits of at most 10,000."""
        for part in np.split(ids, range(10_000, len(ids), 10_000)) if len(ids) else ():
            with guard(self.path, "written"):
                self._table.delete(f"_rowid IN ({', '.join(map(str, part.tolist()))})")

    def remove(self, uris: Sequence[str]) -> int:
        """Take out images by uri or path, a folder with all that is below it; return how many rows went.

        Raises
        ------
        InputError
            If one of them names nothing in the collection; then none is taken out.
        """
        found = []
        for uri in uris:
            path = from_uri(uri)
            local = to_uri(path)
            # A path that is not Unicode is no text that could be asked for.
            exact = self.known({local} if local.startswith("file://") else {local, uri})
            ids = np.union1d(np.array([row.id for row in exact.values()], np.int64), self.ids_under(prefixes(path)))
            if not len(ids):
                raise InputError(
                    f"The collection {self.path} has no image {uri!r}, nor any below it; nothing was removed. "
                    "Give a uri as search prints it, or a folder."
                )
            found.append(ids)
        gone = np.unique(np.concatenate(found))
        self.delete(gone)
        return len(gone)

    def refresh(self) -> None:
        """Move on to the newest version."""
        with guard(self.path, "opened"):
            self._table.checkout_latest()

    def _read(self, columns: list[str], where: str | None = None) -> pa.Table:
        with guard(self.path, "read"):
            return self._table.to_table(columns=columns, filter=where, with_row_id=True)


def _images(path: str) -> str:
    return str(Path(path, "images.lance"))


def _ids(rows: pa.Table) -> npt.NDArray[np.int64]:
    ids: npt.NDArray[np.int64] = rows["_rowid"].to_numpy().astype(np.int64)
    return ids
