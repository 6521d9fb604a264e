"""The work of indexing: read, hash, decode and embed images.

A `Worker`, its `Task` objects and its results can be pickled, so an executor may send them to
threads, processes or other machines.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.indexing.read_ahead import Read, ReadAhead, ReadCancelledError
from lookalike.models.cache import EmbedderCache
from lookalike.models.embedder import Embedder
from lookalike.models.learned import LearnedEmbedder, network_model
from lookalike.store.diff import ContentIndex, ExistingRow
from lookalike.tracing import span
from lookalike.types import UNKNOWN_SIZE, UNKNOWN_TIME, Item, Model, VectorsF32

if TYPE_CHECKING:
    # It loads Lance, which a process of workers does not need.
    from lookalike.store.trash import TrashIndex

__all__ = [
    "Failed",
    "LoadedImage",
    "Moved",
    "New",
    "Restored",
    "Result",
    "SameContent",
    "Stale",
    "Task",
    "Updated",
    "Worker",
]


@dataclass(frozen=True, slots=True)
class Task:
    """An image to work on, and the row that the table has for its uri."""

    item: Item
    existing: ExistingRow | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _TaskResult:
    """The result of a task.

    Attributes
    ----------
    item, existing
        The task.
    """

    item: Item
    existing: ExistingRow | None


@dataclass(frozen=True, slots=True, eq=False)
class _ReadImage(_TaskResult):
    """An image whose content was read.

    Attributes
    ----------
    sha256
        The hash of the content.
    """

    sha256: bytes


@dataclass(frozen=True, slots=True, eq=False)
class _EmbeddedImage(_ReadImage):
    """An image that was decoded and embedded.

    Attributes
    ----------
    size
        Width and height in pixels, upright.
    thumbnail
        A JPEG.
    vectors
        For each Space, float32 ``[dim]``.
    """

    size: tuple[int, int]
    thumbnail: bytes
    vectors: Mapping[str, VectorsF32]


@dataclass(frozen=True, slots=True, eq=False)
class New(_EmbeddedImage):
    """An image at a uri that had none: an unknown uri, or one that failed before."""


@dataclass(frozen=True, slots=True, eq=False)
class Updated(_EmbeddedImage):
    """An image whose content replaces the content of its row."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved(_ReadImage):
    """An image whose content the table has in another row, as after a move or a copy of its file.

    Attributes
    ----------
    source_id
        The id of the row to copy the content's values from.
    """

    source_id: int


@dataclass(frozen=True, slots=True, eq=False)
class Restored(_ReadImage):
    """An image whose content is in the trash.

    Attributes
    ----------
    vectors
        For each Space that the row in the trash lacks, float32 ``[dim]``.
    """

    vectors: Mapping[str, VectorsF32]


@dataclass(frozen=True, slots=True, eq=False)
class SameContent(_ReadImage):
    """An image with the content of its row, but another stamp, another label, or missing Spaces.

    Attributes
    ----------
    vectors
        For each missing Space, float32 ``[dim]``.
    """

    existing: ExistingRow
    vectors: Mapping[str, VectorsF32]


@dataclass(frozen=True, slots=True, eq=False)
class Failed(_TaskResult):
    """A file that cannot be indexed. Its row becomes a failure.

    Attributes
    ----------
    reason
        Why it failed.
    readable
        Whether its bytes were read. An unreadable file is tried again by every run.
    """

    reason: str
    readable: bool


@dataclass(frozen=True, slots=True, eq=False)
class Stale(_TaskResult):
    """A file that cannot be read for now. Its row keeps the last good vectors.

    Attributes
    ----------
    reason
        Why it cannot be read.
    """

    existing: ExistingRow
    reason: str


Result = New | Updated | Moved | Restored | SameContent | Failed | Stale


