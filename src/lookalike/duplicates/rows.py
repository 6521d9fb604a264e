"""The rows of a collection as a search for duplicates sees them: images, and their contents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote

import numpy as np

from lookalike.formats import CAMERA_RAW, FORMATS, ImageFormat
from lookalike.sources import display_folder, display_name
from lookalike.store.view import View
from lookalike.types import Places, VectorsF16
from lookalike.vectors import to_float32, unit_length

__all__ = ["ImageContent", "ImageRow", "content_vectors", "read_contents", "thumbnails"]

_ROW_COLUMNS = ["uri", "sha256", "width", "height", "size", "mtime_ns", "label"]
# Thumbnails that are read at a time, 10 MB.
_THUMBNAILS_AT_ONCE = 2_000
# Vectors that are scaled to unit length at a time.
_VECTORS_AT_ONCE = 10_000
_BY_EXTENSION = {
    extension: image_format
    for image_format in FORMATS
    for extension in image_format.extensions
}


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of the collection.

    Attributes
    ----------
    id, uri, label
        As the row has them.
    width, height
        Pixels of the upright image.
    size
        The bytes of the file; None if they are not known.
    mtime_ns
        The time of the last change, in nanoseconds since the epoch; None if it is not known.
    is_protected
        Whether the image lies in a protected folder.
    part
        The part that is compared with the other one, 0 or 1; None for an image of neither. Without
        parts, 0 for all.
    """

    id: int
    uri: str
    label: str | None
    width: int
    height: int
    size: int | None
    mtime_ns: int | None
    is_protected: bool
    part: int | None

    @property
    def image_format(self) -> ImageFormat | None:
        """The format by the extension; None for an unknown one."""
        name = self._name
        suffix = name.suffix
        extension = suffix.lower()
        return _BY_EXTENSION.get(extension)

    @property
    def is_raw(self) -> bool:
        """Whether the file holds what a camera's sensor recorded."""
        own = self.image_format
        return own is CAMERA_RAW

    @property
    def stem(self) -> tuple[str, str]:
        """The folder and the name without its extension."""
        folder = display_folder(self.uri)
        name = self._name
        return folder, name.stem

    @property
    def _name(self) -> PurePosixPath:
        name = display_name(self.uri)
        is_url = "://" in self.uri
        if is_url:
            path, _, _ = name.partition("?")
            name = unquote(path)
        return PurePosixPath(name)


@dataclass(slots=True)
class ImageContent:
    """The images with one content.

    Attributes
    ----------
    sha256
        The hash of the content.
    images
        All its images.
    """

    sha256: bytes
    images: list[ImageRow] = field(default_factory=list)

    @property
    def first(self) -> ImageRow:
        """An image that stands for all: their pixels are the same."""
        return self.images[0]

    def has_part(self, part: int) -> bool:
        """Return whether an image of the content belongs to a part."""
        parts = {image.part for image in self.images}
        return part in parts


def read_contents(
    view: View, protected: set[int], parts: dict[int, int] | None
) -> list[ImageContent]:
    """Return the contents of a collection, in the order of their first images.

    Parameters
    ----------
    view
        The collection.
    protected
        The ids of protected images.
    parts
        The part of each image, by id; None if all images belong to one part. Images of no part are
        left out.
    """
    contents: dict[bytes, ImageContent] = {}
    for batch in view.scan(_ROW_COLUMNS):
        for values in batch.to_pylist():
            row_id = values.pop("_rowid")
            part = 0 if parts is None else parts.get(row_id)
            if part is None:
                continue
            sha256 = values.pop("sha256")
            width = values.pop("width") or 0
            height = values.pop("height") or 0
            is_protected = row_id in protected
            image = ImageRow(
                id=row_id,
                width=width,
                height=height,
                is_protected=is_protected,
                part=part,
                **values,
            )
            content = contents.setdefault(sha256, ImageContent(sha256))
            content.images.append(image)
    return list(contents.values())


def content_vectors(
    view: View, space: str, contents: list[ImageContent]
) -> tuple[Places, VectorsF16]:
    """Return the contents that have a vector in a Space, and these, of unit length.

    Returns
    -------
    places, vectors
        intp ``[m]``, ascending places in `contents`, and float16 ``[m, dim]``.
    """
    ids, matrix = view.vectors(space)
    places, rows = [], []
    for place, content in enumerate(contents):
        for image in content.images:
            row = int(np.searchsorted(ids, image.id))
            is_within = row < len(ids)
            if is_within and ids[row] == image.id:
                places.append(place)
                rows.append(row)
                break
    selected = matrix[rows]
    for start in range(0, len(selected), _VECTORS_AT_ONCE):
        part = slice(start, start + _VECTORS_AT_ONCE)
        selected[part] = unit_length(to_float32(selected[part]))
    return np.array(places, np.intp), selected


def thumbnails(
    view: View, contents: list[ImageContent], places: Places
) -> Iterator[tuple[Places, list[bytes | None]]]:
    """Yield the thumbnails of some contents, some thousands at a time; None where one is missing.

    Parameters
    ----------
    view, contents
        The collection and its contents.
    places
        intp ``[m]``, places in `contents`.
    """
    for start in range(0, len(places), _THUMBNAILS_AT_ONCE):
        part = places[start : start + _THUMBNAILS_AT_ONCE]
        shown = [contents[place].first for place in part]
        ids = [image.id for image in shown]
        rows = view.take(ids, ["thumbnail"])
        yield part, rows["thumbnail"].to_pylist()
