"""TIFFs of every sample, color type and layout look as viewers show them."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
import pytest
import tifffile
from PIL import Image

from color_spaces import SPACES, in_space, rgb_of_lab, rgb_profile
from lookalike import imaging
from lookalike.errors import FormatError, ImageError
from trust import crafted

HEIGHT, WIDTH = 40, 56

# Types of samples, with the value of white.
SAMPLES = {
    "u1": 255,
    "u2": 65535,
    "u4": 2**32 - 1,
    "i1": 127,
    "i2": 32767,
    "i4": 2**31 - 1,
    "f2": 1,
    "f4": 1,
    "f8": 1,
}


def colors() -> np.ndarray:
    """Return colors from black to white as floats, ``[height, width, 3]``."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    red = x / (WIDTH - 1)
    green = y / (HEIGHT - 1)
    blue = (red + green) / 2
    return np.stack([red, green, blue], axis=-1)


def grays() -> np.ndarray:
    return colors()[:, :, 2]


def stored(values: np.ndarray, sample: str) -> np.ndarray:
    white = SAMPLES[sample]
    scaled = values * white
    if sample[0] != "f":
        scaled = np.rint(scaled)
    return scaled.astype(sample)


def planes(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, -1, 0)


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def check(data: bytes, expected: np.ndarray, tolerance: int = 2) -> None:
    """Check that a file shows some colors, floats of one or three channels."""
    shown = np.asarray(imaging.decode(data), np.int16)
    if expected.ndim == 2:
        expected = np.stack([expected] * 3, axis=-1)
    levels = np.rint(expected * 255).astype(np.int16)
    assert shown.shape == levels.shape
    assert np.abs(shown - levels).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_of_gray(sample, order):
    black = stored(grays(), sample)
    check(tiff(black, photometric="minisblack", byteorder=order), grays())
    white = stored(1 - grays(), sample)
    check(tiff(white, photometric="miniswhite", byteorder=order), grays())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_every_sample_of_rgb_in_pixels_and_planes(sample, order):
    values = stored(colors(), sample)
    options = {"photometric": "rgb", "byteorder": order}
    check(tiff(values, planarconfig="contig", **options), colors())
    check(tiff(planes(values), planarconfig="separate", **options), colors())


@pytest.mark.parametrize("sample", ["u1", "u2", "f4"])
@pytest.mark.parametrize("predictor", [None, True])
@pytest.mark.parametrize("coding", ["lzw", "deflate", "zstd", "lzma"])
def test_every_compression_of_bytes(sample, predictor, coding):
    values = stored(colors(), sample)
    data = tiff(values, photometric="rgb", compression=coding, predictor=predictor)
    check(data, colors())


@pytest.mark.parametrize(
    ("coding", "sample"), [("webp", "u1"), ("jpeg2000", "u1"), ("jpeg2000", "u2")]
)
def test_compressions_that_are_image_formats(coding, sample):
    values = stored(colors(), sample)
    check(tiff(values, photometric="rgb", compression=coding), colors())


@pytest.mark.parametrize("sample", ["u1", "u2", "f4"])
def test_tiles(sample):
    values = stored(colors(), sample)
    options = {"photometric": "rgb", "tile": (16, 16), "compression": "deflate"}
    check(tiff(values, planarconfig="contig", **options), colors())
    check(tiff(planes(values), planarconfig="separate", **options), colors())


