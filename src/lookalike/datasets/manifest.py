"""A manifest lists the images of a dataset, the class of each, and its part of the split.

It is a table of three text columns: ``uri`` (an absolute path, or a ``file://`` URI if the path is
not valid Unicode), ``label`` (the class), and ``split`` (``train`` or ``test``). It is stored as
CSV, for people, and as Parquet.
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

__all__ = ["SCHEMA", "check_split", "read_manifest", "stratify", "write_manifest"]

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("uri", "label", "split")]
)
_NULLABLE_SCHEMA = pa.schema([field.with_nullable(True) for field in SCHEMA])
_SPLITS = ("train", "test")
_ROWS_PER_BATCH = 1 << 12


def check_split(test: float, seed: int) -> None:
    """Raise InputError if the share of test images or the seed is out of range."""
    if not 0 < test < 1 or seed < 0:
        raise InputError(
            f"test = {test}, seed = {seed} cannot be used. "
            "Give a share above 0 and below 1, and a seed of 0 or more."
        )


def stratify(
    classes: Mapping[str, Sequence[Path | str]], *, test: float = 0.2, seed: int = 0
) -> pa.Table:
    """Split images into training and test images, with the same share of tests in every class.

    The split of a class depends only on the seed, its name, and its files. Other classes do not
    change it.

    Parameters
    ----------
    classes
        The paths or uris of each class, in an order that does not change.
    test
        The share of test images, above 0 and below 1. A class of two or more images has at least
        one on each side. A class of one has it in train.
    seed
        0 or more.

    Returns
    -------
    pyarrow.Table
        One row per image, sorted by uri, with the columns of a manifest.

    Raises
    ------
    InputError
        If the share or seed is out of range.
    """
    check_split(test, seed)
    rows = []
    for label, images in classes.items():
        count = len(images)
        test_indexes = _draw_test_indexes(label, count, test=test, seed=seed)
        for index, image in enumerate(images):
            part = "train"
            if index in test_indexes:
                part = "test"
            uri = resolve_uri(image)
            row = (uri, label, part)
            rows.append(row)
    rows.sort()

    # The rows as columns.
    uris = []
    labels = []
    parts = []
    for uri, label, part in rows:
        uris.append(uri)
        labels.append(label)
        parts.append(part)
    columns = {"uri": uris, "label": labels, "split": parts}
    return pa.table(columns, schema=SCHEMA)


def _draw_test_indexes(label: str, count: int, *, test: float, seed: int) -> set[int]:
    # The raw stream of a bit generator is the one that NumPy promises never to change (NEP 19).
    entropy = [seed, *label.encode()]
    generator = np.random.PCG64(entropy)
    keys = generator.random_raw(count)

    # At least one image on each side, except in a class of one.
    test_count = round(count * test)
    test_count = max(test_count, 1)
    test_count = min(test_count, count - 1)

    order = np.argsort(keys, kind="stable")
    drawn = order[:test_count]
    return set(drawn.tolist())


def write_manifest(
    table: pa.Table, folder: Path, *, name: str = "manifest"
) -> tuple[Path, Path]:
    """Write ``<name>.csv`` and ``<name>.parquet``, each whole or not at all.

    Returns
    -------
    tuple of Path
        The paths of both files.

    Raises
    ------
    InputError
        If the table is not a manifest, or the folder cannot be written.
    """
    table = _checked_manifest(table, "The table to write", _row_position)
    csv_path = folder / f"{name}.csv"
    parquet_path = folder / f"{name}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(csv_path) as unfinished:
            _write_csv(table, unfinished)
        with atomic_write(parquet_path) as unfinished:
            pq.write_table(table, unfinished)
    except OSError as error:
        raise InputError(
            f"The manifest {name!r} cannot be written to {folder}: {error}. "
            "Give a folder that can be written."
        ) from error
    return csv_path, parquet_path


def read_manifest(path: Path) -> pa.Table:
    """Read a manifest from a ``.csv`` or ``.parquet`` file.

    Returns
    -------
    pyarrow.Table
        The columns uri, label, and split, as text. Other columns are left out.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column, leaves a value empty, names a split other than
        train and test, or lists a uri twice. The message names the line or row, and the column.
    """
    table, position = read_table(path)
    source = str(path)
    return _checked_manifest(table, source, position)


def _row_position(row: int) -> str:
    """Return the name of a table's row in messages."""
    number = row + 1
    return f"row {number}"


def _write_csv(table: pa.Table, path: Path) -> None:
    columns = [column.to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(rows)


def _checked_manifest(
    table: pa.Table, source: str, position: Callable[[int], str]
) -> pa.Table:
    """Return the columns of a manifest, or raise an error that names the first wrong value.

    `source` names the table in messages, and `position` names a row by its number.
    """
    # The names of the columns are checked first, on a table without rows.
    no_rows = table.slice(0, 0)
    _text_columns(no_rows, source)

    # In batches: a file of a few bytes may stand for any number of equal rows.
    row = 0
    seen: set[str] = set()
    for batch in table.to_batches(max_chunksize=_ROWS_PER_BATCH):
        part = pa.Table.from_batches([batch])
        columns = _text_columns(part, source)
        for values in columns.to_pylist():
            problem = _row_problem(values, seen)
            if problem is not None:
                raise InputError(f"{source}, {position(row)}: {problem}")
            uri = values["uri"]
            seen.add(uri)
            row += 1
    columns = _text_columns(table, source)
    return columns.cast(SCHEMA)


def _row_problem(values: dict[str, str | None], seen: set[str]) -> str | None:
    for name in SCHEMA.names:
        if not values[name]:
            return f"the column {name!r} is empty. Fill it, or remove the row."

    uri, split = values["uri"], values["split"]
    if split not in _SPLITS:
        return f"the column 'split' holds {split!r}. Write train or test."
    if uri in seen:
        return f"the column 'uri' lists {uri!r} a second time. Keep one of the two."
    return None


def _text_columns(table: pa.Table, source: str) -> pa.Table:
    """Return the three columns as text. Values may still be missing."""
    for name in SCHEMA.names:
        count = table.column_names.count(name)
        if count != 1:
            raise InputError(
                f"{source} has the columns {table.column_names}, and a manifest has "
                f"{SCHEMA.names}, each once. Correct {name!r}."
            )
    columns = table.select(SCHEMA.names)
    try:
        return columns.cast(_NULLABLE_SCHEMA)
    except pa.ArrowException as error:
        raise InputError(
            f"{source} has columns that are not text: {error}. Make all of {SCHEMA.names} text."
        ) from error
