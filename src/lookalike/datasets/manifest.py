"""A manifest: which images make up a dataset, of which class each is, and whether it is to train or to test.

A table of three text columns: ``uri`` (an absolute path, or a ``file://`` URI where the path is not valid Unicode),
``label`` (the class) and ``split`` (``train`` or ``test``). It is kept as CSV, for people, and as Parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lookalike.errors import InputError
from lookalike.io.files import atomic_write
from lookalike.io.tables import read_table
from lookalike.sources import resolve_uri

__all__ = ["SCHEMA", "read_manifest", "stratify", "write_manifest"]

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("uri", "label", "split")]
)
_SPLITS = ("train", "test")
_ROWS = 1 << 12


def stratify(
    classes: Mapping[str, Sequence[Path | str]], *, test: float = 0.2, seed: int = 0
) -> pa.Table:
    """Draw the images to test with, in every class the same share.

    The draw of a class depends on the seed, its name and its files alone, so other classes do not change it.

    Parameters
    ----------
    classes
        The paths or uris of each class, in an order that does not change.
    test
        The share to test with, above 0 and below 1. A class of two or more has at least one image on each side; a
        class of one has it in train.
    seed
        0 or more.

    Returns
    -------
    pyarrow.Table
        A row an image, sorted by uri; the columns of a manifest.

    Raises
    ------
    InputError
        If the share or seed is out of range.
    """
    if not 0 < test < 1 or seed < 0:
        raise InputError(
            f"test = {test}, seed = {seed} cannot be used. Give a share above 0 and below 1, and a seed of 0 or more."
        )
    rows = []
    for label, files in classes.items():
        # The raw stream of a bit generator is the one that NumPy promises never to change (NEP 19).
        keys = np.random.PCG64([seed, *label.encode()]).random_raw(len(files))
        tested = set(np.argsort(keys, kind="stable")[: _count(len(files), test)].tolist())
        rows += [
            (resolve_uri(path), label, "test" if nth in tested else "train")
            for nth, path in enumerate(files)
        ]
    columns = zip(*sorted(rows), strict=True) if rows else ([], [], [])
    return pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)


def _count(images: int, test: float) -> int:
    return min(max(round(images * test), 1), images - 1)


def write_manifest(table: pa.Table, folder: Path, *, name: str = "manifest") -> tuple[Path, Path]:
    """Write ``<name>.csv`` and ``<name>.parquet`` into the folder, each whole or not at all, and return their paths.

    Raises
    ------
    InputError
        If the table is no manifest, or the folder cannot be written.
    """
    table = _checked(table, "The table to write", lambda row: f"row {row + 1}")
    paths = folder / f"{name}.csv", folder / f"{name}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, write in zip(paths, (_write_csv, pq.write_table), strict=True):
            with atomic_write(path) as unfinished:
                write(table, unfinished)
    except OSError as error:
        raise InputError(
            f"The manifest {name!r} cannot be written to {folder}: {error}. Give a folder that can be written."
        ) from error
    return paths


def read_manifest(path: Path) -> pa.Table:
    """Read a manifest from a ``.csv`` or ``.parquet`` file.

    Returns
    -------
    pyarrow.Table
        The columns uri, label and split, as text; columns beyond those are left out.

    Raises
    ------
    InputError
        If the file cannot be read, lacks one of the columns, leaves a value empty, names another split than train
        or test, or lists a uri twice. The message names the line or row, and the column.
    """
    table, where = read_table(path)
    return _checked(table, str(path), where)


def _write_csv(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _checked(table: pa.Table, what: str, where: Callable[[int], str]) -> pa.Table:
    """Return the manifest's own columns, or tell what is wrong with them."""
    _columns(table.slice(0, 0), what)
    seen: set[str] = set()
    # Some rows at a time: a few bytes may stand for any number of rows, but those are all alike.
    batches = (pa.Table.from_batches([part]) for part in table.to_batches(max_chunksize=_ROWS))
    parts = (_columns(part, what).to_pylist() for part in batches)
    for row, values in enumerate(tuple(entry.values()) for part in parts for entry in part):
        for name, value in zip(SCHEMA.names, values, strict=True):
            if not value:
                raise InputError(
                    f"{what}, {where(row)}: the column {name!r} is empty. Fill it, or remove the row."
                )
        uri, _, split = values
        if split not in _SPLITS:
            raise InputError(
                f"{what}, {where(row)}: the column 'split' holds {split!r}. Write train or test."
            )
        if uri in seen:
            raise InputError(
                f"{what}, {where(row)}: the column 'uri' lists {uri!r} a second time. Keep one of the two."
            )
        seen.add(uri)
    return _columns(table, what).cast(SCHEMA)


def _columns(table: pa.Table, what: str) -> pa.Table:
    """Return the three columns as text; values may still be missing."""
    for name in SCHEMA.names:
        if table.column_names.count(name) != 1:
            raise InputError(
                f"{what} has the columns {table.column_names}, and a manifest has {SCHEMA.names}, each once. Correct "
                f"{name!r}."
            )
    try:
        return table.select(SCHEMA.names).cast(
            pa.schema([field.with_nullable(True) for field in SCHEMA])
        )
    except pa.ArrowException as error:
        raise InputError(
            f"{what} has columns that are no text: {error}. Make all of {SCHEMA.names} text."
        ) from error
