"""Batches of tasks: split from the chunks of a run, and split again after a death."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lookalike.indexing.worker import Task

__all__ = ["Batch", "BatchQueue"]


@dataclass(eq=False, slots=True)
class Batch:
    """Tasks that an actor takes at once.

    Attributes
    ----------
    tasks
        The tasks.
    deaths
        The node of each actor that died while it ran them.
    """

    tasks: Sequence[Task]
    deaths: list[str] = field(default_factory=list)

    @property
    def is_suspect(self) -> bool:
        """Whether an actor has died while it ran them."""
        return bool(self.deaths)

    def singles(self) -> list[Batch]:
        """Return a batch for each task, with the deaths so far."""
        singles = []
        for task in self.tasks:
            deaths = list(self.deaths)
            single = Batch([task], deaths)
            singles.append(single)
        return singles


class BatchQueue:
    """The batches that no actor has yet. It reads a chunk only when its batches are asked for.

    Parameters
    ----------
    chunks
        The chunks of tasks of a run.
    size
        The most tasks in a batch.
    """

    def __init__(self, chunks: Iterable[Sequence[Task]], size: int) -> None:
        self._chunks = _with_last(chunks)
        self._size = size
        self._batches: deque[Batch] = deque()

    def take(self, window: int) -> Batch | None:
        """Return the next batch, or None at the end.

        Parameters
        ----------
        window
            The number of batches that the actors hold together. The last chunk is split into
            batches that get smaller towards the end, so that all actors end together.
        """
        while not self._batches:
            chunk, is_last = next(self._chunks, (None, True))
            if chunk is None:
                return None
            self._batches += self._split(chunk, window, is_last=is_last)
        return self._batches.popleft()

    def put_back(self, batches: Iterable[Batch]) -> None:
        """Put batches in front of all others."""
        last_first = list(batches)
        last_first.reverse()
        self._batches.extendleft(last_first)

    def _split(
        self, chunk: Sequence[Task], window: int, *, is_last: bool
    ) -> Iterator[Batch]:
        rest = chunk
        while rest:
            size = self._size
            if is_last:
                share = len(rest) // window
                size = max(1, min(size, share))
            tasks = rest[:size]
            yield Batch(tasks)
            rest = rest[size:]


def _with_last(
    chunks: Iterable[Sequence[Task]],
) -> Iterator[tuple[Sequence[Task] | None, bool]]:
    """Yield each chunk, and whether it is the last."""
    rest = iter(chunks)
    chunk = next(rest, None)
    while chunk is not None:
        following = next(rest, None)
        yield chunk, following is None
        chunk = following
