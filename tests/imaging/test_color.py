"""Colors are those of the file's profile, or of the numbers that stand for one, in sRGB."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, PngImagePlugin

import color_spaces
import lookalike
from color_spaces import SPACES, encoded, in_space, rgb_profile
from lookalike import imaging
from lookalike.collection import Collection
from lookalike.models import embedder
from lookalike.models.registry import resolve
from lookalike.store.table import Table

MOST_DISTANCE = 0.10
# The mean level of a dark photograph; two of the nine have less.
DARK = 60


def chart() -> Image.Image:
    """Return 216 colors that all color spaces hold, in blocks of 4 x 4 pixels."""
    steps = np.linspace(40, 220, 6).astype(np.uint8)
    axes = np.meshgrid(steps, steps, steps)
    colors = np.stack(axes, axis=-1).reshape(12, 18, 3)
    return Image.fromarray(colors.repeat(4, axis=0).repeat(4, axis=1))


def largest_difference(one: Image.Image, other: Image.Image) -> int:
    assert one.mode == other.mode == "RGB"
    difference = np.asarray(one, np.int16) - np.asarray(other, np.int16)
    return int(np.abs(difference).max())


def png_with_chunks(image: Image.Image, **chunks: bytes) -> bytes:
    """Return a PNG with more chunks before its pixels."""
    data = encoded(image, "PNG")
    start = data[:33]
    for name, body in chunks.items():
        named = name.encode() + body
        checksum = struct.pack(">I", zlib.crc32(named))
        start += struct.pack(">I", len(body)) + named + checksum
    return start + data[33:]


def photograph_in_spaces(path: Path) -> dict[str, bytes]:
    """Return a photograph as PNGs in every color space, each with its profile."""
    image = imaging.decode(path.read_bytes())
    files = {}
    for name, space in SPACES.items():
        converted = in_space(image, space)
        files[name] = encoded(converted, "PNG", icc_profile=rgb_profile(space))
    return files


@pytest.fixture(scope="module")
def some_photographs(photographs) -> list[Path]:
    paths = sorted(photographs.rglob("image_0001.jpg"))
    assert len(paths) == 9
    return paths


# Profiles


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_applied_in_every_format(name, kind):
    space = SPACES[name]
    options = {"quality": 100} if kind in {"JPEG", "AVIF"} else {}
    options |= {"subsampling": 0} if kind == "JPEG" else {}
    options |= {"subsampling": "4:4:4"} if kind == "AVIF" else {}
    options |= {"lossless": True} if kind == "WEBP" else {}
    stored = in_space(chart(), space)
    data = encoded(stored, kind, icc_profile=rgb_profile(space), **options)
    decoded = imaging.decode(data)
    lossy = {"JPEG": 5, "AVIF": 9}.get(kind, 0)
    # Linear light and ProPhoto have few levels for dark colors.
    coarse = {"linear": 3, "prophoto": 5}.get(name, 2)
    assert largest_difference(decoded, chart()) <= lossy * coarse + coarse


def test_the_profile_of_a_heic_is_applied():
    stored = in_space(chart(), SPACES["display-p3"])
    heif = pillow_heif.from_pillow(stored)
    heif.info["icc_profile"] = rgb_profile(SPACES["display-p3"])
    file = color_spaces.io.BytesIO()
    heif.save(file, quality=-1, chroma=444, matrix_coefficients=0)
    assert largest_difference(imaging.decode(file.getvalue()), chart()) <= 3


@pytest.mark.slow
def test_one_photograph_has_nearly_one_vector_in_all_spaces(some_photographs):
    model = resolve("auto")
    network = embedder.load(model)
    for path in some_photographs:
        files = photograph_in_spaces(path)
        image = imaging.decode(files["srgb"])
        if np.asarray(image).mean() < DARK:
            # In linear light, 8 bits have too few levels for a dark photograph.
            del files["linear"]
        images = [imaging.decode(data) for data in files.values()]
        inputs = [imaging.prepare(image, model) for image in images]
        vectors = network.embed(np.stack(inputs)).astype(float)
        differences = vectors[:, np.newaxis] - vectors
        distances = np.linalg.norm(differences, axis=-1)
        assert distances.max() <= MOST_DISTANCE, path


@pytest.mark.slow
def test_one_photograph_in_all_spaces_ranks_first_in_pixels(some_photographs, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in some_photographs:
        for name, data in photograph_in_spaces(path).items():
            (folder / f"{path.parent.name}-{name}.png").write_bytes(data)
    lookalike.index(folder, tmp_path / "c", models=["pixels"])
    table = Table.open(tmp_path / "c")
    for file in folder.iterdir():
        photograph = file.name.split("-")[0]
        matches = Collection(table).search(file, k=len(SPACES))
        found = {Path(match.uri).name.split("-")[0] for match in matches}
        assert found == {photograph}


def test_profiles_of_srgb_change_nothing():
    image = chart()
    profiles = {
        "Little CMS": ImageCms.ImageCmsProfile(
            ImageCms.createProfile("sRGB")
        ).tobytes(),
        "published numbers": rgb_profile(SPACES["srgb"]),
    }
    for profile in profiles.values():
        data = encoded(image, "PNG", icc_profile=profile)
        assert imaging.decode(data).tobytes() == image.tobytes()


def test_a_gray_profile_is_applied_to_gray():
    levels = np.arange(256, dtype=np.uint8)
    gray = Image.fromarray(levels[np.newaxis])
    data = encoded(gray, "PNG", icc_profile=color_spaces.gray_profile(1.0))
    expected = color_spaces.linear_to_srgb(levels / 255) * 255
    decoded = np.asarray(imaging.decode(data))[0]
    assert np.abs(decoded - expected[:, np.newaxis]).max() <= 1.5


def test_gray_with_the_profile_of_rgb_is_converted():
    gray = chart().convert("L")
    profile = rgb_profile(SPACES["linear"])
    as_gray = imaging.decode(encoded(gray, "PNG", icc_profile=profile))
    rgb = gray.convert("RGB")
    as_rgb = imaging.decode(encoded(rgb, "PNG", icc_profile=profile))
    assert as_gray.tobytes() == as_rgb.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind):
    def lab_of_inks(inks):
        """Cyan ink is olive here, black is dark, and the others are paper."""
        cyan, _, _, black = inks
        lightness = 255 - 120 * cyan - 100 * black
        return lightness, 128 - 20 * cyan, 128 + 60 * cyan

    profile = color_spaces.cmyk_profile(lab_of_inks)
    for inks in ((0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 0, 255)):
        image = Image.new("CMYK", (16, 16), inks)
        options = {"quality": 100} if kind == "JPEG" else {}
        data = encoded(image, kind, icc_profile=profile, **options)
        full = tuple(ink // 255 for ink in inks)
        expected = color_spaces.rgb_of_lab(*lab_of_inks(full))
        decoded = imaging.decode(data).getpixel((8, 8))
        assert np.abs(np.subtract(decoded, expected)).max() <= 4


def test_alpha_and_palettes_have_their_profile_applied():
    space = SPACES["display-p3"]
    profile = rgb_profile(space)
    stored = in_space(chart(), space)
    with_alpha = stored.copy()
    with_alpha.putalpha(255)
    palette = stored.quantize(216)
    for image in (with_alpha, palette):
        decoded = imaging.decode(encoded(image, "PNG", icc_profile=profile))
        assert largest_difference(decoded, chart()) <= 6

    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    decoded = imaging.decode(encoded(half, "PNG", icc_profile=profile))
    assert decoded.getpixel((1, 1)) == (127, 127, 127)


def test_an_opened_image_is_converted_as_its_file_is():
    space = SPACES["adobe-rgb"]
    data = encoded(in_space(chart(), space), "PNG", icc_profile=rgb_profile(space))
    image = Image.open(color_spaces.io.BytesIO(data))
    assert imaging.upright(image).tobytes() == imaging.decode(data).tobytes()


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        bytes(5000),
        rgb_profile(SPACES["linear"])[:300],
        rgb_profile(SPACES["linear"])[:128] + b"\xff" * 400,
        rgb_profile(SPACES["linear"]).replace(b"mntr", b"link"),
        color_spaces.gray_profile(1.0),
        rgb_profile(SPACES["linear"]) + bytes(5_000_000),
    ],
    ids=["text", "zeros", "cut", "tags", "link", "gray", "huge"],
)
def test_a_broken_or_unfitting_profile_is_ignored(profile):
    data = encoded(chart(), "TIFF", icc_profile=profile)
    assert imaging.decode(data).tobytes() == chart().tobytes()


def test_a_profile_for_other_pixels_stays_unapplied():
    """Resized for a network, the image is RGB, as the profile's pixels are."""
    inks = chart().convert("CMYK")
    data = encoded(inks, "TIFF", icc_profile=rgb_profile(SPACES["prophoto"]))
    decoded = imaging.decode(data)
    plain = imaging.decode(encoded(inks, "TIFF"))
    assert largest_difference(decoded, plain) == 0
    model = resolve("pixels")
    prepared = imaging.prepare(decoded, model)
    assert (prepared == imaging.prepare(plain, model)).all()
    assert imaging.thumbnail(decoded) == imaging.thumbnail(plain)


