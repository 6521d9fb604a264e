"""The limits of decoding, and the errors for images beyond them or of kinds that are not read."""

from __future__ import annotations

from lookalike.errors import FormatError, ImageError
from lookalike.formats import ImageFormat

__all__ = ["MAX_PIXELS", "check_pixels", "too_many_pixels", "unread", "unread_format"]

MAX_PIXELS = 200_000_000


def check_pixels(pixels: int, max_pixels: int) -> None:
    """Raise ImageError for an image of more pixels than the limit."""
    if pixels > max_pixels:
        raise too_many_pixels(pixels, max_pixels)


def too_many_pixels(pixels: int, max_pixels: int) -> ImageError:
    """Return the error for an image of more pixels than the limit."""
    max_megapixels = max_pixels / 1e6
    limit = f"{max_megapixels:,.4g}"
    megapixels = pixels / 1e6
    count = f"{megapixels:.4g}"
    is_huge = megapixels > 1000
    if is_huge:
        count = f"{megapixels:,.0f}"
    reason = f"{count} megapixels, more than the limit of {limit}"
    hint = "--max-megapixels raises it"
    return ImageError(reason, hint)


def unread(kind: str, extra: str | None = None) -> FormatError:
    """Return the error for a kind that is not read, and the extra that would read it."""
    reason = f"of a kind that is not read: {kind}"
    if extra is not None:
        reason += f"; pip install 'lookalike[{extra}]' reads it"
    return FormatError(reason)


def unread_format(image_format: ImageFormat) -> FormatError:
    """Return the error for a format whose package is not installed."""
    name = image_format.name
    extra = image_format.extra
    return unread(name, extra)
