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
from lookalike.store import inspection
from lookalike.store.failures import new_start_advice
from lookalike.store.schema import column_vectors, has_value, row_ids
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
        row_id = self.id
        uri = self.uri
        sentences = f"{self.what} {self.remedy}"
        text = sentences.rstrip()
        if row_id is None:
            return text
        shown_id = f"id {row_id}"
        if uri is None:
            return f"{shown_id}: {text}"
        place = f"{uri} ({shown_id})"
        return f"{place}: {text}"


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
    trash
        The number of rows in the trash.
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
    trash: int = 0
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
        faults = self.faults
        is_full = len(faults) >= _MAX_LISTED_FAULTS
        if not is_full:
            faults.append(fault)

    def add_file(self, uri: str, outcome: Outcome) -> None:
        """Add the outcome of reading one image file."""
        if self.files is not None:
            self.files[outcome] += 1
        if outcome == "same":
            return
        listed = len(self.differing)
        if listed < _MAX_LISTED_FAULTS:
            entry = (uri, outcome)
            self.differing.append(entry)

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
        + new_start_advice(table.path)
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
        all_ids.sort()
        return all_ids

    def add_unreadable(self, unreadable: inspection.UnreadableRows) -> None:
        """Report columns of some rows that cannot be read."""
        columns = ", ".join(unreadable.columns)
        rows = _describe_unreadable(unreadable)
        file = unreadable.file
        reason = unreadable.reason
        what = f"{columns} of {rows} cannot be read from {file}: {reason}."
        self._add_damage(what)

        # If any column can be read, `check` receives the rows too.
        all_names = set(self._table.schema.names)
        readable_names = all_names.difference(unreadable.columns)
        if not readable_names:
            self._ids.append(unreadable.ids)

    def check(self, batch: pa.RecordBatch) -> None:
        """Check some rows; an absent column cannot be read, and checks that need it are skipped."""
        schema = batch.schema
        names = set(schema.names)
        has_uris = "uri" in names
        has_kinds = {"sha256", "error"} <= names
        has_thumbnails = {"sha256", "thumbnail"} <= names
        report = self._report
        reads_files = report.files is not None

        ids = row_ids(batch)
        count = len(ids)
        self._ids.append(ids)
        report.rows += count
        places = _places_of(batch, ids)

        if has_uris:
            self._check_uris(places)
        if "label" in names:
            column = batch["label"]
            present_labels = column.drop_null()
            labels = present_labels.to_pylist()
            self._labels.update(labels)
        if has_kinds:
            self._check_kinds(batch, places)
        if has_thumbnails:
            self._check_thumbnails(batch, places)
        if "spaces" in names:
            self._check_vectors(batch, places)
        if reads_files and has_uris and has_kinds:
            self._check_files(batch)

    def finish(self) -> None:
        """Check that ids and uris are unique, and that the indices find labels and vectors."""
        self._check_unique_ids()
        self._check_unique_uris()
        indexed = self._indexed
        if "label" in indexed:
            self._check_label_index()
        samples = self._samples
        for space, vector in samples.items():
            if space in indexed:
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

    def _add_row_faults(
        self, is_faulty: npt.NDArray[np.bool_], places: list[_Place], what: str
    ) -> None:
        """Add the same fault for each faulty row among some rows."""
        for row in np.flatnonzero(is_faulty):
            place = places[row]
            self._add_row_fault(place, what)

    def _add_broken_index(self, column: str, reason: str) -> None:
        """Add a fault of an index, and no longer use it."""
        self._indexed.discard(column)
        what = f"The index of {column} cannot be used: {reason}."
        self._add_damage(what)

    # One batch

    def _check_uris(self, places: list[_Place]) -> None:
        """Check that the index finds the uris; `finish` checks that they are unique."""
        uris = [str(place.uri) for place in places]
        hashes = _uri_hashes(uris)
        self._hashed_uris.append(hashes)
        if "uri" in self._indexed:
            self._check_uri_index(uris, places)

    def _check_kinds(self, batch: pa.RecordBatch, places: list[_Place]) -> None:
        """Check that each row is an image or a failure, and count both."""
        contents = batch["sha256"]
        errors = batch["error"]
        is_image = has_value(contents)
        is_failure = has_value(errors)
        images = np.count_nonzero(is_image)
        failures = np.count_nonzero(is_failure)
        report = self._report
        report.images += int(images)
        report.failures += int(failures)

        is_neither = ~is_image & ~is_failure
        what = "It is neither an image nor a failure: it has no sha256 and no error."
        self._add_row_faults(is_neither, places, what)

    def _check_thumbnails(self, batch: pa.RecordBatch, places: list[_Place]) -> None:
        """Check that the thumbnail of each image can be decoded."""
        is_image = has_value(batch["sha256"])
        rows = np.flatnonzero(is_image)
        positions = pa.array(rows)
        thumbnails = batch["thumbnail"].take(positions)
        encoded = thumbnails.to_pylist()
        reasons = self._pool.map(_thumbnail_problem, encoded)
        for row, reason in zip(rows, reasons, strict=True):
            if reason is None:
                continue
            place = places[row]
            what = f"Its thumbnail cannot be decoded: {reason}."
            self._add_row_fault(place, what)

    def _check_vectors(self, batch: pa.RecordBatch, places: list[_Place]) -> None:
        """Check that each row has exactly the vectors that it claims, and that they are valid."""
        stored_claims = batch["spaces"].to_pylist()
        claims = [frozenset(claimed or ()) for claimed in stored_claims]
        known = set(self._models)
        for place, claimed in zip(places, claims, strict=True):
            unknown = claimed - known
            if unknown:
                names = sorted(unknown)
                listed = ", ".join(names)
                what = f"It claims vectors in {listed}, which the collection lacks."
                self._add_row_fault(place, what)

        readable = known.intersection(batch.schema.names)
        for name in readable:
            claims_it = [name in claimed for claimed in claims]
            is_claimed = np.array(claims_it, bool)
            self._check_space(name, batch[name], is_claimed, places)

    def _check_space(
        self,
        name: str,
        column: pa.Array,
        is_claimed: npt.NDArray[np.bool_],
        places: list[_Place],
    ) -> None:
        """Check the vectors of one Space."""
        # Each row has a vector exactly where it claims one.
        has_vector = has_value(column)
        rows = np.flatnonzero(has_vector)
        self._report.spaces[name] += len(rows)
        is_missing = is_claimed & ~has_vector
        what = f"It claims a vector in {name} and has none."
        self._add_row_faults(is_missing, places, what)
        is_unclaimed = has_vector & ~is_claimed
        what = f"It has a vector in {name} and does not claim it."
        self._add_row_faults(is_unclaimed, places, what)

        # The vectors themselves are valid.
        vectors = column_vectors(column)
        model = self._models[name]
        problems = _vector_problems(vectors, model)
        for row, problem in zip(rows, problems, strict=True):
            if problem is not None:
                place = places[row]
                self._add_row_fault(place, problem)

        # Keep the first one to search the index for.
        if len(vectors):
            first = vectors[0].copy()
            self._samples.setdefault(name, first)

    def _check_files(self, batch: pa.RecordBatch) -> None:
        """Read the image files of some rows, except those that have failed already."""
        uris = batch["uri"].to_pylist()
        hashes = batch["sha256"].to_pylist()
        has_failed = has_value(batch["error"])
        files = []
        for uri, sha256, failed in zip(uris, hashes, has_failed, strict=True):
            if sha256 is not None and not failed:
                file = (uri, sha256)
                files.append(file)

        outcomes = self._pool.map(_compare_file, files)
        for (uri, _), outcome in zip(files, outcomes, strict=True):
            self._report.add_file(uri, outcome)

    # Indices

    def _check_uri_index(self, uris: list[str], places: list[_Place]) -> None:
        """Look rows up by uri, as an index run does to find out which files are new."""
        try:
            found = inspection.find_uris(self._table, uris)
        except CollectionError as error:
            reason = inspection.damage_reason(error)
            self._add_broken_index("uri", reason)
            return
        for uri, place in zip(uris, places, strict=True):
            found_ids = found[uri]
            row_id = place.id
            if row_id not in found_ids:
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
            reason = inspection.damage_reason(error)
            self._add_broken_index("label", reason)

    def _check_vector_index(self, space: str, vector: VectorsF16) -> None:
        try:
            if not inspection.index_finds(self._table, space, vector):
                reason = "it does not find a vector that is in the table"
                self._add_broken_index(space, reason)
        except CollectionError as error:
            reason = inspection.damage_reason(error)
            self._add_broken_index(space, reason)

    def _check_unique_ids(self) -> None:
        all_ids = np.concatenate(self._ids)
        repeated = _repeated(all_ids)
        for row_id in repeated.tolist():
            place = _Place(uri=None, id=row_id)
            self._add_damage("Two rows have this id.", place)

    def _check_unique_uris(self) -> None:
        """Find uris that several rows have, by 8-byte digests of all uris."""
        all_hashes = np.concatenate(self._hashed_uris)
        repeated = _repeated(all_hashes)
        repeated = repeated[:_MAX_LISTED_FAULTS]
        if not len(repeated):
            return

        # Different uris may share a digest, so compare the uris themselves.
        ids_by_uri: dict[str, list[int]] = {}
        for uris, ids in inspection.read_uris(self._table):
            hashes = _uri_hashes(uris)
            is_repeated = np.isin(hashes, repeated)
            for row in np.flatnonzero(is_repeated):
                uri = uris[row]
                row_id = int(ids[row])
                same_uri_ids = ids_by_uri.setdefault(uri, [])
                same_uri_ids.append(row_id)

        for uri, same_uri_ids in ids_by_uri.items():
            count = len(same_uri_ids)
            if count > 1:
                first_id = min(same_uri_ids)
                place = _Place(uri, first_id)
                self._add_row_fault(place, f"{count} rows have this uri.")


