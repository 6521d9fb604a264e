"""The pen that draws the subjects of the drawn sample, with its colors and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

__all__ = [
    "INK",
    "PALE",
    "Color",
    "Pen",
    "Point",
    "Points",
    "SubjectColors",
    "mirrored_points",
    "mix",
    "points",
    "smooth",
]

Color = tuple[int, int, int]
Point = tuple[float, float]
Points = NDArray[np.float64]  # [n, 2]

INK: Color = (38, 43, 61)
PALE: Color = (252, 245, 230)
_OPAQUE_INK = (*INK, 255)

# Half the width of the canvas, in the subject's units.
_REACH = 1.25
_CURVE_STEPS = 10
_CIRCLE_CORNERS = 48


@dataclass(frozen=True)
class SubjectColors:
    """The colors of one subject: two for the body, one for details, one for thin lines."""

    main: Color
    second: Color
    accent: Color
    line: Color


def mix(first: Color, second: Color, share: float) -> Color:
    """Return `first` with `share` (0 to 1) of `second` mixed in."""
    mixed = []
    for a, b in zip(first, second, strict=True):
        distance = b - a
        channel = a + distance * share
        mixed.append(round(channel))
    red, green, blue = mixed
    return red, green, blue


def points(text: str, *, size: Point = (1.0, 1.0), at: Point = (0.0, 0.0)) -> Points:
    """Return the points written as ``x,y x,y ...``, scaled by `size` and then moved by `at`."""
    pairs = []
    for pair in text.split():
        numbers = pair.split(",")
        pairs.append(numbers)
    parsed = np.array(pairs, np.float64)
    parsed *= size
    parsed += at
    return parsed


def mirrored_points(
    text: str, *, size: Point = (1.0, 1.0), at: Point = (0.0, 0.0)
) -> Points:
    """Return an outline that is symmetric in x.

    The text gives its right half, from top to bottom. The left half follows, from bottom to top.
    """
    right = points(text, size=size)
    is_off_axis = right[:, 0] != 0
    upward = right[is_off_axis][::-1]
    left = upward * (-1.0, 1.0)
    outline = np.vstack([right, left])
    outline += at
    return outline


def smooth(corners: ArrayLike, *, closed: bool = True) -> Points:
    """Return the centripetal Catmull-Rom curve through points. A point given twice is a corner.

    The uniform curve overshoots and curls where points are close together; the centripetal one does
    not (Yuksel, Schaefer and Keyser, Parameterization and applications of Catmull-Rom curves,
    2011).
    """
    knots = np.asarray(corners, dtype=np.float64)
    if closed:
        padded = np.vstack([knots[-1:], knots, knots[:2]])
    else:
        padded = np.vstack([knots[:1], knots, knots[-1:]])

    # Centripetal: the parameter grows with the square root of the distance between knots.
    steps = np.diff(padded, axis=0)
    lengths = np.hypot(steps[:, :1], steps[:, 1:])
    intervals = np.sqrt(lengths) + 1e-9

    # The tangent at each knot, for uneven intervals.
    speeds = steps / intervals
    double_steps = padded[2:] - padded[:-2]
    double_intervals = intervals[:-1] + intervals[1:]
    across = double_steps / double_intervals
    tangents = speeds[:-1] + speeds[1:] - across

    # A cubic Hermite segment from each knot to the next.
    start = padded[1:-2]
    step = steps[1:-1]
    interval = intervals[1:-1]
    leave = tangents[:-1] * interval
    arrive = tangents[1:] * interval
    quadratic = 3 * step - 2 * leave - arrive
    cubic = leave + arrive - 2 * step
    t = np.linspace(0.0, 1.0, _CURVE_STEPS, endpoint=False)[:, None, None]
    segments = start + t * (leave + t * (quadratic + t * cubic))

    curve: Points = segments.transpose(1, 0, 2).reshape(-1, 2)
    if not closed:
        curve = np.vstack([curve, knots[-1:]])
    return curve


class Pen:
    """Draws on a square RGBA layer.

    All coordinates are in the subject's units: x to the right, y down, everything within about one
    unit of the origin.

    Parameters
    ----------
    side
        The side of the layer in pixels.
    tilt
        Degrees, clockwise.
    mirror
        Whether left and right are exchanged.
    """

    def __init__(self, side: int, *, tilt: float = 0.0, mirror: bool = False) -> None:
        self.layer = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.layer)
        self._center = side / 2
        self._unit = self._center / _REACH

        angle = math.radians(tilt)
        cos = math.cos(angle)
        sin = math.sin(angle)
        rotation = np.array([[cos, sin], [-sin, cos]])
        if mirror:
            rotation[0] *= -1
        self._transform = rotation * self._unit

    def _pixels(self, corners: ArrayLike) -> list[tuple[int, int]]:
        array = np.asarray(corners, dtype=np.float64)
        exact = array @ self._transform
        exact += self._center
        # Whole pixels of the large canvas: the last bit of a cosine, which differs between
        # machines, then changes no image.
        rounded = np.rint(exact)
        pixels = []
        for x, y in rounded.tolist():
            pixel = (int(x), int(y))
            pixels.append(pixel)
        return pixels

    def polygon(self, corners: ArrayLike, color: Color) -> None:
        """Fill a polygon."""
        pixels = self._pixels(corners)
        self._draw.polygon(pixels, fill=color)

    def blob(self, corners: ArrayLike, color: Color) -> None:
        """Fill the smooth closed curve through points."""
        curve = smooth(corners)
        self.polygon(curve, color)

    def disc(self, center: Point, radius: float | Point, color: Color) -> None:
        """Fill a circle or, with two radii, an ellipse."""
        angles = np.linspace(0.0, 2 * math.pi, _CIRCLE_CORNERS, endpoint=False)
        x = np.cos(angles)
        y = np.sin(angles)
        outline = np.stack([x, y], axis=1)
        outline *= radius
        outline += center
        self.polygon(outline, color)

    def line(self, corners: ArrayLike, width: float, color: Color) -> None:
        """Draw a smooth open stroke with round ends."""
        curve = smooth(corners, closed=False)
        pixels = self._pixels(curve)
        pixel_width = max(1, round(width * self._unit))
        self._draw.line(pixels, fill=color, width=pixel_width, joint="curve")

        radius = width / 2
        ends = curve[[0, -1]]
        for x, y in ends.tolist():
            end = (x, y)
            self.disc(end, radius, color)

    def ring(self, center: Point, radius: float, width: float, color: Color) -> None:
        """Draw the rim of a circle, `width` wide, inside `radius`."""
        unit = self._unit
        reach = round(radius * unit)
        pixel_width = round(width * unit)
        [(x, y)] = self._pixels([center])
        upper_left = (x - reach, y - reach)
        lower_right = (x + reach, y + reach)
        box = [upper_left, lower_right]
        self._draw.ellipse(box, outline=color, width=pixel_width)

    @contextmanager
    def within(self, outline: ArrayLike) -> Iterator[None]:
        """Clip drawing inside the block to a polygon."""
        before = self.layer.copy()
        yield
        pixels = self._pixels(outline)
        outside = Image.new("L", before.size, 255)
        drawing = ImageDraw.Draw(outside)
        drawing.polygon(pixels, fill=0)
        self.layer.paste(before, mask=outside)

    def shade(self, corners: ArrayLike, *, share: float = 0.16) -> None:
        """Darken a polygon. It also paints the empty canvas, so use it only `within` an outline."""
        pixels = self._pixels(corners)
        opacity = round(255 * share)
        cover = Image.new("L", self.layer.size)
        drawing = ImageDraw.Draw(cover)
        drawing.polygon(pixels, fill=opacity)
        self.layer.paste(_OPAQUE_INK, mask=cover)
