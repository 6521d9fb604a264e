"""Requests whose answers Ctrl-C does not wait for.

Python notices Ctrl-C in its main thread alone, and there only between two of its own instructions.
A library that waits for a network in another language therefore holds it up, for minutes if the
network hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["REQUEST_THREADS", "are_pending", "run_interruptibly"]

Awaited = TypeVar("Awaited")

# How the names of threads that wait for an answer begin.
REQUEST_THREADS = "lookalike-request"


def run_interruptibly(request: Callable[[], Awaited]) -> Awaited:
    """Return the result of a request; in the main thread, Ctrl-C does not wait for it."""
    if threading.current_thread() is not threading.main_thread():
        return request()
    future: Future[Awaited] = Future()

    def run() -> None:
        try:
            future.set_result(request())
        except BaseException as error:  # noqa: BLE001 (raised below)
            future.set_exception(error)

    threading.Thread(target=run, name=REQUEST_THREADS).start()
    return future.result()


def are_pending() -> bool:
    """Return whether a thread still waits for an answer, for which the end of Python would wait."""
    return any(
        thread.name.startswith(REQUEST_THREADS) for thread in threading.enumerate()
    )
