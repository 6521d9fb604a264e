"""Queries by a part of an uploaded image or of a row's image."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lookalike import imaging
from lookalike.errors import ImageError, InputError
from lookalike.imaging import Region
from lookalike.retrieval.query import Encoder, RowQuery
from lookalike.server.cache import SizedCache
from lookalike.server.originals import read_original
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView
from lookalike.server.uploads import Upload, Uploads
from lookalike.store.view import View
from lookalike.types import Ids, VectorsF16

__all__ = ["RegionVectors", "RowImages", "RowRegionQuery", "UploadRegionQuery"]

# The vectors of recent regions, so that the pages of one search cut and embed only once.
RegionVectors = SizedCache[tuple[Any, ...], VectorsF16]


@dataclass(frozen=True, slots=True)
class RowImages:
    """Reads the images of rows, within the limits of a server.

    Attributes
    ----------
    originals
        Whether the files of rows may be read.
    max_pixels
        The largest number of pixels of an image.
    """

    originals: bool
    max_pixels: int

    def read(
        self, view: CollectionView, row: dict[str, Any]
    ) -> tuple[Image.Image, bool]:
        """Return the upright image of a row, and whether it is only the thumbnail.

        It is the thumbnail where the original may not be read, is missing, has other content than
        was indexed, or is on the web.
        """
        if self.originals:
            with suppress(Problem, ImageError):
                data = read_original(row)
                return imaging.decode(data, max_pixels=self.max_pixels), False
        taken = view.table.take([row["id"]], ["thumbnail"])
        (thumbnail,) = taken["thumbnail"].to_pylist()
        return imaging.open_thumbnail(thumbnail), True


@dataclass(frozen=True, slots=True, eq=False)
class UploadRegionQuery:
    """A query by a part of an uploaded image."""

    upload: Upload
    region: Region
    uploads: Uploads
    vectors: RegionVectors

    @property
    def identity(self) -> tuple[Any, ...]:
        """What identifies the part: equal values, equal pixels."""
        upload = self.upload
        size = upload.size
        region = self.region.fractions(size)
        sides = region.to_list()
        return upload.sha256, *sides

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector of the part, float16 ``[dim]``."""
        key = (self.identity, encoder.filled_by)
        known = self.vectors.get(key)
        if known is not None:
            return known
        image = self.uploads.decode(self.upload)
        part = self.region.crop(image)
        vector = encoder.embed_image(part)
        self.vectors.put(key, vector)
        return vector

    def own_rows(self, view: View) -> Ids:
        """Return all rows with the content of the whole image."""
        sha256 = self.upload.sha256
        content = bytes.fromhex(sha256)
        return view.ids_with_content(content)


@dataclass(slots=True, eq=False)
class RowRegionQuery:
    """A query by a part of a row's image.

    Attributes
    ----------
    from_thumbnail
        Whether the part was cut from the thumbnail; known after `encode`.
    """

    view: CollectionView
    row: dict[str, Any]
    region: Region
    images: RowImages
    vectors: RegionVectors
    from_thumbnail: bool = False

    @property
    def identity(self) -> tuple[Any, ...]:
        """What identifies the part: equal values, equal pixels."""
        row_id = self.row["id"]
        size = self._size
        region = self.region.fractions(size)
        sides = region.to_list()
        return row_id, *sides

    @property
    def _size(self) -> tuple[int, int]:
        row = self.row
        width = row["width"]
        height = row["height"]
        return width, height

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector of the part, float16 ``[dim]``."""
        # The part must be one of the original, whichever image it is cut from.
        self.region.box(self._size)
        key = (self.row["content"], *self.identity, encoder.filled_by)
        vector = self.vectors.get(key)
        if vector is None:
            image, self.from_thumbnail = self.images.read(self.view, self.row)
            part = self._cut(image)
            vector = encoder.embed_image(part)
            # The original may be readable again before the next page.
            if not self.from_thumbnail:
                self.vectors.put(key, vector)
        return vector

    def _cut(self, image: Image.Image) -> Image.Image:
        region = self.region.fractions(self._size)
        try:
            return region.crop(image)
        except InputError as error:
            raise InputError(
                f"The original of row {self.row['id']} cannot be read here, and the region "
                f"{self.region} is too small to be cut from its thumbnail of {image.width} x "
                f"{image.height} pixels. Upload the image, or give a larger part."
            ) from error

    def own_rows(self, view: View) -> Ids:
        """Return the row itself."""
        values = self.row
        row_id = values["id"]
        row = RowQuery(row_id)
        return row.own_rows(view)
