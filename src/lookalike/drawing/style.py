"""What every picture that is drawn here shares: colours, type, and how it becomes a file."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lookalike.errors import InputError
from lookalike.io.files import atomic_write

__all__ = ["COLOURS", "INK", "QUIET", "RULE", "rendered", "save", "short", "target"]

INK, QUIET, RULE = "#1b1f24", "#5c6670", "#d9dee3"
# Told apart by every common kind of colour vision (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def target(path: str | Path) -> Path:
    """Return where a picture is to be written, if it can be: InputError if the file's ending is of no known kind."""
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"A picture cannot be written as {path.name!r}; its name must end in {', '.join(_SUFFIXES)}."
        )
    return path


def save(picture: Image.Image, path: Path) -> Path:
    """Write a picture in the format that the file's ending names, whole or not at all."""
    encoded = (
        BytesIO()
    )  # by itself Pillow does not notice a disk that takes only part of what it writes
    picture.save(encoded, _SUFFIXES[path.suffix.lower()], quality=92)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
    return path


def rendered(figure: Figure) -> Image.Image:
    """Return a figure as an RGB picture of its own size and resolution."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes: the picture is whole all the same.
        warnings.filterwarnings("ignore", message="Glyph")
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def short(text: str, most: int = 26) -> str:
    """Return a name as it is drawn: at most so many characters, each of them printable."""
    plain = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"
