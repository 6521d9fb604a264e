"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from lookalike.io.processors import cores
from lookalike.server import thumbnails
from lookalike.server.caches import Cache
from lookalike.server.gates import Gate, Together
from lookalike.server.holding import Shelf, Snapshot
from lookalike.server.jobs import Jobs
from lookalike.server.settings import Settings
from lookalike.server.uploads import Errand, Uploads

__all__ = ["State", "state_of"]

_PICTURES_AT_ONCE = 4
_THUMBNAILS_AT_ONCE = 256


@dataclass(slots=True)
class State:
    """A server's own.

    Attributes
    ----------
    settings, shelf, uploads
        How it behaves, its collections, and the pictures that clients sent.
    pictures
        Small pictures made on demand, by the content's sha256 and their side.
    work, read
        Where pictures are decoded and embedded, and where rows are read and compared.
    errands, thumbnails
        What is done there for several requests at once: for those that send pictures, and for kept thumbnails.
    jobs
        What takes longer than a request.
    closing
        Whether the server is about to end: who still listens shall go.
    """

    settings: Settings
    shelf: Shelf
    uploads: Uploads = field(init=False)
    pictures: Cache[tuple[str, int], bytes] = field(init=False)
    work: Gate = field(init=False)
    read: Gate = field(init=False)
    errands: Together[Errand, Any] = field(init=False)
    thumbnails: Together[tuple[Snapshot, int], bytes] = field(init=False)
    jobs: Jobs = field(default_factory=Jobs)
    closing: bool = False

    def __post_init__(self) -> None:
        of = self.settings
        self.uploads = Uploads(of.uploads, of.max_pixels)
        self.pictures = Cache(of.thumbnails)
        self.work = Gate("pictures", of.workers, of.waiting)
        self.read = Gate("reading", cores(), 16 * of.waiting)
        self.errands = Together(
            self.work, self.uploads.run, runs=of.workers, most=_PICTURES_AT_ONCE
        )
        # One read at a time: what is asked for meanwhile is the next.
        self.thumbnails = Together(self.read, thumbnails.read, runs=1, most=_THUMBNAILS_AT_ONCE)

    def close(self) -> None:
        """Begin nothing more."""
        self.closing = True
        self.jobs.close()
        self.work.close()
        self.read.close()


def state_of(request: Request) -> State:
    """Return the state of the server that a request came to."""
    state: State = request.app.state.lookalike
    return state
