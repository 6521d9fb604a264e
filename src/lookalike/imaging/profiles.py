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

# Bradford's responses of the eye's cones, by which whites are adapted.
_BRADFORD = np.array(
    [
        [0.8951, 0.2664, -0.1614],
        [-0.7502, 1.7135, 0.0367],
        [0.0389, -0.0685, 1.0296],
    ]
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
    if not low <= gamma <= high:
        return None
    chosen = _SRGB if chromaticities is None else chromaticities
    is_srgb_curve = abs(gamma / _SRGB_GAMMA - 1) <= _SAME_GAMMA
    curve = _srgb_curve if is_srgb_curve else _power(1 / gamma)
    if is_srgb_curve and np.allclose(chosen, _SRGB, atol=0.001):
        return None
    return _profile(chosen, curve)


@lru_cache(maxsize=64)
def profile_from_code_points(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of two code points; None if they are sRGB, unspecified or unknown."""
    curve = _transfer_curve(transfer)
    chromaticities = _PRIMARIES.get(primaries, _SRGB)
    if curve is _srgb_curve and chromaticities == _SRGB:
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
    bright = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, dark, bright)


@cache
def _power(exponent: float) -> Callable[[Curve], Curve]:
    def curve(encoded: Curve) -> Curve:
        return encoded**exponent

    return curve


def _perceptual_quantizer(encoded: Curve) -> Curve:
    """Return the light of SMPTE ST 2084, whose largest value is 10,000 cd/m2."""
    root = encoded ** (1 / 78.84375)
    numerator = np.maximum(root - 0.8359375, 0)
    denominator = 18.8515625 - 18.6875 * root
    light = (numerator / denominator) ** (1 / 0.1593017578125)
    return _tone_mapped(10_000 * light)


def _hybrid_log_gamma(encoded: Curve) -> Curve:
    """Return the light of ARIB STD-B67 on a display of 1,000 cd/m2."""
    dark = encoded**2 / 3
    bright = (np.exp((encoded - 0.55991073) / 0.17883277) + 0.28466892) / 12
    scene = np.where(encoded <= 0.5, dark, bright)
    return _tone_mapped(1000 * scene**1.2)


def _tone_mapped(luminance: Curve) -> Curve:
    """Compress highlights into the range of a usual display (Reinhard et al. 2002, equation 4)."""
    relative = luminance / _PAPER_WHITE
    peak = _PEAK / _PAPER_WHITE
    mapped = relative * (1 + relative / peak**2) / (1 + relative)
    return np.minimum(mapped, 1)


def _profile(
    chromaticities: Sequence[float], curve: Callable[[Curve], Curve]
) -> bytes | None:
    """Return an ICC profile (version 2.4); None if no light has these chromaticities."""
    matrix = _matrix_to_d50(chromaticities)
    # An s15Fixed16Number of a profile holds no larger numbers.
    if matrix is None or np.abs(matrix).max() > 100:
        return None
    points = np.linspace(0, 1, _CURVE_POINTS)
    levels = np.rint(curve(points) * 65535)
    curve_header = struct.pack(">4s4xI", b"curv", _CURVE_POINTS)
    curve_tag = curve_header + levels.astype(">u2").tobytes()

    tags = {
        b"wtpt": _xyz_tag(_D50),
        b"rXYZ": _xyz_tag(matrix[:, 0]),
        b"gXYZ": _xyz_tag(matrix[:, 1]),
        b"bXYZ": _xyz_tag(matrix[:, 2]),
    }
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        tags[name] = curve_tag
    return _assemble(tags)


def _matrix_to_d50(chromaticities: Sequence[float]) -> Curve | None:
    """Return the matrix from linear RGB to XYZ, adapted to D50."""
    pairs = np.array(chromaticities, np.float64).reshape(4, 2)
    x, y = pairs.T
    if not np.isfinite(pairs).all() or (y <= 0).any():
        return None
    all_xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white = all_xyz[:, 0]
    primaries = all_xyz[:, 1:]
    if abs(np.linalg.det(primaries)) < 1e-6:
        return None
    # Scale the primaries so that together they give the white.
    amounts = np.linalg.solve(primaries, white)
    cones = _BRADFORD @ white
    if (cones <= 0).any():
        return None
    gains = _BRADFORD @ _D50 / cones
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD
    adapted: Curve = adaptation @ (primaries * amounts)
    return adapted


def _xyz_tag(xyz: Curve) -> bytes:
    fixed: bytes = np.rint(xyz * 65536).astype(">i4").tobytes()
    return b"XYZ \0\0\0\0" + fixed


def _assemble(tags: dict[bytes, bytes]) -> bytes:
    """Return a display profile of some tags; tags of the same content share it."""
    table_size = 4 + 12 * len(tags)
    start = 128 + table_size
    table = struct.pack(">I", len(tags))
    body = b""
    offsets: dict[bytes, int] = {}
    for name, content in tags.items():
        if content not in offsets:
            offsets[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, offsets[content], len(content))

    size = start + len(body)
    kind = struct.pack(">4s4s4s", b"mntr", b"RGB ", b"XYZ ")
    header = struct.pack(">I4xI", size, 0x02400000) + kind
    header = header.ljust(36, b"\0") + b"acsp"
    white: bytes = np.rint(_D50 * 65536).astype(">i4").tobytes()
    header = header.ljust(68, b"\0") + white
    return header.ljust(128, b"\0") + table + body
