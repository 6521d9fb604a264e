"""Read the preview that a camera puts into its raw files, as viewers of folders do.

The sensor's data is not developed: that takes seconds, and each program has its own result.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

from PIL import Image

from lookalike.imaging.limits import check_pixels, unread
from lookalike.imaging.pixels import set_orientation

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
        file = BytesIO(data)
        with rawpy.imread(file) as raw:
            thumbnail = raw.extract_thumb()
            flip = raw.sizes.flip
    except rawpy.LibRawFileUnsupportedError:
        raise unread("a camera file of an unknown kind") from None
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise unread("a camera file without a preview") from None

    orientation = _ORIENTATIONS.get(flip, 1)
    preview = thumbnail.data
    if isinstance(preview, bytes):
        return Preview(preview, None, orientation)
    image = Image.fromarray(preview)
    width, height = image.size
    pixels = width * height
    check_pixels(pixels, max_pixels)
    set_orientation(image, orientation)
    return Preview(None, image, orientation)
