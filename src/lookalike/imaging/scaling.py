"""Scale deep samples (16 or 32 bits, signed or float) to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Bytes", "sample_range", "scale"]

Bytes = npt.NDArray[np.uint8]

# Cameras and scanners of 8, 10 and 12 bits write files of 16 bits. Scaled by the full range, their
# images would be almost black. 14 bits are not among them: a dark photograph of 16 bits may have no
# larger value.
_WHITES_16_BITS = (255.0, 1023.0, 4095.0)
_WHITES_32_BITS = (255.0, 65535.0)
_WHITES_FLOAT = (1.0, 255.0, 65535.0)

# Float images whose white is 1 may hold a few brighter highlights.
_MAX_HIGHLIGHTS = 0.02

# Samples to convert at once, so that float64 copies stay small.
_BLOCK = 1 << 20


def sample_range(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the values of black and white: the smallest usual range that holds all samples.

    Signed integers with negative values have no usual range, so theirs is from the smallest to the
    largest.
    """
    sample = values.dtype
    is_float = sample.kind == "f"
    if is_float:
        white = _float_white(values)
        return 0.0, white
    smallest = values.min()
    largest = values.max()
    black = float(smallest)
    brightest = float(largest)
    if black < 0:
        return black, brightest

    limits = np.iinfo(sample)
    full = float(limits.max)
    whites: tuple[float, ...] = (full,)
    bits = limits.bits
    if bits == 16:
        whites = (*_WHITES_16_BITS, full)
    if bits > 16:
        whites = _WHITES_32_BITS
    white = _smallest_white(brightest, whites)
    return 0.0, white


def scale(values: npt.NDArray[Any], black: float, white: float) -> Bytes:
    """Return samples scaled to 0 to 255, with values outside clipped. NaN and infinity become 0."""
    shape = values.shape
    scaled = np.empty(shape, np.uint8)
    factor = 0.0
    if white > black:
        factor = 255 / (white - black)

    first_row = values[0]
    rows = _BLOCK // first_row.size
    rows = max(1, rows)
    for start in range(0, shape[0], rows):
        end = start + rows
        part = values[start:end]
        block = part.astype(np.float64)
        np.nan_to_num(block, copy=False, nan=black, posinf=black, neginf=black)
        block -= black
        block *= factor
        np.clip(block, 0, 255, out=block)
        np.rint(block, out=block)
        scaled[start:end] = block
    return scaled


def _float_white(values: npt.NDArray[Any]) -> float:
    is_finite = np.isfinite(values)
    finite = values[is_finite]
    if finite.size == 0:
        return 1.0
    is_highlight = finite > 1
    highlights = np.mean(is_highlight)
    if highlights <= _MAX_HIGHLIGHTS:
        return 1.0
    largest = finite.max()
    brightest = float(largest)
    return _smallest_white(brightest, _WHITES_FLOAT)


def _smallest_white(largest: float, whites: tuple[float, ...]) -> float:
    """Return the smallest usual white that a value does not exceed, or else the value itself."""
    for white in whites:
        if largest <= white:
            return white
    return largest
