"""The image to keep of a group.

The order is: most pixels; the format that loses least; most bytes; most EXIF entries; a protected
folder; a name without the marks of a copy; fewest folders; shortest name.
"""

from __future__ import annotations

import re

from lookalike.duplicates.rows import ImageRow
from lookalike.formats import CAMERA_RAW, ImageFormat
from lookalike.sources import display_name, display_path

__all__ = ["Rank", "keeper_rank"]

# Smaller is better.
Rank = tuple[int | str, ...]

_LOSSLESS = {"PNG", "TIFF", "BMP"}
# The names of "photo (1).jpg", "photo copy.jpg", "Copy of photo.jpg", "photo-edited.jpg".
_COPY_MARK = re.compile(r"\(\d+\)\.|\bcopy\b|[-_]copy|[-_]edited|thumb", re.IGNORECASE)


def keeper_rank(image: ImageRow, exif_tags: int) -> Rank:
    """Return the rank of an image among those of its group; the smallest is kept.

    Parameters
    ----------
    image
        The image.
    exif_tags
        The number of its EXIF entries; 0 if it is not known.
    """
    path = display_path(image.uri)
    name = display_name(image.uri)
    has_copy_mark = _COPY_MARK.search(name) is not None
    folders = path.count("/") + path.count("\\")
    return (
        -image.width * image.height,
        _loss(image.image_format),
        -(image.size or 0),
        -exif_tags,
        not image.is_protected,
        has_copy_mark,
        folders,
        len(path),
        path,
    )


def _loss(image_format: ImageFormat | None) -> int:
    """Return how much a format loses: 0 for nothing, 3 for most."""
    if image_format is None:
        return 2
    if image_format is CAMERA_RAW:
        return 0
    if image_format.name in _LOSSLESS:
        return 1
    # 256 colors.
    return 3 if image_format.name == "GIF" else 2
