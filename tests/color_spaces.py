"""Color spaces with published matrices, photographs encoded in them, and their ICC profiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

Curve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ColorSpace:
    """Linear RGB to XYZ of white D50 (Lindbloom, adapted by Bradford), and the gamma.

    A gamma of None is the curve of sRGB.
    """

    to_xyz: tuple[tuple[float, float, float], ...]
    gamma: float | None


SRGB_MATRIX = (
    (0.4360747, 0.3850649, 0.1430804),
    (0.2225045, 0.7168786, 0.0606169),
    (0.0139322, 0.0971045, 0.7141733),
)
SRGB = ColorSpace(SRGB_MATRIX, None)
LINEAR = ColorSpace(SRGB_MATRIX, 1.0)
ADOBE_RGB = ColorSpace(
    (
        (0.6097559, 0.2052401, 0.1492240),
        (0.3111242, 0.6256560, 0.0632197),
        (0.0194811, 0.0608902, 0.7448387),
    ),
    2.19921875,
)
DISPLAY_P3 = ColorSpace(
    (
        (0.5151187, 0.2919778, 0.1571035),
        (0.2411892, 0.6922441, 0.0665668),
        (-0.0010505, 0.0418791, 0.7840713),
    ),
    None,
)
PROPHOTO = ColorSpace(
    (
        (0.7976749, 0.1351917, 0.0313534),
        (0.2880402, 0.7118741, 0.0000857),
        (0.0000000, 0.0000000, 0.8252100),
    ),
    1.8,
)
SPACES = {
    "srgb": SRGB,
    "adobe-rgb": ADOBE_RGB,
    "display-p3": DISPLAY_P3,
    "prophoto": PROPHOTO,
    "linear": LINEAR,
}


def in_space(image: Image.Image, space: ColorSpace) -> Image.Image:
    """Return an sRGB image with its colors encoded in another color space."""
    encoded = np.asarray(image) / 255
    linear = srgb_to_linear(encoded)
    xyz = linear @ np.array(SRGB.to_xyz).T
    other = xyz @ np.linalg.inv(space.to_xyz).T
    clipped = np.clip(other, 0, 1)
    values = linear_to_srgb(clipped)
    if space.gamma is not None:
        values = clipped ** (1 / space.gamma)
    levels = np.rint(values * 255)
    return Image.fromarray(levels.astype(np.uint8))


def srgb_to_linear(encoded: np.ndarray) -> np.ndarray:
    dark = encoded / 12.92
    bright = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, dark, bright)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    dark = linear * 12.92
    bright = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, dark, bright)


def rgb_of_lab(lightness: int, a: int, b: int) -> np.ndarray:
    """Return 8-bit Lab as 8-bit sRGB, by the formulas of CIE."""
    fy = (lightness / 2.55 + 16) / 116
    f = np.array([fy + (a - 128) / 500, fy, fy - (b - 128) / 200])
    cubes = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    xyz = cubes * (0.9642, 1.0, 0.8249)
    linear = np.linalg.inv(SRGB.to_xyz) @ xyz
    return linear_to_srgb(np.clip(linear, 0, 1)) * 255


def rgb_profile(space: ColorSpace) -> bytes:
    """Return a matrix profile of a color space."""
    red, green, blue = np.array(space.to_xyz).T
    curve = curve_tag(space.gamma)
    tags = {
        b"wtpt": xyz_tag((0.9642, 1.0, 0.8249)),
        b"rXYZ": xyz_tag(red),
        b"gXYZ": xyz_tag(green),
        b"bXYZ": xyz_tag(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return profile(b"mntr", b"RGB ", b"XYZ ", tags)


def gray_profile(gamma: float) -> bytes:
    tags = {b"wtpt": xyz_tag((0.9642, 1.0, 0.8249)), b"kTRC": curve_tag(gamma)}
    return profile(b"mntr", b"GRAY", b"XYZ ", tags)


def cmyk_profile(lab_of_inks: Callable[[tuple[int, ...]], tuple[int, int, int]]):
    """Return a printer's profile with a table of the 16 combinations of full and no ink.

    ``lab_of_inks`` returns Lab in 8 bits for cyan, magenta, yellow and black, each 0 or 1.
    """
    colors = b""
    for number in range(16):
        inks = tuple(number >> shift & 1 for shift in (3, 2, 1, 0))
        colors += bytes(lab_of_inks(inks))
    identity = bytes(range(256))
    one = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 16)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + struct.pack(">9i", *one)
    table += identity * 4 + colors + identity * 3
    tags = {b"wtpt": xyz_tag((0.9642, 1.0, 0.8249)), b"A2B0": table}
    return profile(b"prtr", b"CMYK", b"Lab ", tags)


def curve_tag(gamma: float | None) -> bytes:
    if gamma is None:
        points = srgb_to_linear(np.linspace(0, 1, 4096))
        levels = np.rint(points * 65535).astype(">u2")
        return b"curv\0\0\0\0" + struct.pack(">I", len(levels)) + levels.tobytes()
    return b"para\0\0\0\0" + struct.pack(">HHi", 0, 0, round(gamma * 65536))


def xyz_tag(xyz) -> bytes:
    numbers = [round(float(number) * 65536) for number in xyz]
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *numbers)


def profile(
    device: bytes, colors: bytes, connection: bytes, tags: dict[bytes, bytes]
) -> bytes:
    table = struct.pack(">I", len(tags))
    body = b""
    start = 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    size = start + len(body)
    header = struct.pack(">I4xI", size, 0x04200000) + device + colors + connection
    header = header.ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + xyz_tag((0.9642, 1.0, 0.8249))[8:]
    return header.ljust(128, b"\0") + table + body


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
