"""Reads by ranges from a gzip file, in the memory of a few windows of its decompression.

A decompressor of zlib can be copied. Copies at regular distances are restart points: a range is
decompressed from the nearest one before it. See zran.c in the examples of zlib.
"""

from __future__ import annotations

import errno
import threading
import zlib
from concurrent.futures import Future

from lookalike.sources.containers import (
    MAX_EXPANSION,
    ContainerStamp,
    PositionedFile,
    container_store,
    largest_expansion,
)

__all__ = ["GzipRanges", "GzipStream", "is_gzip"]

_MAGIC = b"\x1f\x8b"
# Window bits of zlib for a gzip header and a verified checksum.
_GZIP_BITS = 16 + zlib.MAX_WBITS
_INPUT_BYTES = 1 << 18
_OUTPUT_BYTES = 1 << 20
_MAX_BLOCKS = 8

# A copy of a decompressor takes about 40 KB. When there are too many, every second one is dropped.
_FIRST_SPACING = 1 << 22
_MAX_RESTART_POINTS = 256
# Decompressors at the ends of earlier reads. Threads that read in turns each find theirs.
_MAX_IDLE = 16


def is_gzip(beginning: bytes) -> bool:
    """Return whether a file with these first bytes is compressed by gzip."""
    return beginning.startswith(_MAGIC)


class _Blocks:
    """The compressed bytes of a file, read by blocks that threads share.

    Decompressors take small pieces of them. Restart points keep the piece that they are in.
    """

    def __init__(self, address: str, stamp: ContainerStamp) -> None:
        self._address = address
        self._stamp = stamp
        self._store = container_store(address)
        self._block_bytes = max(_INPUT_BYTES, self._store.buffer_bytes)
        self._lock = threading.Lock()
        self._recent: dict[int, Future[bytes]] = {}

    def read(self, start: int, length: int) -> bytes:
        """Return between 1 and `length` bytes, or none at the end."""
        if self._block_bytes <= length:
            return self._store.read_range(self._address, self._stamp, start, length)
        number, offset = divmod(start, self._block_bytes)
        block = self._block(number)
        return block[offset : offset + length]

    def _block(self, number: int) -> bytes:
        """Return a block. Of threads that need it at the same time, one reads it."""
        with self._lock:
            block = self._recent.get(number)
            is_new = block is None
            if block is None:
                block = Future()
                self._recent[number] = block
            if len(self._recent) > _MAX_BLOCKS:
                oldest = next(iter(self._recent))
                del self._recent[oldest]
        if is_new:
            self._fill(block, number)
        return block.result()

    def _fill(self, block: Future[bytes], number: int) -> None:
        start = number * self._block_bytes
        try:
            data = self._store.read_range(
                self._address, self._stamp, start, self._block_bytes
            )
        except BaseException as error:
            with self._lock:
                # The next read tries again.
                self._recent.pop(number, None)
            block.set_exception(error)
            raise
        block.set_result(data)


class _Decompressor:
    """Decompresses a gzip file in order, from a position that it can be copied at."""

    def __init__(self, source: _Blocks) -> None:
        self._source = source
        self._zlib = zlib.decompressobj(_GZIP_BITS)
        self._input = b""
        self._next_input = 0
        self.position = 0

    def copy(self) -> _Decompressor:
        """Return a decompressor that continues from the same position."""
        other = _Decompressor(self._source)
        other._zlib = self._zlib.copy()
        other._input = self._input
        other._next_input = self._next_input
        other.position = self.position
        return other

    def read(self, size: int) -> bytes:
        """Return between 1 and `size` bytes, or none at the end.

        Raises
        ------
        OSError
            If the file is damaged or cut short.
        """
        while True:
            if self._zlib.eof and not self._begin_next_part():
                return b""
            if not self._input and not self._read_input():
                raise OSError(errno.EIO, "its gzip data are cut short")
            try:
                data = self._zlib.decompress(self._input, size)
            except zlib.error as error:
                raise OSError(errno.EIO, "its gzip data are damaged") from error
            self._input = self._zlib.unconsumed_tail or self._zlib.unused_data
            self.position += len(data)
            if data:
                return data

    def _begin_next_part(self) -> bool:
        """Begin the next of several gzip files in one; return False at the end of the last."""
        # Zeros may fill up the last block of a tape.
        rest = self._input.lstrip(b"\0")
        while not rest and self._read_input():
            rest = self._input.lstrip(b"\0")
        self._input = rest
        if not rest:
            return False
        self._zlib = zlib.decompressobj(_GZIP_BITS)
        return True

    def _read_input(self) -> bool:
        """Read more compressed bytes; return False at the end of the file."""
        self._input = self._source.read(self._next_input, _INPUT_BYTES)
        self._next_input += len(self._input)
        return bool(self._input)


class GzipRanges:
    """The decompressed content of a gzip file, read by ranges from any thread.

    Parameters
    ----------
    address, stamp
        The file.
    """

    def __init__(self, address: str, stamp: ContainerStamp) -> None:
        self._max_position = largest_expansion(stamp.size)
        self._lock = threading.Lock()
        self._spacing = _FIRST_SPACING
        # In the order of their positions.
        self._restart_points = [_Decompressor(_Blocks(address, stamp))]
        self._idle: list[_Decompressor] = []

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from a position, fewer only at the end.

        Raises
        ------
        OSError
            If the file is damaged, cut short or in another state, or if it expands too much.
        """
        decompressor = self._nearest(start)
        parts = []
        end = start + length
        while decompressor.position < end:
            position = decompressor.position
            # Bytes before the start are passed over.
            goal = end
            if position < start:
                goal = start
            rest = goal - position
            size = min(rest, _OUTPUT_BYTES)
            data = decompressor.read(size)
            if not data:
                break
            if position >= start:
                parts.append(data)
            self._check_expansion(decompressor.position)
            self._add_restart_point(decompressor)
        with self._lock:
            self._idle.append(decompressor)
            del self._idle[:-_MAX_IDLE]
        return b"".join(parts)

    def _nearest(self, start: int) -> _Decompressor:
        """Return a decompressor of its own for the caller, at or before a position."""
        with self._lock:
            restart = self._restart_points[0]
            for point in self._restart_points:
                if point.position <= start:
                    restart = point
            nearest = restart
            for idle in self._idle:
                if nearest.position < idle.position <= start:
                    nearest = idle
            if nearest is restart:
                return restart.copy()
            self._idle.remove(nearest)
            return nearest

    def _check_expansion(self, position: int) -> None:
        if position > self._max_position:
            problem = f"it expands to more than {MAX_EXPANSION} times its size"
            raise OSError(errno.EFBIG, problem)

    def _add_restart_point(self, decompressor: _Decompressor) -> None:
        """Add a copy of a decompressor, unless the last restart point is near."""
        with self._lock:
            last = self._restart_points[-1]
            distance = decompressor.position - last.position
            if distance < self._spacing:
                return
            restart_point = decompressor.copy()
            self._restart_points.append(restart_point)
            if len(self._restart_points) > _MAX_RESTART_POINTS:
                self._restart_points = self._restart_points[::2]
                self._spacing *= 2


class GzipStream(PositionedFile):
    """The decompressed content of a gzip file, as a file of unknown length."""

    def __init__(self, ranges: GzipRanges) -> None:
        super().__init__(size=None)
        self._ranges = ranges

    def read_at(self, position: int, length: int) -> bytes:
        """Return `length` bytes from a position, fewer only at the end."""
        return self._ranges.read(position, length)
