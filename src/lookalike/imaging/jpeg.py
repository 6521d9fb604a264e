"""Look into JPEG files: whether a decoder reads their kind, and whether one without end is whole.

The terms are those of ITU-T T.81. A scan is one pass over the image, an MCU its unit, and a restart
interval the number of MCUs between two restart markers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from PIL import Image, ImageChops

__all__ = ["JPEG_SIGNATURE", "completed", "count_scans", "is_filled_up", "unread_kind"]

JPEG_SIGNATURE = b"\xff\xd8\xff"

_SCAN = b"\xff\xda"
_END = b"\xff\xd9"
_SCAN_MARKER, _RESTART_INTERVAL_MARKER = 0xDA, 0xDD

# Markers of frames: Huffman or arithmetic coding, and one or several scans. The others are kinds
# that no usual decoder reads.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}
_UNREAD_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_ALL_FRAMES = _FRAMES | _UNREAD_FRAMES
# The bits of a sample, the height and the width of a frame.
_FRAME = struct.Struct(">BHH")

# A marker, any bytes FF that fill the space before it, and the length of what follows.
_SEGMENT = re.compile(rb"\xff+([^\xff])(..)", re.DOTALL)

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
    structure = _parse_structure(data)
    frame = structure.frame
    precision = structure.precision
    if frame in _UNREAD_FRAMES:
        return "lossless or hierarchical JPEG"
    if frame in _FRAMES and precision != 8:
        return f"JPEG of {precision} bits"
    return None


def is_filled_up(data: bytes) -> bool:
    """Return whether zeros stand where the last scan should end, as after a broken download.

    A decoder takes them for pixels.
    """
    if not data.endswith(_ZEROS):
        return False
    last_end = data.rfind(_END)
    last_scan = data.rfind(_SCAN)
    return last_end < last_scan


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
    structure = _parse_structure(body)
    is_usual = structure.frame in _FRAMES
    if not is_usual or not _has_all_scans(structure):
        return None
    ended = body + _END
    if _ends_in_last_interval(structure, body):
        return ended

    expected = decode(ended)
    for invented in _INVENTED:
        other = body + invented + _END
        image = decode(other)
        difference = ImageChops.difference(expected, image)
        changed = difference.getbbox()
        if changed is not None:
            return None
    return ended


def _without_filling(data: bytes) -> bytes:
    """Return a file without the zeros, or the bytes FF, that disks leave behind its end."""
    if data.endswith(b"\xff"):
        return data.rstrip(b"\xff")
    if not data.endswith(b"\0"):
        return data
    body = data.rstrip(b"\0")
    # The last zero belongs to a byte FF of the scan.
    if body.endswith(b"\xff"):
        body += b"\0"
    return body


def _parse_structure(data: bytes) -> _Structure:
    """Return the structure of the frame and its scans, as far as the file goes."""
    structure = _Structure()
    start = len(_END)
    while True:
        found = _SEGMENT.match(data, start)
        if found is None:
            return structure
        marker = found[1][0]
        length = int.from_bytes(found[2])
        body_start = found.end()
        # The length counts its own two bytes.
        end = body_start + length - 2
        body = data[body_start:end]
        if marker in _ALL_FRAMES:
            _add_frame(structure, marker, body)
        elif marker == _RESTART_INTERVAL_MARKER:
            interval = body[:2]
            structure.restart_interval = int.from_bytes(interval)
        elif marker == _SCAN_MARKER:
            structure.last_scan_start = end
            _add_scan(structure, body)
            end = _end_of_scan(data, end)
        # A segment cannot end before it begins.
        start = max(end, body_start)


def _end_of_scan(data: bytes, start: int) -> int:
    """Return where the marker behind a scan stands, or the end of the file."""
    found = _END_OF_SCAN.search(data, start)
    if found is None:
        return len(data)
    return found.start()


def _add_frame(structure: _Structure, marker: int, segment: bytes) -> None:
    structure.frame = marker
    is_cut_off = len(segment) < _FRAME.size
    if is_cut_off:
        return
    fields = _FRAME.unpack_from(segment)
    precision, height, width = fields
    structure.precision = precision
    structure.height = height
    structure.width = width
    # After the number of components, each has its number, its factors and its table.
    rest = segment[6:]
    numbers = rest[0::3]
    all_factors = rest[1::3]
    components = zip(numbers, all_factors, strict=False)
    for number, factors in components:
        horizontal = factors >> 4
        vertical = factors & 15
        component = _Component(horizontal, vertical)
        structure.components[number] = component


def _add_scan(structure: _Structure, segment: bytes) -> None:
    """Note the components of a scan, and the coefficients whose last bit it gives."""
    is_cut_off = len(segment) < 6
    if is_cut_off:
        return
    # The number of components stands before them, the range of coefficients behind them.
    listed = segment[1:-3]
    numbers = listed[::2]
    structure.last_scan = tuple(numbers)
    first, last, bits = segment[-3:]
    lowest_bit = bits & 15
    is_refined_later = lowest_bit > 0
    if is_refined_later:
        return
    after_last = last + 1
    end = min(after_last, _COEFFICIENTS)
    coefficients = range(first, end)
    for number in numbers:
        component = structure.components.get(number)
        if component is not None:
            component.complete.update(coefficients)


def _has_all_scans(structure: _Structure) -> bool:
    components = structure.components
    for component in components.values():
        complete = component.complete
        if len(complete) < _COEFFICIENTS:
            return False
    return bool(components)


def _ends_in_last_interval(structure: _Structure, body: bytes) -> bool:
    """Return whether a file ends in the last restart interval, and that is a short one."""
    interval = structure.restart_interval
    if interval == 0:
        return False
    row, rows = _mcu_counts(structure)
    count = row * rows
    last_mcu = count - 1
    intervals_before = last_mcu // interval
    start = structure.last_scan_start
    markers = _RESTART_MARKER.findall(body, start)
    has_all_markers = len(markers) == intervals_before
    if not has_all_markers:
        return False
    mcus_before = intervals_before * interval
    last_interval = count - mcus_before
    tolerated = count * _MAX_MISSING
    most = max(row, tolerated)
    return last_interval <= most


def _mcu_counts(structure: _Structure) -> tuple[int, int]:
    """Return the MCUs of the last scan: those of a row, and the rows."""
    components = structure.components
    listed = components.values()
    widest = 1
    tallest = 1
    for component in listed:
        widest = max(widest, component.horizontal)
        tallest = max(tallest, component.vertical)

    width = structure.width
    height = structure.height
    scanned = structure.last_scan
    is_single = len(scanned) == 1
    if is_single:
        # The MCU of a single component is one block.
        (number,) = scanned
        component = components[number]
        component_width = width * component.horizontal / widest
        component_height = height * component.vertical / tallest
        width = ceil(component_width)
        height = ceil(component_height)
        widest = 1
        tallest = 1
    mcu_width = 8 * widest
    mcu_height = 8 * tallest
    mcus_across = width / mcu_width
    mcus_down = height / mcu_height
    row = ceil(mcus_across)
    rows = ceil(mcus_down)
    return row, rows
