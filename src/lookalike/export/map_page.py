"""The atlas as a page: one HTML file to zoom into a map, with the images in it and nothing to fetch."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.drawing.palette import OTHER, legend
from lookalike.errors import InputError
from lookalike.io.files import atomic_write
from lookalike.projection.map import Map
from lookalike.sources import browser_link, display_path
from lookalike.store.table import Table
from lookalike.tracing import span

__all__ = ["write_map_page"]

_PAGE = Path(__file__).with_name("page")
# All images together: 12 MB once they are text in the page.
_BUDGET = 9_000_000
# A sprite's side and how many columns and rows of them a sheet has: 1,920 pixels, which every browser can hold.
_SIDE, _COLUMNS = 48, 40
# With so many rows at most, each also has a picture of this side to look at; above, the sprite is enlarged.
_PREVIEWS = ((2500, 160), (3500, 128), (5000, 96))
_QUALITY = 62


def write_map_page(map_: Map, collection: Table, path: str | Path) -> Path:
    """Write a map as one HTML file that needs no server and no network.

    It holds a small image of each row (of a random choice of rows, where all would take more than 12 MB), the names,
    labels and paths, and what is needed to zoom, point, search and hide labels.

    Parameters
    ----------
    map_
        What `lookalike.projection.map.make_map` returned.
    collection
        Where it comes from: its thumbnails are shown.
    path
        A ``.html`` file.

    Raises
    ------
    InputError
        If the file's ending is not ``.html`` or ``.htm``.
    CollectionError
        If the collection no longer has one of the rows.
    """
    path = Path(path)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"A page cannot be written as {path.name!r}; its name must end in .html.")
    with span("pack images"):
        # Random, so that what one sees first, or what alone finds room, stands for the whole.
        order = np.random.default_rng(0).permutation(len(map_))
        images = _pack(map_.ids[order], collection)
    data = {**_facts(map_, collection), **_in_rows(images, order), "order": order.tolist()}
    with atomic_write(path) as temporary:
        temporary.write_text(_fill(map_, data), encoding="utf-8", newline="\n")
    return path


def _fill(map_: Map, data: dict[str, Any]) -> str:
    """Return the page: the template with its style, scripts and data in place."""
    style = _PAGE.joinpath("map.css").read_text(encoding="utf-8")
    script = "".join(
        _PAGE.joinpath(name).read_text(encoding="utf-8") for name in ("map.js", "map_panel.js")
    )
    policy = (
        f"default-src 'none'; img-src data: file:; script-src {_source(script)}; style-src {_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(map_.title),
        "summary": html.escape(map_.summary),
        "policy": policy,
        "style": style,
        "script": script,
        # Within a script element nothing but "<" could end it, and JSON may spell it out.
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    template = _PAGE.joinpath("map.html").read_text(encoding="utf-8")
    # In one pass: what looks like a place in the template but came with the data is left alone.
    return re.sub(r"<!--(\w+)-->", lambda match: parts[match[1]], template)


def _source(text: str) -> str:
    """Return what allows exactly this text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _facts(map_: Map, collection: Table) -> dict[str, Any]:
    """Return the places, names, paths and labels, row by row."""
    rows = collection.take(map_.ids, ["uri", "label"])
    labels = rows["label"].to_pylist()
    key = legend(labels)
    other = key.names.index(OTHER) if OTHER in key.names else -1
    words = np.round(map_.unit_square() * 65535).astype("<u2")
    named = zip(key.names, key.colors, key.counts, strict=True)
    return {
        "places": base64.b64encode(words.tobytes()).decode(),
        "labels": [
            {"name": _plain(name), "colour": colour, "count": count}
            for name, colour, count in named
        ],
        "label": key.indices.tolist(),
        "texts": {
            row: _plain(labels[row]) for row in np.flatnonzero(key.indices == other).tolist()
        },
        **_paths(rows["uri"].to_pylist()),
    }


