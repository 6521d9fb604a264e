"""The integrity rules of a collection's rows, and the report of what violates them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike import imaging
from lookalike.errors import CollectionError, ImageError
from lookalike.sources import open_uri
from lookalike.store import ann, inspection
from lookalike.store.table import Table
from lookalike.types import Ids, Model, VectorsF16

__all__ = ["OUTCOMES", "CheckReport", "Fault", "RowChecker", "restore_advice"]

# Faults that are listed; further ones are only counted.
_MAX_LISTED_FAULTS = 1_000
# How far from 1 the length of a vector may be after rounding to float16.
_LENGTH_TOLERANCE = 0.01

Outcome = Literal["same", "missing", "changed", "unreadable"]
OUTCOMES: tuple[Outcome, ...] = ("same", "missing", "changed", "unreadable")


class _Place(NamedTuple):
    """The uri of a row, None if it cannot be read, and its id."""

    uri: str | None
    id: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A violated integrity rule.

    Attributes
    ----------
    what, remedy
        The problem and its remedy, a sentence each.
    uri, id
        The row, if the fault is of one row.
    """

    what: str
    remedy: str
    uri: str | None = None
    id: int | None = None

    def __str__(self) -> str:
        place = ""
        if self.id is not None and self.uri is not None:
            place = f"{self.uri} (id {self.id}): "
        elif self.id is not None:
            place = f"id {self.id}: "
        line = f"{place}{self.what} {self.remedy}"
        return line.rstrip()