@dataclass(slots=True)
class LoadedImage:
    """An image between reading and embedding.

    Attributes
    ----------
    task
        The image to work on.
    spaces
        The Spaces that need a vector.
    sha256
        The hash of the content; None if it could not be read.
    source_id
        The row that has the same content under another uri.
    is_in_trash
        Whether the content is in the trash.
    size, thumbnail
        Width and height, and a JPEG.
    inputs
        For each Space, the input of its network: uint8 ``[height, width, 3]``.
    vectors
        For each Space, float32 ``[dim]``.
    error
        Why the image failed.
    """

    task: Task
    spaces: tuple[str, ...]
    sha256: bytes | None = None
    source_id: int | None = None
    is_in_trash: bool = False
    size: tuple[int, int] = (0, 0)
    thumbnail: bytes = b""
    inputs: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    vectors: dict[str, VectorsF32] = field(default_factory=dict)
    error: str | None = None

    def has_content_of(self, row: ExistingRow) -> bool:
        """Return whether the content was read and is that of a row."""
        if self.sha256 is None:
            return False
        return self.sha256 == row.sha256

    def result(self) -> Result:
        """Return the image in its final form."""
        if self.error is not None:
            return self._failure(self.error)

        item = self.task.item
        existing = self.task.existing
        sha256 = self.sha256
        assert sha256 is not None  # noqa: S101 (for the type checker)
        if self.source_id is not None:
            return Moved(item, existing, sha256, self.source_id)
        if self.is_in_trash:
            return Restored(item, existing, sha256, self.vectors)
        if existing is not None and self.has_content_of(existing):
            return SameContent(item, existing, sha256, self.vectors)
        replaces_image = existing is not None and existing.sha256 is not None
        kind = Updated if replaces_image else New
        return kind(item, existing, sha256, self.size, self.thumbnail, self.vectors)

    def _failure(self, reason: str) -> Failed | Stale:
        """Return the result of an image with an error.

        A row keeps its image if the file cannot be read for now, or if it still has the content
        that was indexed. With any other content, the image of the row no longer exists.
        """
        item = self.task.item
        existing = self.task.existing
        readable = self.sha256 is not None
        failed = Failed(item, existing, reason, readable)
        if existing is None or existing.sha256 is None:
            return failed
        has_other_content = readable and not self.has_content_of(existing)
        if has_other_content:
            return failed
        return Stale(item, existing, reason)


def _with_stamp(task: Task, size: int) -> Task:
    """Return a task whose Item was read, with the parts of its stamp that were unknown before."""
    item = task.item
    lacks_size = item.size == UNKNOWN_SIZE
    if lacks_size:
        item = replace(item, size=size)
    lacks_time = item.mtime_ns == UNKNOWN_TIME
    if lacks_time:
        now = time.time_ns()
        item = replace(item, mtime_ns=now)
    is_unchanged = item is task.item
    if is_unchanged:
        return task
    return replace(task, item=item)


def _without(spaces: Iterable[str], filled: Container[str]) -> tuple[str, ...]:
    """Return the Spaces that are not filled."""
    lacking = []
    for space in spaces:
        if space not in filled:
            lacking.append(space)
    return tuple(lacking)


def _never() -> bool:
    return False


