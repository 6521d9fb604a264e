"""Kinds of files: read as viewers show them, or refused as a kind that is not read."""

from __future__ import annotations

import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pillow_jxl import JpegXLImagePlugin

import lookalike
from camera_files import dng
from color_spaces import SPACES, encoded, in_space, rgb_profile
from lookalike import formats, imaging
from lookalike.errors import FormatError, ImageError
from lookalike.formats import readable_extensions
from lookalike.server.originals import media_type


def scene(width: int = 200, height: int = 120, seed: int = 0) -> Image.Image:
    """Return an image like a photograph: smooth shapes with some noise."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = random.normal(0, 4, (height, width, 3))
    noisy = np.asarray(smooth) + noise
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    difference = np.asarray(one, np.int16) - np.asarray(other, np.int16)
    return int(np.abs(difference).max())


def refusal(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as raised:
        imaging.decode(data)
    return raised.value


# JPEG without its end

JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "gray": {},
    "inks": {},
    "full color": {"subsampling": 0},
    "optimized": {"optimize": True},
}


def jpeg(kind: str, seed: int = 0) -> bytes:
    image = scene(seed=seed)
    if kind == "gray":
        image = image.convert("L")
    if kind == "inks":
        image = image.convert("CMYK")
    return encoded(image, "JPEG", quality=90, **JPEGS[kind])


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("filling", [b"", bytes(100), b"\xff" * 100])
def test_a_jpeg_without_its_end_is_whole(kind, cut, filling):
    for seed in range(5):
        data = jpeg(kind, seed)
        decoded = imaging.decode(data[:-cut] + filling)
        assert decoded.tobytes() == imaging.decode(data).tobytes()
        small, size = imaging.decode_small(data[:-cut] + filling, min_side=20)
        expected, _ = imaging.decode_small(data, min_side=20)
        assert small.tobytes() == expected.tobytes()
        assert size == (200, 120)


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("filling", [b"", bytes(20_000), b"\xff" * 20_000])
def test_a_jpeg_cut_in_its_pixels_is_damaged(kind, filling):
    data = jpeg(kind)
    for cut in (8, 20, 100, len(data) // 3, len(data) // 2):
        error = refusal(data[:-cut] + filling)
        assert str(error).startswith("damaged")


def test_a_progressive_jpeg_without_its_last_scans_is_damaged():
    data = jpeg("progressive")
    scan = -1
    for _ in range(4):
        scan = data.rindex(b"\xff\xda", 0, scan)
        # The tables of the scan come before it.
        end = data.rindex(b"\xff\xc4", 0, scan)
        assert str(refusal(data[:end])).startswith("damaged")


@pytest.mark.parametrize("kind", ["baseline", "gray"])
@pytest.mark.parametrize("rows", [1, 2])
def test_a_jpeg_cut_in_its_last_restart_interval(kind, rows):
    image = jpeg(kind)
    opened = Image.open(io.BytesIO(image))
    data = encoded(opened, "JPEG", quality=90, restart_marker_rows=rows)
    markers = [data.rfind(b"\xff" + bytes([0xD0 + nth])) for nth in range(8)]
    last = max(markers)
    cut = (last + len(data)) // 2
    if rows == 1:
        decoded = np.asarray(imaging.decode(data[:cut]))
        expected = np.asarray(imaging.decode(data))
        # Half of the colors' rows are stored, and those between are their means.
        height = 112 if kind == "gray" else 111
        assert (decoded[:height] == expected[:height]).all()
    # Before the last marker, a whole interval is missing.
    assert str(refusal(data[: last - 1])).startswith("damaged")


def test_most_of_an_image_in_one_restart_interval_must_be_there():
    data = encoded(scene(), "JPEG", quality=90, restart_marker_rows=5)
    assert str(refusal(data[: len(data) * 3 // 4])).startswith("damaged")


# BMP


@pytest.mark.parametrize("header_size", [56, 108, 124])
@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bmp_whose_alpha_is_zero_everywhere_is_opaque(header_size, alpha):
    image = scene()
    with_alpha = image.copy()
    with_alpha.putalpha(alpha)
    red, green, blue, fourth = (np.asarray(band) for band in with_alpha.split())
    pixels = np.stack([blue, green, red, fourth], axis=-1)[::-1].tobytes()
    fields = struct.pack(
        "<IiiHHIIiiII", header_size, 200, 120, 1, 32, 3, len(pixels), 0, 0, 0, 0
    )
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (fields + masks).ljust(header_size, b"\0")
    start = 14 + header_size
    size = start + len(pixels)
    data = struct.pack("<2sIHHI", b"BM", size, 0, 0, start) + header + pixels
    assert imaging.decode(data).tobytes() == image.tobytes()


def test_the_alpha_of_other_formats_is_believed():
    image = scene()
    image.putalpha(0)
    for kind in ("PNG", "WEBP", "TIFF"):
        decoded = imaging.decode(encoded(image, kind))
        assert decoded.getextrema() == ((255, 255),) * 3


# Animations


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("blank", ["white", "black", "transparent"])
@pytest.mark.parametrize("count", [1, 3])
def test_blank_frames_before_the_first_are_passed_over(kind, blank, count):
    color = (0, 0, 0, 0) if blank == "transparent" else blank
    mode = "RGBA" if blank == "transparent" else "RGB"
    image = scene().convert(mode)
    frames = [Image.new(mode, image.size, color) for _ in range(count)]
    # Encoders join equal frames.
    for number, frame in enumerate(frames[1:], 1):
        frame.putpixel((number, 0), (number, 0, 0, 0) if mode == "RGBA" else (1, 1, 1))
    if count > 1 and mode == "RGB":
        frames = frames[:1]
    options = {"duration": 100} if kind != "AVIF" else {"quality": 95}
    others = [*frames[1:], image, image.rotate(180)]
    data = encoded(frames[0], kind, save_all=True, append_images=others, **options)
    decoded = imaging.decode(data)
    difference = np.asarray(decoded, float) - np.asarray(scene(), float)
    assert np.abs(difference).mean() < 12


def test_an_animation_of_blank_frames_is_its_first_frame():
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue", "lime")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert imaging.decode(data).getpixel((5, 5)) == (255, 0, 0)


def test_a_damaged_frame_ends_the_search():
    blank = Image.new("RGB", (200, 120), "white")
    data = encoded(blank, "GIF", save_all=True, append_images=[scene(), scene(seed=1)])
    cut = imaging.decode(data[: len(data) // 4])
    assert cut.getextrema() == ((255, 255),) * 3


# JPEG 2000 and JPEG XL


@pytest.mark.parametrize("ending", [".jp2", ".j2k"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_jpeg_2000_is_read(ending, mode):
    image = scene().convert(mode)
    data = encoded(image, "JPEG2000", no_jp2=ending == ".j2k")
    expected = image.convert("RGB")
    assert largest_difference(imaging.decode(data), expected) <= 1
    assert str(refusal(data[: len(data) // 2])).startswith("damaged")
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=200 * 120 - 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("use_container", [True, False])
def test_jpeg_xl_is_read(mode, use_container):
    image = scene().convert(mode)
    data = encoded(image, "JXL", lossless=True, use_container=use_container)
    assert largest_difference(imaging.decode(data), image.convert("RGB")) == 0
    assert str(refusal(data[: len(data) // 2])).startswith("damaged")
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=200 * 120 - 1)


@pytest.mark.parametrize(
    "size", [(8, 8), (256, 256), (257, 131), (1200, 1000), (160, 90), (3, 70_000)]
)
def test_the_size_of_a_jpeg_xl_is_checked_before_it_is_decoded(size, monkeypatch):
    data = encoded(Image.new("L", size), "JXL", lossless=True, effort=1)
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("decoded"))
    width, height = size
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=width * height - 1)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_in_a_jpeg_xl_is_turned_once(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.jpg"
    scene().save(file, exif=exif, quality=95)
    with Image.open(file) as image:
        data = encoded(image, "JXL", lossless_jpeg=True)
    expected = imaging.decode(file.read_bytes())
    decoded = imaging.decode(data)
    assert decoded.size == expected.size
    assert largest_difference(decoded, expected) <= 2


def test_the_profile_of_a_jpeg_xl_is_applied():
    """Its decoder converts lossy images itself."""
    space = SPACES["display-p3"]
    stored = in_space(scene(), space)
    with Image.open(
        io.BytesIO(encoded(stored, "JPEG", quality=95, icc_profile=rgb_profile(space)))
    ) as image:
        expected = imaging.upright(image)
        image.load()
    assert expected.getextrema() != stored.getextrema()


# Camera files


def test_threads_unpack_jpeg_xl_at_the_same_time(monkeypatch):
    """The plugin unpacks an image while it is opened."""
    both = threading.Barrier(2, timeout=120)
    unpack = JpegXLImagePlugin.Decoder

    def decoder(**options):
        both.wait()
        return unpack(**options)

    monkeypatch.setattr(JpegXLImagePlugin, "Decoder", decoder)
    data = encoded(scene(), "JXL")
    with ThreadPoolExecutor(2) as pool:
        images = pool.map(imaging.decode, [data, data])
        assert [image.size for image in images] == [(200, 120)] * 2


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_camera_file_is_its_preview(orientation):
    preview = encoded(scene(), "JPEG", quality=95)
    decoded = imaging.decode(dng(preview, (200, 120), orientation=orientation))
    turns = {1: 0, 3: 180, 6: -90, 8: 90}[orientation]
    expected = imaging.decode(preview).rotate(turns, expand=True)
    assert decoded.tobytes() == expected.tobytes()


def test_a_preview_that_states_its_orientation_is_turned_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    preview = encoded(scene(), "JPEG", exif=exif, quality=95)
    decoded = imaging.decode(dng(preview, (200, 120), orientation=6))
    assert decoded.size == (120, 200)


def test_a_preview_has_the_limits_of_an_image():
    preview = encoded(scene(), "JPEG", quality=95)
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(dng(preview, (200, 120)), max_pixels=200 * 120 - 1)
    small, size = imaging.decode_small(dng(preview, (200, 120)), min_side=20)
    assert small.width < size[0] == 200


def test_a_camera_file_without_a_preview_is_not_read():
    assert isinstance(refusal(dng(None, (0, 0))), FormatError)


def test_the_server_sends_the_originals_of_all_kinds():
    preview = encoded(scene(), "JPEG")
    files = [
        encoded(scene(), "JPEG2000"),
        encoded(scene(), "JPEG2000", no_jp2=True),
        encoded(scene(), "JXL"),
        encoded(scene(), "JXL", use_container=True),
        dng(preview, (200, 120)),
        b"FUJIFILMCCD-RAW 0201",
        b"\0\0\0\x18ftypcrx isom",
        b"IIRO\x08\0\0\0",
    ]
    for data in files:
        assert str(media_type(data[:32])).startswith("image/")
    assert media_type(b"<svg/>") is None


# Kinds that are not read


@pytest.fixture
def no_extras(monkeypatch):
    """Hide the packages of the extras."""
    caches = (readable_extensions, formats.format_names)
    monkeypatch.setattr(formats, "is_installed", lambda package: False)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_extensions_grow_with_the_extras(no_extras):
    without = readable_extensions.__wrapped__()
    assert {".jpg", ".tif", ".heic", ".jp2"} <= without
    assert not {".jxl", ".dng"} & without
    assert "JPEG XL" not in formats.format_names()


def test_installed_extras_are_among_the_extensions():
    assert {".jxl", ".cr2", ".cr3", ".nef", ".arw", ".dng"} <= readable_extensions()
    assert {".orf", ".rw2", ".raf"} <= readable_extensions()


def test_a_folder_is_searched_for_all_of_them(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    preview = encoded(scene(), "JPEG", quality=95)
    (folder / "camera.dng").write_bytes(dng(preview, (200, 120)))
    (folder / "new.jxl").write_bytes(encoded(scene(seed=1), "JXL"))
    (folder / "old.jp2").write_bytes(encoded(scene(seed=2), "JPEG2000"))
    report = lookalike.index(folder, tmp_path / "c", models=["pixels"])
    assert report.added == 3


def test_an_extra_that_is_missing_is_named(no_extras):
    jpeg_xl = refusal(encoded(scene(), "JXL"))
    camera = refusal(dng(encoded(scene(), "JPEG"), (200, 120)))
    assert str(jpeg_xl) == (
        "of a kind that is not read: JPEG XL; pip install 'lookalike[jxl]' reads it"
    )
    assert "pip install 'lookalike[raw]'" in str(camera)
    assert isinstance(jpeg_xl, FormatError)
    assert isinstance(camera, FormatError)


@pytest.mark.parametrize(
    ("marker", "precision"),
    [(0xC3, 8), (0xC1, 12), (0xF7, 8), (0xC7, 8)],
    ids=["lossless", "12 bits", "JPEG-LS", "hierarchical"],
)
def test_unusual_jpegs_are_not_damaged(marker, precision):
    data = jpeg("full color")
    frame = data.index(b"\xff\xc0")
    head = data[:frame] + bytes((0xFF, marker))
    length = data[frame + 2 : frame + 4]
    unusual = head + length + bytes([precision]) + data[frame + 5 :]
    error = refusal(unusual)
    assert isinstance(error, FormatError)
    assert str(error).startswith("of a kind that is not read: ")


@pytest.mark.parametrize("bits", [2, 5])
def test_an_unusual_bmp_is_not_damaged(bits):
    fields = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, bits, 0, 0, 0, 0, 0, 0)
    data = b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + fields + bytes(200)
    error = refusal(data)
    assert isinstance(error, FormatError)
    assert "BMP" in str(error)


@pytest.mark.parametrize(
    "data", [b"text", b"%PDF-1.7", b"8BPS\0\1" + bytes(99), b"\0\0\1\0\1\0" + bytes(99)]
)
def test_other_formats_are_a_kind_that_is_not_read(data):
    assert isinstance(refusal(data), FormatError)


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "JXL"]
)
def test_damaged_files_are_no_such_kind(kind):
    data = encoded(scene(), kind)
    error = refusal(data[: len(data) // 2])
    assert not isinstance(error, FormatError)
    assert str(error) == "damaged: the file is cut short or broken inside"