@dataclass(slots=True)
class CheckReport:
    """The result of a check.

    Attributes
    ----------
    collection, version
        The collection and the version that was checked.
    rows, images, failures
        The number of rows, of those that are images, and of those that record an error.
    spaces
        The number of vectors in each Space.
    maps
        For each stored map its Space and method, its number of rows, and how many of these are no
        longer in the collection (``gone``); the next request for the map removes them.
    faults, found
        The faults, at most a thousand of them, and their number in all.
    unchecked
        What could not be checked on this computer, and why.
    files, differing
        With `files`: how many image files are ``same``, ``missing``, ``changed`` or ``unreadable``,
        and the first thousand that are not the same. These are not faults of the collection.
    seconds
        The duration.
    """

    collection: str
    version: int
    rows: int = 0
    images: int = 0
    failures: int = 0
    spaces: dict[str, int] = field(default_factory=dict)
    maps: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    found: int = 0
    unchecked: list[str] = field(default_factory=list)
    files: dict[str, int] | None = None
    differing: list[tuple[str, Outcome]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether the check found no fault."""
        return not self.found

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self.found += 1
        if len(self.faults) < _MAX_LISTED_FAULTS:
            self.faults.append(fault)

    def add_file(self, uri: str, outcome: Outcome) -> None:
        """Add the outcome of reading one image file."""
        if self.files is not None:
            self.files[outcome] += 1
        is_list_full = len(self.differing) >= _MAX_LISTED_FAULTS
        if outcome != "same" and not is_list_full:
            self.differing.append((uri, outcome))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, as ``lookalike check --json`` prints it."""
        differing = [{"uri": uri, "found": outcome} for uri, outcome in self.differing]
        return {
            **asdict(self),
            "sound": self.sound,
            "differing": differing,
            "seconds": round(self.seconds, 3),
        }


def restore_advice(table: Table) -> str:
    """Return what to do about a collection whose files are damaged."""
    return (
        "Restore a backup with: lookalike restore BACKUP -c NEW. "
        f"Without a backup, remove the folder {table.path} and index again."
    )


class RowChecker:
    """Checks the rows of a collection batch by batch, and at the end what only all rows show."""

    def __init__(
        self, table: Table, report: CheckReport, pool: ThreadPoolExecutor
    ) -> None:
        self._table = table
        self._report = report
        self._pool = pool
        self._models = table.models
        self._ids: list[Ids] = [np.empty(0, np.int64)]
        self._hashed_uris: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        self._labels: Counter[str] = Counter()
        # A vector of each Space, to search its index for.
        self._samples: dict[str, VectorsF16] = {}
        self._indexed = inspection.indexed_columns(table)
        report.spaces = dict.fromkeys(self._models, 0)

    def ids(self) -> Ids:
        """Return the ids of all rows, ascending."""
        all_ids = np.concatenate(self._ids)
        return np.sort(all_ids)

    def add_unreadable(self, unreadable: inspection.UnreadableRows) -> None:
        """Report columns of some rows that cannot be read."""
        ids = unreadable.ids
        rows = "some rows"
        if len(ids):
            shown = "".join(f", {uri}" for uri in unreadable.uris)
            first = ids.min()
            last = ids.max()
            rows = f"{len(ids):,} rows (ids {first} to {last}{shown})"
        columns = ", ".join(unreadable.columns)
        file = unreadable.file
        what = f"{columns} of {rows} cannot be read from {file}: {unreadable.reason}."
        self._add_damage(what)
        # If any column can be read, `check` receives the rows too.
        all_columns = self._table.schema.names
        if len(unreadable.columns) == len(all_columns):
            self._ids.append(ids)

    def check(self, batch: pa.RecordBatch) -> None:
        """Check some rows; an absent column cannot be read, and checks that need it are skipped."""
        names = set(batch.schema.names)
        ids = batch["_rowid"].to_numpy().astype(np.int64)
        self._ids.append(ids)
        self._report.rows += len(ids)
        uris: list[Any] = [None] * len(ids)
        if "uri" in names:
            uris = batch["uri"].to_pylist()
        uris_and_ids = zip(uris, ids.tolist(), strict=True)
        places = [_Place(uri, row_id) for uri, row_id in uris_and_ids]

        if "uri" in names:
            self._hashed_uris.append(_uri_hashes(uris))
            self._check_uri_index(places)
        if "label" in names:
            labels = batch["label"].to_pylist()
            self._labels.update(label for label in labels if label is not None)
        if {"sha256", "error"} <= names:
            has_hash = batch["sha256"].is_valid()
            has_error = batch["error"].is_valid()
            self._check_kinds(has_hash, has_error, places)
        if {"sha256", "thumbnail"} <= names:
            has_hash = batch["sha256"].is_valid()
            self._check_thumbnails(has_hash, batch["thumbnail"], places)
        if "spaces" in names:
            self._check_vectors(batch, places)
        if {"uri", "sha256", "error"} <= names and self._report.files is not None:
            hashes = batch["sha256"].to_pylist()
            errors = batch["error"].to_pylist()
            self._check_files(uris, hashes, errors)

    def finish(self) -> None:
        """Check that ids and uris are unique, and that the indices find labels and vectors."""
        repeated_ids = _repeated(np.concatenate(self._ids))
        for row_id in repeated_ids:
            place = _Place(uri=None, id=int(row_id))
            self._add_damage("Two rows have this id.", place)
        self._check_unique_uris()
        if "label" in self._indexed:
            self._check_label_index()
        for space, vector in self._samples.items():
            if space in self._indexed:
                self._check_vector_index(space, vector)

    # Faults

    def _add_damage(self, what: str, place: _Place | None = None) -> None:
        """Add a fault of the collection's files, which only a backup repairs."""
        remedy = restore_advice(self._table)
        fault = Fault(what, remedy)
        if place is not None:
            fault = Fault(what, remedy, place.uri, place.id)
        self._report.add(fault)

    def _add_row_fault(self, place: _Place, what: str) -> None:
        """Add a fault of one row, which indexing its image again repairs."""
        remedy = (
            f"Remove the row with: lookalike remove URI -c {self._table.path}. "
            "Then index its folder again."
        )
        fault = Fault(what, remedy, place.uri, place.id)
        self._report.add(fault)

    def _add_broken_index(self, column: str, reason: str) -> None:
        """Add a fault of an index, and no longer use it."""
        self._indexed.discard(column)
        what = f"The index of {column} cannot be used: {reason}."
        self._add_damage(what)

    # One batch

    def _check_kinds(
        self, has_hash: pa.Array, has_error: pa.Array, places: list[_Place]
    ) -> None:
        """Check that each row is an image or a failure, and count both."""
        is_image = has_hash.to_numpy(zero_copy_only=False)
        is_failure = has_error.to_numpy(zero_copy_only=False)
        self._report.images += int(is_image.sum())
        self._report.failures += int(is_failure.sum())
        is_neither = ~is_image & ~is_failure
        for row in np.flatnonzero(is_neither):
            what = (
                "It is neither an image nor a failure: it has no sha256 and no error."
            )
            self._add_row_fault(places[row], what)

    def _check_thumbnails(
        self, has_hash: pa.Array, thumbnails: pa.Array, places: list[_Place]
    ) -> None:
        """Check that the thumbnail of each image can be decoded."""
        is_image = has_hash.to_numpy(zero_copy_only=False)
        image_rows = np.flatnonzero(is_image)
        encoded = thumbnails.take(pa.array(image_rows)).to_pylist()
        reasons = self._pool.map(_thumbnail_problem, encoded)
        for row, reason in zip(image_rows, reasons, strict=True):
            if reason is not None:
                what = f"Its thumbnail cannot be decoded: {reason}."
                self._add_row_fault(places[row], what)

    def _check_vectors(self, batch: pa.RecordBatch, places: list[_Place]) -> None:
        """Check that each row has exactly the vectors that it claims, and that they are valid."""
        stored_claims = batch["spaces"].to_pylist()
        claims = [frozenset(claimed or ()) for claimed in stored_claims]
        known = set(self._models)
        for place, claimed in zip(places, claims, strict=True):
            unknown = claimed - known
            if unknown:
                listed = ", ".join(sorted(unknown))
                what = f"It claims vectors in {listed}, which the collection lacks."
                self._add_row_fault(place, what)
        readable = known.intersection(batch.schema.names)
        for name in readable:
            is_claimed = [name in claimed for claimed in claims]
            self._check_space(name, batch[name], np.array(is_claimed, bool), places)

    def _check_space(
        self,
        name: str,
        column: pa.Array,
        is_claimed: npt.NDArray[np.bool_],
        places: list[_Place],
    ) -> None:
        """Check the vectors of one Space."""
        has_vector = column.is_valid().to_numpy(zero_copy_only=False)
        self._report.spaces[name] += int(has_vector.sum())
        for row in np.flatnonzero(is_claimed & ~has_vector):
            what = f"It claims a vector in {name} and has none."
            self._add_row_fault(places[row], what)
        for row in np.flatnonzero(has_vector & ~is_claimed):
            what = f"It has a vector in {name} and does not claim it."
            self._add_row_fault(places[row], what)

        vectors = ann.column_vectors(column)
        problems = _vector_problems(vectors, self._models[name])
        rows = np.flatnonzero(has_vector)
        for row, problem in zip(rows, problems, strict=True):
            if problem is not None:
                self._add_row_fault(places[row], problem)
        if len(vectors):
            self._samples.setdefault(name, vectors[0].copy())

    def _check_files(
        self, uris: list[str], hashes: list[bytes | None], errors: list[str | None]
    ) -> None:
        """Read the image files of some rows, except those that have failed already."""
        files = []
        for uri, sha256, error in zip(uris, hashes, errors, strict=True):
            if sha256 is not None and error is None:
                files.append((uri, sha256))
        outcomes = self._pool.map(_compare_file, files)
        for (uri, _), outcome in zip(files, outcomes, strict=True):
            self._report.add_file(uri, outcome)

    # Indices

    def _check_uri_index(self, places: list[_Place]) -> None:
        """Look rows up by uri, as an index run does to find out which files are new."""
        if "uri" not in self._indexed:
            return
        uris = [str(place.uri) for place in places]
        try:
            found = inspection.find_uris(self._table, uris)
        except CollectionError as error:
            reason = inspection.damage_reason(error)
            self._add_broken_index("uri", reason)
            return
        for place in places:
            if place.id not in found[str(place.uri)]:
                self._add_damage("A search by its uri does not find it.", place)

    def _check_label_index(self) -> None:
        try:
            for label, count in self._labels.items():
                found = inspection.count_label(self._table, label)
                if found != count:
                    what = (
                        f"{count:,} rows have the label {label!r}, "
                        f"but a search by the label finds {found:,}."
                    )
                    self._add_damage(what)
        except CollectionError as error:
            self._add_broken_index("label", inspection.damage_reason(error))

    def _check_vector_index(self, space: str, vector: VectorsF16) -> None:
        try:
            if not inspection.index_finds(self._table, space, vector):
                self._add_broken_index(
                    space, "it does not find a vector that is in the table"
                )
        except CollectionError as error:
            self._add_broken_index(space, inspection.damage_reason(error))

    def _check_unique_uris(self) -> None:
        """Find uris that several rows have, by 8-byte digests of all uris."""
        repeated = _repeated(np.concatenate(self._hashed_uris))
        repeated = repeated[:_MAX_LISTED_FAULTS]
        if not len(repeated):
            return
        # Different uris may share a digest, so compare the uris themselves.
        ids_by_uri: dict[str, list[int]] = {}
        for uris, ids in inspection.read_uris(self._table):
            is_repeated = np.isin(_uri_hashes(uris), repeated)
            for row in np.flatnonzero(is_repeated):
                same_uri_ids = ids_by_uri.setdefault(uris[row], [])
                same_uri_ids.append(int(ids[row]))
        for uri, same_uri_ids in ids_by_uri.items():
            count = len(same_uri_ids)
            if count > 1:
                place = _Place(uri, min(same_uri_ids))
                self._add_row_fault(place, f"{count} rows have this uri.")


def _uri_hashes(uris: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return an 8-byte hash of each uri."""
    hashes = []
    for uri in uris:
        hashed = hashlib.blake2b(uri.encode(), digest_size=8)
        hashes.append(hashed.digest())
    numbers = np.frombuffer(b"".join(hashes), "<u8")
    return numbers.astype(np.uint64)


def _repeated(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values that occur more than once."""
    ordered = np.sort(values)
    rest = ordered[1:]
    is_same_as_previous = rest == ordered[:-1]
    return np.unique(rest[is_same_as_previous])


def _thumbnail_problem(thumbnail: bytes | None) -> str | None:
    """Return why a thumbnail cannot be decoded, or None."""
    if thumbnail is None:
        return "it is missing"
    try:
        imaging.decode(thumbnail)
    except ImageError as error:
        return str(error)
    return None


def _vector_problems(vectors: VectorsF16, model: Model) -> list[str | None]:
    """Return for each vector what is wrong with it, or None."""
    singles = vectors.astype(np.float32)
    lengths = np.linalg.norm(singles, axis=1)
    is_finite = np.isfinite(lengths)
    errors = np.abs(lengths - 1)
    is_right_length = errors <= _LENGTH_TOLERANCE
    # A vector of zeros cannot be scaled to length 1, and is stored as it is.
    is_right_length |= lengths == 0
    if not model.unit_length:
        is_right_length[:] = True

    problems: list[str | None] = [None] * len(vectors)
    for row in np.flatnonzero(~is_finite):
        problems[row] = f"Its vector in {model.name} has numbers that are not finite."
    for row in np.flatnonzero(is_finite & ~is_right_length):
        length = f"{lengths[row]:.3g}"
        problems[row] = (
            f"Its vector in {model.name} has the length {length}; expected 1."
        )
    return problems


def _compare_file(image: tuple[str, bytes]) -> Outcome:
    """Compare a file with the content that was indexed."""
    uri, sha256 = image
    try:
        with open_uri(uri) as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"
    return "same" if digest == sha256 else "changed"
