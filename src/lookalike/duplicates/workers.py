"""The computations on thumbnails and pairs, in processes of their own where there are many."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from PIL import Image

from lookalike.duplicates.pdq import PdqHashes, hash_image
from lookalike.duplicates.points import Alignment, PointFeatures, align, find_points
from lookalike.duplicates.rows import ImageContent, thumbnails
from lookalike.duplicates.visual_words import WordsOfImage, find_words
from lookalike.io.processors import cores
from lookalike.store.view import View
from lookalike.types import Places

__all__ = [
    "THUMBNAILS_PER_CHUNK",
    "FoundPoints",
    "align_pairs",
    "hash_thumbnails",
    "locate_points",
    "run_chunks",
    "run_on_thumbnails",
]

Chunk = TypeVar("Chunk")
ChunkResult = TypeVar("ChunkResult")

# Thumbnails of one chunk.
THUMBNAILS_PER_CHUNK = 64
# Fewer chunks are computed in this process: starting others takes a second.
_MIN_CHUNKS = 8


class FoundPoints(NamedTuple):
    """What was found on a thumbnail.

    Attributes
    ----------
    features
        Its points of interest.
    words
        Their visual words.
    """

    features: PointFeatures
    words: WordsOfImage


def run_chunks(
    work: Callable[[Chunk], ChunkResult],
    chunks: Iterable[Chunk],
    count: int,
    processes: int | None,
) -> Iterator[ChunkResult]:
    """Yield the result of each chunk of work, in order.

    Parameters
    ----------
    work
        A function of a module; it is called with one chunk.
    chunks, count
        The chunks, made as they are needed, and their number.
    processes
        The number of processes; None for one for each processor core.
    """
    wanted = processes or cores()
    if wanted == 1 or count < _MIN_CHUNKS:
        # The products are so small that threads would only wait for each other.
        from threadpoolctl import threadpool_limits

        for chunk in chunks:
            with threadpool_limits(1):
                result = work(chunk)
            yield result
        return

    # Its processes need no guard in the caller's main module.
    from joblib import Parallel, delayed, parallel_config

    delayed_work = delayed(work)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = Parallel(n_jobs=wanted, return_as="generator", batch_size=1)
        yield from parallel(delayed_work(chunk) for chunk in chunks)


def run_on_thumbnails(
    work: Callable[[list[bytes | None]], Sequence[ChunkResult | None]],
    view: View,
    contents: list[ImageContent],
    places: Places,
    processes: int | None,
) -> Iterator[tuple[int, ChunkResult | None]]:
    """Yield the place of each content with what was computed from its thumbnail.

    Parameters
    ----------
    work
        Returns something for each of some thumbnails; None for a missing or damaged one.
    view, contents
        The collection and its contents.
    places
        intp ``[m]``, places in `contents`.
    processes
        The number of processes; None for one for each processor core.
    """
    order: list[Places] = []

    def chunks() -> Iterator[list[bytes | None]]:
        for part, images in thumbnails(view, contents, places):
            for start in range(0, len(images), THUMBNAILS_PER_CHUNK):
                end = start + THUMBNAILS_PER_CHUNK
                order.append(part[start:end])
                yield images[start:end]

    count = -(-len(places) // THUMBNAILS_PER_CHUNK)
    for number, found in enumerate(run_chunks(work, chunks(), count, processes)):
        chunk_places = order[number].tolist()
        yield from zip(chunk_places, found, strict=True)


def hash_thumbnails(images: Sequence[bytes | None]) -> list[PdqHashes | None]:
    """Return the PDQ hashes of thumbnails; None for a missing or damaged one."""
    hashes: list[PdqHashes | None] = []
    for data in images:
        image = _open(data)
        found = None
        if image is not None:
            found = hash_image(image)
        hashes.append(found)
    return hashes


def locate_points(images: Sequence[bytes | None]) -> list[FoundPoints | None]:
    """Return the points of interest of thumbnails; None for a missing or damaged one."""
    _use_one_thread()
    located: list[FoundPoints | None] = []
    for data in images:
        image = _open(data)
        found = None
        if image is not None:
            features = find_points(image)
            found = FoundPoints(features, find_words(features))
        located.append(found)
    return located


def align_pairs(
    pairs: Sequence[tuple[PointFeatures, PointFeatures]],
) -> list[Alignment]:
    """Return the alignment of each pair of images."""
    _use_one_thread()
    alignments = []
    for first, second in pairs:
        alignment = align(first, second)
        alignments.append(alignment)
    return alignments


def _open(data: bytes | None) -> Image.Image | None:
    if data is None:
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None


def _use_one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
