"""Images sent by clients: in bounded memory for a while, never on disk."""

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
from lookalike.retrieval.query import Encoder, undecodable
from lookalike.retrieval.search import Searcher
from lookalike.server.cache import SizedCache
from lookalike.server.problems import Problem
from lookalike.types import Model, VectorsF16

__all__ = ["EmbedRequest", "Upload", "Uploads"]

# The memory that an upload takes besides its file: vectors and bookkeeping.
_UPLOAD_OVERHEAD = 4096
# Larger uploads are decoded at a fraction of their size that is not below this.
_DECODED_SIDE = 640


@dataclass(slots=True)
class Upload:
    """An image sent by a client.

    Attributes
    ----------
    data, sha256
        The file's bytes, and their hash, by which later queries refer to the image.
    size
        The upright width and height in pixels.
    vectors
        The image's vectors by `Encoder.filled_by`, the identity of a Space and its Model.
    """

    data: bytes
    sha256: str
    size: tuple[int, int]
    vectors: dict[tuple[str, str, str | None], VectorsF16] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """The images of a request, the searcher to embed them for, and the function to call with them.

    Attributes
    ----------
    images, searcher
        Encoded images, and the searcher of the Space.
    use
        Receives the uploads, embedded; its result is the result of the request.
    others
        The searchers of further Spaces, for which `use` embeds the images.
    """

    images: list[bytes]
    searcher: Searcher
    use: Callable[[list[Upload]], Any]
    others: Sequence[Searcher] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _PreparedUpload:
    """An upload, and the network input made from it."""

    upload: Upload
    pixels: npt.NDArray[np.uint8]


# Prepared images to embed, by sha256 and searcher.
_Pending = dict[tuple[str, Searcher], _PreparedUpload]
# The exceptions of images that could not be embedded, by the same key.
_Failed = dict[tuple[str, Searcher], Exception]