def test_luma_and_chroma_are_converted_by_the_profile_of_their_rgb():
    profile = rgb_profile(SPACES["adobe-rgb"])
    image = in_space(chart(), SPACES["adobe-rgb"])
    coded = image.convert("YCbCr")
    decoded = imaging.decode(encoded(coded, "TIFF", icc_profile=profile))
    rgb = coded.convert("RGB")
    expected = imaging.decode(encoded(rgb, "TIFF", icc_profile=profile))
    assert decoded.tobytes() == expected.tobytes()


def test_many_threads_share_transforms():
    files = []
    for space in SPACES.values():
        stored = in_space(chart(), space)
        files.append(encoded(stored, "PNG", icc_profile=rgb_profile(space)))
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(imaging.decode, files * 20))
    assert max(largest_difference(image, chart()) for image in images) <= 5


@pytest.mark.slow
def test_many_profiles_take_little_memory():
    code = """if True:
        import resource
        from color_spaces import LINEAR, encoded, rgb_profile
        from PIL import Image
        from lookalike import imaging
        used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        image = Image.new("RGB", (8, 8), (200, 100, 50))
        for number in range(400):
            if number == 100:
                before = used()
            profile = rgb_profile(LINEAR) + number.to_bytes(500_000)
            imaging.decode(encoded(image, "TIFF", icc_profile=profile))
        print(used() - before)"""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tests,
    )
    kibibytes = int(done.stdout)
    # The 300 profiles have 150 MB.
    assert kibibytes < 30_000


