"""Thumbnails of a map page: sheets of small sprites, and larger previews while there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.export.rendering import data_uri
from lookalike.imaging import open_thumbnail

__all__ = ["SPRITE_SIDE", "PackedThumbnails", "ThumbnailPacker"]

SPRITE_SIDE = 48
# 1,920 pixels a side: every browser can hold such a sheet.
_SHEET_COLUMNS = 40
# All images together: 12 MB once they are text in the page.
_BUDGET = 9_000_000
# (rows at most, preview side): with more rows, the sprite is enlarged instead.
_PREVIEW_SIDES = ((2500, 160), (3500, 128), (5000, 96))
_WEBP_QUALITY = 62

# Ids to their thumbnails, JPEG or None.
ReadThumbnails = Callable[[npt.NDArray[np.int64]], Sequence[bytes | None]]


@dataclass(slots=True)
class PackedThumbnails:
    """Images as data URIs, in the order of the packed ids.

    Attributes
    ----------
    sheets
        Sheets of `SPRITE_SIDE` squares, ``columns`` by ``columns`` of them.
    sprites
        For each row the number of its sprite over all sheets, -1 without one.
    ratios
        For each row its image's width by height.
    previews
        For each row a larger image, an empty text without one.
    columns
        Sprites along each side of a sheet.
    """

    sheets: list[str] = field(default_factory=list)
    sprites: list[int] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    columns: int = _SHEET_COLUMNS


class ThumbnailPacker:
    """Packs thumbnails into a page until a budget of bytes is spent: all sprites first."""

    def __init__(self, budget: int = _BUDGET, columns: int = _SHEET_COLUMNS) -> None:
        self.budget = budget
        self.columns = columns

    def pack(
        self, ids: npt.NDArray[np.int64], read: ReadThumbnails
    ) -> PackedThumbnails:
        """Return the images of some ids; where room is short, the first ids have them.

        Parameters
        ----------
        ids
            ``[n]``, the most important first.
        read
            Returns the thumbnails of some ids.
        """
        packed = PackedThumbnails(columns=self.columns)
        remaining = self.budget
        per_sheet = self.columns**2
        preview_side = _preview_side(len(ids))
        previews: list[bytes] = []
        # Pillow releases the interpreter's lock while it decodes and encodes.
        with ThreadPoolExecutor() as pool:
            for start in range(0, len(ids), per_sheet):
                part = slice(start, start + per_sheet)
                thumbnails = read(ids[part])
                sprites = list(pool.map(_make_sprite, thumbnails))

                # A sheet of sprites, if the budget allows it.
                images = [sprite.image for sprite in sprites]
                sheet = self._make_sheet(images)
                fits = len(sheet) <= remaining
                next_number = per_sheet * len(packed.sheets)
                if fits:
                    remaining -= len(sheet)
                    packed.sheets.append(data_uri(sheet))

                for thumbnail, sprite in zip(thumbnails, sprites, strict=True):
                    has_sprite = fits and thumbnail is not None
                    number = next_number if has_sprite else -1
                    packed.sprites.append(number)
                    packed.ratios.append(sprite.ratio)
                    next_number += 1

                if preview_side:
                    sides = [preview_side] * len(thumbnails)
                    previews += pool.map(_make_preview, thumbnails, sides)

        # Previews take what the sheets leave of the budget.
        packed.previews = _affordable(previews, remaining)
        missing = len(ids) - len(packed.previews)
        packed.previews += [""] * missing
        return packed

    def _make_sheet(self, sprites: Sequence[Image.Image]) -> bytes:
        lines = -(-len(sprites) // self.columns)
        width = self.columns * SPRITE_SIDE
        height = lines * SPRITE_SIDE
        sheet = Image.new("RGB", (width, height))
        for index, sprite in enumerate(sprites):
            line, column = divmod(index, self.columns)
            left = column * SPRITE_SIDE
            top = line * SPRITE_SIDE
            sheet.paste(sprite, (left, top))
        return _encode(sheet)


def _preview_side(rows: int) -> int:
    """Return the side of previews, or 0 where there are too many rows for them."""
    for most, side in _PREVIEW_SIDES:
        if rows <= most:
            return side
    return 0


def _affordable(previews: Sequence[bytes], budget: int) -> list[str]:
    """Return previews as data URIs until the budget is spent."""
    uris = []
    for preview in previews:
        budget -= len(preview)
        if budget < 0:
            break
        uri = data_uri(preview) if preview else ""
        uris.append(uri)
    return uris


class _Sprite(NamedTuple):
    """A thumbnail as a square, and its width by height before."""

    image: Image.Image
    ratio: float


def _make_sprite(thumbnail: bytes | None) -> _Sprite:
    """Stretch a thumbnail to a square, where it loses least."""
    square = (SPRITE_SIDE, SPRITE_SIDE)
    if thumbnail is None:
        blank = Image.new("RGB", square)
        return _Sprite(blank, ratio=1.0)
    image = open_thumbnail(thumbnail)
    ratio = image.width / image.height
    ratio = round(ratio, 3)
    stretched = image.resize(square, Image.Resampling.LANCZOS)
    return _Sprite(stretched, ratio)


def _make_preview(thumbnail: bytes | None, side: int) -> bytes:
    if thumbnail is None:
        return b""
    image = open_thumbnail(thumbnail)
    largest_size = (side, side)
    image.thumbnail(largest_size, Image.Resampling.LANCZOS)
    return _encode(image)


def _encode(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "WEBP", quality=_WEBP_QUALITY, method=3)
    return file.getvalue()