@pytest.mark.parametrize("sample", ["u1", "u2", "f4"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_alpha_is_over_white_and_other_samples_are_ignored(sample, layout, kind):
    alpha = np.full((HEIGHT, WIDTH, 1), 0.6)
    shown = colors() * 0.6 + 0.4
    first = colors()
    if kind == "assocalpha":
        first = first * 0.6
    if kind == "unspecified":
        shown = colors()
    values = stored(np.concatenate([first, alpha], axis=-1), sample)
    if layout == "separate":
        values = planes(values)
    data = tiff(values, photometric="rgb", planarconfig=layout, extrasamples=[kind])
    check(data, shown, tolerance=3)


@pytest.mark.parametrize("sample", ["u1", "u2", "f4"])
def test_gray_with_alpha_is_over_white(sample):
    alpha = np.full_like(grays(), 0.5)
    values = stored(np.stack([grays(), alpha], axis=-1), sample)
    data = tiff(
        values,
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    check(data, grays() / 2 + 0.5)


@pytest.mark.parametrize("sample", ["u1", "u2", "f4"])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_inks_with_and_without_alpha(sample, layout):
    inks = np.concatenate([1 - colors(), np.zeros((HEIGHT, WIDTH, 1))], axis=-1)
    alpha = np.full((HEIGHT, WIDTH, 1), 0.6)
    with_alpha = np.concatenate([inks, alpha], axis=-1)
    options = {"photometric": "separated", "planarconfig": layout}
    for values, shown, extra in (
        (inks, colors(), None),
        (with_alpha, colors() * 0.6 + 0.4, ["unassalpha"]),
    ):
        ordered = stored(values, sample)
        if layout == "separate":
            ordered = planes(ordered)
        check(tiff(ordered, extrasamples=extra, **options), shown, tolerance=3)


def test_inks_with_alpha_are_converted_by_their_profile():
    """A profile that does not fit is ignored; one of RGB fits no ink."""
    inks = np.zeros((8, 8, 5), np.uint8)
    inks[:, :, 4] = 255
    profile = rgb_profile(SPACES["linear"])
    data = tiff(
        inks,
        photometric="separated",
        planarconfig="contig",
        extrasamples=["unassalpha"],
        iccprofile=profile,
    )
    check(data, np.ones((8, 8)))


@pytest.mark.parametrize("sample", ["u1", "u2"])
@pytest.mark.parametrize("photometric", ["cielab", "icclab"])
def test_lab_colors(sample, photometric):
    """Lightness 60, a 40 and b 20 are a red."""
    lab = np.zeros((8, 8, 3), sample)
    bits = 8 * lab.itemsize
    lab[:, :, 0] = 0.6 * (2**bits - 1)
    zero = 0 if photometric == "cielab" else 128
    lab[:, :, 1] = (40 + zero) << (bits - 8)
    lab[:, :, 2] = (20 + zero) << (bits - 8)
    red = rgb_of_lab(153, 128 + 40, 128 + 20) / 255
    expected = np.broadcast_to(red, (8, 8, 3))
    check(tiff(lab, photometric=photometric), expected, tolerance=3)


def test_a_profile_of_deep_samples_is_applied():
    image = Image.fromarray(np.rint(colors() * 160 + 60).astype(np.uint8))
    space = SPACES["adobe-rgb"]
    values = np.asarray(in_space(image, space)).astype(np.uint16) * 257
    data = tiff(values, photometric="rgb", iccprofile=rgb_profile(space))
    check(data, np.asarray(image) / 255, tolerance=3)


# The range of samples


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("is_gray", [True, False])
def test_ten_and_twelve_bits_in_sixteen_are_scaled(bits, is_gray):
    expected = grays() if is_gray else colors()
    values = np.rint(expected * (2**bits - 1)).astype(np.uint16)
    check(tiff(values), expected)


@pytest.mark.parametrize("white", [4095, 9999, 16383, 65535])
def test_a_stated_maximum_is_white(white):
    values = np.rint(grays() * white).astype(np.uint16)
    tag = (281, "H", 1, white, True)
    check(tiff(values, extratags=[tag]), grays())


def test_a_dark_photograph_stays_dark():
    values = np.rint(grays() * 9000).astype(np.uint16)
    check(tiff(values), grays() * 9000 / 65535)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits(bits):
    values = np.rint(grays() * (2**bits - 1)).astype(np.uint16)
    check(tiff(values, bitspersample=bits), grays())


def test_negative_values_have_their_own_range():
    values = np.rint(grays() * 60_000 - 30_000).astype(np.int16)
    check(tiff(values), grays())


def test_a_few_highlights_of_floats_leave_the_rest_bright():
    values = grays().astype(np.float32)
    values[0, :3] = 40
    expected = grays()
    expected[0, :3] = 1
    check(tiff(values), expected)


# Pages


def test_the_full_page_is_used_if_the_first_is_reduced():
    file = io.BytesIO()
    small = stored(np.zeros((10, 14, 3)), "u1")
    with tifffile.TiffWriter(file) as writer:
        writer.write(small, photometric="rgb", subfiletype=1)
        writer.write(small, photometric="rgb", subfiletype=1)
        writer.write(stored(colors(), "u1"), photometric="rgb")
    check(file.getvalue(), colors())


def test_the_full_page_may_lie_below_the_reduced_one():
    file = io.BytesIO()
    small = stored(np.zeros((10, 14, 3)), "u1")
    with tifffile.TiffWriter(file) as writer:
        writer.write(small, photometric="rgb", subfiletype=1, subifds=1)
        writer.write(stored(colors(), "u1"), photometric="rgb")
    check(file.getvalue(), colors())


def test_the_first_of_several_full_pages_is_used():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(stored(colors(), "u2"), photometric="rgb")
        writer.write(stored(1 - colors(), "u2"), photometric="rgb")
    check(file.getvalue(), colors())


def test_reduced_pages_in_a_circle_are_read():
    data = crafted.tiff(40, 30, then=8, more=((254, 4, 1, 1),))
    assert imaging.decode(data).size == (40, 30)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("sample", ["u1", "u2"])
def test_deep_samples_are_upright_too(sample, orientation):
    tag = (274, "H", 1, orientation, True)
    data = tiff(stored(colors(), sample), photometric="rgb", extratags=[tag])
    turns = {3: 2, 6: 3, 8: 1}[orientation]
    upright = np.rot90(colors(), turns)
    check(data, upright)
    _, size = imaging.decode_small(data, min_side=640)
    assert size == upright.shape[1::-1]


# Kinds that are not read


@pytest.mark.parametrize("coding", ["lerc", "jpegxl", "jpegxr", "png"])
def test_an_unread_compression_is_no_damage(coding):
    data = tiff(stored(colors(), "u1"), photometric="rgb", compression=coding)
    with pytest.raises(FormatError, match="of a kind that is not read: TIFF with comp"):
        imaging.decode(data)


def test_other_inks_are_not_read():
    inks = stored(colors(), "u2")
    values = np.concatenate([inks, inks], axis=-1)
    tag = (332, "H", 1, 2, True)
    data = tiff(values, photometric="separated", planarconfig="contig", extratags=[tag])
    with pytest.raises(FormatError, match="inks other than"):
        imaging.decode(data)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("lookalike.imaging.tiff.is_installed", lambda package: False)
    values = planes(stored(colors(), "u2"))
    options = {"photometric": "rgb", "planarconfig": "separate"}
    check(tiff(values, **options), colors())
    with pytest.raises(FormatError, match=r"LZW; pip install 'lookalike\[tiff\]'"):
        imaging.decode(tiff(values, compression="lzw", **options))


@pytest.mark.parametrize("coding", [None, "lzw", "deflate"])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_cut_deep_files_are_damaged(coding, share):
    noise = np.random.default_rng(0).integers(0, 65536, (64, 48, 3), np.uint16)
    data = tiff(noise, photometric="rgb", compression=coding)
    with pytest.raises(ImageError, match="cut short") as raised:
        imaging.decode(data[: int(len(data) * share)])
    assert not isinstance(raised.value, FormatError)


# Hostile files


def test_a_deep_file_has_the_limit_of_pixels():
    data = tiff(stored(grays(), "u2"), photometric="miniswhite")
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=HEIGHT * WIDTH - 1)


def test_wide_pixels_have_a_lower_limit():
    """Decoded, a pixel of 64-bit RGB takes twice the memory that is allowed for one."""
    data = tiff(stored(colors(), "f8"), photometric="rgb")
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=HEIGHT * WIDTH)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("side", [20_000, 65_535, 2**31 - 1])
def test_stated_sizes_take_no_memory(bits, side):
    more = ((258, 3, 1, bits), (262, 3, 1, 0))
    data = crafted.tiff(side, side, more=more)
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data)


