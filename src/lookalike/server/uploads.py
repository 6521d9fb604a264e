"""Pictures that clients send: kept in a bounded memory for a while, never on disk."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import images
from lookalike.errors import ImageError, LookalikeError
from lookalike.searching import Searcher
from lookalike.server.caches import Cache
from lookalike.server.problems import Problem
from lookalike.types import Model

__all__ = ["Errand", "Upload", "Uploads"]


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


@dataclass(frozen=True, slots=True)
class Errand:
    """A request's pictures, the Space they are to be seen in, and what is then done with them."""

    pictures: list[bytes]
    searcher: Searcher
    use: Callable[[list[Upload]], Any]


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

    def take(self, data: bytes) -> Upload:
        """Keep a picture.

        Raises
        ------
        ImageError
            If it is no picture that can be read.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        upload = self._kept.get(sha256)
        if upload is None:
            upload = Upload(data, sha256, self._decode(data, None)[1])
            self._keep(upload)
        return upload

    def one(self, errand: Errand) -> Any:
        """Do what `run` does for one request."""
        (found,) = self.run([errand])
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, errands: list[Errand]) -> list[Any]:
        """Keep the pictures of some requests, embedded, and return what each makes of its own, or raised.

        Step by step for all: what a step needs is in the processor's caches when the next picture comes.
        """
        fresh: defaultdict[Searcher, list[tuple[Upload, Image.Image]]] = defaultdict(list)
        taken = [self._taken(errand, fresh) for errand in errands]
        for searcher, pairs in fresh.items():
            # Where one of them cannot be embedded, each is embedded by whoever asks by it, and only that one fails.
            with suppress(LookalikeError):
                vectors = searcher.embed_many([picture for _, picture in pairs])
                for (upload, _), vector in zip(pairs, vectors, strict=True):
                    upload.vectors[searcher.filled_by] = vector
                    self._keep(upload)
        return [_tried(errand, uploads) for errand, uploads in zip(errands, taken, strict=True)]

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

    def _taken(
        self, errand: Errand, fresh: dict[Searcher, list[tuple[Upload, Image.Image]]]
    ) -> list[Upload] | ImageError:
        """Return a request's pictures; add to `fresh` those that are to be embedded, decoded once."""
        uploads, key = [], errand.searcher.filled_by
        try:
            for data in errand.pictures:
                sha256 = hashlib.sha256(data).hexdigest()
                upload = self._kept.get(sha256)
                if upload is None or key not in upload.vectors:
                    picture, size = self._decode(data, errand.searcher.model)
                    upload = upload or Upload(data, sha256, size)
                    fresh[errand.searcher].append((upload, picture))
                uploads.append(upload)
        except ImageError as error:
            return error
        return uploads

    def _keep(self, upload: Upload) -> None:
        self._kept.put(upload.sha256, upload, len(upload.data) + 4096)

    def _decode(self, data: bytes, model: Model | None) -> tuple[Image.Image, tuple[int, int]]:
        least = images.least_side(model) if model else 640
        try:
            return images.decode_small(data, least=least, max_pixels=self._max_pixels)
        except ImageError as error:
            reason = str(error).replace(" (--max-megapixels raises it)", "")
            raise ImageError(f"The picture cannot be searched by: {reason}.") from error


def _tried(errand: Errand, uploads: list[Upload] | ImageError) -> Any:
    """Return what a request makes of its pictures, or the exception that this ends in."""
    if isinstance(uploads, ImageError):
        return uploads
    try:
        return errand.use(uploads)
    except Exception as error:  # noqa: BLE001 (the request's own, which raises it)
        return error
