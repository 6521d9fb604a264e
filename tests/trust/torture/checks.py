"""Compare rows, vectors, maps and files on the disk with those of an uninterrupted run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lance
import numpy as np

import lookalike
from lookalike.collection import Collection
from lookalike.errors import LookalikeError
from lookalike.store import maps
from lookalike.store.table import Table

# Vectors of unit length as float16: two roundings.
_TOLERANCE = 1e-3
_EIGHT_DAYS_S = 8 * 24 * 3600
_TABLE = "images.lance"
_TRASH = "trash.lance"
# The tables and the maps have checks of their own. Lock files and files of ONNX Runtime differ in
# each run.
_IGNORED = {_TABLE, _TRASH, "maps", ".writer", ".upkeep", ".duplicates", "Microsoft"}


class Row(NamedTuple):
    """The row of one uri: its content and state, its metadata, and its vector in each Space."""

    state: tuple[Any, ...]
    metadata: tuple[Any, ...]
    spaces: frozenset[str]
    vectors: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class State:
    """The rows by uri, the maps by name, and the sha256 of every other file by path."""

    rows: dict[str, Row]
    duplicates: list[str]
    maps: dict[str, maps.StoredMap]
    files: dict[str, str]
    version: int
    # The uris that the trash shows.
    trash: frozenset[str] = frozenset()


class Finding(NamedTuple):
    """A violated guarantee: its kind, and a description."""

    kind: str
    what: str


def collection(folder: Path) -> Path | None:
    """Return the folder of the collection, or None without a table."""
    return next((path.parent for path in folder.rglob(_TABLE) if path.is_dir()), None)


def read(folder: Path) -> State:
    """Read everything, and raise if something cannot be read."""
    path = collection(folder)
    rows, duplicates, version = {}, [], 0
    trash: frozenset[str] = frozenset()
    if path is not None:
        opened = Table.open(path)
        version = opened.version
        trash = frozenset(opened.trash.rows()["uri"].to_pylist())
        for uri, row in _rows(opened):
            if uri in rows:
                duplicates.append(uri)
            rows[uri] = row
    kept = {}
    for file in sorted(path.glob("maps/[!.]*")) if path is not None else ():
        space, _, method = file.stem.rpartition("-")
        found = maps.read(str(path), space, method)
        assert found is not None, file
        kept[file.stem] = found
    return State(rows, duplicates, kept, dict(_files(folder)), version, trash)


def _rows(opened: Table) -> Iterator[tuple[str, Row]]:
    table = opened.lance_dataset.to_table()
    spaces = list(opened.models)
    columns = {
        name: table[name].to_pylist()
        for name in table.column_names
        if name not in {*spaces, "thumbnail"}
    }
    named = ("label", "sha256", "width", "height", "error", "mtime_ns", "size")
    matrices = {name: table[name].combine_chunks() for name in spaces}
    for at, uri in enumerate(columns["uri"]):
        vectors = {
            name: _vector(column[at])
            for name, column in matrices.items()
            if column[at].is_valid
        }
        metadata = tuple((name, columns[name][at]) for name in opened.metadata)
        row = Row(
            tuple(columns[name][at] for name in named),
            metadata,
            frozenset(columns["spaces"][at] or ()),
            vectors,
        )
        yield uri, row


def _vector(scalar: Any) -> np.ndarray:
    return scalar.values.to_numpy(zero_copy_only=False)


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not _IGNORED & {*name.parts[:-1], path.name}:
            yield str(name), hashlib.sha256(path.read_bytes()).hexdigest()
        elif (
            path.is_file() and path.parent.name == "maps" and path.name.startswith(".")
        ):
            yield str(name), ""


def check_after_kill(
    folder: Path, start: State, end: State, committed: int
) -> tuple[State | None, list[Finding]]:
    """Check what a killed run left: all of it must be as at the start or as at the end.

    Parameters
    ----------
    committed
        The newest version of the table that was seen during the run.
    """
    try:
        state = read(folder)
        findings = [*_compare_rows_and_files(state, start, end)]
        path = collection(folder)
        if path is not None:
            findings += [
                *_check_versions(path, state, start, end, committed),
                *_check_search(path, state),
            ]
        elif start.rows or committed:
            findings.append(Finding("lost", "the collection is missing"))
    except (LookalikeError, OSError, ValueError, AssertionError) as error:
        return None, [Finding("unusable", f"{type(error).__name__}: {error}")]
    return state, findings


def _compare_rows_and_files(
    state: State, start: State, end: State
) -> Iterator[Finding]:
    yield from (Finding("doubled", uri) for uri in state.duplicates)
    yield from (
        Finding("lost", uri)
        for uri in start.rows.keys() & end.rows.keys() - state.rows.keys()
    )
    yield from (Finding("lost", uri) for uri in _lost_from_trash(state, start, end))
    yield from (
        Finding("doubled", f"{uri} is in the trash and in the table")
        for uri in state.trash & state.rows.keys()
        if uri not in start.trash
    )
    for uri, row in state.rows.items():
        may = [known.rows[uri] for known in (start, end) if uri in known.rows]
        if row.state not in [known.state for known in may]:
            yield Finding(
                "wrong",
                f"{uri} is {row.state}, expected one of {[known.state for known in may]}",
            )
        elif row.spaces != row.vectors.keys():
            yield Finding(
                "wrong", f"{uri} claims {set(row.spaces)} and has {set(row.vectors)}"
            )
        elif not any(
            _same_vectors(row, known) for known in may if known.state == row.state
        ):
            yield Finding(
                "wrong", f"{uri} has another vector than in an undisturbed run"
            )
        if row.state[1] is not None and not row.vectors:
            yield Finding("wrong", f"{uri} is an image without any vector")
    for name, kept in state.maps.items():
        if not any(
            name in known.maps and _same_map(kept, known.maps[name])
            for known in (start, end)
        ):
            yield Finding("wrong", f"the map {name} is neither the old one nor the new")
    for name, sha256 in state.files.items():
        may = [known.files[name] for known in (start, end) if name in known.files]
        if may and sha256 not in may:
            yield Finding("unusable", f"{name} is half written")


def _lost_from_trash(state: State, start: State, end: State) -> set[str]:
    """Return images that belong in the trash, and are neither there nor in the table."""
    kept = {
        uri
        for uri in end.trash
        if uri in start.trash or (uri in start.rows and start.rows[uri].vectors)
    }
    return kept - state.rows.keys() - state.trash


def _same_vectors(row: Row, known: Row) -> bool:
    """Return whether each vector of a row is the expected one; some may still be missing."""
    held = row.vectors.keys() & known.vectors.keys()
    return all(
        np.allclose(row.vectors[name], known.vectors[name], rtol=0, atol=_TOLERANCE)
        for name in held
    )


def _same_map(kept: maps.StoredMap, known: maps.StoredMap) -> bool:
    return kept.xy.shape == known.xy.shape and np.allclose(
        kept.xy, known.xy, rtol=1e-3, atol=1e-3
    )


def _check_versions(
    path: Path, state: State, start: State, end: State, committed: int
) -> Iterator[Finding]:
    """Check that the newest version has all committed rows, except rows that the action removes."""
    if state.version < committed:
        yield Finding(
            "lost",
            f"version {committed} was committed, but the newest is {state.version}",
        )
    images = str(path / _TABLE)
    for version in [found["version"] for found in lance.dataset(images).versions()]:
        if version > start.version:
            uris = (
                lance.dataset(images, version=version)
                .to_table(columns=["uri"])["uri"]
                .to_pylist()
            )
            yield from (
                Finding("lost", uri)
                for uri in (set(uris) & end.rows.keys()) - state.rows.keys()
            )


def _check_search(path: Path, state: State) -> Iterator[Finding]:
    """Search by an indexed image in pixel space: it must find itself."""
    opened = Table.open(path)
    for space in [
        name for name, model in opened.models.items() if model.architecture == "pixels"
    ]:
        uri = next(
            (
                uri
                for uri, row in state.rows.items()
                if space in row.vectors and Path(uri).exists()
            ),
            None,
        )
        if uri is None or Path(uri).stat().st_mtime_ns != state.rows[uri].state[5]:
            continue
        matches = Collection(opened).search(uri, space=space, k=3)
        if not len(matches) or matches.distances[0] > _TOLERANCE:
            yield Finding("unusable", f"a search by {uri} in {space} does not find it")


def check_after_rerun(folder: Path, end: State) -> list[Finding]:
    """Check that the rerun leads to the same end as an uninterrupted run, and to nothing else."""
    try:
        state = read(folder)
        findings = [*_compare_rows_and_files(state, end, end)]
    except (LookalikeError, OSError, ValueError, AssertionError) as error:
        return [Finding("unusable", f"{type(error).__name__}: {error}")]
    findings += [Finding("lost", uri) for uri in end.rows.keys() - state.rows.keys()]
    for uri in end.rows.keys() & state.rows.keys():
        row, known = state.rows[uri], end.rows[uri]
        if (row.spaces, row.metadata) != (known.spaces, known.metadata):
            findings.append(
                Finding(
                    "wrong",
                    f"{uri} has {row.spaces} {row.metadata}, expected {known.spaces}",
                )
            )
    findings += [
        Finding("unusable", f"the map {name} is missing")
        for name in end.maps.keys() - state.maps.keys()
    ]
    findings += [
        Finding("unusable", f"{name} is missing")
        for name in end.files.keys() - state.files.keys()
    ]
    findings += [
        Finding("leftover", name)
        for name in state.files.keys() - end.files.keys()
        if ".images." not in name
    ]
    path = collection(folder)
    return findings if path is None else [*findings, *_find_leftovers(path)]


def _find_leftovers(path: Path) -> Iterator[Finding]:
    """Age all files by eight days, optimize, and find files of the table without a version."""
    then = time.time() - _EIGHT_DAYS_S
    for file in [path, *path.rglob("*")]:
        os.utime(file, (then, then))
    lookalike.optimize(path, keep_days=0, min_rows=1 << 30)
    images, named = path / _TABLE, set()
    for version in lance.dataset(str(images)).versions():
        table = lance.dataset(str(images), version=version["version"])
        for fragment in table.get_fragments():
            named |= {Path(file.path).name for file in fragment.metadata.files}
        named |= {
            str(part.uuid)
            for index in table.describe_indices()
            for part in index.segments
        }
    there = [*images.glob("data/*"), *images.glob("_indices/*")]
    yield from (
        Finding("leftover", str(file)) for file in there if file.name not in named
    )
    yield from (Finding("leftover", str(file)) for file in path.glob(".images.*"))