def test_tiles_larger_than_the_image_have_the_limit():
    more = (
        (258, 3, 1, 16),
        (262, 3, 1, 0),
        (322, 4, 1, 20_000),
        (323, 4, 1, 20_000),
        (324, 4, 1, 400),
        (325, 4, 1, 1200),
    )
    with pytest.raises(ImageError, match="400 megapixels, more than the limit"):
        imaging.decode(crafted.tiff(40, 30, more=more))


@pytest.mark.slow
def test_a_part_may_not_be_a_larger_image():
    large = io.BytesIO()
    Image.new("L", (9000, 9000)).save(large, "JPEG2000")
    part = large.getvalue()
    more = ((259, 3, 1, 34712), (279, 4, 1, len(part)))
    data = crafted.tiff(40, 30, more=more)[:400] + part
    with pytest.raises(ImageError, match="larger than its place"):
        imaging.decode(data)


@cache
def packed_zeros() -> bytes:
    """Return 300 MB of zeros, which Deflate packs into 300 kB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1_000_000)) for _ in range(300))
    return packed + packer.flush()


@pytest.mark.slow
@pytest.mark.parametrize("coding", [5, 8, 32773, 34925, 50000])
def test_parts_unpack_to_no_more_than_their_place(coding):
    """Deflate unpacks them; the other codings refuse these bytes."""
    packed = packed_zeros()
    more = ((258, 3, 1, 16), (262, 3, 1, 0), (259, 3, 1, coding))
    strip = ((279, 4, 1, len(packed)),)
    data = crafted.tiff(40, 30, more=more + strip)[:400] + packed
    before = peak_memory()
    with pytest.raises(ImageError):
        imaging.decode(data)
    assert peak_memory() - before < 100_000_000


def peak_memory() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_directory_of_many_strips_is_refused_soon():
    count = 2_000_000
    offsets = struct.pack("<I", 8) * count
    more = ((258, 3, 1, 16), (262, 3, 1, 0), (278, 4, 1, 1))
    strips = ((273, 4, count, 20_000), (279, 4, count, 20_000))
    data = crafted.tiff(40, 30, more=more + strips).ljust(20_000, b"\0") + offsets
    with pytest.raises(ImageError):
        imaging.decode(data)
