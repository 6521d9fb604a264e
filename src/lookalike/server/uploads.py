"""Pictures that clients send: kept in a bounded memory for a while, never on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import images
from lookalike.errors import ImageError
from lookalike.searching import Searcher
from lookalike.server.caches import Cache
from lookalike.server.problems import Problem
from lookalike.types import Model

__all__ = ["Upload", "Uploads"]


@dataclass(slots=True)
class Upload:
    """A picture as it was sent.

    Attributes
    ----------
    data, sha256
        The file's bytes, and their hash, by which the client names it.
    size
        Width and height in pixels, upright.
    vectors
        What networks made of it, by Space and what fills that.
    """

    data: bytes
    sha256: str
    size: tuple[int, int]
    vectors: dict[tuple[str, str, str | None], npt.NDArray[np.float16]] = field(default_factory=dict)


class Uploads:
    """The last pictures that were sent.

    Parameters
    ----------
    memory
        Bytes that they may take together.
    max_pixels
        Larger pictures are refused.
    """

    def __init__(self, memory: int, max_pixels: int) -> None:
        self._kept: Cache[str, Upload] = Cache(memory)
        self._max_pixels = max_pixels

    @property
    def weight(self) -> int:
        """Bytes that they take now."""
        return self._kept.weight

    def take(self, data: bytes, searcher: Searcher | None = None) -> Upload:
        """Keep a picture, and embed it, so that it is decoded once.

        Raises
        ------
        ImageError
            If it is no picture that can be read.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        upload = self._kept.get(sha256)
        if upload is None:
            picture, size = self._decode(data, searcher.model if searcher else None)
            upload = Upload(data, sha256, size)
            if searcher is not None:
                upload.vectors[searcher.filled_by] = searcher.embed(picture)
            self._kept.put(sha256, upload, len(data) + 4096)
        elif searcher is not None:
            self.vector(upload, searcher)
        return upload

    def find(self, sha256: str) -> Upload:
        """Return a picture that was sent before.

        Raises
        ------
        Problem
            404, if it is not, or no longer, kept.
        """
        upload = self._kept.get(sha256)
        if upload is None:
            raise Problem(404, "No such upload", "That picture is not kept here any more. Send it again.")
        return upload

    def embedded(self, upload: Upload, searcher: Searcher) -> bool:
        """Tell whether a picture has a vector in a Space already."""
        return searcher.filled_by in upload.vectors

    def vector(self, upload: Upload, searcher: Searcher) -> npt.NDArray[np.float16]:
        """Return a picture's vector in a Space, made when it is first asked for."""
        key = searcher.filled_by
        if key not in upload.vectors:
            upload.vectors[key] = searcher.embed(self._decode(upload.data, searcher.model)[0])
        return upload.vectors[key]

    def small(self, upload: Upload, side: int) -> bytes:
        """Return a picture as a JPEG whose longer side is at most so many pixels."""
        return images.thumbnail(self._decode(upload.data, None)[0], side=side)

    def _decode(self, data: bytes, model: Model | None) -> tuple[Image.Image, tuple[int, int]]:
        least = images.least_side(model) if model else 640
        try:
            return images.decode_small(data, least=least, max_pixels=self._max_pixels)
        except ImageError as error:
            reason = str(error).replace(" (--max-megapixels raises it)", "")
            raise ImageError(f"The picture cannot be searched by: {reason}.") from error
