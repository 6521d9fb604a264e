"""Make ICC profiles for colors that a file states by numbers: gAMA and cHRM, or code points.

A profile has a matrix, from the chromaticities, and one curve for all three channels. Code points
are those of ITU-T H.273, which PNG (cICP), AVIF and HEIC share.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

__all__ = ["profile_from_code_points", "profile_from_gamma"]

Curve = npt.NDArray[np.float64]

# x and y of white, red, green and blue.
Chromaticities = tuple[float, ...]

_D65 = (0.3127, 0.3290)
_SRGB = (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES: dict[int, Chromaticities] = {
    1: _SRGB,
    5: (*_D65, 0.640, 0.330, 0.290, 0.600, 0.150, 0.060),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}

# The white of ICC's connection space.
_D50 = np.array([0.9642, 1.0, 0.8249])

# The header of a profile: its size, version, class, color space, connection space, signature and
# white.
_HEADER = struct.Struct(">I4xI4s4s4s12x4s28x12s48x")
_VERSION = 0x02400000

# The constants of SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG).
_PQ_M1, _PQ_M2 = 0.1593017578125, 78.84375
_PQ_C1, _PQ_C2, _PQ_C3 = 0.8359375, 18.8515625, 18.6875
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073

# Bradford's responses of the eye's cones, by which whites are adapted.
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

# Each of the 256 values of a channel falls on a point of the curve.
_CURVE_POINTS = 255 * 4 + 1

# Decoders take a gamma within 5 % of 1 / 2.2 for that of sRGB, whose curve is near it.
_SRGB_GAMMA = 1 / 2.2
_SAME_GAMMA = 0.05
_GAMMAS = (0.1, 10.0)

# High dynamic range: the luminance in cd/m2 of white paper, and of the brightest highlight.
_PAPER_WHITE = 203.0
_PEAK = 1000.0


@lru_cache(maxsize=64)
def profile_from_gamma(
    gamma: float, chromaticities: Chromaticities | None
) -> bytes | None:
    """Return the profile of a PNG's gAMA and cHRM chunks; None if they are sRGB or senseless.

    Parameters
    ----------
    gamma
        The exponent by which the values were encoded: about 0.45 for sRGB, 1 for linear light.
    chromaticities
        x and y of white, red, green and blue; sRGB's if None.
    """
    low, high = _GAMMAS
    is_usual = low <= gamma <= high
    if not is_usual:
        return None
    chosen = chromaticities or _SRGB
    curve = _power(1 / gamma)
    ratio = gamma / _SRGB_GAMMA
    difference = abs(ratio - 1)
    is_srgb_curve = difference <= _SAME_GAMMA
    if is_srgb_curve:
        curve = _srgb_curve
    is_srgb = np.allclose(chosen, _SRGB, atol=0.001)
    if is_srgb and is_srgb_curve:
        return None
    return _profile(chosen, curve)


@lru_cache(maxsize=64)
def profile_from_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of two code points; None if they are sRGB, unspecified or unknown."""
    curve = _transfer_curve(transfer)
    chromaticities = _PRIMARIES.get(primaries, _SRGB)
    is_srgb = chromaticities == _SRGB
    is_srgb_curve = curve is _srgb_curve
    if is_srgb and is_srgb_curve:
        return None
    return _profile(chromaticities, curve)


def _transfer_curve(transfer: int) -> Callable[[Curve], Curve]:
    """Return the function from encoded values to linear light; sRGB's for unknown ones.

    The curves of video (1, 6, 14, 15) are shown as sRGB's, by which such images are made.
    """
    curves = {
        4: _power(2.2),
        5: _power(2.8),
        8: _power(1.0),
        16: _perceptual_quantizer,
        17: _power(2.6),
        18: _hybrid_log_gamma,
    }
    return curves.get(transfer, _srgb_curve)


def _srgb_curve(encoded: Curve) -> Curve:
    dark = encoded / 12.92
    raised = encoded + 0.055
    bright = (raised / 1.055) ** 2.4
    is_dark = encoded <= 0.04045
    return np.where(is_dark, dark, bright)


@cache
def _power(exponent: float) -> Callable[[Curve], Curve]:
    def curve(encoded: Curve) -> Curve:
        return encoded**exponent

    return curve


def _perceptual_quantizer(encoded: Curve) -> Curve:
    """Return the light of SMPTE ST 2084, whose largest value is 10,000 cd/m2."""
    root = encoded ** (1 / _PQ_M2)
    lowered = root - _PQ_C1
    numerator = np.maximum(lowered, 0)
    denominator = _PQ_C2 - _PQ_C3 * root
    quotient = numerator / denominator
    light = quotient ** (1 / _PQ_M1)
    luminance = 10_000 * light
    return _tone_mapped(luminance)


