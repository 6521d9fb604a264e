"""Damaged image files of every format, as disks, networks and attackers damage them.

The images and the seed determine every file: a name in a failing test always means the same bytes.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pillow_heif
from PIL import Image

from trust import crafted

ENCODINGS = {
    "jpeg": (".jpg", "JPEG", {"quality": 90}),
    "progressive": (".jpg", "JPEG", {"quality": 80, "progressive": True}),
    "mpo": (".mpo", "MPO", {"save_all": True}),
    "png": (".png", "PNG", {}),
    "apng": (".apng", "PNG", {"save_all": True}),
    "webp": (".webp", "WEBP", {"quality": 80}),
    "lossless": (".webp", "WEBP", {"lossless": True}),
    "gif": (".gif", "GIF", {"save_all": True}),
    "bmp": (".bmp", "BMP", {}),
    "tiff": (".tif", "TIFF", {}),
    "lzw": (".tif", "TIFF", {"compression": "tiff_lzw"}),
    "deflate": (".tif", "TIFF", {"compression": "tiff_deflate"}),
    "avif": (".avif", "AVIF", {"quality": 60, "speed": 10}),
    "heic": (".heic", "HEIC", {"quality": 60}),
}

# Pairs of width and height: 0, all bits set, and sizes that fit in no memory.
_ABSURD = [(0, 0), (0, 40), (1, 0xFFFF), (0xFFFF, 1), (0xFFFF, 0xFFFF), (0x7FFFFFFF, 1),
           (0x7FFFFFFF, 0x7FFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF),
           (0x10000, 0x10000), (20_000, 20_000)]  # fmt: skip


class Mutation(NamedTuple):
    """A file and its expected result.

    ``good`` is True if the file must be decoded, False if it must be refused, None for either.
    """

    name: str
    data: bytes
    good: bool | None = None


def small_images(
    folder: Path, count: int = 3, size: tuple[int, int] = (72, 54)
) -> list[Image.Image]:
    """Return small copies of some images of a folder, evenly spread over it."""
    files = sorted(folder.rglob("*.jpg"))
    return [
        Image.open(file).convert("RGB").resize(size)
        for file in files[:: len(files) // count][:count]
    ]


def encode(image: Image.Image, encoding: str, **more: object) -> bytes:
    _, kind, options = ENCODINGS[encoding]
    file = io.BytesIO()
    if kind == "HEIC":
        pillow_heif.from_pillow(image).save(file, **options, **more)
        return file.getvalue()
    frames = {"append_images": [image.rotate(180)]} if "save_all" in options else {}
    image.save(file, kind, **options, **frames, **more)
    return file.getvalue()


def mutations(originals: Sequence[Image.Image], seed: int = 0) -> Iterator[Mutation]:
    """Yield every file under a unique name: a number, the kind of damage, an image extension."""
    chance = random.Random(seed)
    wholes = [(name, encode(image, name)) for image in originals for name in ENCODINGS]
    made = [
        *_damaged(wholes, chance),
        *_swapped(dict(wholes)),
        *_resized(dict(wholes)),
        *_metadata(originals[0]),
    ]
    made += [Mutation(*rest) for rest in crafted.files(dict(wholes))]
    for number, mutation in enumerate(made):
        stem, dot, extension = mutation.name.rpartition(".")
        yield mutation._replace(name=f"{number:04}-{stem}{dot}{extension}")


def _damaged(
    wholes: list[tuple[str, bytes]], chance: random.Random
) -> Iterator[Mutation]:
    for encoding, whole in wholes:
        end = ENCODINGS[encoding][0]
        yield Mutation(f"{encoding}-whole{end}", whole, True)
        yield Mutation(f"{encoding}-and-junk{end}", whole + chance.randbytes(999), True)
        for tenth in range(1, 10):
            yield Mutation(
                f"{encoding}-cut-{tenth}0%{end}", whole[: len(whole) * tenth // 10]
            )
        for length in (1, 4, 12, 24, len(whole) - 1):
            yield Mutation(
                f"{encoding}-cut-{length}{end}",
                whole[:length],
                False if length < 25 else None,
            )
        for nth in range(26):
            # Every second flip is among the first bytes, where the headers are.
            limit = len(whole) if nth % 2 else min(len(whole), 200)
            data = bytearray(whole)
            for _ in range(1 << nth % 4):
                data[chance.randrange(limit)] ^= 1 << chance.randrange(8)
            yield Mutation(f"{encoding}-flip{end}", bytes(data))
        for name, change in _CHANGES.items():
            yield Mutation(f"{encoding}-{name}{end}", change(whole, chance))


def _splice(
    length: int, filling: Callable[[random.Random], bytes]
) -> Callable[[bytes, random.Random], bytes]:
    """Return a function that replaces `length` bytes at a random offset by a filling."""

    def change(whole: bytes, chance: random.Random) -> bytes:
        offset = chance.randrange(len(whole))
        return whole[:offset] + filling(chance) + whole[offset + length :]

    return change


_CHANGES = {
    "zeros": _splice(64, lambda _: bytes(64)),
    "ones": _splice(64, lambda _: b"\xff" * 64),
    "noise": _splice(64, lambda chance: chance.randbytes(64)),
    "lost-byte": _splice(1, lambda _: b""),
    "lost-block": _splice(512, lambda _: b""),
    "newline": _splice(0, lambda _: b"\r\n"),
    "as-text": lambda whole, _: whole.replace(b"\n", b"\r\n"),
    "as-utf-8": lambda whole, _: whole.decode("latin-1").encode(),
    "shuffled": lambda whole, chance: b"".join(
        chance.sample(blocks := _blocks(whole), len(blocks))
    ),
    "twice": lambda whole, _: whole + whole,
    "backwards": lambda whole, _: whole[::-1],
    "zeroed": lambda whole, _: bytes(len(whole)),
}


def _blocks(whole: bytes) -> list[bytes]:
    return [whole[start : start + 256] for start in range(0, len(whole), 256)]


def _swapped(wholes: dict[str, bytes]) -> Iterator[Mutation]:
    """Yield each file with the head of another format, and with the extension of another."""
    for encoding, whole in wholes.items():
        for other, head in wholes.items():
            if other != encoding:
                end = ENCODINGS[other][0]
                yield Mutation(
                    f"{encoding}-with-head-of-{other}{end}", head[:12] + whole[12:]
                )
                yield Mutation(f"{encoding}-named-{other}{end}", whole, True)


def _resized(wholes: dict[str, bytes]) -> Iterator[Mutation]:
    """Yield files whose headers state absurd widths and heights."""
    for width, height in _ABSURD:
        for encoding, whole in wholes.items():
            for nth, data in enumerate(resized(encoding, whole, width, height)):
                yield Mutation(
                    f"{encoding}-{width}x{height}-{nth}{ENCODINGS[encoding][0]}", data
                )


def resized(encoding: str, whole: bytes, width: int, height: int) -> Iterator[bytes]:
    """Yield the file with another width and height, once per place that states them."""
    for layout, offset in _sides(encoding, whole):
        most = (1 << struct.calcsize(f"<{layout[1]}") * 8) - 1
        order = (
            (height, width)
            if encoding in {"jpeg", "progressive", "mpo"}
            else (width, height)
        )
        sides = struct.pack(layout, *(min(side, most) for side in order))
        data = whole[:offset] + sides + whole[offset + len(sides) :]
        if encoding in {"png", "apng"}:
            data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
        yield data


def _sides(encoding: str, whole: bytes) -> list[tuple[str, int]]:
    """Return the `struct` layout and the offset of each width and height of a file."""
    fixed = {
        "png": [(">II", 16)],
        "apng": [(">II", 16)],
        "gif": [("<HH", 6), ("<HH", whole.find(b"\0\0\0\0\x48\0") + 4)],
        "bmp": [("<II", 18)],
        "webp": [("<HH", 26)],
        "lossless": [("<HH", 21)],
    }
    marks = {
        "jpeg": b"\xff\xc0",
        "progressive": b"\xff\xc2",
        "mpo": b"\xff\xc0",
        "avif": b"ispe",
        "heic": b"ispe",
    }
    if encoding in marks:
        offset = whole.index(marks[encoding])
        return (
            [(">II", offset + 8)]
            if marks[encoding] == b"ispe"
            else [(">HH", offset + 5)]
        )
    return fixed.get(encoding, [])


def _metadata(image: Image.Image) -> Iterator[Mutation]:
    """Yield images with a broken EXIF block or color profile: their pixels must be decoded."""
    for encoding in ("jpeg", "png", "webp", "avif", "heic"):
        for name, broken in crafted.EXIF.items():
            # Some encoders check the block they get, so a whole one of the same length goes in
            # and the broken one replaces it afterwards.
            whole = b"II*\0\x08\0\0\0\0\0\0\0\0\0".ljust(len(broken), b"\x55")
            data = encode(image, encoding, exif=b"Exif\0\0" + whole).replace(
                whole, broken
            )
            # AVIF's library refuses a block that does not begin as EXIF does.
            good = True if encoding != "avif" or broken.startswith(b"II") else None
            yield Mutation(
                f"{encoding}-exif-{name}{ENCODINGS[encoding][0]}", data, good
            )
    for encoding in ("jpeg", "png", "webp", "tiff", "avif"):
        for name, profile in crafted.PROFILES.items():
            yield Mutation(
                f"{encoding}-icc-{name}{ENCODINGS[encoding][0]}",
                encode(image, encoding, icc_profile=profile),
                True,
            )
