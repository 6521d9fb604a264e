"""Pictures that clients send: kept in a bounded memory for a while, never on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.retrieval.search import Searcher
from lookalike.server.cache import SizedCache
from lookalike.server.problems import Problem
from lookalike.types import Model

__all__ = ["EmbedRequest", "Upload", "Uploads"]


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
    vectors: dict[tuple[str, str, str | None], npt.NDArray[np.float16]] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """A request's pictures, the Space they are to be seen in, and what is then done with them."""

    pictures: list[bytes]
    searcher: Searcher
    use: Callable[[list[Upload]], Any]


# Pictures to be embedded, by their sha256 and where they are to be seen, prepared for that.
Pending = dict[tuple[str, Searcher], tuple[Upload, npt.NDArray[np.uint8]]]


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
        self._kept: SizedCache[str, Upload] = SizedCache(memory)
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

    def run_one(self, embed_request: EmbedRequest) -> Any:
        """Do what `run` does for one request."""
        (found,) = self.run([embed_request])
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, embed_requests: list[EmbedRequest]) -> list[Any]:
        """Keep the pictures of some requests, embedded, and return what each makes of its own, or raised.

        Step by step for all: what a step needs is in the processor's caches when the next picture comes.
        """
        pending: Pending = {}
        taken = [self._taken(embed_request, pending) for embed_request in embed_requests]
        failed = self._embed(pending)
        return [
            _result(embed_request, uploads, failed)
            for embed_request, uploads in zip(embed_requests, taken, strict=True)
        ]

    def find(self, sha256: str) -> Upload:
        """Return a picture that was sent before.

        Raises
        ------
        Problem
            404, if it is not, or no longer, kept.
        """
        upload = self._kept.get(sha256)
        if upload is None:
            raise Problem(
                404, "No such upload", "That picture is not kept here any more. Send it again."
            )
        return upload

    def embedded(self, upload: Upload, searcher: Searcher) -> bool:
        """Tell whether a picture has a vector in a Space already."""
        return searcher.filled_by in upload.vectors

    def vector(self, upload: Upload, searcher: Searcher) -> npt.NDArray[np.float16]:
        """Return a picture's vector in a Space, made when it is first asked for."""
        key = searcher.filled_by
        if key not in upload.vectors:
            upload.vectors[key] = searcher.embed_image(self._decode(upload.data, searcher.model)[0])
        return upload.vectors[key]

    def small(self, upload: Upload, side: int) -> bytes:
        """Return a picture as a JPEG whose longer side is at most so many pixels."""
        return imaging.thumbnail(self._decode(upload.data, None)[0], side=side)

    def _taken(self, embed_request: EmbedRequest, pending: Pending) -> list[Upload] | Exception:
        """Return a request's pictures, or why one cannot be taken; add to `pending` those that are to be embedded."""
        uploads, model = [], embed_request.searcher.model
        seen = {upload.sha256: upload for upload, _ in pending.values()}
        try:
            for data in embed_request.pictures:
                sha256 = hashlib.sha256(data).hexdigest()
                upload = seen.get(sha256) or self._kept.get(sha256)
                if upload is None or not (
                    self.embedded(upload, embed_request.searcher)
                    or (sha256, embed_request.searcher) in pending
                ):
                    picture, size = self._decode(data, model)
                    upload = seen[sha256] = upload or Upload(data, sha256, size)
                    # Small from here on, whatever was sent.
                    pending[sha256, embed_request.searcher] = (
                        upload,
                        imaging.prepare(picture, model),
                    )
                uploads.append(upload)
        except Exception as error:  # noqa: BLE001 (the request's own, as in `_result`)
            return error
        return uploads

    def _embed(self, pending: Pending) -> dict[tuple[str, Searcher], Exception]:
        """Embed and keep pictures; return those that cannot be embedded, and why."""
        failed = {}
        for searcher in dict.fromkeys(searcher for _, searcher in pending):
            pairs = [pair for (_, of), pair in pending.items() if of is searcher]
            found = _embedded(searcher, [prepared for _, prepared in pairs])
            for (upload, _), vector in zip(pairs, found, strict=True):
                if isinstance(vector, Exception):
                    failed[upload.sha256, searcher] = vector
                else:
                    upload.vectors[searcher.filled_by] = vector
                    self._keep(upload)
        return failed

    def _keep(self, upload: Upload) -> None:
        self._kept.put(upload.sha256, upload, len(upload.data) + 4096)

    def _decode(self, data: bytes, model: Model | None) -> tuple[Image.Image, tuple[int, int]]:
        least = imaging.least_side(model) if model else 640
        try:
            return imaging.decode_small(data, least=least, max_pixels=self._max_pixels)
        except ImageError as error:
            reason = str(error).replace(" (--max-megapixels raises it)", "")
            raise ImageError(f"The picture cannot be searched by: {reason}.") from error


def _embedded(
    searcher: Searcher, pictures: list[npt.NDArray[np.uint8]]
) -> Sequence[npt.NDArray[np.float16] | Exception]:
    """Return the vector of each picture, or why it has none: what ails one is no matter of the others."""
    try:
        return list(searcher.embed_prepared(np.stack(pictures)))
    except Exception as error:  # noqa: BLE001 (raised where it is asked by)
        if len(pictures) == 1:
            return [error]
        return [found for picture in pictures for found in _embedded(searcher, [picture])]


def _result(
    embed_request: EmbedRequest,
    uploads: list[Upload] | Exception,
    failed: dict[tuple[str, Searcher], Exception],
) -> Any:
    """Return what a request makes of its pictures, or the exception that this ends in."""
    if isinstance(uploads, Exception):
        return uploads
    for upload in uploads:
        if error := failed.get((upload.sha256, embed_request.searcher)):
            return error
    try:
        return embed_request.use(uploads)
    except Exception as error:  # noqa: BLE001 (the request's own, which raises it)
        return error
