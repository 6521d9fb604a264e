"""Work that takes longer than a request: done one by one, told as it goes, and called off if need be."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lookalike
from lookalike.errors import LookalikeError
from lookalike.evaluation.evaluate import evaluate
from lookalike.indexing.run import Settings as Indexing
from lookalike.io.processors import cores
from lookalike.projection.layouts import Method
from lookalike.projection.map import make_map
from lookalike.server.problems import Problem, busy
from lookalike.server.registry import ServedCollection

__all__ = ["Job", "Jobs", "evaluation", "indexing", "mapping"]

_log = logging.getLogger("lookalike.server")

_WAITING, _REMEMBERED = 16, 64

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class _Cancelled(KeyboardInterrupt):
    """Raised within a job that was called off: what runs takes it for Ctrl-C, and leaves things whole."""


@dataclass(slots=True)
class Job:
    """One piece of work.

    Attributes
    ----------
    id, kind, asked
        Its name, what is done, and with what: the same is not done twice at once.
    work
        Does it, and returns its result as plain data.
    state, done, total
        How far it is; the total is None where it is not known.
    result, error
        What came of it.
    """

    kind: str
    asked: dict[str, Any]
    work: Callable[[Job], dict[str, Any]] = field(repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "waiting"
    done: int = 0
    total: int | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    _off: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in {"done", "failed", "cancelled"}

    def advance(self, count: int) -> None:
        """Count what was done; here the work ends if it was called off."""
        self.done += count
        if self._off.is_set():
            raise _Cancelled

    def cancel(self) -> None:
        """Call it off: at once if it waits, else when it next tells how far it is."""
        self._off.set()
        if self.state == "waiting":
            self.state = "cancelled"

    def run(self) -> None:
        """Do it."""
        if self.ended:
            return
        self.state = "running"
        try:
            self.result = self.work(self)
            self.state = "done"
        except _Cancelled:
            self.state = "cancelled"
        except LookalikeError as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:  # noqa: BLE001 (whatever it was, the next job is done all the same)
            _log.exception("the job %s failed", self.kind)
            self.error, self.state = (
                f"It failed unforeseen, see the server's log: {error}",
                "failed",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return what is told of it."""
        names = ("id", "kind", "asked", "state", "done", "total", "result", "error")
        return {name: getattr(self, name) for name in names}


class Jobs:
    """The jobs of a server; one runs at a time, in a thread that ends with the process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._queue: queue.Queue[Job] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, kind: str, asked: dict[str, Any], work: Callable[[Job], dict[str, Any]]) -> Job:
        """Have something done after what waits already; the same, if it is waiting or running, is not added again.

        Raises
        ------
        Problem
            503, if as many wait as may.
        """
        with self._lock:
            for job in self._jobs.values():
                if (job.kind, job.asked) == (kind, asked) and not job.ended:
                    return job
            job = Job(kind, asked, work)
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise busy(f"{_WAITING} jobs wait already. Try again when some are done.") from None
            self._jobs[job.id] = job
            for old in [one.id for one in self._jobs.values() if one.ended][
                : max(0, len(self._jobs) - _REMEMBERED)
            ]:
                del self._jobs[old]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
        return job

    def all(self) -> list[Job]:
        """Return all that are remembered, the oldest first."""
        with self._lock:
            return list(self._jobs.values())

    def find(self, name: str) -> Job:
        """Return a job by its id.

        Raises
        ------
        Problem
            404, if none is remembered by that name.
        """
        with self._lock:
            job = self._jobs.get(name)
        if job is None:
            raise Problem(
                404,
                "No such job",
                "There is no job of that name, or it ended long ago. See the list of jobs.",
            )
        return job

    def close(self) -> None:
        """Call off whatever waits or runs."""
        for job in self.all():
            job.cancel()

    def _run(self) -> None:
        while True:
            self._queue.get().run()


def evaluation(served: ServedCollection, spaces: list[str]) -> Callable[[Job], dict[str, Any]]:
    """Return the work of evaluating Spaces; its result is kept with the served."""

    def work(job: Job) -> dict[str, Any]:
        view = served.view()
        job.total = len(view.row_cache) * (len(spaces) or len(view.models))
        result = evaluate(view.collection, spaces=spaces, progress=job.advance).to_dict()
        served.evaluation = result
        return result

    return work


def mapping(
    served: ServedCollection, space: str, method: Method, *, fresh: bool
) -> Callable[[Job], dict[str, Any]]:
    """Return the work of making a map, which the collection keeps."""

    def work(_: Job) -> dict[str, Any]:
        plane = make_map(served.view().collection, space=space, method=method, fresh=fresh)
        return {"space": space, "method": method, "summary": plane.summary}

    return work


def indexing(served: ServedCollection, root: Path) -> Callable[[Job], dict[str, Any]]:
    """Return the work of bringing a collection up to date with a folder; a core is left to those who search."""

    def work(job: Job) -> dict[str, Any]:
        settings = Indexing(threads=max(1, cores() - 1))
        report = lookalike.index([root], served.path, settings=settings, progress=job.advance)
        served.refresh(soon=True)
        return report.to_dict()

    return work
