"""Read the preview that a camera puts into its raw files, as viewers of folders do.

The sensor's data is not developed: that takes seconds, and each program has its own result.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from PIL import ExifTags, Image

from lookalike.imaging.limits import check_pixels, unread

__all__ = ["Preview", "read_preview"]

# LibRaw's codes for turns of the image, as EXIF orientations.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}


class Preview(NamedTuple):
    """A camera's preview: the bytes of a JPEG, or an image; and the orientation of the camera."""

    jpeg: bytes | None
    image: Image.Image | None
    orientation: int


def read_preview(data: bytes, max_pixels: int) -> Preview:
    """Return the largest preview of a camera file.

    Raises
    ------
    FormatError
        If the file has no preview, or is of a camera that LibRaw does not know. Damage raises any
        error.
    """
    import rawpy

    try:
        with rawpy.imread(BytesIO(data)) as raw:
            thumbnail = raw.extract_thumb()
            orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
    except rawpy.LibRawFileUnsupportedError:
        raise unread("a camera file of an unknown kind") from None
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise unread("a camera file without a preview") from None

    preview = thumbnail.data
    if isinstance(preview, bytes):
        return Preview(preview, None, orientation)
    height, width = preview.shape[:2]
    check_pixels(width * height, max_pixels)
    image = Image.fromarray(preview)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return Preview(None, image, orientation)
