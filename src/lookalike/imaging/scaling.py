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
    if values.dtype.kind == "f":
        return 0.0, _float_white(values)
    smallest = float(values.min())
    largest = float(values.max())
    if smallest < 0:
        return smallest, largest

    information = np.iinfo(values.dtype)
    whites: tuple[float, ...] = ()
    if information.bits == 16:
        whites = (*_WHITES_16_BITS, float(information.max))
    elif information.bits > 16:
        whites = _WHITES_32_BITS
    else:
        whites = (float(information.max),)
    return 0.0, _smallest_white(largest, whites)


def scale(values: npt.NDArray[Any], black: float, white: float) -> Bytes:
    """Return samples scaled to 0 to 255, with values outside clipped. NaN and infinity become 0."""
    scaled = np.empty(values.shape, np.uint8)
    rows = max(1, _BLOCK // max(1, values[0].size))
    factor = 255.0 / (white - black) if white > black else 0.0
    for start in range(0, len(values), rows):
        block = values[start : start + rows].astype(np.float64)
        np.nan_to_num(block, copy=False, nan=black, posinf=black, neginf=black)
        block -= black
        block *= factor
        np.clip(block, 0, 255, out=block)
        scaled[start : start + rows] = np.rint(block)
    return scaled


def _float_white(values: npt.NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return 1.0
    highlights = np.count_nonzero(finite > 1) / finite.size
    if highlights <= _MAX_HIGHLIGHTS:
        return 1.0
    return _smallest_white(float(finite.max()), _WHITES_FLOAT)


def _smallest_white(largest: float, whites: tuple[float, ...]) -> float:
    """Return the smallest usual white that is no less than a value, or else the value itself."""
    for white in whites:
        if largest <= white:
            return white
    return largest
