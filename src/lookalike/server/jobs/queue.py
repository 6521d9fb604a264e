"""The queue of jobs: one job runs at a time, reports its progress and can be cancelled."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lookalike.errors import LookalikeError
from lookalike.server.jobs.pace import Pace
from lookalike.server.problems import Problem, server_busy

__all__ = ["Job", "JobQueue", "JobState", "JobWork"]

_MAX_WAITING = 16
_MAX_REMEMBERED = 64


class JobState(StrEnum):
    """The state of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDED = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class _JobCancelled(KeyboardInterrupt):
    """Ends the work of a cancelled job; the work handles it like Ctrl-C and leaves data intact."""


@dataclass(slots=True)
class Job:
    """A piece of work.

    Attributes
    ----------
    kind, fields
        The name of the job's kind, and the fields of its request.
    work
        Does the work and returns the result as plain data. It calls `advance` as it proceeds.
    id, state
        The job's id, and its state.
    done, total
        The number of processed images or queries, and the expected number, or None.
    pace
        How fast it proceeds.
    result, error
        The result of a finished job, and the message of a failed one. A cancelled job may have a
        result too: that of the part that it finished.
    """

    kind: str
    fields: dict[str, Any]
    work: JobWork = field(repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: JobState = JobState.WAITING
    done: int = 0
    total: int | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    pace: Pace = field(default_factory=Pace, repr=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def ended(self) -> bool:
        """Whether the job is done, failed or cancelled."""
        return self.state in _ENDED

    @property
    def ending(self) -> bool:
        """Whether the job has ended, or was cancelled and ends soon."""
        return self.ended or self._cancelled.is_set()

    def advance(self, count: int) -> None:
        """Add to the number of processed images; the work of a cancelled job ends here."""
        self.done += count
        self.pace.mark(time.monotonic(), self.done)
        if self._cancelled.is_set():
            raise _JobCancelled

    def report(self, _step: str, done: int, total: int | None) -> None:
        """Set the progress of the step that runs; each step counts from 0."""
        if done < self.done or total != self.total:
            # The pace of the step before says nothing about this one.
            self.pace = Pace()
        self.total = total
        self.done = 0
        self.advance(done)

    def cancel(self) -> None:
        """Cancel the job: at once if it waits, otherwise at its next `advance`."""
        self._cancelled.set()
        if self.state == JobState.WAITING:
            self.state = JobState.CANCELLED

    def run(self) -> None:
        """Do the work, unless the job was cancelled."""
        if self.ended:
            return
        self.state = JobState.RUNNING
        self.pace.mark(time.monotonic(), self.done)
        try:
            self.result = self.work(self)
            self.state = JobState.DONE
        except _JobCancelled:
            self.state = JobState.CANCELLED
        except LookalikeError as error:
            self.error = str(error)
            self.state = JobState.FAILED
        except Exception as error:
            logging.getLogger("lookalike.server").exception("job %s failed", self.kind)
            self.error = f"Unexpected error: {error}. The server's log has the details."
            self.state = JobState.FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a `JobResponse`."""
        rate = None
        seconds_left = None
        if self.state == JobState.RUNNING:
            rate = self.pace.rate
            seconds_left = self.pace.seconds_left(self.done, self.total)
        return {
            "id": self.id,
            "kind": self.kind,
            "asked": self.fields,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "rate": rate,
            "seconds_left": seconds_left,
            "result": self.result,
            "error": self.error,
        }


JobWork = Callable[[Job], dict[str, Any]]


class JobQueue:
    """The jobs of a server; one runs at a time, in a thread that ends with the process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._waiting: queue.Queue[Job] = queue.Queue(_MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, kind: str, fields: dict[str, Any], work: JobWork) -> Job:
        """Return a new job at the end of the queue, or an equal one that waits or runs already.

        A cancelled job that still runs does not count: it leaves work undone.

        Raises
        ------
        Problem
            503, if the queue is full.
        """
        with self._lock:
            for job in self._jobs.values():
                is_equal = job.kind == kind and job.fields == fields
                if is_equal and not job.ending:
                    return job
            job = Job(kind, fields, work)
            try:
                self._waiting.put_nowait(job)
            except queue.Full:
                raise server_busy(
                    f"{_MAX_WAITING} jobs are waiting. Try again when some are done."
                ) from None
            self._jobs[job.id] = job
            self._forget_old_jobs()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run_jobs, name="jobs", daemon=True
                )
                self._thread.start()
        return job

    def all(self) -> list[Job]:
        """Return all remembered jobs, the oldest first."""
        with self._lock:
            jobs = self._jobs.values()
            return list(jobs)

    def find(self, job_id: str) -> Job:
        """Return a job by its id.

        Raises
        ------
        Problem
            404, if the id is unknown or the job ended long ago.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            detail = "The id is unknown, or the job ended long ago. List the jobs to see all ids."
            raise Problem(404, "Job not found", detail)
        return job

    def close(self) -> None:
        """Cancel all jobs."""
        for job in self.all():
            job.cancel()

    def _forget_old_jobs(self) -> None:
        jobs = self._jobs
        excess = len(jobs) - _MAX_REMEMBERED
        if excess <= 0:
            return
        # The oldest come first.
        ended = []
        for job in jobs.values():
            if job.ended:
                ended.append(job.id)
        for job_id in ended[:excess]:
            del jobs[job_id]

    def _run_jobs(self) -> None:
        while True:
            self._waiting.get().run()
