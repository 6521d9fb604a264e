"""What the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from lookalike.io.processors import cores
from lookalike.server import thumbnails
from lookalike.server.batching import Batcher
from lookalike.server.cache import SizedCache
from lookalike.server.jobs import Jobs
from lookalike.server.limits import BoundedPool
from lookalike.server.registry import CollectionRegistry, CollectionView
from lookalike.server.settings import Settings
from lookalike.server.uploads import EmbedRequest, Uploads

__all__ = ["ServerState", "server_state"]

_PICTURES_AT_ONCE = 4
_THUMBNAILS_AT_ONCE = 256


@dataclass(slots=True)
class ServerState:
    """A server's own.

    Attributes
    ----------
    settings, registry, uploads
        How it behaves, its collections, and the pictures that clients sent.
    pictures
        Small pictures made on demand, by the content's sha256 and their side.
    work, read
        Where pictures are decoded and embedded, and where rows are read and compared.
    embed_requests, thumbnails
        What is done there for several requests at once: for those that send pictures, and for kept thumbnails.
    jobs
        What takes longer than a request.
    closing
        Whether the server is about to end: who still listens shall go.
    """

    settings: Settings
    registry: CollectionRegistry
    uploads: Uploads = field(init=False)
    pictures: SizedCache[tuple[str, int], bytes] = field(init=False)
    work: BoundedPool = field(init=False)
    read: BoundedPool = field(init=False)
    embed_requests: Batcher[EmbedRequest, Any] = field(init=False)
    thumbnails: Batcher[tuple[CollectionView, int], bytes] = field(init=False)
    jobs: Jobs = field(default_factory=Jobs)
    closing: bool = False

    def __post_init__(self) -> None:
        of = self.settings
        self.uploads = Uploads(of.uploads, of.max_pixels)
        self.pictures = SizedCache(of.thumbnails)
        self.work = BoundedPool("pictures", of.workers, of.waiting)
        self.read = BoundedPool("reading", cores(), 16 * of.waiting)
        self.embed_requests = Batcher(
            self.work, self.uploads.run, runs=of.workers, most=_PICTURES_AT_ONCE
        )
        # One read at a time: what is asked for meanwhile is the next.
        self.thumbnails = Batcher(self.read, thumbnails.read, runs=1, most=_THUMBNAILS_AT_ONCE)

    def close(self) -> None:
        """Begin nothing more."""
        self.closing = True
        self.jobs.close()
        self.work.close()
        self.read.close()


def server_state(request: Request) -> ServerState:
    """Return the state of the server that a request came to."""
    state: ServerState = request.app.state.lookalike
    return state
