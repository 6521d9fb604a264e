"""Read the size of a JPEG XL image, whose decoder would otherwise unpack it first."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["jpeg_xl_size"]

_CODESTREAM = b"\xff\x0a"
_MAX_BOXES = 1000

# The four lengths in bits of a side's number, chosen by two bits before it.
_SIDE_BITS = (9, 13, 18, 30)

# Width by height, chosen by three bits; 0 says that the width is stated.
_RATIOS = (
    None,
    Fraction(1),
    Fraction(12, 10),
    Fraction(4, 3),
    Fraction(3, 2),
    Fraction(16, 9),
    Fraction(5, 4),
    Fraction(2),
)


class _Bits:
    """Reads numbers of some bits, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def read(self, count: int) -> int:
        number = self._value & ((1 << count) - 1)
        self._value >>= count
        return number


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return width and height.

    Raises
    ------
    ValueError
        If the file has no codestream.
    """
    codestream = data if data.startswith(_CODESTREAM) else _codestream(data)
    if not codestream.startswith(_CODESTREAM):
        raise ValueError("a JPEG XL file without a codestream")
    bits = _Bits(codestream[2:16])
    is_small = bits.read(1) == 1
    height = _side(bits, is_small)
    ratio = _RATIOS[bits.read(3)]
    if ratio is None:
        return _side(bits, is_small), height
    return int(height * ratio), height


def _side(bits: _Bits, is_small: bool) -> int:
    if is_small:
        return (bits.read(5) + 1) * 8
    length = _SIDE_BITS[bits.read(2)]
    return bits.read(length) + 1


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which lies in a box or in parts of several."""
    start = 0
    for _ in range(_MAX_BOXES):
        length = int.from_bytes(data[start : start + 4])
        name = data[start + 4 : start + 8]
        body = start + 8
        # A length of 1 says that a longer one follows, of 0 that the box is the last.
        if length == 1:
            length = int.from_bytes(data[body : body + 8])
            body += 8
        if name == b"jxlc":
            return data[body : body + 64]
        if name == b"jxlp":
            return data[body + 4 : body + 68]
        if length < 8 or start + length >= len(data):
            break
        start += length
    return b""