# Large images, converted after they are shrunk


@cache
def enlarged(path: Path, name: str) -> Image.Image:
    """Return a photograph at five times its width and height, in a color space."""
    small = imaging.decode(path.read_bytes())
    size = (small.width * 5, small.height * 5)
    large = small.resize(size, Image.Resampling.LANCZOS)
    return in_space(large, SPACES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["display-p3", "adobe-rgb"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_large_images_are_the_same_within_levels(some_photographs, name, kind):
    model = resolve("auto")
    space = SPACES[name]
    for path in some_photographs[:2]:
        large = enlarged(path, name)
        options = {"quality": 95} if kind == "JPEG" else {"compress_level": 1}
        data = encoded(large, kind, icc_profile=rgb_profile(space), **options)

        first = imaging.decode(data)
        later, _ = imaging.decode_small(data, min_side=640)
        inputs = [imaging.prepare(image, model) for image in (first, later)]
        difference = np.abs(np.subtract(*inputs, dtype=np.int16))
        # A JPEG is decoded at half its size, which by itself changes more than its colors do.
        most = 0.01 if kind == "PNG" else 0.05
        assert np.mean(difference > 3) <= most
        thumbnails = [imaging.thumbnail(image) for image in (first, later)]
        pixels = [np.asarray(imaging.decode(data), np.int16) for data in thumbnails]
        assert np.abs(pixels[0] - pixels[1]).mean() <= 2.5


def test_a_large_linear_image_is_converted_first():
    """Dark and bright lines have another mean in linear light."""
    lines = np.zeros((1600, 1600, 3), np.uint8)
    lines[::2] = 255
    profile = rgb_profile(SPACES["linear"])
    data = encoded(Image.fromarray(lines), "PNG", icc_profile=profile)
    image, _ = imaging.decode_small(data, min_side=640)
    prepared = imaging.prepare(image, resolve("auto"))
    assert abs(float(prepared.mean()) - 127.5) <= 2


# Colors stated by numbers


def gamma_chunk(gamma: float) -> bytes:
    return struct.pack(">I", round(gamma * 100_000))


# White and the primaries of Display P3, times 100,000.
P3_CHROMATICITIES = struct.pack(
    ">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000
)


def test_the_gamma_of_a_png_is_applied():
    stored = in_space(chart(), SPACES["linear"])
    data = png_with_chunks(stored, gAMA=gamma_chunk(1.0))
    assert largest_difference(imaging.decode(data), chart()) <= 3


def test_the_chromaticities_of_a_png_are_applied():
    stored = in_space(chart(), SPACES["display-p3"])
    data = png_with_chunks(stored, gAMA=gamma_chunk(0.45455), cHRM=P3_CHROMATICITIES)
    assert largest_difference(imaging.decode(data), chart()) <= 2


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": gamma_chunk(0.45455)},
        {"sRGB": b"\0", "gAMA": gamma_chunk(1.0)},
        {"gAMA": gamma_chunk(0)},
        {"gAMA": gamma_chunk(40_000)},
        {"gAMA": gamma_chunk(1.0), "cHRM": bytes(32)},
        {"cICP": bytes((1, 13, 0, 1))},
        {"cICP": bytes((2, 2, 0, 1))},
        {"cICP": bytes((12, 13))},
    ],
)
def test_numbers_of_srgb_and_senseless_ones_change_nothing(chunks):
    data = png_with_chunks(chart(), **chunks)
    assert imaging.decode(data).tobytes() == chart().tobytes()


