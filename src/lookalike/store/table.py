"""A Table: one Lance table of images, with a vector column for each Space.

A row is an image (it has a sha256), a failure (it has an error), or both: an image whose file can no longer be
read keeps its last good vectors. The uri is the table's key; ids are Lance's stable row ids, which the store
gives out at commit and never uses twice.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import CollectionError, InputError, ModelError, SpaceError
from lookalike.io.files import remove_on_error
from lookalike.sources import resolve_uri, uri_prefixes
from lookalike.store import lock
from lookalike.store.failures import Operation, damage_error, translate_errors
from lookalike.store.schema import (
    BASE,
    FORMAT,
    array,
    column,
    format_of,
    metadata_column,
    models_of,
)
from lookalike.store.view import View, images
from lookalike.tracing import span
from lookalike.types import Kind, Model

__all__ = ["Table"]

_UNFINISHED = ".images."


class Table(View):
    """A table of images; made by `create` or `open`.

    It is read at one version, as a `lookalike.store.view.View` is. Each change is one of the newest version,
    made while no other process makes any; then this object reads what came of it.
    """

    @classmethod
    def create(cls, path: str | os.PathLike[str], models: Sequence[Model]) -> Table:
        """Make an empty collection with one Space for each Model.

        Raises
        ------
        CollectionError
            If the folder already holds something, another process having just made it included, or cannot be written.
        """
        path = os.path.expanduser(path)  # noqa: PTH111
        place = str(Path(path, f"{_UNFINISHED}{secrets.token_hex(4)}"))
        schema = BASE
        for model in models:
            schema = schema.append(column(model))
        _check_free(path)
        with translate_errors(path, Operation.CREATE):
            Path(path).mkdir(parents=True, exist_ok=True)
        with (
            lock.hold(path, new=True),
            translate_errors(path, Operation.CREATE),
            remove_on_error(Path(place)),
        ):
            _check_free(path)
            table = lance.write_dataset(
                schema.empty_table(), place, mode="create", enable_stable_row_ids=True
            )
            table.create_scalar_index("uri", "BTREE")
            Path(place).rename(
                images(path)
            )  # last: killed at any moment, the table is there whole or not at all
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Table:
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
        with span("open collection"), translate_errors(path, Operation.OPEN):
            table = lance.dataset(images(path))
            schema = table.schema
        found = format_of(schema)
        if not found:
            raise damage_error(path, Operation.OPEN, "its newest version has no columns of ours")
        if found != FORMAT:
            raise CollectionError(
                f"The collection {path} has the format {found}; this Lookalike reads {FORMAT}. "
                "Use the Lookalike that wrote it, or index into a new folder."
            )
        try:
            models_of(schema)
        except ModelError as error:
            raise damage_error(path, Operation.OPEN, str(error)) from error
        return cls(path, table)

    def reopen(self) -> Table:
        """Return the newest version as an object of its own, which stays at it whatever becomes of this one."""
        with translate_errors(self.path, Operation.READ):
            return Table(self.path, lance.dataset(images(self.path)))

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Tell whether there is a collection at a path."""
        with translate_errors(str(path), Operation.OPEN):
            return Path(images(os.path.expanduser(path))).is_dir()  # noqa: PTH111

    @contextmanager
    def write_lock(self) -> Iterator[bool]:
        """Keep every other writer out until the block ends, which begins at the newest version.

        What is read in it is what its commits change. A method that commits does so within such a block; several of
        them within one see nothing come between.

        Yields
        ------
        bool
            Whether others are kept out for sure; see `lookalike.store.lock`.

        Raises
        ------
        BusyError
            If another process holds the collection for too long.
        """
        with lock.hold(self.path) as alone:
            self.refresh()
            yield alone

    def add_space(self, model: Model) -> None:
        """Add an empty Space for a Model; one that is there already must be filled by the same Model.

        Raises
        ------
        SpaceError
            If the Space is there but filled by another Model, or the name is taken by a column.
        """
        if self._has(model):
            return
        with self.write_lock():
            if self._has(model):
                return
            if model.name in self._table.schema.names:
                raise SpaceError(
                    f"A Space cannot be named {model.name!r}, for a column is. Rename the model."
                )
            with translate_errors(self.path, Operation.WRITE):
                self._table.add_columns(pa.schema([column(model)]))

    def _has(self, model: Model) -> bool:
        """Tell whether there is a Space of a model's name, which no other model may fill."""
        present = self.models.get(model.name)
        if present is not None and present.fingerprint != model.fingerprint:
            raise SpaceError(
                f"The Space {model.name!r} of {self.path} is filled by {present.title} ({present.fingerprint}), not by "
                f"{model.title} ({model.fingerprint}): their vectors cannot be compared. Give the other model another "
                "name in a .toml description, or index into a new collection with -c."
            )
        return present is not None

    def add_metadata(self, kinds: Mapping[str, Kind]) -> None:
        """Add empty columns of metadata, in one commit; those that are there already stay."""
        with self.write_lock(), translate_errors(self.path, Operation.WRITE):
            fields = [
                metadata_column(name, kind)
                for name, kind in kinds.items()
                if name not in self.metadata
            ]
            if fields:
                self._table.add_columns(pa.schema(fields))

    def upsert(self, columns: Mapping[str, Any], *, replace: bool) -> None:
        """Put rows in, in one commit: a uri that is there is overwritten, any other is added.

        Parameters
        ----------
        columns
            Arrays or lists of one length by column, ``uri`` among them, no uri twice; a Space's vectors as
            float ``[n, dim]``.
        replace
            True replaces the whole row: columns that are not given become null. False keeps their values. Metadata
            columns belong to the uri, not to the content, and are always kept.
        """
        with self.write_lock():
            schema = self._table.schema
            kept = self.metadata if replace else schema.names
            rows = self._rows(
                columns, [name for name in schema.names if name in columns or name not in kept]
            )
            with translate_errors(self.path, Operation.WRITE):
                self._table.merge_insert(
                    "uri"
                ).when_matched_update_all().when_not_matched_insert_all().execute(rows)
                self._table.checkout_latest()

    def update(self, columns: Mapping[str, Any]) -> None:
        """Overwrite some columns of rows that are there, in one commit; a uri that is not there is passed over."""
        with self.write_lock():
            rows = self._rows(columns, list(columns))
            with translate_errors(self.path, Operation.WRITE):
                self._table.merge_insert("uri").when_matched_update_all().execute(rows)
                self._table.checkout_latest()

    def _rows(self, columns: Mapping[str, Any], names: list[str]) -> pa.Table:
        schema, count = self._table.schema, len(columns["uri"])
        arrays = [array(columns.get(name), schema.field(name).type, count) for name in names]
        return pa.table(arrays, schema=pa.schema([schema.field(name) for name in names]))

    def delete(self, ids: npt.NDArray[np.int64]) -> None:
        """Take rows out, in commits of at most 10,000; those that are there no more are passed over."""
        if not len(ids):
            return
        with self.write_lock(), translate_errors(self.path, Operation.WRITE):
            for part in np.split(ids, range(10_000, len(ids), 10_000)):
                self._table.delete(f"_rowid IN ({', '.join(map(str, part.tolist()))})")

    def remove(self, uris: Sequence[str]) -> int:
        """Take out images by uri or path, a folder with all that is below it; return how many rows went.

        Raises
        ------
        InputError
            If one of them names nothing in the collection; then none is taken out.
        """
        with self.write_lock():
            gone = np.unique(np.concatenate([self._named(uri) for uri in uris]))
            self.delete(gone)
        return len(gone)

    def _named(self, uri: str) -> npt.NDArray[np.int64]:
        """Return the ids of the rows that a uri or a path names."""
        resolved = resolve_uri(uri)
        exact = self.existing_rows([resolved])
        ids = np.union1d(
            np.array([row.id for row in exact.values()], np.int64),
            self.ids_under(uri_prefixes(resolved)),
        )
        if not len(ids):
            raise InputError(
                f"The collection {self.path} has no image {uri!r}, nor any below it; nothing was removed. "
                "Give a uri as search prints it, or a folder."
            )
        return ids


def _check_free(path: str) -> None:
    """Refuse a place where there is more than what a `create` leaves that was killed."""
    folder, ours = Path(path), (_UNFINISHED, lock.WRITER, lock.UPKEEP)
    if folder.is_file() or (
        folder.is_dir() and any(not p.name.startswith(ours) for p in folder.iterdir())
    ):
        raise CollectionError(
            f"{path} already holds something. Open it, or name a new folder for the collection."
        )
