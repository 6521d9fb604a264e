"""Handmade files: decompression bombs, loops, floods of parts, and other formats in disguise."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping

from PIL import Image

File = tuple[str, bytes, bool | None]

_BOMB = 30_000_000

EXIF = {
    "zeros": bytes(40),
    "nonsense": bytes(range(256)),
    "cut": b"II*\0\x08\0\0\0\x05\0\x12\x01\x03\0",
    "far": b"II*\0\xff\xff\xff\xff" + bytes(8),
    "loop": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
    "many": b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\x99\x99" * 3,
    "orientation-99": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
    "orientation-text": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
    "overlap": b"II*\0\x08\0\0\0\xd0\x07"
    + b"".join(struct.pack("<HHII", tag, 7, 50_000, 8) for tag in range(2000))
    + bytes(26_000),
    "zero-over-zero": b"II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\x1a\0\0\0\0\0\0\0"
    + bytes(8),
}

PROFILES = {
    "nonsense": bytes(range(256)),
    "short": b"acsp",
    "huge": bytes(3_000_000),
    "size-lies": b"\xff" * 128,
}


def files(wholes: Mapping[str, bytes]) -> Iterator[File]:
    """Yield the name, the bytes and the expected result of each file.

    The result is True if the file must be decoded, False if it must be refused, None for either.
    """
    yield from _impostors()
    yield from png_bombs(wholes["png"])
    yield from _gifs(wholes["gif"])
    yield from _tiffs()
    yield from _bitmaps()
    yield from _jpegs(wholes["jpeg"])
    yield from _boxes(wholes)


def _impostors() -> Iterator[File]:
    svg = (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>while(1);</script>'
        b'<rect width="9" height="9"/></svg>'
    )
    entities = b'<!DOCTYPE s [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><svg>&b;</svg>'
    others = {
        "svg": svg,
        "svg-entities": entities,
        "svgz": zlib.compress(svg),
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction"
        b"<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\nshowpage\n",
        "html": b"<!doctype html><title>404 Not Found</title>",
        "json": b'{"error": "rate limit"}',
        "zip": b"PK\x03\x04" + bytes(200),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
        "mp4": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(200),
        "mov": b"\0\0\0\x14ftypqt  \0\0\x02\0qt  " + bytes(200),
        "riff": b"RIFF\x24\0\0\0WAVEfmt " + bytes(200),
        "psd": b"8BPS\0\x01" + bytes(200),
        "ico": b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0" + bytes(200),
        "camera-raw": b"II*\0\x10\0\0\0CR\x02\0" + bytes(200),
        "apple-double": b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(200),
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
        + b"0" * 64
        + b"\nsize 12345\n",
        "nothing": b"",
        "one-byte": b"\xff",
    }
    for name, data in others.items():
        for end in (".jpg", ".png", ".heic"):
            yield f"{name}{end}", data, False


def chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG of 24 bits a pixel with fewer data than its size needs."""
    fields = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", fields), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def png_bombs(whole: bytes) -> Iterator[File]:
    """Yield PNGs whose chunks unpack to a thousand times their size, and PNGs of many chunks."""
    bomb = zlib.compress(bytes(_BOMB), 9)
    extras = {
        "zTXt": chunk(b"zTXt", b"Comment\0\0" + bomb),
        "iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + bomb),
        "iCCP": chunk(b"iCCP", b"profile\0\0" + bomb),
        "many-zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000), 9))
        * 100,
        "long-tEXt": chunk(b"tEXt", b"Comment\0" + b"x" * 3_000_000),
        "flood-of-tEXt": chunk(b"tEXt", b"a\0b") * 20_000,
        "bad-iCCP": chunk(b"iCCP", b"profile\0\x07" + b"x"),
        "bad-iTXt": chunk(b"iTXt", b"no end"),
        "bad-eXIf": chunk(b"eXIf", b"\xff" * 40),
        "unknown": chunk(b"ruBb", bytes(500)) * 50,
    }
    for name, extra in extras.items():
        yield f"png-{name}.png", whole[:33] + extra + whole[33:], True
    yield "png-zTXt-last.png", whole[:-12] + extras["zTXt"] + whole[-12:], True
    yield (
        "png-unknown-critical.png",
        whole[:33] + chunk(b"RuBb", b"x") + whole[33:],
        None,
    )
    yield "png-no-end.png", whole[:-12], None
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    huge = whole[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", bomb) + whole[-12:]
    yield "png-bomb.png", huge, False
    small_header = struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0)
    yield (
        "png-more-data-than-pixels.png",
        whole[:8] + chunk(b"IHDR", small_header) + chunk(b"IDAT", bomb) + whole[-12:],
        None,
    )
    for bits, color in ((16, 3), (3, 0), (8, 5), (0, 0), (8, 3)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 30, bits, color, 0, 0, 0))
        yield f"png-{bits}-bits-of-{color}.png", whole[:8] + header + whole[33:], None


