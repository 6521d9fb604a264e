"""The program of a loader: reads, hashes and decodes images for the process that started it.

It takes a Worker and then lists of tasks on standard input, and answers each list on standard
output.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import BinaryIO

from lookalike.indexing.pipes import enlarge, receive, send
from lookalike.indexing.worker import Worker

__all__ = ["run_loader"]


def run_loader() -> None:
    """Answer until the other process closes standard input, or ends."""
    # The process that started this one decides when to stop. On Windows, Ctrl-C comes here too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever is printed must not get between the answers.
    answer_descriptor = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answer_descriptor, "wb") as answers:
        enlarge(answers)
        _answer(sys.stdin.buffer, answers)


def _answer(requests: BinaryIO, answers: BinaryIO) -> None:
    worker: Worker = receive(requests)
    while True:
        try:
            tasks = receive(requests)
        except EOFError:
            return
        images = []
        for task in tasks:
            read = task.item.read
            image = worker.load(task, read)
            images.append(image)
        send(answers, images)


if __name__ == "__main__":
    run_loader()