def _paths(uris: Sequence[str]) -> dict[str, Any]:
    """Return the files' names; their folders once each, as text and as link; and the link's end where not the name."""
    folders: dict[tuple[str, str], int] = {}
    columns: dict[str, list[Any]] = {"names": [], "folder": [], "tails": []}
    for uri in uris:
        path, link = display_path(uri), browser_link(uri)
        name = re.split(r"[/\\]" if os.sep == "\\" else "/", path)[-1]
        start = link.rfind("/") + 1
        tail = link[start:]
        columns["names"].append(_plain(name))
        columns["folder"].append(
            folders.setdefault((_plain(path[: len(path) - len(name)]), link[:start]), len(folders))
        )
        columns["tails"].append("" if tail == name else tail)
    return {**columns, "folders": list(folders)}


def _plain(text: str) -> str:
    """Return a text without characters that are not seen, or that turn the direction of others."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


@dataclass(slots=True)
class _Packed:
    """Images as data URIs: sheets of sprites, one sprite a row until the budget is spent, and larger previews."""

    sheets: list[str] = field(default_factory=list)
    sprites: list[int] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)


def _in_rows(packed: _Packed, order: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Return the images by the map's rows; they were packed in another order."""
    back = np.argsort(order).tolist()
    return {
        "side": _SIDE,
        "columns": _COLUMNS,
        "sheets": packed.sheets,
        "sprite": [packed.sprites[index] for index in back],
        "ratios": [packed.ratios[index] for index in back],
        "previews": [packed.previews[index] for index in back],
    }


def _pack(ids: npt.NDArray[np.int64], collection: Table) -> _Packed:
    """Encode as many images as the budget allows, in the order of the ids."""
    packed, left = _Packed(), _BUDGET
    on_sheet = _COLUMNS**2
    side = next((side for most, side in _PREVIEWS if len(ids) <= most), 0)
    waiting: list[list[bytes]] = []
    # Pillow lets go of the interpreter while it decodes and encodes.
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(ids), on_sheet):
            thumbnails = collection.take(ids[start : start + on_sheet], ["thumbnail"])[
                "thumbnail"
            ].to_pylist()
            images = list(pool.map(_sprite, thumbnails))
            sheet = _sheet([image for image, _ in images])
            first, fits = on_sheet * len(packed.sheets), len(sheet) <= left
            if fits:
                left -= len(sheet)
                packed.sheets.append(_data_uri(sheet))
            seen = [fits and thumbnail is not None for thumbnail in thumbnails]
            packed.sprites += [first + index if there else -1 for index, there in enumerate(seen)]
            packed.ratios += [ratio for _, ratio in images]
            if side:
                waiting.append(
                    list(pool.map(lambda thumbnail: _preview(thumbnail, side), thumbnails))
                )
    packed.previews = list(_affordable((preview for part in waiting for preview in part), left))
    packed.previews += [""] * (len(ids) - len(packed.previews))
    return packed


def _affordable(previews: Iterator[bytes], left: int) -> Iterator[str]:
    for preview in previews:
        left -= len(preview)
        if left < 0:
            return
        yield _data_uri(preview) if preview else ""


def _sprite(thumbnail: bytes | None) -> tuple[Image.Image, float]:
    """Return a thumbnail pressed into a sprite's square, where it loses least, and its width by height."""
    if thumbnail is None:
        return Image.new("RGB", (_SIDE, _SIDE)), 1.0
    image = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    return image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), round(
        image.width / image.height, 3
    )


def _sheet(sprites: Sequence[Image.Image]) -> bytes:
    lines = -(-len(sprites) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _SIDE, lines * _SIDE))
    for index, sprite in enumerate(sprites):
        sheet.paste(sprite, (index % _COLUMNS * _SIDE, index // _COLUMNS * _SIDE))
    return _webp(sheet)


def _preview(thumbnail: bytes | None, side: int) -> bytes:
    if thumbnail is None:
        return b""
    image = Image.open(io.BytesIO(thumbnail)).convert("RGB")
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _webp(image)


def _webp(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=_QUALITY, method=3)
    return file.getvalue()


def _data_uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()
