"""Connect to a Ray cluster. This is the only module that imports Ray when it is not loaded yet."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from lookalike.errors import ClusterError
from lookalike.io.processors import cores

__all__ = ["Connection", "connected", "import_ray", "silence_events"]

_INSTALL = "pip install 'lookalike[cluster]'"
# Ray itself tries an address that nobody answers for minutes.
_CONNECT_TIMEOUT = 10.0
_CLIENT_PORT = 10001


def import_ray() -> ModuleType:
    """Return the package ``ray``.

    Raises
    ------
    ClusterError
        If it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"A Ray cluster needs the package ray ({error}). Install it with: {_INSTALL}"
        ) from error
    module: ModuleType = ray
    return module


class Connection:
    """A connection of this process to a cluster. One that the process already has is kept.

    Parameters
    ----------
    address
        ``auto`` for the cluster of this machine or of ``RAY_ADDRESS``, ``local`` for a new one on
        this machine that ends with the connection, ``HOST:PORT``, or ``ray://HOST:PORT``.

    Raises
    ------
    ClusterError
        If Ray is not installed, or no cluster answers at the address.
    """

    def __init__(self, address: str) -> None:
        self._ray = import_ray()
        self._is_own = not self._ray.is_initialized()
        if not self._is_own:
            return
        # Ray asks nothing and reports nothing to its makers unless the user wants it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
        if address == "local":
            options |= {"num_cpus": cores(), "include_dashboard": False}
        if address.startswith("ray://"):
            del options["log_to_driver"]
        with warnings.catch_warnings():
            # Ray starts processes by fork and exec, which Lance warns of.
            warnings.simplefilter("ignore")
            self._init(address, options)
        silence_events()

    def close(self) -> None:
        """Disconnect, unless the process was connected before."""
        if self._is_own:
            self._is_own = False
            self._ray.shutdown()

    def _init(self, address: str, options: dict[str, object]) -> None:
        try:
            _check_answer(address)
            self._ray.init(**options)
        # Ray raises ConnectionError, RuntimeError, ValueError and others.
        except Exception as error:
            lines = str(error).splitlines() or [type(error).__name__]
            reason = lines[0].rstrip(".")
            raise ClusterError(
                f"No Ray cluster answers at {address!r}: {reason}. "
                "Start one with: ray start --head - or name its address, or use "
                "--address local for one of this machine's cores alone."
            ) from error


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Connect to a cluster until the block ends, and yield the package ``ray``."""
    connection = Connection(address)
    try:
        yield import_ray()
    finally:
        connection.close()


def silence_events() -> None:
    """Keep Ray from printing the death of a worker to standard output, which `--json` uses.

    Ray has no option for it. The report of a run counts the deaths.
    """
    from ray._private import worker

    worker.print_to_stdstream = _ignore_event


def _ignore_event(*_: object, **__: object) -> None:
    pass


def _check_answer(address: str) -> None:
    """Raise OSError if nothing answers at an address that names a host."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", address)
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address.startswith("ray://") and not host:
        host = port
        port = str(_CLIENT_PORT)
    if not host or not port.isdecimal():
        return
    place = (host.strip("[]"), int(port))
    with socket.create_connection(place, timeout=_CONNECT_TIMEOUT):
        pass
