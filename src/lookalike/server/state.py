"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from lookalike.processors import cores
from lookalike.server.caches import Cache
from lookalike.server.gates import Gate
from lookalike.server.holding import Shelf
from lookalike.server.jobs import Jobs
from lookalike.server.settings import Settings
from lookalike.server.thumbnails import Thumbnails
from lookalike.server.uploads import Uploads

__all__ = ["State", "state_of"]


@dataclass(slots=True)
class State:
    """A server's own.

    Attributes
    ----------
    settings, shelf, uploads
        How it behaves, its collections, and the pictures that clients sent.
    pictures
        Small pictures made on demand, by the content's sha256 and their side.
    work, read, thumbnails
        Where pictures are decoded and embedded, where rows are read and compared, and where kept thumbnails are.
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
    thumbnails: Thumbnails = field(init=False)
    jobs: Jobs = field(default_factory=Jobs)
    closing: bool = False

    def __post_init__(self) -> None:
        of = self.settings
        self.uploads = Uploads(of.uploads, of.max_pixels)
        self.pictures = Cache(of.thumbnails)
        self.work = Gate("pictures", of.workers, of.waiting)
        self.read = Gate("reading", cores(), 16 * of.waiting)
        self.thumbnails = Thumbnails(self.read)

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
