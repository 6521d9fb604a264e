"""Read the size of a JPEG XL image, whose decoder would otherwise unpack it first."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["jpeg_xl_size"]

_CODESTREAM = b"\xff\x0a"
_MAX_BOXES = 1000
# As much of a box as shows the size of the image.
_BOX_START_BYTES = 80

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
        self._value = int.from_bytes(data, byteorder="little")

    def read(self, count: int) -> int:
        end = 1 << count
        value = self._value
        number = value % end
        value >>= count
        self._value = value
        return number


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return width and height.

    Raises
    ------
    ValueError
        If the file has no codestream.
    """
    codestream = data
    is_bare = data.startswith(_CODESTREAM)
    if not is_bare:
        codestream = _codestream(data)
    if not codestream.startswith(_CODESTREAM):
        problem = "a JPEG XL file without a codestream"
        raise ValueError(problem)

    header = codestream[2:16]
    bits = _Bits(header)
    small_bit = bits.read(1)
    is_small = small_bit == 1
    height = _side(bits, is_small)
    code = bits.read(3)
    ratio = _RATIOS[code]
    if ratio is None:
        width = _side(bits, is_small)
        return width, height
    exact_width = height * ratio
    width = int(exact_width)
    return width, height


def _side(bits: _Bits, is_small: bool) -> int:
    if is_small:
        blocks = bits.read(5)
        return 8 * blocks + 8
    code = bits.read(2)
    length = _SIDE_BITS[code]
    number = bits.read(length)
    return number + 1


def _codestream(data: bytes) -> bytes:
    """Return the beginning of the codestream, which lies in a box or in parts of several."""
    start = 0
    for _ in range(_MAX_BOXES):
        # A box has its length, its name and its body.
        end = start + _BOX_START_BYTES
        box = data[start:end]
        length_bytes = box[:4]
        name = box[4:8]
        body = box[8:]
        length = int.from_bytes(length_bytes)
        # A length of 1 says that a longer one follows, of 0 that the box is the last.
        if length == 1:
            length_bytes = body[:8]
            body = body[8:]
            length = int.from_bytes(length_bytes)
        if name == b"jxlc":
            return body
        if name == b"jxlp":
            # The number of the part comes first.
            return body[4:]
        if length < 8:
            break
        start += length
    return b""
