"""A camera's raw file: a DNG with a preview and the data of a sensor."""

from __future__ import annotations

import struct

_SUB_DIRECTORY = 2048
_PREVIEW = 4096
_SENSOR = (60, 40)

Entry = tuple[int, int, int, bytes]


def dng(
    preview: bytes | None, size: tuple[int, int], *, orientation: int = 1, make="Maker"
) -> bytes:
    """Return a DNG. The preview is a JPEG of a size; without one, the file has only the sensor."""
    width, height = _SENSOR
    sensor = bytes(width * height * 2)
    stored = preview or b""
    padded = stored.ljust(-(-len(stored) // 2) * 2, b"\0")
    identity = [number for nth in range(9) for number in (int(nth % 4 == 0), 1)]
    raw = [
        longs(254, 0),
        longs(256, width),
        longs(257, height),
        shorts(258, 16),
        shorts(259, 1),
        shorts(262, 32803),
        longs(273, _PREVIEW + len(padded)),
        shorts(277, 1),
        longs(278, height),
        longs(279, len(sensor)),
        shorts(33421, 2, 2),
        (33422, 1, 4, bytes((0, 1, 1, 2))),
        longs(50717, 4095),
    ]
    own = [
        text(271, make),
        text(272, "Model"),
        shorts(274, orientation),
        (50706, 1, 4, bytes((1, 4, 0, 0))),
        (50707, 1, 4, bytes((1, 1, 0, 0))),
        text(50708, "Maker Model"),
        (50721, 10, 9, struct.pack("<18i", *identity)),
        (50728, 5, 3, struct.pack("<6I", 1, 1, 1, 1, 1, 1)),
        shorts(50778, 21),
    ]
    if preview is None:
        return b"II*\0\x08\0\0\0" + directory(raw + own, 8).ljust(_PREVIEW - 8) + sensor

    first = [
        longs(254, 1),
        longs(256, size[0]),
        longs(257, size[1]),
        shorts(258, 8, 8, 8),
        shorts(259, 7),
        shorts(262, 6),
        longs(273, _PREVIEW),
        shorts(277, 3),
        longs(278, size[1]),
        longs(279, len(stored)),
        longs(330, _SUB_DIRECTORY),
    ]
    head = b"II*\0\x08\0\0\0" + directory(first + own, 8)
    head = head.ljust(_SUB_DIRECTORY, b"\0") + directory(raw, _SUB_DIRECTORY)
    return head.ljust(_PREVIEW, b"\0") + padded + sensor


def directory(entries: list[Entry], offset: int) -> bytes:
    """Return a TIFF directory that lies at an offset, with its longer values behind it."""
    values_start = offset + 6 + 12 * len(entries)
    table = struct.pack("<H", len(entries))
    values = b""
    for tag, kind, count, value in sorted(entries):
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            field = struct.pack("<I", values_start + len(values))
            values += value.ljust(-(-len(value) // 2) * 2, b"\0")
        table += struct.pack("<HHI", tag, kind, count) + field
    return table + bytes(4) + values


def shorts(tag: int, *numbers: int) -> Entry:
    return tag, 3, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers)


def longs(tag: int, *numbers: int) -> Entry:
    return tag, 4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers)


def text(tag: int, words: str) -> Entry:
    value = words.encode() + b"\0"
    return tag, 2, len(value), value
