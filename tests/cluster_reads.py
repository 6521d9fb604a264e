"""Sources whose images are read in unusual ways, by functions that actors can import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lookalike.sources import LocalSource
from lookalike.types import Item


class ChangedSource(LocalSource):
    """A folder whose images are read through another function.

    Parameters
    ----------
    folder
        The folder.
    read
        Called with the path of an image and the usual `read` of its Item.
    """

    def __init__(self, folder: Path, read: Callable[..., bytes]) -> None:
        super().__init__([folder])
        self._read = read

    def __iter__(self) -> Iterator[Item]:
        for item in super().__iter__():
            yield replace(item, read=partial(self._read, item.uri, item.read))


def slow(uri: str, read: Callable[[], bytes]) -> bytes:
    """Read an image after some time."""
    time.sleep(0.1)
    return read()


def held(
    uri: str, read: Callable[[], bytes], marks: Path, gate: Path, seconds: float = 60
) -> bytes:
    """Leave the node's id in a folder, and read an image when a file, the gate, exists.

    The node whose id the gate holds reads nothing: it is about to end.
    """
    import ray

    node = ray.get_runtime_context().get_node_id()
    (marks / node).touch()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if gate.exists() and gate.read_text() != node:
            break
        time.sleep(0.05)
    return read()


def deadly(
    uri: str, read: Callable[[], bytes], kills: Mapping[str, int], marks: Path
) -> bytes:
    """Read an image; at some names kill the process, as many times as `kills` says."""
    name = Path(uri).stem
    count = len(list(marks.glob(f"{name}-*")))
    if count < kills.get(name, 0):
        (marks / f"{name}-{count}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read()


def only_in(uri: str, read: Callable[[], bytes], process: int) -> bytes:
    """Read an image in one process; others do not see the file."""
    if os.getpid() != process:
        raise FileNotFoundError(2, "No such file or directory", uri)
    return read()