class Uploads:
    """The most recent uploads.

    Parameters
    ----------
    capacity
        The memory for all uploads in bytes.
    max_pixels
        The largest number of pixels of an image.
    """

    def __init__(self, capacity: int, max_pixels: int) -> None:
        self._uploads: SizedCache[str, Upload] = SizedCache(
            capacity, size_of=lambda upload: len(upload.data) + _UPLOAD_OVERHEAD
        )
        self._max_pixels = max_pixels

    @property
    def memory(self) -> int:
        """The memory in use, in bytes."""
        return self._uploads.size

    def add(self, data: bytes) -> Upload:
        """Store an encoded image in memory.

        Raises
        ------
        FormatError
            If the image is of a kind that is not read.
        ImageError
            If the data cannot be decoded as an image.
        """
        uploads = self._uploads
        sha256 = hashlib.sha256(data).hexdigest()
        upload = uploads.get(sha256)
        if upload is None:
            _, size = self._decode(data, _DECODED_SIDE)
            upload = Upload(data, sha256, size)
            uploads.put(sha256, upload)
        return upload

    def find(self, sha256: str) -> Upload:
        """Return an image that was uploaded before.

        Raises
        ------
        Problem
            404, if the image was never uploaded to this server, or is no longer in its memory.
        """
        upload = self._uploads.get(sha256)
        if upload is None:
            detail = (
                "This image is no longer available: it was dropped from memory, or another server "
                "received it. Send the image with the query, or upload it again."
            )
            raise Problem(404, "Upload not found", detail)
        return upload

    def is_embedded(self, upload: Upload, searcher: Searcher) -> bool:
        """Return whether the vector of an image is in memory."""
        key = searcher.filled_by
        return key in upload.vectors

    def vector(self, upload: Upload, encoder: Encoder) -> VectorsF16:
        """Return the vector of an image, float16 ``[dim]``; it is computed at most once."""
        key = encoder.filled_by
        vectors = upload.vectors
        if key not in vectors:
            min_side = imaging.min_decoded_side(encoder.model)
            image, _ = self._decode(upload.data, min_side)
            vectors[key] = encoder.embed_image(image)
        return vectors[key]

    def decode(self, upload: Upload) -> Image.Image:
        """Return an image at full scale, upright RGB."""
        try:
            return imaging.decode(upload.data, max_pixels=self._max_pixels)
        except ImageError as error:
            raise undecodable(error) from error

    def thumbnail(self, upload: Upload, side: int) -> bytes:
        """Return an image as a JPEG whose longer side is at most `side` pixels."""
        image, _ = self._decode(upload.data, _DECODED_SIDE)
        return imaging.thumbnail(image, side=side)

    def run_one(self, request: EmbedRequest) -> Any:
        """Run one request and return its result, or raise its exception."""
        (result,) = self.run([request])
        if isinstance(result, Exception):
            raise result
        return result

    def run(self, requests: list[EmbedRequest]) -> list[Any]:
        """Embed and store the images of several requests; return the result or exception of each.

        Every step runs for all requests before the next one, while its code and data are in the
        processor's caches.
        """
        pending: _Pending = {}
        taken = [self._take(request, pending) for request in requests]
        failed = self._embed(pending)
        results = []
        for request, uploads in zip(requests, taken, strict=True):
            result = _result_of(request, uploads, failed)
            results.append(result)
        return results

    def _take(
        self, request: EmbedRequest, pending: _Pending
    ) -> list[Upload] | Exception:
        """Return the uploads of a request, and add those without a vector to `pending`.

        Returns the exception if one of the images cannot be decoded.
        """
        seen: dict[str, Upload] = {}
        for image in pending.values():
            seen[image.upload.sha256] = image.upload
        searcher = request.searcher
        uploads = []
        try:
            for data in request.images:
                digest = hashlib.sha256(data)
                sha256 = digest.hexdigest()
                upload = seen.get(sha256) or self._uploads.get(sha256)
                if upload is None or self._needs_vector(upload, searcher, pending):
                    # From here on only the small network input is in memory, not the image.
                    pixels, size = self._prepare(data, searcher.model)
                    upload = upload or Upload(data, sha256, size)
                    seen[sha256] = upload
                    pending[sha256, searcher] = _PreparedUpload(upload, pixels)
                uploads.append(upload)
        except Exception as error:  # noqa: BLE001 (ends this request only)
            return error
        return uploads

    def _needs_vector(
        self, upload: Upload, searcher: Searcher, pending: _Pending
    ) -> bool:
        if self.is_embedded(upload, searcher):
            return False
        key = upload.sha256, searcher
        return key not in pending

    def _embed(self, pending: _Pending) -> _Failed:
        """Embed and store images, one batch per searcher; return the exceptions of the others."""
        failed: _Failed = {}
        images_by_searcher: dict[Searcher, list[_PreparedUpload]] = {}
        for (_, searcher), image in pending.items():
            images = images_by_searcher.setdefault(searcher, [])
            images.append(image)

        for searcher, images in images_by_searcher.items():
            inputs = [image.pixels for image in images]
            vectors = _embed_each(searcher, inputs)
            for image, vector in zip(images, vectors, strict=True):
                upload = image.upload
                if isinstance(vector, Exception):
                    failed[upload.sha256, searcher] = vector
                else:
                    upload.vectors[searcher.filled_by] = vector
                    self._uploads.put(upload.sha256, upload)
        return failed

    def _prepare(
        self, data: bytes, model: Model
    ) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
        """Return the network input for an encoded image, and the image's size."""
        min_side = imaging.min_decoded_side(model)
        image, size = self._decode(data, min_side)
        prepared = imaging.prepare(image, model)
        return prepared, size

    def _decode(
        self, data: bytes, min_side: int
    ) -> tuple[Image.Image, tuple[int, int]]:
        try:
            return imaging.decode_small(
                data, min_side=min_side, max_pixels=self._max_pixels
            )
        except ImageError as error:
            raise undecodable(error) from error


def _embed_each(
    searcher: Searcher, images: list[npt.NDArray[np.uint8]]
) -> Sequence[VectorsF16 | Exception]:
    """Return the vector or the exception of each prepared image.

    If the batch fails, the images are embedded one by one: an image's failure affects no other.
    """
    try:
        batch = np.stack(images)
        vectors = searcher.embed_prepared(batch)
        return list(vectors)
    except Exception as error:  # noqa: BLE001 (raised by the request that sent the image)
        if len(images) == 1:
            return [error]
        return [_embed_each(searcher, [image])[0] for image in images]


def _result_of(
    request: EmbedRequest, uploads: list[Upload] | Exception, failed: _Failed
) -> Any:
    """Return the result of a request's function, or the exception that the request ends with."""
    if isinstance(uploads, Exception):
        return uploads
    for upload in uploads:
        error = failed.get((upload.sha256, request.searcher))
        if error is not None:
            return error
    try:
        return request.use(uploads)
    except Exception as error:  # noqa: BLE001 (raised by the request)
        return error