def test_a_profile_overrules_numbers():
    stored = in_space(chart(), SPACES["display-p3"])
    data = encoded(stored, "PNG", icc_profile=rgb_profile(SPACES["display-p3"]))
    named = b"gAMA" + gamma_chunk(1.0)
    checksum = struct.pack(">I", zlib.crc32(named))
    data = data[:33] + struct.pack(">I", 4) + named + checksum + data[33:]
    assert largest_difference(imaging.decode(data), chart()) <= 2


@pytest.mark.parametrize(
    ("points", "name"), [((12, 13), "display-p3"), ((1, 8), "linear")]
)
def test_code_points_of_a_png_are_applied(points, name):
    stored = in_space(chart(), SPACES[name])
    data = png_with_chunks(stored, cICP=bytes((*points, 0, 1)))
    assert largest_difference(imaging.decode(data), chart()) <= 3


def test_code_points_of_an_avif_are_applied():
    stored = in_space(chart(), SPACES["display-p3"])
    data = encoded(stored, "AVIF", quality=100, subsampling="4:4:4")
    place = data.index(b"colrnclx") + 8
    data = data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :]
    assert largest_difference(imaging.decode(data), chart()) <= 12


def test_code_points_of_a_heic_are_applied():
    stored = in_space(chart(), SPACES["display-p3"])
    file = color_spaces.io.BytesIO()
    pillow_heif.from_pillow(stored).save(
        file,
        quality=-1,
        chroma=444,
        matrix_coefficients=0,
        color_primaries=12,
        transfer_characteristics=13,
    )
    assert largest_difference(imaging.decode(file.getvalue()), chart()) <= 3


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_neither_dark_nor_flat(transfer):
    """Paper white has code 148 in PQ and 191 in HLG; highlights stay brighter than it."""
    levels = np.arange(256, dtype=np.uint8)
    ramp = Image.fromarray(np.stack([levels] * 3, axis=-1)[np.newaxis])
    data = png_with_chunks(ramp, cICP=bytes((9, transfer, 0, 1)))
    shown = np.asarray(imaging.decode(data))[0, :, 0].astype(int)
    paper = {16: 148, 18: 191}[transfer]
    assert (np.diff(shown) >= 0).all()
    assert 170 <= shown[paper] <= 230
    assert shown[min(paper + 30, 255)] > shown[paper]


def test_opening_a_png_of_text_as_before():
    """Text chunks have no influence on colors."""
    info = PngImagePlugin.PngInfo()
    info.add_text("cICP", "12")
    data = encoded(chart(), "PNG", pnginfo=info)
    assert imaging.decode(data).tobytes() == chart().tobytes()


@pytest.mark.parametrize("header", ["profile", "none"])
def test_the_profile_of_a_bmp_is_applied(header):
    space = SPACES["adobe-rgb"]
    profile = rgb_profile(space)
    stored = in_space(chart(), space)
    pixels = encoded(stored, "BMP")[54:]
    start = 14 + 124
    fields = struct.pack(
        "<IiiHHIIiiII",
        124,
        stored.width,
        stored.height,
        1,
        24,
        0,
        len(pixels),
        0,
        0,
        0,
        0,
    )
    masks = bytes(16)
    color_space = b"DEBM" if header == "profile" else b"BGRs"
    rest = bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    info = fields + masks + color_space + rest
    size = start + len(pixels) + len(profile)
    data = struct.pack("<2sIHHI", b"BM", size, 0, 0, start) + info + pixels + profile
    expected = chart() if header == "profile" else stored
    assert largest_difference(imaging.decode(data), expected) <= 2


def test_the_profile_of_a_jpeg_2000_is_applied():
    space = SPACES["display-p3"]
    profile = rgb_profile(space)
    data = encoded(in_space(chart(), space), "JPEG2000")
    place = data.index(b"colr") - 4
    length = struct.unpack(">I", data[place : place + 4])[0]
    box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    whole = data[:place] + box + data[place + length :]
    # The box of the header holds that of the color.
    header = whole.index(b"jp2h") - 4
    header_length = struct.unpack(">I", whole[header : header + 4])[0]
    longer = struct.pack(">I", header_length + len(box) - length)
    whole = whole[:header] + longer + whole[header + 4 :]
    assert largest_difference(imaging.decode(whole), chart()) <= 2
