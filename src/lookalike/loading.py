"""From Items to images ready for the networks: what is done in many threads, each file read and decoded once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lookalike import images
from lookalike.errors import ImageError
from lookalike.store.contents import Contents, Known
from lookalike.types import Item, Model

__all__ = ["Loader", "Work", "in_order"]


@dataclass(slots=True)
class Work:
    """One image on its way: from an Item to what is written of it."""

    item: Item
    known: Known | None
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
        return self.known is not None and self.sha256 is not None and self.sha256 == self.known.sha256

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What is written of it, and for which Spaces; works of one kind go into one commit."""
        if self.error is not None:
            keeps = self.known is not None and self.known.sha256 is not None
            return ("stale" if keeps and (self.sha256 is None or self.same_content) else "failed"), ()
        if self.reused is not None:
            # A uri that is known keeps its own metadata; a new one takes over that of its content.
            return ("reused" if self.known is None else "replaced"), ()
        return ("same" if self.same_content else "fresh"), self.spaces


class Loader:
    """Read, hash and, unless the content is known, decode and prepare: what the threads do."""

    def __init__(self, models: dict[str, Model], contents: Contents, max_pixels: int) -> None:
        self._models = models
        self._contents = contents
        self._max_pixels = max_pixels

    def __call__(self, work: Work) -> Work:
        """Fill in the work; a bad image is an error in it, never an exception."""
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
        return work

    def _decode(self, work: Work, data: bytes) -> None:
        image = images.decode(data, max_pixels=self._max_pixels)
        work.size = image.size
        work.prepared = {name: images.prepare(image, self._models[name]) for name in work.spaces}
        work.thumbnail = images.thumbnail(image)


def in_order(pool: ThreadPoolExecutor, works: Iterator[tuple[Loader, Work]], window: int) -> Iterator[Work]:
    """Yield the loaded works in their order, with at most `window` of them read or waiting at any time."""
    waiting: deque[Future[Work]] = deque()
    for loader, work in works:
        waiting.append(pool.submit(loader, work))
        if len(waiting) >= window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
