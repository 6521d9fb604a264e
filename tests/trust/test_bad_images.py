"""Thousands of damaged and hostile files: none stops a run, and each gets a reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile

from command import COMMAND, lookalike, lookalike_json
from forked import start_python
from lookalike import imaging
from lookalike.errors import ImageError
from lookalike.formats import format_names
from trust import crafted
from trust.mutations import Mutation, encode, mutations, small_images

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

CAP = 10_000_000
# The memory limit of a process that indexes images of up to 10 megapixels in two threads.
MOST_MEMORY = 600_000_000
# Words of decoders and of Python that no reason may contain.
JARGON = (
    "PIL",
    "Plugin",
    "0x",
    "object",
    "None",
    "Error",
    "codec",
    "decoder",
    "buffer",
    "struct",
    "MAX_",
    "<",
    "\n",
)


SIGNATURES = (
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF....WEBP",
    b"BM" + bytes(12),
    b"\0\0\0\x1cftypheic" + b"x" * 40,
    b"\0\0\0\x1cftypavif" + b"x" * 40,
)


@pytest.fixture(scope="session")
def originals(request, sample):
    """Return small versions of three images: photographs if available, else drawn ones."""
    try:
        return small_images(request.getfixturevalue("photographs"))
    except pytest.skip.Exception:
        return small_images(sample)


@pytest.fixture(scope="session")
def files(originals) -> list[Mutation]:
    return list(mutations(originals))


@pytest.fixture(scope="session")
def answers(files) -> dict[str, str | tuple[int, int]]:
    """Return the outcome of decoding each file in threads, as indexing does: a size or a reason."""

    def answer(file: Mutation) -> str | tuple[int, int]:
        try:
            image, size = imaging.decode_small(file.data, min_side=640, max_pixels=CAP)
            assert image.mode == "RGB"
            assert imaging.thumbnail(image)
        except ImageError as error:
            return str(error)
        return size

    with ThreadPoolExecutor(4) as pool:
        return dict(
            zip((file.name for file in files), pool.map(answer, files), strict=True)
        )


def test_the_bad_files_are_many_and_reproducible(files, originals):
    assert len({file.name for file in files}) == len(files) > 2000
    assert len({file.data for file in files}) > 2000
    some = list(mutations(originals[:1]))
    assert list(mutations(originals[:1])) == some
    others = mutations(originals[:1], seed=1)
    assert [file.data for file in others] != [file.data for file in some]


@pytest.mark.timeout(120)
def test_no_file_crashes_or_hangs_the_decoder(files, answers):
    assert len(answers) == len(files)
    outcomes = {file.name: answers[file.name] for file in files}
    assert {
        name
        for name, answer in outcomes.items()
        if isinstance(answer, tuple) and 0 in answer
    } == set()
    # Both outcomes are frequent, so neither is tested by chance.
    refused = sum(isinstance(answer, str) for answer in outcomes.values())
    assert refused > 800
    assert len(outcomes) - refused > 800


def test_intact_pixels_are_decoded_despite_other_damage(files, answers):
    lost = {
        file.name: answers[file.name]
        for file in files
        if file.good and isinstance(answers[file.name], str)
    }
    assert lost == {}


def test_files_that_are_not_images_are_refused(files, answers):
    assert [
        file.name
        for file in files
        if file.good is False and isinstance(answers[file.name], tuple)
    ] == []


def test_every_reason_is_a_short_plain_line(answers):
    reasons = {answer for answer in answers.values() if isinstance(answer, str)}
    assert [
        reason for reason in reasons if any(word in reason for word in JARGON)
    ] == []
    assert max(map(len, reasons)) < 110
    assert {
        reason for reason in reasons if not reason.isascii() or not reason.isprintable()
    } == set()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<svg/>", f"not an image of a known format ({format_names()})"),
        *(
            (start, "damaged: the file is cut short or broken inside")
            for start in SIGNATURES
        ),
        (
            crafted.tiff(65_535, 65_535),
            "4,295 megapixels, more than the limit of 10 (--max-megapixels raises it)",
        ),
        (
            crafted.tile_bomb(),
            "64 megapixels, more than the limit of 10 (--max-megapixels raises it)",
        ),
        (
            crafted.passes(3000, 5000),
            "a JPEG of 5,006 passes over 9 megapixels, which takes too long",
        ),
    ],
    ids=[
        "svg",
        *(f"start {nth}" for nth in range(len(SIGNATURES))),
        "huge tiff",
        "huge tile",
        "many passes",
    ],
)
def test_reasons_in_full(data, reason):
    with pytest.raises(ImageError) as raised:
        imaging.decode(data, max_pixels=CAP)
    assert str(raised.value) == reason


def test_a_turned_png_with_a_text_bomb_is_upright(originals):
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    bombs = {
        name: data
        for name, data, _ in crafted.png_bombs(encode(originals[0], "png", exif=exif))
    }
    width, height = originals[0].size
    assert imaging.decode(bombs["png-zTXt.png"]).size == (height, width)
    assert (
        imaging.decode(bombs["png-zTXt.png"]).tobytes()
        == originals[0].rotate(-90, expand=True).tobytes()
    )


# The command line


@pytest.fixture(scope="module")
def folder(files, answers, tmp_path_factory) -> Path:
    """Return a folder with every sixth file, and all of the last ones, which are handcrafted."""
    folder = tmp_path_factory.mktemp("bad") / "pictures"
    folder.mkdir()
    for file in {*files[::6], *files[-200:]}:
        (folder / file.name).write_bytes(file.data)
    return folder


def run(*arguments: object) -> tuple[str, str, int]:
    """Run a command on two cores; return its output, its errors and its peak memory in bytes."""
    script = """if True:
        import os, resource, subprocess, sys
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        subprocess.run(sys.argv[1:], check=True)
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)"""
    command = [sys.executable, "-c", script, *COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120
    )
    *errors, memory = done.stderr.splitlines()
    return done.stdout, "\n".join(errors), int(memory)


@pytest.fixture(scope="module")
def first(folder, tmp_path_factory):
    """Return the collection of that folder, and the output of its first run."""
    collection = tmp_path_factory.mktemp("collection") / "c"
    return collection, *run(
        "index",
        folder,
        "-c",
        collection,
        "--model",
        "pixels",
        "--max-megapixels",
        CAP / 1e6,
    )


def test_good_files_are_indexed_and_each_bad_file_has_its_reason(
    folder, answers, first
):
    collection, printed, errors, _ = first
    names = {path.name for path in folder.iterdir()}
    expected = {name: answers[name] for name in names if isinstance(answers[name], str)}
    info = lookalike_json("info", "-c", collection, "--failures")
    assert {
        Path(failed["uri"]).name: failed["error"] for failed in info["failed"]
    } == expected
    assert info["images"] == len(names) - len(expected) > 100
    assert f"{len(expected)} files could not be indexed" in printed
    assert errors == ""
    listed = lookalike("info", "-c", collection, "--failures").stdout
    assert all(name in listed and reason in listed for name, reason in expected.items())


def test_memory_stays_bounded(first):
    *_, memory = first
    assert memory < MOST_MEMORY


@pytest.mark.parametrize(
    ("bits", "color", "samples"),
    [(8, 2, 3), (8, 6, 4), (16, 0, 2)],
    ids=["RGB", "RGBA", "16 bits"],
)
def test_a_pixel_takes_at_most_24_bytes(bits, color, samples):
    """So --max-megapixels bounds the memory of an image."""
    side = 3000
    body = zlib.compress((b"\0" + bytes(side * samples)) * side, 1)
    header = struct.pack(">IIBBBBB", side, side, bits, color, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(crafted.chunk(*part) for part in parts)
    pixels = side * side
    warm_up = crafted.tiff(40, 30)
    assert 3 * pixels < decoding_memory(data, pixels, warm_up) < 24 * pixels


@pytest.mark.parametrize(
    ("dtype", "samples"),
    [("f4", 3), ("f4", 4), ("f8", 3), ("u2", 4)],
    ids=["float RGB", "float RGBA", "double RGB", "16-bit RGBA"],
)
def test_a_pixel_of_a_deep_tiff_takes_at_most_24_bytes(dtype, samples):
    """The limit of pixels is lower for wider pixels."""
    side = 2000
    data = deep_tiff(side, dtype, samples)
    pixel_bytes = np.dtype(dtype).itemsize * samples
    pixels = side * side * max(9, pixel_bytes) // 9 + 1
    warm_up = deep_tiff(30, dtype, samples)
    assert decoding_memory(data, pixels, warm_up) < 24 * pixels
    with pytest.raises(ImageError, match="more than the limit"):
        imaging.decode(data, max_pixels=pixels - 2)


def deep_tiff(side: int, dtype: str, samples: int) -> bytes:
    """Return an uncompressed TIFF."""
    file = io.BytesIO()
    values = np.zeros((side, side, samples), dtype)
    values[0, 0] = 1
    extra = ["unassalpha"] * (samples - 3)
    tifffile.imwrite(file, values, photometric="rgb", extrasamples=extra)
    return file.getvalue()


def decoding_memory(data: bytes, max_pixels: int, warm_up: bytes) -> int:
    """Return the bytes by which decoding an image raises the peak memory of a process."""
    script = """if True:
        import sys
        from pathlib import Path
        from lookalike import imaging
        used = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
        image, warm_up, max_pixels = sys.argv[1:]
        imaging.decode(Path(warm_up).read_bytes())
        data = Path(image).read_bytes()
        before = used()
        imaging.decode(data, max_pixels=int(max_pixels))
        print(used() - before)"""
    with TemporaryDirectory() as folder:
        image = Path(folder, "image")
        image.write_bytes(data)
        small = Path(folder, "small")
        small.write_bytes(warm_up)
        words = ["-c", script, str(image), str(small), str(max_pixels)]
        with start_python(words, env=os.environ) as process:
            output, errors = process.communicate()
    assert process.returncode == 0, errors
    return int(output)


def test_failures_are_retried_only_after_a_change_or_on_request(folder, first, files):
    collection = first[0]
    bad = sorted(
        Path(failed["uri"])
        for failed in lookalike_json("info", "-c", collection, "--failures")["failed"]
    )
    index = ("index", folder, "-c", collection, "--max-megapixels", CAP / 1e6)
    again = lookalike(*index).stdout
    assert f"{len(bad)} failed in an earlier run and are unchanged" in again
    assert "added" not in again.splitlines()[0]
    whole = next(file.data for file in files if file.good)
    bad[0].write_bytes(whole + b"a content of its own")
    counts = lookalike_json(*index)
    assert (counts["added"], counts["updated"], counts["failed"]) == (
        1,
        0,
        len(bad) - 1,
    )
    retried = lookalike(*index, "--retry-failures").stdout
    assert "failed in an earlier run" not in retried
    assert f"{len(bad) - 1} files could not be indexed" in retried
