"""A Table: one Lance table of images, with a vector column for each Space.

A row is an image (it has a sha256), a failure (it has an error), or both: an image whose file can
no longer be read keeps its last good vectors. The uri is the table's key; ids are Lance's stable
row ids, which Lance assigns at commit and never reuses.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import lance
import numpy as np
import pyarrow as pa

from lookalike.errors import CollectionError, InputError, ModelError, SpaceError
from lookalike.sources import resolve_uri, uri_prefixes
from lookalike.store import lock
from lookalike.store.conflicts import StepResult, retry_conflicts
from lookalike.store.creation import make_empty_table
from lookalike.store.failures import (
    Operation,
    conflict_error,
    damage_error,
    translate_errors,
)
from lookalike.store.location import Location
from lookalike.store.places import locate
from lookalike.store.schema import (
    BASE,
    FORMAT,
    UNFINISHED,
    array,
    column,
    format_of,
    given_columns,
    id_clause,
    metadata_column,
    models_of,
    quote,
    tag_column,
)
from lookalike.store.view import DEVICES_KEY, View
from lookalike.tracing import span
from lookalike.types import Ids, Kind, Model

if TYPE_CHECKING:
    from lance.dataset import MergeInsertBuilder

    from lookalike.store.trash import Trash

__all__ = ["Table"]

_BATCH = 10_000
# How often Lance repeats a commit of its own accord, which overwrites what others have committed.
_RETRIES = 10


@dataclass(slots=True)
class _Step:
    """A step of `Table.transaction` that runs.

    Attributes
    ----------
    has_passed
        Whether a commit of another process lies between what the step has read and the version
        that it would change now.
    """

    has_passed: bool = False


class Table(View):
    """A table of images, made by `create` or `open`.

    It reads one version, as a `lookalike.store.view.View` does. Each change starts from the newest
    version, while the write lock keeps other processes from changing the table; afterwards this
    object reads the version that the change has made.
    """

    def __init__(self, path: str, dataset: lance.LanceDataset) -> None:
        super().__init__(path, dataset)
        self._step: _Step | None = None

    @classmethod
    def create(cls, path: str | os.PathLike[str], models: Sequence[Model]) -> Table:
        """Make an empty collection with one Space for each Model.

        Raises
        ------
        CollectionError
            If the folder is not empty, cannot be written, or another process has just made a
            collection in it.
        """
        location = locate(path)
        schema = BASE
        for model in models:
            schema = schema.append(column(model))
        _check_free(location)
        with translate_errors(location.path, Operation.CREATE):
            location.prepare()

        with (
            lock.hold(location.path, new=True),
            translate_errors(location.path, Operation.CREATE),
        ):
            # Again, now that no other process can create one.
            _check_free(location)
            with location.new_table() as uri:
                dataset = _make_first_version(location, uri, schema)
                dataset.create_scalar_index("uri", "BTREE")
        return cls.open(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Table:
        """Open an existing collection at its newest version.

        Raises
        ------
        CollectionError
            If it does not exist, is damaged, or was written by a newer Lookalike.
        """
        location = locate(path)
        path = location.path
        if not cls.exists(path):
            problem = "does not exist"
            if location.is_present():
                problem = "is a folder without a collection"
            raise CollectionError(
                f"The collection {path} {problem}. "
                f"Create it with: lookalike index FOLDER -c {path}, "
                "or name another with -c or LOOKALIKE_COLLECTION."
            )
        with span("open collection"), translate_errors(path, Operation.OPEN):
            dataset = lance.dataset(location.table_uri)
            schema = dataset.schema

        table_format = format_of(schema)
        if not table_format:
            raise damage_error(
                path, Operation.OPEN, "its newest version declares no format"
            )
        if table_format == UNFINISHED:
            raise CollectionError(
                f"The collection {path} is incomplete: another process writes a copy there, or was "
                "killed while it did. If no backup and no restore is running, remove everything "
                "below that address, then run the command again."
            )
        if table_format != FORMAT:
            raise CollectionError(
                f"The collection {path} has the format {table_format}; "
                f"this Lookalike reads {FORMAT}. "
                "Use the Lookalike that wrote it, or index into a new folder."
            )
        try:
            models_of(schema)
        except ModelError as error:
            raise damage_error(path, Operation.OPEN, str(error)) from error
        return cls(path, dataset)

    def reopen(self) -> Table:
        """Return a new object at the newest version, which stays at it when this one moves."""
        path = self.path
        table_uri = self.location.table_uri
        with translate_errors(path, Operation.READ):
            dataset = lance.dataset(table_uri)
        return Table(path, dataset)

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Return whether there is a collection at a path."""
        shown_path = str(path)
        with translate_errors(shown_path, Operation.OPEN):
            location = locate(path)
            return location.has_table()

    @contextmanager
    def write_lock(self) -> Iterator[bool]:
        """Move to the newest version and keep all other writers out until the block ends.

        Each method that commits does so in such a block, so that it changes the rows that it has
        read. Several of them within one block have no commit of another process between them.

        Yields
        ------
        bool
            Whether the lock is held; see `lookalike.store.lock.hold`.

        Raises
        ------
        BusyError
            If another process holds the lock for too long.
        """
        path = self.path
        with lock.hold(path) as is_locked:
            # Without a lock, a step goes on from the version that it has read.
            is_in_step = self._step is not None
            if is_locked or not is_in_step:
                self.refresh()
            yield is_locked

    def transaction(self, step: Callable[[], StepResult]) -> StepResult:
        """Run a step that reads rows and changes them, with no commit of others in between.

        Under the write lock, the step runs once. Without locks, as in object storage, it
        runs again from the newest version if another process has changed the same rows meanwhile.
        A transaction within a transaction is a part of it.

        Parameters
        ----------
        step
            The step. Its commits before a conflict stay, so it must find what it has already done.

        Raises
        ------
        BusyError
            If another process holds the lock for too long, or its commits conflict again and again.
        """
        if self._step is not None:
            return step()

        def run() -> StepResult:
            try:
                with self.write_lock():
                    self._step = _Step()
                    return step()
            finally:
                self._step = None

        return retry_conflicts(run)

    @contextmanager
    def _commit(self) -> Iterator[int]:
        """Make one commit in the block, and move to its version.

        Yields
        ------
        int
            How often Lance may repeat the commit if it conflicts with another process's.
        """
        path = self.path
        with self.write_lock() as is_locked:
            step = None
            retries = _RETRIES
            if not is_locked and self._step is not None:
                step = self._step
                retries = 0
            if step is not None and step.has_passed:
                raise conflict_error(path, Operation.WRITE)
            own_version = self.version + 1
            with translate_errors(path, Operation.WRITE):
                yield retries
                self._dataset.checkout_latest()
            if step is not None and self.version > own_version:
                step.has_passed = True

    @property
    def trash(self) -> Trash:
        """The rows that were removed, until they expire."""
        # A search loads no trash.
        from lookalike.store.trash import Trash

        return Trash(self)

    def record_devices(self, devices: Mapping[str, str]) -> None:
        """Store the file systems of indexed folders in place of the stored ones."""
        text = json.dumps(devices)
        with self._commit():
            self._dataset.update_metadata({DEVICES_KEY: text})

    def record_config(self, key: str, text: str) -> None:
        """Store a text in the table's configuration in place of the previous one of its key.

        Raises
        ------
        CollectionError
            If the table cannot be written; `ReadOnlyError` if the collection is read-only.
        """
        step = partial(self._record_config, key, text)
        self.transaction(step)

    def _record_config(self, key: str, text: str) -> None:
        with self._commit():
            self._dataset.update_config({key: text})

    # Columns

    def add_space(self, model: Model) -> None:
        """Add an empty Space for a Model; do nothing if the same Model fills it already.

        Raises
        ------
        SpaceError
            If another Model fills the Space, or another column has its name.
        """
        if self._has_space(model):
            return
        step = partial(self._add_space, model)
        self.transaction(step)

    def _add_space(self, model: Model) -> None:
        if self._has_space(model):
            return
        if model.name in self.schema.names:
            raise SpaceError(
                f"A Space cannot be named {model.name!r} because the collection has a column "
                "of that name. Rename the model."
            )
        space_column = column(model)
        schema = pa.schema([space_column])
        with self._commit():
            self._dataset.add_columns(schema)

    def _has_space(self, model: Model) -> bool:
        """Return whether there is a Space of a Model's name; raise if another Model fills it."""
        present = self.models.get(model.name)
        if present is None:
            return False
        if present.fingerprint != model.fingerprint:
            raise SpaceError(
                f"The Space {model.name!r} of {self.path} is filled by "
                f"{present.title} ({present.fingerprint}), not by "
                f"{model.title} ({model.fingerprint}). Their vectors cannot be compared. "
                "Give the other model another name in a .toml description, "
                "or index into a new collection with -c."
            )
        return True

    def add_metadata(self, kinds: Mapping[str, Kind]) -> None:
        """Add empty metadata columns in one commit; existing ones stay as they are."""
        step = partial(self._add_metadata, kinds)
        self.transaction(step)

    def _add_metadata(self, kinds: Mapping[str, Kind]) -> None:
        present = self.metadata
        fields = []
        for name, kind in kinds.items():
            if name not in present:
                field = metadata_column(name, kind)
                fields.append(field)
        if fields:
            with self._commit():
                schema = pa.schema(fields)
                self._dataset.add_columns(schema)

    def remove_tag_column(self) -> None:
        """Remove the column of tags, if there is one, in one commit."""
        self.transaction(self._remove_tag_column)

    def _remove_tag_column(self) -> None:
        name = tag_column(self.metadata)
        if name is None:
            return
        with self._commit():
            self._dataset.drop_columns([name])

    # Rows

    def upsert(self, columns: Mapping[str, Any], *, replace: bool) -> None:
        """Insert rows, or overwrite the rows of uris that the table holds, in one commit.

        Parameters
        ----------
        columns
            Arrays or lists of one length by column name, with ``uri`` and no uri twice. The vectors
            of a Space are a float array ``[n, dim]``.
        replace
            True replaces the whole row: columns that are not given become null. False keeps their
            values. Metadata columns belong to the uri, not to the content: those not given always
            keep their values. Tags come from the content.
        """
        with self.write_lock():
            names = self._written_columns(columns, replace)
            rows = self._rows(columns, names)
            self._merge(rows, insert=True)

    def update(self, columns: Mapping[str, Any]) -> None:
        """Overwrite columns of existing rows in one commit; unknown uris are skipped."""
        names = list(columns)
        with self.write_lock():
            rows = self._rows(columns, names)
            self._merge(rows, insert=False)

    def _written_columns(self, given: Mapping[str, Any], replace: bool) -> list[str]:
        """Return the columns that an `upsert` writes: those given, and with `replace` others."""
        kept = given_columns(self.metadata)
        names = []
        for name in self.schema.names:
            if name in given:
                names.append(name)
            elif replace and name not in kept:
                # Not given: it becomes null.
                names.append(name)
        return names

    def insert(self, rows: pa.RecordBatchReader) -> None:
        """Insert rows whose uris the table does not hold, in one commit; others are skipped.

        Columns that are not given become null.
        """
        with self._commit() as retries:
            merge = self._new_merge(retries)
            merge = merge.when_not_matched_insert_all()
            merge.execute(rows)

    def fill_metadata(self, rows: pa.Table) -> None:
        """Give metadata to rows that lack it; values that the table has stay.

        Parameters
        ----------
        rows
            ``uri``, no uri twice, and metadata columns.
        """
        names = [name for name in rows.column_names if name != "uri"]
        if not names:
            return
        for start in range(0, len(rows), _BATCH):
            part = rows.slice(start, _BATCH)
            batch = part.to_pylist()
            step = partial(self._fill_metadata, batch, names)
            self.transaction(step)

    def _fill_metadata(
        self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
    ) -> None:
        new_values = {row["uri"]: row for row in rows}
        existing = self.existing_rows(new_values)
        ids = [row.id for row in existing.values()]
        stored = self.take(ids, names).to_pylist()

        columns: dict[str, list[Any]] = defaultdict(list)
        for uri, values in zip(existing, stored, strict=True):
            given = new_values[uri]
            lacking = [name for name in names if values[name] is None]
            if all(given[name] is None for name in lacking):
                continue
            columns["uri"].append(uri)
            for name in names:
                source = given if name in lacking else values
                columns[name].append(source[name])
        if columns:
            self.update(columns)

    def move_uris(self, ids: Ids, old_prefix: str, new_prefix: str) -> None:
        """Replace the start of the uris of rows, in commits of at most 10,000; their ids stay.

        Parameters
        ----------
        ids
            int64 ``[n]``, the rows. All their uris start with the old prefix, and no row has one
            of the new uris.
        old_prefix, new_prefix
            The start of the uris before and afterwards.
        """
        # SQL counts characters from 1.
        first_kept = len(old_prefix) + 1
        rest = f"substr(uri, {first_kept})"
        quoted_prefix = quote(new_prefix)
        new_values = {"uri": f"concat({quoted_prefix}, {rest})"}
        with self.write_lock():
            for batch in _batches(ids):
                listed = batch.tolist()
                clause = id_clause(listed)
                with self._commit() as retries:
                    dataset = self._dataset
                    dataset.update(new_values, where=clause, conflict_retries=retries)

    def _new_merge(self, retries: int) -> MergeInsertBuilder:
        """Return a merge of rows by their uri, which Lance may repeat after a conflict."""
        dataset = self._dataset
        merge = dataset.merge_insert("uri")
        return merge.conflict_retries(retries)

    def _merge(self, rows: pa.Table, *, insert: bool) -> None:
        """Overwrite the rows of uris that the table holds; with `insert`, add those of others."""
        with self._commit() as retries:
            merge = self._new_merge(retries)
            merge = merge.when_matched_update_all()
            if insert:
                merge = merge.when_not_matched_insert_all()
            merge.execute(rows)

    def _rows(self, columns: Mapping[str, Any], names: list[str]) -> pa.Table:
        """Return the named columns as an Arrow table with the types of this one."""
        table_schema = self.schema
        uris = columns["uri"]
        count = len(uris)

        fields = []
        arrays = []
        for name in names:
            field = table_schema.field(name)
            column_type = field.type
            values = columns.get(name)
            typed_values = array(values, column_type, count)
            fields.append(field)
            arrays.append(typed_values)
        schema = pa.schema(fields)
        return pa.table(arrays, schema=schema)

    def delete(self, ids: Ids) -> None:
        """Delete rows by id, in commits of at most 10,000 rows; unknown ids are skipped."""
        if not len(ids):
            return
        with self.write_lock():
            for batch in _batches(ids):
                listed = batch.tolist()
                clause = id_clause(listed)
                with self._commit() as retries:
                    dataset = self._dataset
                    dataset.delete(clause, conflict_retries=retries)

    def remove(self, uris: Sequence[str]) -> int:
        """Move images by uri or path, or all images below a folder, into the trash.

        Returns the number of rows that were removed.

        Raises
        ------
        InputError
            If one of `uris` matches nothing in the collection; then nothing is removed.
        """
        from lookalike.store.trash import RemovalReason

        with self.write_lock():
            ids_by_uri = []
            for uri in uris:
                named_ids = self._ids_named(uri)
                ids_by_uri.append(named_ids)
            all_ids = np.concatenate(ids_by_uri)
            # Two of `uris` may name the same row: a folder, and an image in it.
            ids = np.unique(all_ids)
            trash = self.trash
            reason = RemovalReason.REMOVED
            trash.discard(ids, reason)
        return len(ids)

    def _ids_named(self, uri: str) -> Ids:
        """Return the ids of the rows that a uri or a path names."""
        resolved = resolve_uri(uri)
        # The row of this very uri, if there is one.
        existing = self.existing_rows([resolved])
        rows = existing.values()
        ids = [row.id for row in rows]
        exact_ids = np.array(ids, np.int64)
        # The rows of a folder.
        prefixes = uri_prefixes(resolved)
        ids_below = self.ids_under(prefixes)

        all_ids = np.union1d(exact_ids, ids_below)
        if not len(all_ids):
            raise InputError(
                f"The collection {self.path} has no image {uri!r} and no folder of that name. "
                "Nothing was removed. Give a uri as search prints it, or a folder."
            )
        return all_ids


def _batches(ids: Ids) -> Iterator[Ids]:
    count = len(ids)
    for start in range(0, count, _BATCH):
        end = start + _BATCH
        yield ids[start:end]


def _make_first_version(
    location: Location, uri: str, schema: pa.Schema
) -> lance.LanceDataset:
    try:
        return make_empty_table(uri, schema)
    except OSError as error:
        # Without a lock, another process may have made one first.
        if location.has_table():
            raise CollectionError(
                f"The collection {location.path} could not be created: another process has just "
                "made one there. Open that one, or name another folder with -c or "
                "LOOKALIKE_COLLECTION."
            ) from error
        raise


def _check_free(location: Location) -> None:
    """Refuse a folder that holds more than the leftovers of a `create` that was killed."""
    with translate_errors(location.path, Operation.CREATE):
        is_free = location.is_free()
    if not is_free:
        raise CollectionError(
            f"{location.path} is not empty. Open the collection in it, or name a new folder."
        )
