"""The thumbnails kept with the rows, read for many requests at once."""

from __future__ import annotations

import asyncio

from lookalike.server.gates import Gate
from lookalike.server.holding import Snapshot
from lookalike.server.problems import Problem

__all__ = ["Thumbnails"]


class Thumbnails:
    """Reads kept thumbnails, one read at a time: what is asked for meanwhile is the next read, all of it together.

    To read twenty rows takes twice as long as to read one, and a page asks for as many at a time.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._turn = asyncio.Semaphore()
        self._next: dict[Snapshot, tuple[set[int], asyncio.Task[dict[int, bytes]]]] = {}

    async def of(self, snapshot: Snapshot, row: int) -> bytes:
        """Return the JPEG kept with a row.

        Raises
        ------
        Problem
            404, if there is none; 503, if too much waits already.
        """
        if snapshot not in self._next:
            rows: set[int] = set()
            self._next[snapshot] = rows, asyncio.create_task(self._read(snapshot, rows))
        rows, reading = self._next[snapshot]
        rows.add(row)
        # Who goes away does not end what others wait for.
        found = (await asyncio.shield(reading))[row]
        if not found:
            raise Problem(404, "No thumbnail", f"The row {row} has no thumbnail.")
        return found

    async def _read(self, snapshot: Snapshot, rows: set[int]) -> dict[int, bytes]:
        async with self._turn:
            del self._next[snapshot]
            return await self._gate.run(_taken, snapshot, rows)


def _taken(snapshot: Snapshot, rows: set[int]) -> dict[int, bytes]:
    ids = sorted(rows)
    found = snapshot.collection.take(ids, ["thumbnail"])["thumbnail"].to_pylist()
    return {row: bytes(data or b"") for row, data in zip(ids, found, strict=True)}