def _hybrid_log_gamma(encoded: Curve) -> Curve:
    """Return the light of ARIB STD-B67 on a display of 1,000 cd/m2."""
    squared = encoded**2
    dark = squared / 3
    lowered = encoded - _HLG_C
    exponential = np.exp(lowered / _HLG_A)
    raised = exponential + _HLG_B
    bright = raised / 12
    is_dark = encoded <= 0.5
    scene = np.where(is_dark, dark, bright)
    display = scene**1.2
    luminance = _PEAK * display
    return _tone_mapped(luminance)


def _tone_mapped(luminance: Curve) -> Curve:
    """Compress highlights into the range of a usual display (Reinhard et al. 2002, equation 4)."""
    relative = luminance / _PAPER_WHITE
    peak = _PEAK / _PAPER_WHITE
    burnt_out = relative / peak**2
    numerator = relative * (1 + burnt_out)
    denominator = 1 + relative
    mapped = numerator / denominator
    return np.minimum(mapped, 1)


def _profile(
    chromaticities: Sequence[float], curve: Callable[[Curve], Curve]
) -> bytes | None:
    """Return an ICC profile (version 2.4); None if no light has these chromaticities."""
    matrix = _matrix_to_d50(chromaticities)
    if matrix is None:
        return None
    largest = np.abs(matrix).max()
    # The numbers of a profile are not much larger.
    if largest > 100:
        return None

    red, green, blue = matrix.T
    curve_tag = _curve_tag(curve)
    tags = {
        b"wtpt": _xyz_tag(_D50),
        b"rXYZ": _xyz_tag(red),
        b"gXYZ": _xyz_tag(green),
        b"bXYZ": _xyz_tag(blue),
        b"rTRC": curve_tag,
        b"gTRC": curve_tag,
        b"bTRC": curve_tag,
    }
    return _assemble(tags)


def _curve_tag(curve: Callable[[Curve], Curve]) -> bytes:
    header = struct.pack(">4s4xI", b"curv", _CURVE_POINTS)
    points = np.linspace(0, 1, _CURVE_POINTS)
    linear = curve(points)
    levels = np.rint(linear * 65535)
    numbers = levels.astype(">u2")
    body: bytes = numbers.tobytes()
    return header + body


def _matrix_to_d50(chromaticities: Sequence[float]) -> Curve | None:
    """Return the matrix from linear RGB to XYZ, adapted to D50."""
    numbers = np.array(chromaticities)
    if not np.isfinite(numbers).all():
        return None
    x = numbers[0::2]
    y = numbers[1::2]
    z = 1 - x - y
    if y.min() <= 0:
        return None
    columns = np.stack([x, y, z])
    # Each color has a luminance of 1.
    all_xyz = columns / y
    white = all_xyz[:, 0]
    primaries = all_xyz[:, 1:]
    determinant = np.linalg.det(primaries)
    if abs(determinant) < 1e-6:
        return None

    # Scale the primaries so that together they give the white.
    amounts = np.linalg.solve(primaries, white)
    to_xyz = primaries * amounts
    # Adapt the white in the space of the eye's cones.
    cones = _BRADFORD @ white
    if cones.min() <= 0:
        return None
    d50_cones = _BRADFORD @ _D50
    gains = np.diag(d50_cones / cones)
    from_cones = np.linalg.inv(_BRADFORD)
    adaptation = from_cones @ gains @ _BRADFORD
    adapted: Curve = adaptation @ to_xyz
    return adapted


def _xyz_tag(xyz: Curve) -> bytes:
    numbers = _fixed_numbers(xyz)
    return b"XYZ \0\0\0\0" + numbers


def _fixed_numbers(xyz: Curve) -> bytes:
    """Return numbers of 16 bits before and after the point."""
    scaled = xyz * 65536
    rounded = np.rint(scaled)
    integers = rounded.astype(">i4")
    encoded: bytes = integers.tobytes()
    return encoded


def _assemble(tags: dict[bytes, bytes]) -> bytes:
    """Return a display profile of some tags; tags of the same content share it."""
    count = len(tags)
    table = struct.pack(">I", count)
    body = b""
    start = _HEADER.size + 4 + 12 * count
    offsets: dict[bytes, int] = {}
    for name, content in tags.items():
        length = len(content)
        if content not in offsets:
            offsets[content] = start + len(body)
            # Tags begin at multiples of four bytes.
            body += content
            body += bytes(-length % 4)
        offset = offsets[content]
        table += struct.pack(">4sII", name, offset, length)

    size = start + len(body)
    white = _fixed_numbers(_D50)
    header = _HEADER.pack(size, _VERSION, b"mntr", b"RGB ", b"XYZ ", b"acsp", white)
    return header + table + body