class Worker:
    """Turns tasks into results: reads and hashes a file and, if its content is new, embeds it.

    One call does all the steps for its tasks. Calls in parallel threads overlap reading, decoding
    and inference, and none waits for another.

    Parameters
    ----------
    models
        The Model of each Space to fill.
    contents
        The contents that the table has, with all their vectors. It is sent to another process once
        with the Worker, so looking up a content needs no message.
    max_pixels
        Images with more pixels fail.
    embedders
        Loaded models to share with other objects of this process. A pickled Worker leaves them
        behind and loads its own.
    trash
        The contents in the trash.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        contents: ContentIndex,
        max_pixels: int,
        embedders: EmbedderCache | None = None,
        trash: TrashIndex | None = None,
    ) -> None:
        self._models = dict(models)
        self._contents = contents
        self._max_pixels = max_pixels
        self._embedders = embedders or EmbedderCache()
        self._trash = trash or {}
        self._read_ahead = ReadAhead()

    def __reduce__(self) -> tuple[type[Worker], tuple[object, ...]]:
        arguments = (self._models, self._contents, self._max_pixels, None, self._trash)
        return Worker, arguments

    def begin(self, tasks: Sequence[Task]) -> list[Read]:
        """Begin to read the remote files of tasks, to hand the reads to a call for these tasks.

        Several files are read at the same time. An executor that begins the next tasks before it
        calls the Worker for them hides the latency of the network.
        """
        items = [task.item for task in tasks]
        return self._read_ahead.begin(items)

    def close(self) -> None:
        """Give up the reads of `begin`; calls that wait for one end without its result."""
        self._read_ahead.close()

    def __call__(
        self,
        tasks: Sequence[Task],
        is_stopped: Callable[[], bool] = _never,
        reads: Sequence[Read] | None = None,
    ) -> list[Result]:
        """Return the results of some tasks, in their order.

        A bad image is a result of its own, never an exception. Once `is_stopped` returns True, no
        further task begins, and the results are those of the tasks before. `reads` are those that
        `begin` returned for the tasks, if it was called for them.
        """
        if reads is None:
            reads = self.begin(tasks)
        images = []
        for task, read in zip(tasks, reads, strict=True):
            if is_stopped():
                break
            try:
                image = self.load(task, read)
            except ReadCancelledError:
                break
            images.append(image)
        return self.finish(images)

    def finish(self, images: Sequence[LoadedImage]) -> list[Result]:
        """Embed loaded images, and return their results."""
        self._embed(images)
        return [image.result() for image in images]

    def load(self, task: Task, read: Read) -> LoadedImage:
        """Do all but the embedding of an image, whose content `read` returns."""
        spaces = tuple(self._models)
        image = LoadedImage(task, spaces)
        try:
            data = read()
            size = len(data)
            image.task = _with_stamp(task, size)
            digest = hashlib.sha256(data)
            sha256 = digest.digest()
            image.sha256 = sha256
            self._find_stored(image, sha256)
            has_stored_vectors = image.source_id is not None
            needs_pixels = image.spaces and not has_stored_vectors
            if needs_pixels:
                self._decode(image, data)
        except OSError as error:
            reason = error.strerror or error
            image.error = f"cannot be read: {reason}"
        except ImageError as error:
            image.error = str(error)
        return image

    def _find_stored(self, image: LoadedImage, sha256: bytes) -> None:
        """Find the vectors that the table has for a content. They are not computed again."""
        existing = image.task.existing
        if existing is None or not image.has_content_of(existing):
            # Another row may have the content, as after a move of the file.
            image.source_id = self._contents.find(sha256)
            if image.source_id is None:
                self._find_in_trash(image, sha256)
            return
        # The row of the image itself: only the Spaces that it lacks need a vector.
        image.spaces = _without(image.spaces, existing.spaces)

    def _find_in_trash(self, image: LoadedImage, sha256: bytes) -> None:
        """Find a content in the trash; of several rows, one with the most Spaces counts."""
        fewest = image.spaces
        for spaces, contents in self._trash.items():
            is_absent = contents.find(sha256) is None
            if is_absent:
                continue
            image.is_in_trash = True
            missing = _without(image.spaces, spaces)
            has_fewer = len(missing) < len(fewest)
            if has_fewer:
                fewest = missing
        image.spaces = fewest

    def _decode(self, image: LoadedImage, data: bytes) -> None:
        """Decode an image for the networks that need its vectors."""
        # A network with a very large input has a decode of its own. Otherwise, the vectors of a
        # Space would depend on the other Spaces of the table.
        spaces_by_side = self._group_by_decoded_side(image.spaces)
        with span("decode and prepare"):
            for side, spaces in sorted(spaces_by_side.items()):
                rgb, image.size = imaging.decode_small(
                    data, min_side=side, max_pixels=self._max_pixels
                )
                for space in spaces:
                    model = self._models[space]
                    image.inputs[space] = imaging.prepare(rgb, model)
                # The largest decode comes last, so the thumbnail of the image is from it.
                image.thumbnail = imaging.thumbnail(rgb)

    def _group_by_decoded_side(self, spaces: Iterable[str]) -> dict[int, list[str]]:
        groups: dict[int, list[str]] = defaultdict(list)
        for space in spaces:
            model = self._models[space]
            side = imaging.min_decoded_side(model)
            groups[side].append(space)
        return groups

    def _embed(self, images: Sequence[LoadedImage]) -> None:
        """Fill in the vectors of loaded images, one batch for each Space."""
        for space, model in self._models.items():
            waiting = [image for image in images if space in image.inputs]
            if not waiting:
                continue
            embedder = self._embedders.get(model)
            with span(f"embed {space}"):
                if self._has_base_vectors(waiting, model):
                    _map_batch(waiting, space, embedder)
                else:
                    _embed_batch(waiting, space, embedder)

    def _has_base_vectors(self, images: Sequence[LoadedImage], model: Model) -> bool:
        """Return whether images have the vectors that a learned map of a Model takes."""
        learned = model.learned
        if learned is None or learned.base not in self._models:
            return False
        base = self._models[learned.base]
        if base.fingerprint != network_model(model).fingerprint:
            return False
        return all(learned.base in image.vectors for image in images)


def _map_batch(images: Sequence[LoadedImage], space: str, embedder: Embedder) -> None:
    """Map the base vectors of images; the network does not run again."""
    assert isinstance(embedder, LearnedEmbedder)  # noqa: S101 (for the type checker)
    learned = embedder.model.learned
    assert learned is not None  # noqa: S101 (for the type checker)
    base_vectors = []
    for image in images:
        del image.inputs[space]
        vector = image.vectors[learned.base]
        base_vectors.append(vector)
    mapped = embedder.map_vectors(np.stack(base_vectors))
    for image, vector in zip(images, mapped, strict=True):
        image.vectors[space] = vector


def _embed_batch(images: Sequence[LoadedImage], space: str, embedder: Embedder) -> None:
    """Replace the inputs of images for a Space by its vectors."""
    inputs = []
    for image in images:
        pixels = image.inputs.pop(space)
        inputs.append(pixels)
    batch = np.stack(inputs)
    vectors = embedder.embed(batch)
    for image, vector in zip(images, vectors, strict=True):
        image.vectors[space] = vector
