"""From Items to vectors: what is done in many threads, each file read and decoded once."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, takewhile

import numpy as np
import numpy.typing as npt

from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.models.cache import EmbedderCache
from lookalike.store.diff import ContentIndex, ExistingRow
from lookalike.tracing import span
from lookalike.types import Item, Model

__all__ = ["Work", "Worker", "in_order"]


@dataclass(slots=True)
class Work:
    """One image on its way: from an Item to what is written of it."""

    item: Item
    known: ExistingRow | None
    spaces: tuple[str, ...]
    sha256: bytes | None = None
    size: tuple[int, int] = (0, 0)
    thumbnail: bytes = b""
    prepared: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    vectors: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    reused: int | None = None
    error: str | None = None

    @property
    def same_content(self) -> bool:
        """Whether the file holds what it held: only its stamp, its label or its Spaces are new."""
        return (
            self.known is not None and self.sha256 is not None and self.sha256 == self.known.sha256
        )

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What is written of it, and for which Spaces; works of one kind go into one commit."""
        if self.error is not None:
            keeps = self.known is not None and self.known.sha256 is not None
            return (
                "stale" if keeps and (self.sha256 is None or self.same_content) else "failed"
            ), ()
        if self.reused is not None:
            # A uri that is known keeps its own metadata; a new one takes over that of its content.
            return ("reused" if self.known is None else "replaced"), ()
        return ("same" if self.same_content else "fresh"), self.spaces


class Worker:
    """Read, hash and, unless the content is known, decode, prepare and embed: what each thread does with its share.

    A thread does all of it by itself: while one waits for a file or decodes, another computes, and none waits for all.
    Once `stop` was called, shares come back with only those works that had been begun.
    """

    def __init__(
        self,
        models: dict[str, Model],
        contents: ContentIndex,
        max_pixels: int,
        networks: EmbedderCache,
    ) -> None:
        self._models = models
        self._contents = contents
        self._max_pixels = max_pixels
        self._least = {name: imaging.least_side(model) for name, model in models.items()}
        self._stopped = threading.Event()
        self._networks = networks

    def __call__(self, works: list[Work]) -> list[Work]:
        """Fill in some works; a bad image is an error in its own, never an exception."""
        begun = []
        for work in takewhile(lambda _: not self._stopped.is_set(), works):
            self.load(work)
            begun.append(work)
        for name, model in self._models.items():
            these = [work for work in begun if name in work.prepared]
            if these:
                network = self._networks.get(model)
                with span(f"embed {name}"):
                    vectors = network.embed(np.stack([work.prepared.pop(name) for work in these]))
                for work, vector in zip(these, vectors, strict=True):
                    work.vectors[name] = vector
        return begun

    def stop(self) -> None:
        """Begin no further work."""
        self._stopped.set()

    def load(self, work: Work) -> None:
        """Do all but the embedding of one image."""
        try:
            data = work.item.read()
            work.sha256 = hashlib.sha256(data).digest()
            if work.same_content and work.known is not None:
                work.spaces = tuple(name for name in work.spaces if name not in work.known.spaces)
            else:
                work.reused = self._contents.find(work.sha256)
            if work.spaces and work.reused is None:
                self._decode(work, data)
        except OSError as error:
            work.error = f"cannot be read: {error.strerror or error}"
        except ImageError as error:
            work.error = str(error)

    def _decode(self, work: Work, data: bytes) -> None:
        with span("decode and prepare"):
            # Networks that take very many pixels have a decode of their own, so that no vector hangs on the others.
            least_of = self._least.__getitem__
            for least, names in groupby(sorted(work.spaces, key=least_of), key=least_of):
                image, work.size = imaging.decode_small(
                    data, least=least, max_pixels=self._max_pixels
                )
                work.prepared |= {
                    name: imaging.prepare(image, self._models[name]) for name in names
                }
                work.thumbnail = imaging.thumbnail(image)


def in_order(
    pool: ThreadPoolExecutor,
    shares: Iterator[tuple[Worker, list[Work]]],
    waiting: deque[Future[list[Work]]],
    window: int,
) -> Iterator[list[Work]]:
    """Yield the finished shares in their order; at most `window` are in `waiting`, where an interrupt leaves them."""
    for worker, works in shares:
        waiting.append(pool.submit(worker, works))
        if len(waiting) >= window:
            yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[Future[list[Work]]]) -> list[Work]:
    works = waiting[0].result()
    waiting.popleft()
    return works
