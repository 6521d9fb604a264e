"""Hostile files of the kinds that other libraries read: bounded, and refused with a reason."""

from __future__ import annotations

import struct
import time
import zlib
from contextlib import suppress

import numpy as np
import pillow_jxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camera_files import dng
from color_spaces import (
    LINEAR,
    cmyk_profile,
    encoded,
    gray_profile,
    profile,
    rgb_profile,
    xyz_tag,
)
from imaging.test_tiff import colors, planes, stored, tiff
from lookalike import imaging
from lookalike.errors import ImageError

assert pillow_jxl

WHITE = {b"wtpt": xyz_tag((0.9642, 1.0, 0.8249))}


def chained_stages(count: int) -> bytes:
    """Return a tag of many stages, each of which is the same matrix."""
    matrix = b"matf\0\0\0\0" + struct.pack(">HH", 3, 3)
    matrix += struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    place = struct.pack(">II", 16 + 8 * count, len(matrix))
    head = b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, count)
    return head + place * count + matrix


@pytest.mark.parametrize("tag", [b"A2B0", b"D2B0"])
def test_a_profile_of_many_stages_takes_no_time(tag):
    """Applied, it takes minutes."""
    stages = profile(b"mntr", b"RGB ", b"XYZ ", {**WHITE, tag: chained_stages(200_000)})
    image = Image.new("RGB", (20, 10), (10, 200, 90))
    started = time.monotonic()
    decoded = imaging.decode(encoded(image, "TIFF", icc_profile=stages))
    assert time.monotonic() - started < 30
    assert decoded.tobytes() == image.tobytes()


def test_a_profile_of_a_large_table_takes_little_time():
    grid = 80
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ends = struct.pack(">2H", 0, 65535)
    table = b"mft2\0\0\0\0" + bytes((3, 3, grid, 0)) + identity
    table += struct.pack(">HH", 2, 2) + ends * 3 + bytes(grid**3 * 6) + ends * 3
    large = profile(b"mntr", b"RGB ", b"Lab ", {**WHITE, b"A2B0": table})
    image = Image.new("RGB", (20, 10), (10, 200, 90))
    started = time.monotonic()
    assert imaging.decode(encoded(image, "TIFF", icc_profile=large)).size == (20, 10)
    assert time.monotonic() - started < 30


def tiff_of_one_strip(count: int, padding: int) -> bytes:
    """Return a TIFF of float samples whose strips are all the same bytes, with padding in them."""
    strip = zlib.compress(struct.pack("<8f", *[0.5] * 8)) + bytes(padding)
    offsets = struct.pack("<I", 8) * count
    sizes = struct.pack("<I", len(strip)) * count
    offsets_start = 8 + len(strip)
    sizes_start = offsets_start + len(offsets)
    entries = [
        (256, 4, 1, 8),
        (257, 4, 1, count),
        (258, 3, 1, 32),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, count, offsets_start),
        (277, 3, 1, 1),
        (278, 4, 1, 1),
        (279, 4, count, sizes_start),
        (339, 3, 1, 3),
    ]
    directory = struct.pack("<H", len(entries))
    for entry in entries:
        directory += struct.pack("<HHII", *entry)
    start = sizes_start + len(sizes)
    head = b"II*\0" + struct.pack("<I", start)
    return head + strip + offsets + sizes + directory + bytes(4)


def test_strips_may_share_their_bytes():
    decoded = imaging.decode(tiff_of_one_strip(1000, 0))
    assert decoded.size == (8, 1000)
    assert decoded.getextrema() == ((128, 128),) * 3


def test_strips_that_share_many_bytes_are_not_read():
    """Each of the 5,000 would read a megabyte; with more of both, it takes hours."""
    with pytest.raises(ImageError, match="the parts of the image overlap"):
        imaging.decode(tiff_of_one_strip(5000, 1_000_000))


def small_files() -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    image = Image.fromarray(noise)
    deep = stored(colors(), "u2")
    inks = cmyk_profile(lambda inks: (255 - 100 * inks[0], 128, 128))
    options = {"photometric": "rgb", "compression": "deflate"}
    return {
        "camera": dng(encoded(image, "JPEG"), (20, 10)),
        "jpeg xl": encoded(image, "JXL"),
        "jpeg 2000": encoded(image, "JPEG2000"),
        "codestream": encoded(image, "JPEG2000", no_jp2=True),
        "deep": tiff(deep, **options),
        "planes": tiff(planes(deep), planarconfig="separate", **options),
        "tiles": tiff(deep, tile=(16, 16), **options),
        "jpeg": encoded(image, "JPEG", restart_marker_rows=1)[:-2],
        "progressive": encoded(image, "JPEG", progressive=True)[:-2],
        "rgb profile": encoded(image, "TIFF", icc_profile=rgb_profile(LINEAR)),
        "gray profile": encoded(
            image.convert("L"), "TIFF", icc_profile=gray_profile(1.0)
        ),
        "inks": encoded(image.convert("CMYK"), "TIFF", icc_profile=inks),
    }


FILES = small_files()


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damage_raises_image_errors_alone(kind, data):
    whole = bytearray(FILES[kind])
    places = st.integers(0, len(whole) - 1)
    beginning = st.integers(0, 400)
    chosen = data.draw(st.lists(places | beginning, min_size=1, max_size=6))
    for place in chosen:
        whole[place : place + 1] = bytes([data.draw(st.integers(0, 255))])
    length = data.draw(st.integers(1, len(whole)) | st.just(len(whole)))
    with suppress(ImageError):
        image = imaging.decode(bytes(whole[:length]), max_pixels=1_000_000)
        assert image.mode == "RGB"


@pytest.mark.parametrize("kind", sorted(FILES))
def test_the_limit_of_pixels_holds_for_each_kind(kind):
    whole = imaging.decode(FILES[kind])
    pixels = whole.width * whole.height
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(FILES[kind], max_pixels=pixels - 1)
