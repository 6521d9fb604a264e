"""Pictures of results: a query and its neighbours, one block for each Space that answered."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from lookalike import imaging
from lookalike.drawing.style import COLOURS, INK, QUIET, RULE, rendered, save, short, target
from lookalike.errors import ImageError
from lookalike.sources import from_uri
from lookalike.store.table import Table
from lookalike.types import Match, Matches

__all__ = ["draw_matches"]

_SAME, _OTHER = COLOURS[:2]


class _Layout(NamedTuple):
    """Sizes in points, at `scale` pixels a point."""

    scale: int = 2
    columns: int = 5
    width: int = 168
    height: int = 132
    caption: int = 34
    gap: int = 14
    margin: int = 24
    heading: int = 30

    def rows(self, count: int) -> int:
        return max(1, -(-count // self.columns))

    def block(self, count: int) -> int:
        """Height of one Space's answer."""
        return (
            self.heading
            + self.rows(count) * (self.height + self.caption)
            + (self.rows(count) - 1) * self.gap
        )


def draw_matches(
    query: Image.Image,
    answers: Sequence[Matches],
    collection: Table,
    path: str | Path,
    *,
    label: str | None = None,
    name: str = "query",
) -> Path:
    """Write a picture of a query and its neighbours, nearest first, in every Space that answered.

    Parameters
    ----------
    query
        The query, upright RGB.
    answers
        One or more answers to it.
    collection
        Where they come from: its thumbnails stand in for originals that are gone.
    path
        A ``.png``, ``.jpg`` or ``.webp`` file.
    label
        The query's own label, if known: neighbours are then framed by whether they share it.
    name
        What is written below the query.

    Raises
    ------
    InputError
        If the file's ending is not one of these.
    """
    path = target(path)
    sheet = _Sheet(_Layout(columns=max(1, min(5, max(len(answer) for answer in answers)))), answers)
    sheet.query(query, name, label)
    for answer in answers:
        thumbnails = collection.take(answer.ids, ["thumbnail"])["thumbnail"].to_pylist()
        pictures = [
            _original(match, thumbnail) for match, thumbnail in zip(answer, thumbnails, strict=True)
        ]
        sheet.block(answer, pictures, label)
    return save(sheet.image(), path)


def _original(match: Match, thumbnail: bytes) -> Image.Image:
    """Return a match's picture, or its thumbnail where the file is gone."""
    try:
        return imaging.decode(from_uri(match.uri).read_bytes())
    except (OSError, ImageError):
        return Image.open(io.BytesIO(thumbnail)).convert("RGB")


class _Sheet:
    """The page that grows block by block: the query on the left, its neighbours on the right."""

    def __init__(self, layout: _Layout, answers: Sequence[Matches]) -> None:
        self._layout = layout
        content = sum(layout.block(len(answer)) for answer in answers) + layout.gap * (
            len(answers) - 1
        )
        self._width = (
            2 * layout.margin + (layout.columns + 1) * (layout.width + layout.gap) + layout.gap
        )
        self._height = 2 * layout.margin + content
        self._figure = Figure(
            figsize=(self._width / 72, self._height / 72), dpi=72 * layout.scale, facecolor="white"
        )
        self._top = layout.margin

    def query(self, picture: Image.Image, name: str, label: str | None) -> None:
        """Put the query at the top left, divided from the rest by a rule."""
        left, top = self._layout.margin, self._layout.margin
        self._text(left, top + 14, "Query", size=13, weight="bold")
        self._picture(picture, left, top + self._layout.heading, INK)
        self._caption(left, top + self._layout.heading, label or name, name if label else "")
        x = left + self._layout.width + self._layout.gap
        self._add_rectangle(x, top, 0.75, self._height - 2 * top, facecolor=RULE)

    def block(self, answer: Matches, pictures: Sequence[Image.Image], label: str | None) -> None:
        """Put one Space's answer below what is there."""
        layout = self._layout
        left = layout.margin + layout.width + 2 * layout.gap
        self._text(left, self._top + 14, answer.space, size=13, weight="bold")
        self._text(left + layout.columns * (layout.width + layout.gap) - layout.gap, self._top + 14,
                   f"{answer.metric.capitalize()} distance", size=9.5, color=QUIET, ha="right")  # fmt: skip
        for index, (match, picture) in enumerate(zip(answer, pictures, strict=True)):
            row, column = divmod(index, layout.columns)
            x = left + column * (layout.width + layout.gap)
            y = self._top + layout.heading + row * (layout.height + layout.caption + layout.gap)
            frame = RULE if label is None else _SAME if match.label == label else _OTHER
            self._picture(picture, x, y, frame)
            self._caption(x, y, match.label or Path(match.uri).name, _distance(match))
        self._top += layout.block(len(answer)) + layout.gap

    def image(self) -> Image.Image:
        """Return the finished page."""
        return rendered(self._figure)

    def _picture(self, picture: Image.Image, x: float, y: float, frame: str) -> None:
        """Fit a picture whole into its cell, at the page's own pixels so that it stays sharp, and frame it."""
        scale, layout = self._layout.scale, self._layout
        ratio = min(layout.width / picture.width, layout.height / picture.height)
        size = (
            max(1, round(picture.width * ratio * scale)),
            max(1, round(picture.height * ratio * scale)),
        )
        fitted = np.asarray(picture.resize(size, Image.Resampling.LANCZOS))
        left = round((x + (layout.width - size[0] / scale) / 2) * scale)
        bottom = round(
            (self._height - y - layout.height + (layout.height - size[1] / scale) / 2) * scale
        )
        self._figure.figimage(fitted, left, bottom, origin="upper")
        width = 0.75 if frame in {RULE, INK} else 2.5
        self._add_rectangle(left / scale, self._height - bottom / scale - size[1] / scale, size[0] / scale,
                            size[1] / scale, fill=False, edgecolor=frame, linewidth=width)  # fmt: skip

    def _caption(self, x: float, y: float, first: str, second: str) -> None:
        y += self._layout.height
        self._text(x + self._layout.width / 2, y + 15, short(first), size=10, ha="center")
        self._text(
            x + self._layout.width / 2, y + 28, short(second), size=9, color=QUIET, ha="center"
        )

    def _text(self, x: float, y: float, text: str, *, color: str = INK, **style: Any) -> None:
        # A dollar sign would begin a formula.
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            text,
            color=color,
            parse_math=False,
            va="baseline",
            **style,
        )

    def _add_rectangle(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        box = (
            (x / self._width, 1 - (y + height) / self._height),
            width / self._width,
            height / self._height,
        )
        self._figure.add_artist(
            Rectangle(*box, transform=self._figure.transFigure, **{"linewidth": 0, **style})
        )


def _distance(match: Match) -> str:
    return f"{match.distance:.4f}" if match.distance < 100 else f"{match.distance:,.0f}"
