"""The objects that the parts of a running server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from lookalike.io.processors import cores
from lookalike.models.cells import CellNetworks
from lookalike.server import thumbnails
from lookalike.server.batching import Batcher
from lookalike.server.cache import SizedCache
from lookalike.server.fits import BackgroundFits
from lookalike.server.jobs.queue import JobQueue
from lookalike.server.limits import BoundedPool
from lookalike.server.regions import RegionVectors, RowImages
from lookalike.server.registry import CollectionRegistry, CollectionView
from lookalike.server.settings import ServerSettings
from lookalike.server.uploads import EmbedRequest, Uploads

__all__ = ["ServerState", "server_state"]

_EMBED_BATCH = 4
_THUMBNAIL_BATCH = 256
# Reads are short, so more of them may wait than images.
_READ_QUEUE_FACTOR = 16
# The memory that a cached thumbnail takes besides its bytes.
_THUMBNAIL_OVERHEAD = 256
# The memory for the vectors of regions, about a thousand, and what each takes besides its numbers.
_REGION_BYTES = 4 << 20
_REGION_OVERHEAD = 1024
# The networks to keep for explanations, each of about 60 MB.
_CELL_NETWORKS = 2


@dataclass(slots=True)
class ServerState:
    """The objects that the parts of a running server share.

    Attributes
    ----------
    settings, registry, uploads
        The options, the collections, and the images sent by clients.
    thumbnails
        Recent thumbnails by (sha256 of the content, side).
    row_images, region_vectors, cell_networks
        Read the images of rows, the vectors of recent regions, and the networks of explanations.
    image_pool, read_pool
        The threads that decode and embed images, and the threads that read and compare rows.
    embed_batcher, thumbnail_batcher
        Run in those pools: small uploads to embed, and stored thumbnails to read.
    fits
        Computes rankings that take long.
    jobs
        Work that takes longer than a request.
    closing
        Whether the server is shutting down; open event streams end.
    """

    settings: ServerSettings
    registry: CollectionRegistry
    uploads: Uploads = field(init=False)
    thumbnails: SizedCache[tuple[str, int], bytes] = field(init=False)
    row_images: RowImages = field(init=False)
    region_vectors: RegionVectors = field(init=False)
    cell_networks: CellNetworks = field(init=False)
    image_pool: BoundedPool = field(init=False)
    read_pool: BoundedPool = field(init=False)
    embed_batcher: Batcher[EmbedRequest, Any] = field(init=False)
    thumbnail_batcher: Batcher[tuple[CollectionView, int], bytes] = field(init=False)
    fits: BackgroundFits = field(default_factory=BackgroundFits)
    jobs: JobQueue = field(default_factory=JobQueue)
    closing: bool = False

    def __post_init__(self) -> None:
        options = self.settings
        self.uploads = Uploads(options.upload_cache_bytes, options.max_pixels)
        self.thumbnails = SizedCache(
            options.thumbnail_cache_bytes,
            size_of=lambda data: len(data) + _THUMBNAIL_OVERHEAD,
        )
        self.row_images = RowImages(options.originals, options.max_pixels)
        self.region_vectors = SizedCache(
            _REGION_BYTES, size_of=lambda vector: vector.nbytes + _REGION_OVERHEAD
        )
        self.cell_networks = CellNetworks(_CELL_NETWORKS, threads=1)
        self.image_pool = BoundedPool("images", options.workers, options.queue_size)
        self.read_pool = BoundedPool(
            "reads", cores(), _READ_QUEUE_FACTOR * options.queue_size
        )
        self.embed_batcher = Batcher(
            self.image_pool,
            self.uploads.run,
            workers=options.workers,
            max_batch=_EMBED_BATCH,
        )
        # With one worker, all requests that arrive during a read share the next one.
        self.thumbnail_batcher = Batcher(
            self.read_pool,
            thumbnails.read_thumbnails,
            workers=1,
            max_batch=_THUMBNAIL_BATCH,
        )

    def close(self) -> None:
        """Cancel jobs and waiting requests, and accept no more."""
        self.closing = True
        self.fits.close()
        self.jobs.close()
        self.image_pool.close()
        self.read_pool.close()


def server_state(request: Request) -> ServerState:
    """Return the state of the server that received a request."""
    state: ServerState = request.app.state.lookalike
    return state
