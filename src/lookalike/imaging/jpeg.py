"""Look into JPEG files: whether a decoder reads their kind, and whether one without end is whole.

The terms are those of ITU-T T.81. A scan is one pass over the image, an MCU its unit, and a restart
interval the number of MCUs between two restart markers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image, ImageChops

__all__ = [
    "JPEG_SIGNATURE",
    "completed",
    "count_scans",
    "is_filled_up",
    "unread_kind",
]

JPEG_SIGNATURE = b"\xff\xd8\xff"

_SCAN = b"\xff\xda"
_END = b"\xff\xd9"
_SCAN_MARKER, _RESTART_INTERVAL_MARKER = 0xDA, 0xDD

# Markers of frames: Huffman or arithmetic coding, and one or several scans. The others are kinds
# that no usual decoder reads.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_UNREAD_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}

# Within a scan, FF 00 is the byte FF, FF D0 to FF D7 are restart markers, and FF FF is filling.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART_MARKER = re.compile(rb"\xff[\xd0-\xd7]")

_ZEROS = bytes(16)

_COEFFICIENTS = 64

# At most this share of the MCUs, or one row of them, may be missing in the last restart interval.
_MAX_MISSING = 1 / 20

# Bits that no decoder makes up by itself, beginning with 0 and with 1.
_INVENTED = (
    b"\x55\x2a\x6d\x31\x4e\x72\x19\x5b" * 8,
    b"\xaa\xd5\x92\xce\xb1\x8d\xe6\xa4" * 8,
)


@dataclass(slots=True)
class _Component:
    """A color of a frame, and which of its coefficients the scans have given in full."""

    horizontal: int
    vertical: int
    complete: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Structure:
    """The parts of a JPEG that decide whether its scans are whole."""

    width: int = 0
    height: int = 0
    precision: int = 8
    frame: int = 0
    components: dict[int, _Component] = field(default_factory=dict)
    restart_interval: int = 0
    last_scan: tuple[int, ...] = ()
    last_scan_start: int = 0


def count_scans(data: bytes) -> int:
    """Return the number of scans: 1, or many in a progressive JPEG."""
    return data.count(_SCAN)


def unread_kind(data: bytes) -> str | None:
    """Return the kind of a JPEG that usual decoders do not read; None for the usual kinds."""
    structure = _parse(data)
    if structure.frame in _UNREAD_FRAMES:
        return "lossless or hierarchical JPEG"
    if structure.frame in _FRAMES and structure.precision != 8:
        return f"JPEG of {structure.precision} bits"
    return None


def is_filled_up(data: bytes) -> bool:
    """Return whether zeros stand where the last scan should end, as after a broken download.

    A decoder takes them for pixels.
    """
    if not data.endswith(_ZEROS):
        return False
    return data.rfind(_END) < data.rfind(_SCAN)


def completed(data: bytes, decode: Callable[[bytes], Image.Image]) -> bytes | None:
    """Return a JPEG without end, with its end added; None if pixels are missing.

    A decoder makes up the bits that are missing. If the image does not depend on what stands in
    their place, none are missing.

    Parameters
    ----------
    data
        A file that ends before its end marker, or is filled up with zeros.
    decode
        Decodes bytes at full scale.
    """
    body = _without_filling(data)
    structure = _parse(body)
    if structure.frame not in _FRAMES or not _has_all_scans(structure):
        return None
    ended = body + _END
    if _ends_in_last_interval(structure, body):
        return ended

    expected = decode(ended)
    for invented in _INVENTED:
        image = decode(body + invented + _END)
        difference = ImageChops.difference(expected, image)
        if difference.getbbox() is not None:
            return None
    return ended


def _without_filling(data: bytes) -> bytes:
    """Return a file without the zeros, or the bytes FF, that disks leave behind its end."""
    body = data.rstrip(b"\xff")
    if len(body) < len(data):
        return body
    body = data.rstrip(b"\0")
    # The last zero belongs to a byte FF of the scan.
    if len(body) < len(data) and body.endswith(b"\xff"):
        body += b"\0"
    return body


def _parse(data: bytes) -> _Structure:
    """Return the structure of the frame and its scans, as far as the file goes."""
    structure = _Structure()
    start = len(_END)
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:
            start += 1
            continue
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        segment = data[start + 4 : end]
        if marker in _FRAMES or marker in _UNREAD_FRAMES:
            _add_frame(structure, marker, segment)
        elif marker == _RESTART_INTERVAL_MARKER:
            structure.restart_interval = int.from_bytes(segment[:2])
        elif marker == _SCAN_MARKER:
            structure.last_scan_start = end
            _add_scan(structure, segment)
            found = _END_OF_SCAN.search(data, end)
            end = len(data) if found is None else found.start()
        start = end
    return structure


def _add_frame(structure: _Structure, marker: int, segment: bytes) -> None:
    structure.frame = marker
    structure.precision = segment[0] if segment else 0
    structure.height = int.from_bytes(segment[1:3])
    structure.width = int.from_bytes(segment[3:5])
    for start in range(6, len(segment) - 2, 3):
        number, factors = segment[start], segment[start + 1]
        structure.components[number] = _Component(factors >> 4, factors & 15)


def _add_scan(structure: _Structure, segment: bytes) -> None:
    """Note the components of a scan, and the coefficients whose last bit it gives."""
    if len(segment) < 4:
        return
    count = segment[0]
    numbers = segment[1 : 1 + 2 * count : 2]
    structure.last_scan = tuple(numbers)
    first, last, bits = segment[-3:]
    has_last_bit = bits & 15 == 0
    for number in numbers:
        component = structure.components.get(number)
        if component is not None and has_last_bit:
            component.complete.update(range(first, min(last, 63) + 1))


def _has_all_scans(structure: _Structure) -> bool:
    components = structure.components.values()
    is_whole = [len(component.complete) == _COEFFICIENTS for component in components]
    return bool(is_whole) and all(is_whole)


def _ends_in_last_interval(structure: _Structure, body: bytes) -> bool:
    """Return whether a file ends in the last restart interval, and that is a short one."""
    interval = structure.restart_interval
    if interval == 0:
        return False
    row, rows = _mcu_counts(structure)
    count = row * rows
    before_last = max(0, -(-count // interval) - 1)
    markers = _RESTART_MARKER.findall(body, structure.last_scan_start)
    if len(markers) != before_last:
        return False
    last_interval = count - before_last * interval
    return last_interval <= max(row, count * _MAX_MISSING)


def _mcu_counts(structure: _Structure) -> tuple[int, int]:
    """Return the MCUs of the last scan: those of a row, and the rows."""
    components = structure.components
    widest = max(component.horizontal for component in components.values()) or 1
    tallest = max(component.vertical for component in components.values()) or 1
    if len(structure.last_scan) > 1:
        return _blocks(structure.width, widest), _blocks(structure.height, tallest)
    # The MCU of a single component is one block.
    component = components[structure.last_scan[0]]
    width = -(-structure.width * component.horizontal // widest)
    height = -(-structure.height * component.vertical // tallest)
    return _blocks(width, 1), _blocks(height, 1)


def _blocks(pixels: int, blocks: int) -> int:
    """Return how many MCUs of some blocks, each of 8 pixels, cover a side."""
    return -(-pixels // (8 * blocks))
