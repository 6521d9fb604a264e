"""Messages with large arrays through a pipe, in few system calls.

After each system call a thread waits for Python's lock, so a message of many small reads takes long
in a process with many threads.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
from typing import IO, Any

__all__ = ["enlarge", "receive", "send"]

# The first protocol that leaves arrays outside the pickle.
_PROTOCOL = 5
_LENGTH = struct.Struct("<Q")
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux
_PIPE_BYTES = 1 << 20


def enlarge(pipe: IO[bytes]) -> None:
    """Let a pipe hold a megabyte, where the system allows it."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)


def send(pipe: IO[bytes], value: object) -> None:
    """Write a value: the number of its parts, their lengths, and the parts."""
    arrays: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, _PROTOCOL, buffer_callback=arrays.append)
    parts = [memoryview(content)]
    for array in arrays:
        part = array.raw()
        parts.append(part)
    lengths = [part.nbytes for part in parts]
    count = len(lengths)
    table = [_LENGTH.pack(number) for number in (count, *lengths)]
    header = b"".join(table)
    for part in (memoryview(header), *parts):
        _send_block(pipe, part)
    pipe.flush()


def _send_block(pipe: IO[bytes], block: memoryview) -> None:
    """Write all bytes: a signal may end a write after some of them."""
    done = 0
    while done < block.nbytes:
        rest = block[done:]
        done += pipe.write(rest)


def receive(pipe: IO[bytes]) -> Any:
    """Read a value that `send` wrote; its arrays share one block of memory.

    Raises
    ------
    EOFError
        If the other end is closed.
    """
    (count,) = _LENGTH.unpack(_receive_block(pipe, _LENGTH.size))
    table = _receive_block(pipe, count * _LENGTH.size)
    lengths = [length for (length,) in _LENGTH.iter_unpack(table)]
    total = sum(lengths)
    block = _receive_block(pipe, total)
    parts = []
    start = 0
    for length in lengths:
        end = start + length
        parts.append(block[start:end])
        start = end
    content, *arrays = parts
    return pickle.loads(content, buffers=arrays)  # noqa: S301 (from a process of our own)


def _receive_block(pipe: IO[bytes], size: int) -> memoryview:
    block = memoryview(bytearray(size))
    done = 0
    while done < size:
        rest = block[done:]
        count = pipe.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return block