def _describe_unreadable(unreadable: inspection.UnreadableRows) -> str:
    """Return which rows cannot be read: their number, the range of their ids, and some uris."""
    ids = unreadable.ids
    count = len(ids)
    if not count:
        return "some rows"
    first = ids.min()
    last = ids.max()
    id_range = f"ids {first} to {last}"
    facts = [id_range]
    facts += unreadable.uris
    shown_count = f"{count:,} rows"
    shown_facts = ", ".join(facts)
    return f"{shown_count} ({shown_facts})"


def _places_of(batch: pa.RecordBatch, ids: Ids) -> list[_Place]:
    """Return the uri and the id of each row."""
    row_ids = ids.tolist()
    if "uri" not in batch.schema.names:
        return [_Place(None, row_id) for row_id in row_ids]
    uris = batch["uri"].to_pylist()
    return list(map(_Place, uris, row_ids))


def _uri_hashes(uris: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return an 8-byte hash of each uri."""
    digests = []
    for uri in uris:
        encoded = uri.encode()
        hashed = hashlib.blake2b(encoded, digest_size=8)
        digest = hashed.digest()
        digests.append(digest)
    joined = b"".join(digests)
    numbers = np.frombuffer(joined, "<u8")
    return numbers.astype(np.uint64)


def _repeated(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the values that occur more than once."""
    ordered = np.sort(values)
    previous = ordered[:-1]
    following = ordered[1:]
    is_repeated = following == previous
    repeated = following[is_repeated]
    return np.unique(repeated)


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
    name = model.name
    vectors_f32 = vectors.astype(np.float32)
    lengths = np.linalg.norm(vectors_f32, axis=1)
    is_finite = np.isfinite(lengths)
    problems: list[str | None] = [None] * len(vectors)
    for row in np.flatnonzero(~is_finite):
        problems[row] = f"Its vector in {name} has numbers that are not finite."
    if not model.unit_length:
        return problems

    errors = np.abs(lengths - 1)
    is_wrong = errors > _LENGTH_TOLERANCE
    # A vector of zeros cannot be scaled to length 1, and is stored as it is.
    is_wrong &= lengths != 0
    is_wrong &= is_finite
    for row in np.flatnonzero(is_wrong):
        length = lengths[row]
        problems[row] = f"Its vector in {name} has the length {length:.3g}; expected 1."
    return problems


def _compare_file(image: tuple[str, bytes]) -> Outcome:
    """Compare a file with the content that was indexed."""
    uri, sha256 = image
    try:
        with open_uri(uri) as file:
            digest = hashlib.file_digest(file, "sha256")
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"
    if digest.digest() != sha256:
        return "changed"
    return "same"