def _gifs(whole: bytes) -> Iterator[File]:
    start = b"GIF89a\x02\0\x02\0\x80\0\0\0\0\0\xff\xff\xff"
    frame = b"!\xf9\x04\x08\x01\0\0\0,\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0"
    yield "gif-5000-frames.gif", start + frame * 5000 + b";", True
    yield "gif-no-frames.gif", start + b";", None
    yield "gif-5000-comments.gif", start + b"!\xfe\x03abc\0" * 5000 + frame + b";", True
    yield (
        "gif-endless-comment.gif",
        start + b"!\xfe" + (b"\xff" + b"x" * 255) * 5000,
        None,
    )
    yield (
        "gif-frame-outside.gif",
        start + frame[:9] + b"\xf0\xff\xf0\xff" + frame[13:] + b";",
        None,
    )
    yield "gif-no-palette.gif", whole[:10] + b"\0" + whole[11:], None


def ifd(entries: list[tuple[int, int, int, int]], then: int) -> bytes:
    """Return a TIFF directory of (tag, type, count, value) entries and the next offset."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", then)


def tiff(
    width: int,
    height: int,
    *,
    then: int = 0,
    more: tuple[tuple[int, int, int, int], ...] = (),
) -> bytes:
    """Return a gray, uncompressed TIFF whose directory is at byte 8.

    ``more`` adds entries to the directory or replaces its entries.
    """
    own = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
           277: (3, 1, 1), 273: (4, 1, 400), 278: (4, 1, height),
           279: (4, 1, min(width * height, 10_000))}  # fmt: skip
    own |= {tag: rest for tag, *rest in more}
    head = b"II*\0\x08\0\0\0" + ifd([(tag, *rest) for tag, rest in own.items()], then)
    return head.ljust(400, b"\0") + bytes(min(width * height, 10_000))


def _tiffs() -> Iterator[File]:
    yield "tiff-plain.tif", tiff(40, 30), True
    yield "tiff-next-is-itself.tif", tiff(40, 30, then=8), True
    yield (
        "tiff-sub-is-itself.tif",
        tiff(40, 30, more=((330, 4, 1, 8), (34665, 4, 1, 8), (34853, 4, 1, 8))),
        True,
    )
    chain = b"".join(
        ifd([(256, 4, 1, 1)], 1600 + 18 * (nth + 1)) for nth in range(20_000)
    )
    yield "tiff-chain.tif", tiff(40, 30, then=1600) + chain, True
    nested = b"".join(
        ifd([(330, 4, 1, 1600 + 18 * (nth + 1))], 0) for nth in range(20_000)
    )
    yield "tiff-nested.tif", tiff(40, 30, more=((330, 4, 1, 1600),)) + nested, True
    overlap = ifd([(tag, 7, 700_000, 8) for tag in range(40_000, 65_000)], 0)
    yield (
        "tiff-overlap.tif",
        b"II*\0" + struct.pack("<I", 8) + overlap + bytes(500_000),
        False,
    )
    unusual = {
        "count": (273, 4, 0x7FFFFFFF, 8),
        "strips": (273, 4, 300_000, 8),
        "offset": (273, 4, 1, 0xFFFFFFF0),
        "bits": (258, 3, 1, 65535),
        "samples": (277, 3, 1, 65535),
        "compression": (259, 3, 1, 34712),
        "photometric": (262, 3, 1, 99),
        "no-rows": (278, 4, 1, 0),
        "predictor": (317, 3, 1, 77),
        "planar": (284, 3, 1, 2),
        "orientation": (274, 3, 1, 4000),
        "float": (339, 3, 1, 3),
    }
    for name, entry in unusual.items():
        yield f"tiff-odd-{name}.tif", tiff(40, 30, more=(entry,)), None
    for side in (16, 20_000, 0x40000000):
        tiled = (
            (322, 4, 1, side),
            (323, 4, 1, side),
            (324, 4, 1, 400),
            (325, 4, 1, 1200),
            (259, 3, 1, 8),
        )
        yield f"tiff-tile-{side}.tif", tiff(40, 30, more=tiled), None
    yield "tiff-tile-bomb.tif", tile_bomb(), False
    yield (
        "tiff-big.tif",
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 0xFFFFFFFFFFFF) + bytes(400),
        False,
    )
    for width, height in (
        (0, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (65_535, 65_535),
        (0x7FFFFFFF, 1),
    ):
        yield f"tiff-{width}x{height}.tif", tiff(width, height), False


def tile_bomb() -> bytes:
    """Return a small TIFF of 40 x 30 pixels whose only tile unpacks to 64 million pixels."""
    packed = zlib.compress(bytes(64_000_000), 1)
    tiled = (
        (322, 4, 1, 8000),
        (323, 4, 1, 8000),
        (324, 4, 1, 400),
        (325, 4, 1, len(packed)),
        (259, 3, 1, 8),
    )
    return tiff(40, 30, more=tiled)[:400] + packed


def _bitmaps() -> Iterator[File]:
    for width, height, bits, packing in (
        (40, -30, 24, 0), (-40, 30, 24, 0), (40, 30, 24, 1), (40, 30, 8, 1), (40, 30, 4, 2),
        (40, 30, 8, 4), (40, 30, 8, 5), (40, 30, 32, 3), (40, 30, 0, 0), (40, 30, 255, 0),
        (9_000_000, 1, 8, 1), (3000, 3000, 8, 1),
    ):  # fmt: skip
        head = struct.pack(
            "<IiiHHIIiiII", 40, width, height, 1, bits, packing, 0, 0, 0, 256, 0
        )
        for name, body in (
            ("run", b"\x28\x01\0\0" * 30 + b"\0\1"),
            ("jump", b"\0\2\xff\xff" * 40),
            ("line", b"\1\1\0\0"),
        ):
            start = struct.pack(
                "<2sIHHI",
                b"BM",
                14 + len(head) + 1024 + len(body),
                0,
                0,
                14 + len(head) + 1024,
            )
            yield (
                f"bmp-{width}x{height}-{bits}-{packing}-{name}.bmp",
                start + head + bytes(1024) + body,
                None,
            )
    yield (
        "bmp-head-of-4-GB.bmp",
        b"BM" + bytes(12) + b"\xff\xff\xff\xff" + bytes(60),
        False,
    )


def _jpegs(whole: bytes) -> Iterator[File]:
    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    yield (
        "jpeg-flood-of-comments.jpg",
        whole[:2] + segment(0xFE, b"hello") * 20_000 + whole[2:],
        True,
    )
    yield (
        "jpeg-flood-of-exif.jpg",
        whole[:2] + segment(0xE1, b"Exif\0\0" + EXIF["overlap"]) * 12 + whole[2:],
        True,
    )
    yield (
        "jpeg-icc-parts-missing.jpg",
        whole[:2] + segment(0xE2, b"ICC_PROFILE\0\x01\x09x") + whole[2:],
        True,
    )
    yield (
        "jpeg-photoshop.jpg",
        whole[:2] + segment(0xED, b"Photoshop 3.0\0" + b"8BIM" * 99) + whole[2:],
        True,
    )
    yield "jpeg-adobe-short.jpg", whole[:2] + segment(0xEE, b"Adobe") + whole[2:], None
    yield (
        "jpeg-mpf.jpg",
        whole[:2] + segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff") + whole[2:],
        True,
    )
    yield "jpeg-no-end.jpg", whole[:-2], None
    yield "jpeg-segment-of-0.jpg", whole[:2] + b"\xff\xfe\0\0" + whole[2:], None
    yield "jpeg-fill.jpg", whole[:2] + b"\xff" * 100_000 + whole[2:], None
    yield "jpeg-passes.jpg", passes(3000, 5_000), False
    yield "jpeg-many-passes.jpg", passes(48, 5_000), True


def passes(side: int, count: int) -> bytes:
    """Return a gray JPEG that repeats its last, short scan of all pixels `count` times."""
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def _boxes(wholes: Mapping[str, bytes]) -> Iterator[File]:
    """Yield AVIF and HEIC files with other brands, and with boxes of a wrong length."""
    for encoding in ("avif", "heic"):
        whole = wholes[encoding]
        for brand in (
            b"avif",
            b"avis",
            b"heic",
            b"heix",
            b"hevc",
            b"mif1",
            b"msf1",
            b"jpeg",
            b"none",
        ):
            yield (
                f"{encoding}-brand-{brand.decode()}.{encoding}",
                whole[:8] + brand + whole[12:],
                None,
            )
        for box in (
            b"ftyp",
            b"meta",
            b"iloc",
            b"iinf",
            b"iprp",
            b"ipco",
            b"ipma",
            b"mdat",
            b"pitm",
            b"hdlr",
        ):
            offset = whole.index(box) - 4
            for length in (0, 1, 7, 0x7FFFFFFF, 0xFFFFFFFF):
                wrong_length = struct.pack(">I", length)
                yield (
                    f"{encoding}-{box.decode()}-of-{length}.{encoding}",
                    whole[:offset] + wrong_length + whole[offset + 4 :],
                    None,
                )
    for end in (".webp", ".avif"):
        yield (
            f"webp-vp8x{end}",
            b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\xff" * 6,
            False,
        )
    animation = (
        b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\x02\0\0\0\x27\0\0\x1d\0\0ANIM\x06\0\0\0"
        + bytes(6)
    )
    yield "webp-no-frames.webp", animation, False
