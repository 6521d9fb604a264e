"""Choose the page of a TIFF that is its image, and the library that reads it.

A TIFF is a chain of directories. The first may be a small copy of the image, a camera file's
preview, or a mask.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = ["UNSIGNED", "TiffDirectory", "find_page", "is_camera_raw"]

# Directories to look at for the full image, and for a camera's sensor data.
_MAX_PAGES = 64
_MAX_SUB_PAGES = 16

_HEADER_BYTES = 8
_BIG_HEADER_BYTES = 16
_BIG_TIFF_NUMBER = 43

# Tags.
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_BITS, _COMPRESSION, _PHOTOMETRIC = 258, 259, 262
_MAKE, _SAMPLES, _MAX_SAMPLE_VALUE = 271, 277, 281
_PLANAR, _SUB_PAGES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 330, 338, 339
_DNG_VERSION = 50706

# Photometric interpretations.
_MASK = 4
# A color filter array, and linear raw.
_SENSOR_DATA = (32803, 34892)

# A sample format.
UNSIGNED = 1


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """A page of a TIFF: where its directory is, and the tags that decide how to read it.

    Attributes
    ----------
    offset
        Where the directory begins in the file.
    number
        The place in the chain of pages; None for a page below another one.
    bits, samples
        The bits of a sample, and the samples of a pixel.
    """

    offset: int
    number: int | None
    bits: int
    samples: int
    photometric: int
    compression: int
    sample_format: int
    max_sample_value: int | None
    is_planar: bool
    has_extra_samples: bool
    is_reduced: bool
    sub_offsets: tuple[int, ...]
    is_dng: bool
    is_from_camera: bool

    @property
    def is_deep(self) -> bool:
        """Whether samples are not unsigned integers of 8 bits or less."""
        bits = self.bits
        sample_format = self.sample_format
        is_wide = bits > 8
        is_unsigned = sample_format == UNSIGNED
        return is_wide or not is_unsigned

    @property
    def is_sensor_data(self) -> bool:
        """Whether the pixels are those of a camera's sensor."""
        photometric = self.photometric
        return photometric in _SENSOR_DATA


def find_page(data: bytes) -> TiffDirectory | None:
    """Return the first page that is neither reduced nor a mask, or else the first page.

    Returns None if the directories are too damaged.
    """
    chain = _Chain(data)
    first = chain.read(chain.first_offset, 0)
    if first is None or not first.is_reduced:
        return first

    offset = chain.next_offset
    for number in range(1, _MAX_PAGES):
        page = chain.read(offset, number)
        if page is None:
            break
        if not page.is_reduced:
            return page
        offset = chain.next_offset
    for offset in first.sub_offsets[:_MAX_SUB_PAGES]:
        page = chain.read(offset, None)
        if page is not None and not page.is_reduced:
            return page
    return first


def is_camera_raw(data: bytes) -> bool:
    """Return whether a TIFF is a camera file: a DNG, or one with the data of a sensor."""
    chain = _Chain(data)
    first = chain.read(chain.first_offset, 0)
    if first is None:
        return False
    if first.is_dng or first.is_sensor_data:
        return True
    # Cameras leave their name, and put the sensor's data below the preview.
    if not first.is_from_camera:
        return False
    for offset in first.sub_offsets[:_MAX_SUB_PAGES]:
        page = chain.read(offset, None)
        if page is not None and page.is_sensor_data:
            return True
    return False


class _Chain:
    """Reads directories, each at most once, so that circles end."""

    def __init__(self, data: bytes) -> None:
        self._visited: set[int] = set()
        self._file = BytesIO(data)
        self._header = _header(data)
        self.next_offset = 0
        self.first_offset = 0
        with suppress(Exception):
            header = self._header
            directory = ImageFileDirectory_v2(header)
            self.first_offset = directory.next

    def read(self, offset: int, number: int | None) -> TiffDirectory | None:
        """Return the page at an offset; None if it is damaged or was read before."""
        visited = self._visited
        if offset == 0 or offset in visited:
            return None
        visited.add(offset)
        # Pillow's parser raises any kind of error for a damaged directory.
        with suppress(Exception):
            header = self._header
            file = self._file
            file.seek(offset)
            tags = ImageFileDirectory_v2(header)
            tags.load(file)
            self.next_offset = tags.next
            return _directory(tags, offset, number)
        return None


def _header(data: bytes) -> bytes:
    number = data[2:4]
    is_big = _BIG_TIFF_NUMBER in number
    size = _BIG_HEADER_BYTES if is_big else _HEADER_BYTES
    return data[:size]


def _directory(
    tags: ImageFileDirectory_v2, offset: int, number: int | None
) -> TiffDirectory:
    bits = _numbers(tags, _BITS, 1)
    formats = _numbers(tags, _SAMPLE_FORMAT, 1)
    photometric = _number(tags, _PHOTOMETRIC, 0)
    subfile_type = _number(tags, _NEW_SUBFILE_TYPE, 0)
    old_subfile_type = _number(tags, _SUBFILE_TYPE, 1)
    is_small = bool(subfile_type & 1) or old_subfile_type == 2
    max_sample_value = None
    if _MAX_SAMPLE_VALUE in tags:
        max_sample_value = max(_numbers(tags, _MAX_SAMPLE_VALUE, 0))
    return TiffDirectory(
        offset=offset,
        number=number,
        bits=max(bits),
        samples=_number(tags, _SAMPLES, 1),
        photometric=photometric,
        compression=_number(tags, _COMPRESSION, 1),
        sample_format=max(formats),
        max_sample_value=max_sample_value,
        is_planar=_number(tags, _PLANAR, 1) == 2,
        has_extra_samples=_EXTRA_SAMPLES in tags,
        is_reduced=is_small or photometric == _MASK,
        sub_offsets=_offsets(tags),
        is_dng=_DNG_VERSION in tags,
        is_from_camera=_MAKE in tags,
    )


def _numbers(tags: ImageFileDirectory_v2, tag: int, default: int) -> tuple[int, ...]:
    values: Any = tags.get(tag)
    if values is None:
        return (default,)
    if not isinstance(values, tuple):
        values = (values,)
    numbers = map(int, values)
    return tuple(numbers)


def _number(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    numbers = _numbers(tags, tag, default)
    return numbers[0]


def _offsets(tags: ImageFileDirectory_v2) -> tuple[int, ...]:
    if _SUB_PAGES not in tags:
        return ()
    return _numbers(tags, _SUB_PAGES, 0)
