"""Ctrl-C while a command waits for an object store that does not answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from forked import start_python
from objects_server import FaultProxy, Request


def interrupt_at(
    proxy: FaultProxy, is_held: Callable[[Request], bool], *arguments: object
) -> None:
    """Press Ctrl-C while ``lookalike ARGUMENTS`` waits for the answer to a request.

    The answer comes only after the command has ended, which it must do at once and cleanly.
    """
    is_waiting, released = threading.Event(), threading.Event()

    def hold(request: Request, _number: int) -> None:
        if is_held(request) and not is_waiting.is_set():
            is_waiting.set()
            released.wait()

    proxy.fail = hold
    words = ["-m", "lookalike", *map(str, arguments)]
    with start_python(words, env=os.environ) as process:
        try:
            assert is_waiting.wait(timeout=60)
            process.send_signal(signal.SIGINT)
            # Requests wait for an answer for two minutes.
            _, errors = process.communicate(timeout=60)
        finally:
            released.set()
            proxy.fail = lambda *_: None
    assert process.returncode == 130
    assert "Interrupted. Committed work is kept." in errors
