"""A map as a page: one HTML file with the images in it, which fetches nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.drawing.palette import OTHER, legend
from lookalike.errors import InputError
from lookalike.export.modules import join_modules
from lookalike.export.rendering import render_template
from lookalike.export.sprites import SPRITE_SIDE, PackedThumbnails, ThumbnailPacker
from lookalike.io.files import atomic_write
from lookalike.projection.map import Map
from lookalike.sources import browser_link, display_path
from lookalike.store.names import take_names
from lookalike.store.table import Table
from lookalike.tracing import span

__all__ = ["write_map_page"]

_SCRIPT = Path(__file__).parent / "page" / "main.js"
# The map is the server page's own; this page adds a viewer.
_STYLES = (
    Path(__file__).parents[1] / "page" / "css" / "base.css",
    Path(__file__).parents[1] / "page" / "css" / "map.css",
    Path(__file__).parent / "page" / "map.css",
)
_UNIT = 65535  # positions are stored as 16-bit integers


def write_map_page(map_: Map, collection: Table, path: str | Path) -> Path:
    """Write a map as one HTML file that needs no server and no network.

    It holds a small image of each row, or of a random choice of rows where all would take more
    than 12 MB; the names, labels and paths; and the code to zoom, point, search and hide labels.

    Parameters
    ----------
    map_
        The map, as `lookalike.projection.map.make_map` returns it.
    collection
        The collection of the map, whose thumbnails are shown.
    path
        A ``.html`` file.

    Raises
    ------
    InputError
        If the file's extension is not ``.html`` or ``.htm``.
    CollectionError
        If the collection no longer has one of the rows.
    """
    path = Path(path)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise InputError(
            f"A page cannot be written as {path.name!r}; its name must end in .html."
        )
    with span("pack images"):
        # A random order: the rows that alone have room stand for all.
        order = np.random.default_rng(0).permutation(len(map_))
        packer = ThumbnailPacker()
        packed = packer.pack(
            map_.ids[order], lambda ids: _read_thumbnails(collection, ids)
        )
    data = {
        "title": map_.title,
        "summary": map_.summary,
        "order": order.tolist(),
        **_describe_rows(map_, collection),
        **_in_row_order(packed, order),
    }
    page = _fill(map_.title, data)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def _read_thumbnails(
    collection: Table, ids: npt.NDArray[np.int64]
) -> list[bytes | None]:
    columns = collection.take(ids, ["thumbnail"])
    column = columns["thumbnail"]
    thumbnails: list[bytes | None] = column.to_pylist()
    return thumbnails


def _fill(title: str, data: dict[str, Any]) -> str:
    """Return the page; its policy allows this script and this style only."""
    style = "".join(path.read_text(encoding="utf-8") for path in _STYLES)
    script = join_modules(_SCRIPT)
    policy = (
        "default-src 'none'; img-src data: file:; "
        f"script-src {_policy_source(script)}; style-src {_policy_source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    # Only "<" could end a script element early, and JSON may write it as an escape.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    # The template takes these four as HTML: they hold the page's own code and escaped data.
    return render_template(
        "map.html", title=title, policy=policy, style=style, script=script, data=text
    )


def _policy_source(text: str) -> str:
    """Return the source of a content security policy that allows exactly this text."""
    content = text.encode()
    digest = hashlib.sha256(content)
    encoded = base64.b64encode(digest.digest())
    source = encoded.decode()
    return f"'sha256-{source}'"


def _describe_rows(map_: Map, collection: Table) -> dict[str, Any]:
    """Return the positions, names, paths and labels, row by row."""
    rows = collection.take(map_.ids, ["uri"])
    uris = rows["uri"].to_pylist()
    labels = take_names(collection, map_.ids)

    # The legend: each label's name, color and number of rows.
    key = legend(labels)
    entries = []
    for name, color, count in zip(key.names, key.colors, key.counts, strict=True):
        shown_name = _printable(name)
        entry = {"name": shown_name, "color": color, "count": count}
        entries.append(entry)

    # Rare labels share a color and an entry of the legend, but keep their names.
    rare_names = {}
    if OTHER in key.names:
        other = key.names.index(OTHER)
        rare_rows = np.flatnonzero(key.indices == other)
        for row in rare_rows.tolist():
            rare_names[row] = _printable(labels[row] or "")

    positions = np.round(map_.unit_square() * _UNIT)
    numbers = positions.astype("<u2")
    encoded = base64.b64encode(numbers.tobytes())
    return {
        "positions": encoded.decode(),
        "labels": entries,
        "label_index": key.indices.tolist(),
        "other_labels": rare_names,
        **_describe_files(uris),
    }


def _in_row_order(
    packed: PackedThumbnails, order: npt.NDArray[np.intp]
) -> dict[str, Any]:
    """Return the images by the map's rows, which were packed in another order."""
    positions = np.argsort(order)
    sprites, ratios, previews = [], [], []
    for position in positions.tolist():
        sprites.append(packed.sprites[position])
        ratios.append(packed.ratios[position])
        previews.append(packed.previews[position])
    return {
        "sprite_side": SPRITE_SIDE,
        "sheet_columns": packed.columns,
        "sheets": packed.sheets,
        "sprites": sprites,
        "ratios": ratios,
        "previews": previews,
    }


# ---- files --------------------------------------------------------------------------------------


def _describe_files(uris: Sequence[str]) -> dict[str, Any]:
    """Return the files' names, and each folder once, as text and as link.

    A link is its folder's link and the file's name, or an end of its own where the name must be
    written differently there.
    """
    folder_numbers: dict[tuple[str, str], int] = {}
    names = []
    folder_index = []
    link_ends = []
    for uri in uris:
        path = display_path(uri)
        folder, name = _split_path(path)
        shown_name = _printable(name)
        names.append(shown_name)

        # The link, split after its last slash.
        link_folder, slash, link_name = browser_link(uri).rpartition("/")
        link_end = "" if link_name == name else link_name
        link_ends.append(link_end)

        # A new folder has the next number.
        shown_folder = _printable(folder)
        link_start = link_folder + slash
        next_number = len(folder_numbers)
        number = folder_numbers.setdefault((shown_folder, link_start), next_number)
        folder_index.append(number)
    return {
        "names": names,
        "folder_index": folder_index,
        "link_ends": link_ends,
        "folders": list(folder_numbers),
    }


def _split_path(path: str) -> tuple[str, str]:
    """Return a path's folder, with the separator at its end, and the file's name."""
    separators = r"[/\\]" if os.sep == "\\" else "/"
    parts = re.split(separators, path)
    name = parts[-1]
    folder = path.removesuffix(name)
    return folder, name


def _printable(text: str) -> str:
    """Return a text without invisible characters, which could turn the direction of others."""
    replacement = "\N{REPLACEMENT CHARACTER}"
    printable = ""
    for letter in text:
        printable += letter if letter.isprintable() else replacement
    return printable
