"""Decoding: upright and in the right colors, or refused with a reason."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import lookalike
from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.models.registry import resolve

PIXELS = resolve("pixels")


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, kind, **options)
    return file.getvalue()


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Return red, green, blue and gray quarters, which every turn and mirroring changes."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 210)
    pixels[height // 2 :, width // 2 :] = (128, 128, 128)
    return Image.fromarray(pixels)


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


def difference(image: Image.Image, other: Image.Image) -> int:
    """Return the largest difference at the centers of the four quarters."""
    assert image.mode == "RGB"
    assert image.size == other.size
    width, height = image.size
    places = [
        (x, y)
        for x in (width // 4, 3 * width // 4)
        for y in (height // 4, 3 * height // 4)
    ]
    pairs = zip(map(image.getpixel, places), map(other.getpixel, places), strict=True)
    return max(abs(a - b) for one, two in pairs for a, b in zip(one, two, strict=True))


def chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def png(width: int, height: int, bits: int, color: int, rows: bytes) -> bytes:
    """Return a PNG file: color type 0 is gray, 2 is RGB."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    body = (
        chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 1))
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


# Formats


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 3),
        ("JPEG", {"quality": 90, "progressive": True}, 5),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("GIF", {}, 0),
        ("BMP", {}, 0),
        ("DIB", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("AVIF", {"quality": 95}, 8),
        ("HEIC", {"quality": 95}, 8),
    ],
)
def test_every_format_decodes_to_its_colors(kind, options, tolerance):
    assert (
        difference(imaging.decode(encode(quarters(), kind, **options)), quarters())
        <= tolerance
    )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG", "AVIF"])
def test_the_first_frame_is_decoded(kind):
    others = [Image.new("RGB", (64, 48), color) for color in ("yellow", "cyan")]
    data = encode(quarters(), kind, save_all=True, append_images=others)
    assert difference(imaging.decode(data), quarters()) <= 10


def test_the_first_view_of_an_mpo_is_decoded():
    data = encode(
        quarters(),
        "MPO",
        save_all=True,
        append_images=[Image.new("RGB", (64, 48))],
        quality=95,
    )
    assert difference(imaging.decode(data), quarters()) <= 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_come_out_upright(kind, orientation):
    undone = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # how a camera held that way stores the image
    turns = Image.Transpose
    stored = quarters()
    if orientation > 1:
        turn = (turns.FLIP_LEFT_RIGHT, turns.FLIP_TOP_BOTTOM, turns.ROTATE_90, turns.ROTATE_180,
                turns.ROTATE_270,
                turns.TRANSPOSE, turns.TRANSVERSE)[undone[orientation]]  # fmt: skip
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif.tobytes()} if kind == "HEIC" else {"exif": exif}
    data = encode(
        stored, kind, **options, **({} if kind in {"PNG", "TIFF"} else {"quality": 95})
    )
    assert difference(imaging.decode(data), quarters()) <= 12


def test_broken_exif_is_ignored():
    exif = (
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
        + b"\x12\x01\x03\0\xff\xff\xff\xff\x99\x99" * 3
    )
    data = encode(quarters(), "JPEG", exif=exif, quality=95)
    assert difference(imaging.decode(data), quarters()) <= 10


# Pixel types


def test_a_cmyk_jpeg_is_near_its_colors():
    data = encode(quarters().convert("CMYK"), "JPEG", quality=95)
    assert difference(imaging.decode(data), quarters()) <= 12


def test_a_palette_keeps_its_colors():
    data = encode(quarters().quantize(4), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "P"
    assert difference(imaging.decode(data), quarters()) <= 2


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_entries_are_white(kind):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((2, 2), 0)
    decoded = imaging.decode(encode(image, kind, transparency=0))
    assert (decoded.getpixel((2, 2)), decoded.getpixel((5, 5))) == (
        (255, 255, 255),
        (0, 0, 255),
    )


@pytest.mark.parametrize(("mode", "color"), [("RGB", (10, 200, 30)), ("L", 77)])
def test_the_transparent_color_of_a_png_is_white(mode, color):
    image = Image.new(mode, (4, 4), color)
    assert imaging.decode(encode(image, "PNG", transparency=color)).getpixel(
        (1, 1)
    ) == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "color", "seen"),
    [
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("RGBa", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 128), (127, 127, 127)),
        ("La", (0, 128), (127, 127, 127)),
        ("PA", (0, 128), (127, 127, 127)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("HSV", (0, 0, 128), (128, 128, 128)),
        ("I;16", 32768, (128, 128, 128)),
        ("I;16B", 32768, (128, 128, 128)),
    ],
)
def test_every_mode_becomes_rgb_over_white(mode, color, seen):
    upright = imaging.upright(Image.new(mode, (4, 4), color))
    assert upright.mode == "RGB"
    assert np.abs(np.subtract(upright.getpixel((1, 1)), seen)).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_cut(kind):
    ramp = np.array([[0, 16384, 32768, 49152, 65535]], np.uint16)
    decoded = np.asarray(imaging.decode(encode(Image.fromarray(ramp), kind)))
    assert decoded[0, :, 0].tolist() == [0, 64, 128, 191, 255]


