"""What makes the rows of a collection sound, and the report of what does not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike import imaging
from lookalike.errors import CollectionError, ImageError
from lookalike.sources import open_uri
from lookalike.store import ann, inspection
from lookalike.store.table import Table
from lookalike.types import Ids, Model

__all__ = ["OUTCOMES", "CheckReport", "Fault", "Rows", "put_back"]

# So many faults are told in full; the others are counted.
_MOST = 1_000
# How far from 1 the length of a vector may be that was rounded to float16.
_LENGTH_ERROR = 0.01

Outcome = Literal["same", "missing", "changed", "unreadable"]
OUTCOMES: tuple[Outcome, ...] = ("same", "missing", "changed", "unreadable")
Places = list[tuple[str | None, int]]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong.

    Attributes
    ----------
    what, remedy
        What was found, and what to do about it: a sentence each.
    uri, id
        The row, where it is of one.
    """

    what: str
    remedy: str
    uri: str | None = None
    id: int | None = None

    def __str__(self) -> str:
        place = (
            ""
            if self.id is None
            else f"id {self.id}: "
            if self.uri is None
            else f"{self.uri} (id {self.id}): "
        )
        return f"{place}{self.what} {self.remedy}".rstrip()


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes
    ----------
    collection, version
        What was checked.
    rows, images, failures
        How many rows there are, how many of them are images, and how many have a reason why they failed.
    spaces
        How many vectors each Space has.
    maps
        Of each kept map its Space and method, how many rows it has, and how many of these are there no longer: they
        leave it when it is asked for again.
    faults, found
        What is wrong, at most a thousand in full, and how many there are in all.
    unchecked
        What could not be checked here, and why.
    files, differing
        With `files`: how many of the pictures are the ``same``, ``missing``, ``changed`` or ``unreadable``, and the
        first thousand of those that are not the same. None of them is a fault of the collection.
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
        """Whether nothing is wrong with the collection."""
        return not self.found

    def add(self, fault: Fault) -> None:
        """Take a fault in."""
        self.found += 1
        if len(self.faults) < _MOST:
            self.faults.append(fault)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data: what ``lookalike check --json`` prints."""
        differing = [{"uri": uri, "found": found} for uri, found in self.differing]
        return {
            **asdict(self),
            "sound": self.sound,
            "differing": differing,
            "seconds": round(self.seconds, 3),
        }


def put_back(collection: Table) -> str:
    """Return what to do about a collection whose files are damaged."""
    return (
        "Put back a backup with: lookalike restore BACKUP -c NEW. Without one, remove the folder "
        f"{collection.path} and index again."
    )


class Rows:
    """The rows of one check: each batch is checked by itself, and what only all of them tell at the end."""

    def __init__(self, collection: Table, report: CheckReport, pool: ThreadPoolExecutor) -> None:
        self._collection = collection
        self._report = report
        self._pool = pool
        self._models = collection.models
        self._ids: list[Ids] = [np.empty(0, np.int64)]
        self._digests: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        self._labels: Counter[str] = Counter()
        self._samples: dict[str, npt.NDArray[np.float16]] = {}
        self._indexed = inspection.indexed(collection)
        report.spaces = dict.fromkeys(self._models, 0)

    def ids(self) -> Ids:
        """Return the ids of all rows, rising."""
        return np.sort(np.concatenate(self._ids))

    def lost(self, broken: inspection.UnreadableRows) -> None:
        """Take in that columns of some rows cannot be read."""
        rows = "some rows"
        if len(broken.ids):
            named = "".join(f", {uri}" for uri in broken.uris)
            rows = f"{len(broken.ids):,} rows (ids {broken.ids.min()} to {broken.ids.max()}{named})"
        columns = ", ".join(broken.columns)
        what = f"{columns} of {rows} cannot be read from {broken.file}: {broken.reason}."
        self._report.add(Fault(what, put_back(self._collection)))
        if len(broken.columns) == len(self._collection.table.schema.names):
            self._ids.append(broken.ids)

    def check(self, batch: pa.RecordBatch) -> None:
        """Check some rows; a column that could not be read is not there, and neither is what needs it."""
        names = set(batch.schema.names)
        ids = batch["_rowid"].to_numpy().astype(np.int64)
        self._ids.append(ids)
        self._report.rows += len(ids)
        uris: list[Any] = batch["uri"].to_pylist() if "uri" in names else [None] * len(ids)
        places = list(zip(uris, ids.tolist(), strict=True))
        if "uri" in names:
            self._digests.append(_digests(uris))
            self._look_up(places)
        if "label" in names:
            self._labels.update(label for label in batch["label"].to_pylist() if label is not None)
        if {"sha256", "error"} <= names:
            self._kinds(batch["sha256"].is_valid(), batch["error"].is_valid(), places)
        if {"sha256", "thumbnail"} <= names:
            self._thumbnails(batch["sha256"].is_valid(), batch["thumbnail"], places)
        if "spaces" in names:
            self._claims(batch, places)
        if {"uri", "sha256", "error"} <= names and self._report.files is not None:
            self._files(uris, batch["sha256"].to_pylist(), batch["error"].to_pylist())

    def finish(self) -> None:
        """Check what only all rows together tell: that none is there twice, and that the indices know them."""
        for row_id in _repeated(np.concatenate(self._ids)):
            self._report.add(
                Fault("Two rows have this id.", put_back(self._collection), None, int(row_id))
            )
        self._doubled()
        if "label" in self._indexed:
            self._count_labels()
        for space, vector in self._samples.items():
            if space in self._indexed:
                self._find(space, vector)

    def _row(self, place: tuple[str | None, int], what: str) -> None:
        """Take in a fault of one row, which can be made anew from its picture."""
        path = self._collection.path
        remedy = (
            f"Take the row out with: lookalike remove URI -c {path}. Then index its folder again."
        )
        self._report.add(Fault(what, remedy, *place))

    def _kinds(self, images: pa.Array, failures: pa.Array, places: Places) -> None:
        are_images, have_failed = (
            valid.to_numpy(zero_copy_only=False) for valid in (images, failures)
        )
        self._report.images += int(are_images.sum())
        self._report.failures += int(have_failed.sum())
        for row in np.flatnonzero(~are_images & ~have_failed):
            self._row(
                places[row], "It is neither an image nor a failure: it has no sha256 and no reason."
            )

    def _thumbnails(self, images: pa.Array, thumbnails: pa.Array, places: Places) -> None:
        rows = np.flatnonzero(images.to_numpy(zero_copy_only=False))
        encoded = thumbnails.take(pa.array(rows)).to_pylist()
        for row, reason in zip(rows, self._pool.map(_undecodable, encoded), strict=True):
            if reason is not None:
                self._row(places[row], f"Its thumbnail is no picture: {reason}.")

    def _claims(self, batch: pa.RecordBatch, places: Places) -> None:
        """Check that each row has just the vectors that it claims, and that these are what the models give."""
        claims = [frozenset(claimed or ()) for claimed in batch["spaces"].to_pylist()]
        for place, claimed in zip(places, claims, strict=True):
            if unknown := claimed - set(self._models):
                self._row(
                    place,
                    f"It claims vectors in {', '.join(sorted(unknown))}, which the collection lacks.",
                )
        for name in self._models.keys() & set(batch.schema.names):
            said = np.array([name in claimed for claimed in claims], bool)
            filled = batch[name].is_valid().to_numpy(zero_copy_only=False)
            self._report.spaces[name] += int(filled.sum())
            for row in np.flatnonzero(said & ~filled):
                self._row(places[row], f"It claims a vector in {name} and has none.")
            for row in np.flatnonzero(filled & ~said):
                self._row(places[row], f"It has a vector in {name} and does not claim it.")
            halves = ann.column_vectors(batch[name])
            for row, what in zip(
                np.flatnonzero(filled), _told(halves, self._models[name]), strict=True
            ):
                if what is not None:
                    self._row(places[row], what)
            if len(halves):
                self._samples.setdefault(name, halves[0].copy())

    def _look_up(self, places: Places) -> None:
        """Ask the index of the uris for some: it decides what the next run takes for new."""
        if "uri" not in self._indexed:
            return
        try:
            found = inspection.look_up(self._collection, [str(uri) for uri, _ in places])
        except CollectionError as error:
            self._broken_index("uri", inspection.cause(error))
            return
        for uri, row_id in places:
            if row_id not in found[str(uri)]:
                what = "It is not found by its uri."
                self._report.add(Fault(what, put_back(self._collection), uri, row_id))

    def _count_labels(self) -> None:
        try:
            for label, count in self._labels.items():
                if (found := inspection.labelled(self._collection, label)) != count:
                    what = f"{count:,} rows have the label {label!r}, and a search by it finds {found:,}."
                    self._report.add(Fault(what, put_back(self._collection)))
        except CollectionError as error:
            self._broken_index("label", inspection.cause(error))

    def _find(self, space: str, vector: npt.NDArray[np.float16]) -> None:
        try:
            if not inspection.finds_itself(self._collection, space, vector):
                self._broken_index(space, "it does not find a vector that is there")
        except CollectionError as error:
            self._broken_index(space, inspection.cause(error))

    def _broken_index(self, column: str, reason: str) -> None:
        self._indexed.discard(column)
        self._report.add(
            Fault(f"The index of {column} cannot be used: {reason}.", put_back(self._collection))
        )

    def _doubled(self) -> None:
        """Find the uris that more than one row has, by 8 bytes of each."""
        digests = np.concatenate(self._digests)
        repeated = _repeated(digests)[:_MOST]
        if not len(repeated):
            return
        rows: dict[str, list[int]] = {}
        for uris, ids in inspection.uris(self._collection):
            for row in np.flatnonzero(np.isin(_digests(uris), repeated)):
                rows.setdefault(uris[row], []).append(int(ids[row]))
        for uri, held in rows.items():
            if len(held) > 1:
                self._row((uri, min(held)), f"{len(held)} rows have this uri.")

    def _files(self, uris: list[str], hashes: list[bytes | None], errors: list[str | None]) -> None:
        """Read the pictures of some rows; those that had failed already are passed over."""
        rows = zip(uris, hashes, errors, strict=True)
        asked = [
            (uri, sha256) for uri, sha256, error in rows if sha256 is not None and error is None
        ]
        for (uri, _), found in zip(asked, self._pool.map(_outcome, asked), strict=True):
            if self._report.files is not None:
                self._report.files[found] += 1
            if found != "same" and len(self._report.differing) < _MOST:
                self._report.differing.append((uri, found))


def _digests(uris: Iterable[str]) -> npt.NDArray[np.uint64]:
    hashed = b"".join(hashlib.blake2b(uri.encode(), digest_size=8).digest() for uri in uris)
    return np.frombuffer(hashed, "<u8").astype(np.uint64)


def _repeated(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what is there more than once."""
    ordered = np.sort(values)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _undecodable(thumbnail: bytes | None) -> str | None:
    """Return why a thumbnail is no picture, or None if it is one."""
    if thumbnail is None:
        return "there is none"
    try:
        imaging.decode(thumbnail)
    except ImageError as error:
        return str(error)
    return None


def _told(halves: npt.NDArray[np.float16], model: Model) -> list[str | None]:
    """Return for each vector what is wrong with it, or None."""
    lengths = np.linalg.norm(halves.astype(np.float32), axis=1)
    finite = np.isfinite(lengths)
    # A vector of zeros has no length to be scaled by, and is kept as it is.
    right = (np.abs(lengths - 1) <= _LENGTH_ERROR) | (lengths == 0) | (not model.unit_length)
    return [
        f"Its vector in {model.name} has numbers that are not finite."
        if not whole
        else f"Its vector in {model.name} has the length {length:.3g}, expected 1."
        if not fits
        else None
        for whole, fits, length in zip(finite, right, lengths, strict=True)
    ]


def _outcome(picture: tuple[str, bytes]) -> Outcome:
    """Compare a file with the content that was indexed."""
    uri, sha256 = picture
    try:
        with open_uri(uri) as file:
            return "same" if hashlib.file_digest(file, "sha256").digest() == sha256 else "changed"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"