def test_16_bit_color_is_scaled():
    rows = b"\0" + struct.pack(">3H", 65535, 32768, 0)
    assert imaging.decode(png(1, 1, 16, 2, rows)).getpixel((0, 0)) == (255, 128, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 100, 200]], np.int32), [0, 100, 200]),
        (np.array([[0, 32768, 65535]], np.int32), [0, 128, 255]),
        (np.array([[0, 500_000_000, 1_000_000_000]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100.4, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 32768, 65535]], np.float32), [0, 128, 255]),
        (np.array([[-3, 1e6, 2e6]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, np.inf, 1]], np.float32), [0, 0, 255]),
    ],
)
def test_integers_and_floats_are_scaled_by_their_range(values, expected):
    for image in (
        imaging.upright(Image.fromarray(values)),
        imaging.decode(encode(Image.fromarray(values), "TIFF")),
    ):
        assert np.asarray(image)[0, :, 0].tolist() == expected


def test_arrays_are_converted():
    gray = np.full((3, 5), 9, np.uint8)
    clear = np.zeros((3, 5, 4), np.uint8)
    assert imaging.from_array(gray).size == (5, 3)
    assert imaging.from_array(gray).getpixel((0, 0)) == (9, 9, 9)
    assert imaging.from_array(np.asarray(quarters())).tobytes() == quarters().tobytes()
    assert imaging.from_array(clear).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (0, 4, 3), (2, 4, 4, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(ImageError, match=r"expected uint8 \[height, width\]"):
        imaging.from_array(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="float64"):
        imaging.from_array(np.zeros((4, 4, 3)))


# Refused files


@pytest.mark.parametrize(
    "data", [b"Not an image.\n" * 40, b"%PDF-1.7\n" + b"x" * 500, b"<svg xmlns='http://www.w3.org/2000/svg'/>",
             b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", b"BMW is no bitmap"],
    ids=["text", "pdf", "svg", "eps", "bm"],
)  # fmt: skip
def test_other_formats_are_refused(data):
    with pytest.raises(ImageError, match="not an image of a known format"):
        imaging.decode(data)


def test_other_formats_are_refused_by_a_fresh_process():
    """The HEIF plugin is loaded by the first such file. The refusal must not depend on it."""
    code = (
        "from lookalike import errors, imaging\n"
        "try: imaging.decode(b'no')\n"
        "except errors.ImageError as e: print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("not an image of a known format")


def test_an_empty_file_is_refused():
    with pytest.raises(ImageError, match="the file is empty"):
        imaging.decode(b"")


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"]
)
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_truncated_file_is_refused(kind, share):
    data = encode(noise(), kind)
    with pytest.raises(ImageError, match="cut short"):
        imaging.decode(data[: int(len(data) * share)])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_damage_raises_image_errors_alone(kind, data):
    whole = bytearray(DAMAGED[kind])
    for place in data.draw(
        st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)
    ):
        whole[place] = data.draw(st.integers(0, 255))
    with suppress(ImageError):
        assert imaging.decode(bytes(whole), max_pixels=1_000_000).mode == "RGB"


DAMAGED = {
    kind: encode(noise(20, 10), kind)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
}


def gif(width: int, height: int) -> bytes:
    """Return a GIF file whose only frame is to be replaced by the background."""
    size = struct.pack("<HH", width, height)
    frame = b"!\xf9\x04\x08\0\0\0\0," + b"\0\0\0\0" + size + b"\0\x02\x02L\x01\0;"
    return b"GIF89a" + size + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame


@pytest.mark.parametrize(
    "data", [png(30_000, 30_000, 8, 2, b""), gif(30_000, 30_000)], ids=["png", "gif"]
)
def test_too_many_pixels_are_refused_before_allocation(data):
    code = """if True:
        import sys
        from lookalike import errors, imaging
        try: imaging.decode(sys.stdin.buffer.read())
        except errors.ImageError as error: print(error)
        print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=True
    )
    reason, kibibytes = done.stdout.decode().splitlines()
    assert (
        reason
        == "900 megapixels, more than the limit of 200 (--max-megapixels raises it)"
    )
    assert int(kibibytes) < 300_000  # Decoded, they take ten times the memory.


def test_the_pixel_limit_is_exact():
    data = encode(quarters(64, 48), "PNG")
    assert imaging.decode(data, max_pixels=64 * 48).size == (64, 48)
    with pytest.raises(
        ImageError, match=r"0\.003072 megapixels, more than the limit of 0\.003071"
    ):
        imaging.decode(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"]
)
def test_the_limit_of_pillow_has_no_effect(monkeypatch, kind):
    """Pillow refuses twice its cap; here that is 200 pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert imaging.decode(encode(noise(), kind)).size == (64, 48)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.slow
def test_the_limit_may_exceed_that_of_pillow():
    width, height = 15_000, 13_000
    data = png(width, height, 1, 0, (b"\0" + b"\xff" * (width // 8)) * height)
    decoded = imaging.decode(data, max_pixels=200_000_000)
    assert decoded.size == (width, height)
    assert decoded.getpixel((width - 1, height - 1)) == (255, 255, 255)


def test_threads_decode_at_once_and_restore_process_settings():
    files = [encode(quarters(), kind) for kind in ("JPEG", "PNG", "HEIC", "TIFF")] * 40
    filters, cap, interval = (
        list(warnings.filters),
        Image.MAX_IMAGE_PIXELS,
        sys.getswitchinterval(),
    )
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            decoded = list(pool.map(imaging.decode, files))
    finally:
        sys.setswitchinterval(interval)
    assert max(difference(image, quarters()) for image in decoded) <= 12
    assert warnings.filters == filters
    assert cap == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    "name", ["nearest", "bilinear", "hamming", "bicubic", "lanczos"]
)
def test_squash_resizes_with_the_filter_of_the_model(name):
    prepared = imaging.prepare(noise(), replace(PIXELS, filter=name, size=(20, 30)))
    assert prepared.dtype == np.uint8
    assert prepared.shape == (20, 30, 3)
    assert (
        prepared == np.asarray(noise().resize((30, 20), Image.Resampling[name.upper()]))
    ).all()


@pytest.mark.parametrize(
    ("size", "box"), [((100, 40), (30, 0, 70, 40)), ((40, 100), (0, 30, 40, 70))]
)
def test_crop_scales_the_shorter_side_and_cuts_the_center(size, box):
    image = noise(*size)
    prepared = imaging.prepare(image, replace(PIXELS, resize="crop", size=(16, 16)))
    expected = image.resize((16, 16), Image.Resampling.BILINEAR, box)
    assert (prepared == np.asarray(expected)).all()
    assert (prepared != imaging.prepare(image, replace(PIXELS, size=(16, 16)))).any()


def test_crop_keeps_the_aspect_of_the_model_input():
    prepared = imaging.prepare(
        noise(60, 60), replace(PIXELS, resize="crop", size=(10, 30))
    )
    assert (
        prepared
        == np.asarray(
            noise(60, 60).resize((30, 10), Image.Resampling.BILINEAR, (0, 20, 60, 40))
        )
    ).all()


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.sampled_from(["squash", "crop"]),
    st.sampled_from(["nearest", "bicubic"]),
)
@example((1, 5000), (24, 16), "crop", "bicubic")
@example((5000, 1), (24, 16), "crop", "bicubic")
def test_any_image_can_be_prepared_for_any_model(shape, size, resize, name):
    prepared = imaging.prepare(
        Image.new("RGB", shape, (1, 2, 3)),
        replace(PIXELS, resize=resize, size=size, filter=name),
    )
    assert prepared.shape == (*size, 3)
    assert (prepared == (1, 2, 3)).all()


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((640, 480), 160, (160, 120)),
        ((480, 640), 160, (120, 160)),
        ((640, 480), 64, (64, 48)),
        ((100, 50), 160, (100, 50)),
        ((1, 5000), 160, (1, 160)),
        ((5000, 1), 160, (160, 1)),
        ((1, 1), 160, (1, 1)),
    ],
)
def test_thumbnails_keep_the_aspect(shape, side, expected):
    data = imaging.thumbnail(quarters(*shape), side=side)
    with Image.open(io.BytesIO(data)) as small:
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", expected)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "PNG"])
@pytest.mark.parametrize("length", [10, 200_000])
def test_a_thumbnail_has_no_comment(kind, length):
    """A JPEG has room for 65,533 bytes of a comment."""
    image = Image.new("RGB", (20, 10), "teal")
    comment = "c" * length
    options = {"comment": comment.encode()}
    if kind == "PNG":
        text = PngInfo()
        text.add_text("comment", comment)
        options = {"pnginfo": text}
    if kind == "JPEG":
        options["comment"] = options["comment"][:65_533]
    file = io.BytesIO()
    image.save(file, kind, **options)
    thumbnail = imaging.thumbnail(imaging.decode(file.getvalue()))
    with Image.open(io.BytesIO(thumbnail)) as small:
        assert small.size == (20, 10)
        assert "comment" not in small.info


def test_a_long_comment_does_not_end_indexing(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.new("RGB", (20, 10), "teal")
    image.save(folder / "a.gif", comment=b"c" * 70_000)
    image.save(folder / "b.png")
    report = lookalike.index(folder, tmp_path / "c", models=["pixels"])
    assert report.added == 2


def test_a_thumbnail_leaves_its_image_unchanged():
    image = quarters(640, 480)
    small = imaging.decode(imaging.thumbnail(image))
    assert difference(small, quarters(160, 120)) <= 10
    assert image.size == (640, 480)
