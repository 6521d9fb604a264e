"""The nine subjects of the drawn sample, and the pen that draws them.

A subject is a function of a `Pen`, its colours (`Tint`) and a random generator. It draws in its own units: x to the
right, y down, everything within about one unit of the origin. The pen knows the tilt, the mirror and the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

__all__ = ["INK", "PALE", "Colour", "Pen", "Tint", "mix"]
__all__ += [
    "airplane",
    "bicycle",
    "butterfly",
    "car",
    "cat",
    "guitar",
    "mushroom",
    "sailboat",
    "teapot",
]

Colour = tuple[int, int, int]
Pair = tuple[float, float]
Path = NDArray[np.float64]

INK: Colour = (38, 43, 61)
PALE: Colour = (252, 245, 230)
COATS = (
    (222, 142, 74),
    (98, 104, 120),
    (58, 56, 70),
    (240, 226, 204),
    (146, 108, 84),
    (190, 170, 150),
)
SEAS = ((72, 140, 170), (52, 84, 128), (96, 168, 160), (150, 196, 206), (112, 118, 168))
REACH = 1.25  # half the width of the canvas, in the subject's units
SIDES = (1.0, -1.0)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with `share` (0 to 1) of `second` mixed in."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Tint:
    """The colours of one subject: two for the body, one for details, one for thin lines on the backdrop."""

    main: Colour
    second: Colour
    accent: Colour
    line: Colour


def path(text: str, *, size: Pair = (1.0, 1.0), at: Pair = (0.0, 0.0)) -> Path:
    """Return the points written as ``x,y x,y ...``, scaled by `size` and moved by `at`; shape ``[n, 2]``."""
    points = np.array([pair.split(",") for pair in text.split()], dtype=np.float64)
    return points * np.array(size, np.float64) + np.array(at, np.float64)


def mirrored(text: str, *, size: Pair = (1.0, 1.0), at: Pair = (0.0, 0.0)) -> Path:
    """Return the outline whose right half, from top to bottom, is written in `text`; otherwise as `path`."""
    half = path(text, size=size)
    return np.vstack([half, half[half[:, 0] != 0][::-1] * np.array((-1.0, 1.0))]) + np.array(
        at, np.float64
    )


def smooth(points: ArrayLike, *, closed: bool = True) -> Path:
    """Return the centripetal Catmull-Rom curve through `points`; a point given twice is a corner.

    Centripetal, because the uniform curve overshoots and curls where points lie close together (Yuksel,
    Schaefer and Keyser, Parameterization and applications of Catmull-Rom curves, 2011).
    """
    knots = np.asarray(points, dtype=np.float64)
    ring = (
        np.vstack([knots[-1:], knots, knots[:2]])
        if closed
        else np.vstack([knots[:1], knots, knots[-1:]])
    )
    move = np.diff(ring, axis=0)
    span = np.sqrt(np.hypot(move[:, :1], move[:, 1:])) + 1e-9
    speed = move / span
    turn = speed[:-1] + speed[1:] - (ring[2:] - ring[:-2]) / (span[:-1] + span[1:])
    start, hop, leave, arrive = (
        ring[1:-2],
        move[1:-1],
        turn[:-1] * span[1:-1],
        turn[1:] * span[1:-1],
    )
    t = np.linspace(0.0, 1.0, 10, endpoint=False)[:, None, None]
    curve = start + t * (
        leave + t * (3 * hop - 2 * leave - arrive + t * (leave + arrive - 2 * hop))
    )
    outline: Path = curve.transpose(1, 0, 2).reshape(-1, 2)
    return outline if closed else np.vstack([outline, knots[-1:]])


class Pen:
    """Draws on a square RGBA layer of `side` pixels; tilt in degrees, clockwise."""

    def __init__(self, side: int, *, tilt: float = 0.0, mirror: bool = False) -> None:
        self.layer = Image.new("RGBA", (side, side))
        self._ink = ImageDraw.Draw(self.layer)
        self._unit, self._middle = side / 2 / REACH, side / 2
        cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
        self._turn = (
            np.diag([-1.0 if mirror else 1.0, 1.0])
            @ np.array([[cos, sin], [-sin, cos]])
            * self._unit
        )

    def _pixels(self, points: ArrayLike) -> list[tuple[int, int]]:
        # Whole pixels of the large canvas: the last bit of a cosine then changes no image on any machine.
        places = np.rint(np.asarray(points, dtype=np.float64) @ self._turn + self._middle).astype(
            int
        )
        return [(x, y) for x, y in places.tolist()]

    def plate(self, points: ArrayLike, colour: Colour) -> None:
        """Fill a polygon."""
        self._ink.polygon(self._pixels(points), fill=colour)

    def blob(self, points: ArrayLike, colour: Colour) -> None:
        """Fill the smooth closed curve through `points`."""
        self.plate(smooth(points), colour)

    def disc(self, centre: Pair, radius: float | Pair, colour: Colour) -> None:
        """Fill a circle or, with two radii, an ellipse."""
        angle = np.linspace(0.0, 2 * math.pi, 48, endpoint=False)[:, None]
        self.plate(
            np.hstack([np.cos(angle), np.sin(angle)]) * np.asarray(radius) + np.asarray(centre),
            colour,
        )

    def line(self, points: ArrayLike, width: float, colour: Colour) -> None:
        """Draw a smooth open stroke with round ends."""
        track = smooth(points, closed=False)
        self._ink.line(
            self._pixels(track), fill=colour, width=max(1, round(width * self._unit)), joint="curve"
        )
        for x, y in track[[0, -1]].tolist():
            self.disc((x, y), width / 2, colour)

    def ring(self, centre: Pair, radius: float, width: float, colour: Colour) -> None:
        """Draw a circle's rim, `width` wide, inside `radius`."""
        ((x, y),) = self._pixels([centre])
        reach = round(radius * self._unit)
        self._ink.ellipse(
            (x - reach, y - reach, x + reach, y + reach),
            outline=colour,
            width=round(width * self._unit),
        )

    @contextmanager
    def within(self, outline: ArrayLike) -> Iterator[None]:
        """Keep what is drawn inside the block to the polygon `outline`."""
        before = self.layer.copy()
        yield
        outside = Image.new("L", self.layer.size, 255)
        ImageDraw.Draw(outside).polygon(self._pixels(outline), fill=0)
        self.layer.paste(before, mask=outside)

    def shade(self, points: ArrayLike, *, share: float = 0.16) -> None:
        """Darken what a polygon covers; only `within` an outline, for it paints the empty canvas too."""
        cover = Image.new("L", self.layer.size)
        ImageDraw.Draw(cover).polygon(self._pixels(points), fill=round(255 * share))
        self.layer.paste((*INK, 255), mask=cover)


def airplane(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw an airliner from the side, nose to the right."""
    tip, span, fin = rng.uniform((-0.4, 0.54, 0.42), (-0.16, 0.7, 0.54)).tolist()
    wing, up = mix(tint.second, INK, 0.1), -0.85 * span
    pen.plate(
        [(0.22, -0.08), (tip + 0.02, up), (tip - 0.12, up), (-0.1, -0.08)], mix(wing, INK, 0.25)
    )
    pen.plate([(-0.5, -0.1), (-0.88, -fin), (-1.04, -fin), (-0.96, -0.06)], tint.accent)
    pen.plate(
        [(-0.66, -0.1), (-0.95, -fin), (-1.04, -fin), (-0.96, -0.06)], mix(tint.accent, INK, 0.15)
    )
    side = "1.06,0.06 0.94,-0.07 0.68,-0.17 -0.4,-0.17 -1.03,-0.13 -1.05,-0.08 -0.7,0.08 -0.4,0.15 0.6,0.17 0.96,0.14"
    hull = smooth(path(side, size=(1.0, rng.uniform(0.85, 1.15))))
    pen.plate(hull, tint.main)
    with pen.within(hull):
        pen.plate(path("-1.2,0.02 1.2,0.02 1.2,0.08 -1.2,0.08"), tint.accent)
        pen.shade(path("-1.2,0.08 1.2,0.08 1.2,0.4 -1.2,0.4"))
        pen.plate(path("0.75,-0.12 0.75,-0.02 0.9,-0.02 1.1,0 1.1,-0.12"), INK)
        pen.plate(path("0.82,-0.12 0.82,-0.01 0.84,-0.01 0.84,-0.12"), tint.main)
    for x in np.arange(-0.55, 0.65, rng.uniform(0.09, 0.13)).tolist():
        pen.disc((x, -0.06), 0.027, INK)
    pen.blob(path("-0.94,-0.06 -0.7,-0.04 -0.7,-0.04 -0.95,0.1 -1.12,0.12 -1.12,0.12"), wing)
    for x in (0.02, 0.2)[: rng.integers(1, 3)]:
        pen.blob(
            path("-0.1,0.21 0.16,0.19 0.2,0.27 0.16,0.35 -0.1,0.33", at=(x, 0.0)),
            mix(INK, tint.accent, 0.2),
        )
        pen.disc((x + 0.17, 0.27), (0.03, 0.065), mix(INK, PALE, 0.7))
    pen.plate([(0.3, 0.06), (tip, span), (tip - 0.16, span), (-0.16, 0.06)], wing)
    pen.plate(
        [(0.1, 0.06), (tip - 0.1, span), (tip - 0.16, span), (-0.16, 0.06)], mix(wing, PALE, 0.3)
    )


def _wheel(pen: Pen, centre: Pair, radius: float, *, tint: Tint, spokes: int) -> None:
    for angle in (np.arange(spokes) * (2 * math.pi / spokes)).tolist():
        rim = (
            centre[0] + radius * 0.95 * math.cos(angle),
            centre[1] + radius * 0.95 * math.sin(angle),
        )
        pen.line([centre, rim], 0.011, mix(tint.line, PALE, 0.35))
    pen.ring(centre, radius, 0.055, tint.line)
    pen.ring(centre, radius - 0.05, 0.018, mix(tint.second, PALE, 0.35))
    pen.disc(centre, 0.05, tint.line)


def bicycle(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a bicycle from the side, with a straight or a dropped handlebar and, at times, a basket."""
    radius, base, spokes = (
        rng.uniform(0.38, 0.45),
        rng.uniform(0.56, 0.62),
        int(rng.integers(10, 17)),
    )
    crank, seat, head = (
        (-0.07, 0.33),
        (-0.26, rng.uniform(-0.34, -0.24)),
        (0.38, rng.uniform(-0.38, -0.3)),
    )
    rear, front, low = (-base, 0.3), (base, 0.3), (0.42, head[1] + 0.14)
    for hub in (rear, front):
        _wheel(pen, hub, radius, tint=tint, spokes=spokes)
    for tube in (
        (rear, crank),
        (rear, seat),
        (crank, seat),
        (crank, low),
        (seat, (0.4, head[1] + 0.05)),
    ):
        pen.line(tube, 0.058, tint.main)
    pen.line([(0.35, head[1] - 0.1), low, (base - 0.08, 0.1), front], 0.058, tint.main)
    pen.line([seat, (-0.3, seat[1] - 0.12)], 0.04, tint.line)
    pen.blob(
        path("-0.48,-0.18 -0.3,-0.18 -0.08,-0.13 -0.28,-0.09 -0.42,-0.07", at=(0.0, seat[1])),
        tint.accent,
    )
    grip = (
        "-0.03,0 0.12,-0.01 0.22,0.06 0.16,0.18 0.04,0.19"
        if rng.random() < 0.5
        else "-0.03,0 -0.1,-0.08 -0.26,-0.05"
    )
    pen.line(path(grip, at=(0.38, head[1] - 0.12)), 0.048, tint.accent)
    if rng.random() < 0.4:
        weave = mix(tint.second, PALE, 0.2)
        pen.plate(path("0.42,-0.12 0.86,-0.12 0.78,0.16 0.48,0.16", at=(0.0, head[1])), weave)
        for drop in (-0.05, 0.02, 0.09):
            pen.line([(0.46, head[1] + drop), (0.8, head[1] + drop)], 0.014, mix(weave, INK, 0.3))
    pen.ring(crank, 0.11, 0.03, tint.line)
    pen.line(
        [crank, crank, (0.03, 0.48), (0.03, 0.48), (0.09, 0.48), (-0.03, 0.48)], 0.036, tint.line
    )


def butterfly(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a butterfly from above, wings open."""
    rim, every = mix(tint.accent, INK, 0.75), int(rng.integers(4, 8))
    size = (rng.uniform(0.84, 1.0), rng.uniform(0.62, 0.8))
    upper = path("0.04,-0.14 0.32,-0.8 0.75,-1 1,-0.72 0.82,-0.12 0.4,0.12", size=size)
    lower = path(
        "0.04,0 0.44,0 0.78,0.2 0.7,0.72 0.42,1 0.18,0.62", size=(size[0], rng.uniform(0.55, 0.8))
    )
    for side in SIDES:
        for wing, colour in ((lower * (side, 1.0), tint.second), (upper * (side, 1.0), tint.main)):
            heart, outline = np.array([0.42 * side, wing[:, 1].mean()]), smooth(wing)
            pen.plate(outline, rim)
            pen.plate(heart + (outline - heart) * 0.84, colour)
            pen.plate(heart * 0.8 + (outline - heart) * 0.42, mix(colour, PALE, 0.35))
            for tip in heart + (wing[1:5] - heart) * 0.84:
                pen.line([(0.04 * side, -0.02), tip], 0.016, rim)
            for x, y in (heart + (outline[12:48:every] - heart) * 0.92).tolist():
                pen.disc((x, y), 0.026, PALE)
        pen.line([(0.02 * side, -0.24), (0.1 * side, -0.5), (0.24 * side, -0.66)], 0.022, INK)
        pen.disc((0.24 * side, -0.66), 0.032, INK)
    pen.blob(mirrored("0.02,-0.3 0.07,-0.12 0.06,0.12 0.03,0.42"), INK)
    pen.disc((0.0, -0.27), 0.075, INK)


def car(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a small car from the side, bonnet to the right, at times with luggage on the roof."""
    roof, back, front = rng.uniform(-0.5, -0.4), rng.uniform(-0.85, -0.5), rng.uniform(0.1, 0.28)
    nose, low, high = front + rng.uniform(0.25, 0.33), -0.07, roof + 0.09
    for place, colour in (
        ((0.34, tint.accent), (0.58, mix(tint.accent, INK, 0.5))) if rng.random() < 0.35 else ()
    ):
        pen.line(
            [(back + place - 0.06, roof - 0.08), (back + place + 0.06, roof - 0.08)], 0.15, colour
        )
    rear = [(back - 0.1, 0.0), (back - 0.1, 0.0), (back + 0.09, roof + 0.07), (back + 0.24, roof)]
    pen.blob(
        [*rear, (front - 0.12, roof), (front + 0.04, roof + 0.06), (nose, 0.0), (nose, 0.0)],
        tint.main,
    )
    side = "-0.99,0.28 -1.02,0.05 -0.92,-0.08 -0.6,-0.1 0.3,-0.1 0.8,-0.05 1,0.06 1.03,0.28 0.96,0.36 -0.94,0.36"
    body = smooth(path(side))
    pen.plate(body, tint.main)
    with pen.within(body):
        pen.shade(path("-1.2,0.22 1.2,0.22 1.2,0.5 -1.2,0.5"))
        pen.plate(path("-1.2,-0.02 1.2,-0.02 1.2,0.02 -1.2,0.02"), mix(tint.main, PALE, 0.35))
        pen.disc((1.0, 0.09), (0.1, 0.08), (255, 226, 138))
        pen.disc((-1.02, 0.09), (0.09, 0.08), (214, 72, 62))
        for x in (-0.58, 0.6):
            pen.disc((x, 0.35), 0.27, mix(tint.main, INK, 0.5))
    glass, post = (
        mix((176, 214, 226), INK, rng.uniform(0.0, 0.35)),
        (back + front) / 2 + rng.uniform(-0.02, 0.08),
    )
    pen.plate(
        [(back + 0.06, low), (back + 0.2, high), (post - 0.035, high), (post - 0.035, low)], glass
    )
    pen.plate(
        [(post + 0.035, low), (post + 0.035, high), (front - 0.05, high), (nose - 0.14, low)], glass
    )
    pen.plate(
        [(post + 0.1, low), (post + 0.17, high), (post + 0.24, high), (post + 0.17, low)],
        mix(glass, PALE, 0.55),
    )
    pen.line([(post, low), (post, 0.22)], 0.016, mix(tint.main, INK, 0.3))
    pen.line([(post - 0.2, 0.09), (post - 0.1, 0.09)], 0.03, PALE)
    radius = rng.uniform(0.2, 0.23)
    for x in (-0.58, 0.6):
        for share, colour in ((1.0, INK), (0.58, mix(tint.second, PALE, 0.5)), (0.2, INK)):
            pen.disc((x, 0.36), radius * share, colour)


def _cat_face(pen: Pen, coat: Colour, *, eyes: Colour, pale: Colour) -> None:
    pen.blob(mirrored("0,-0.44 0.13,-0.38 0.15,-0.29 0,-0.22"), pale)
    for side in SIDES:
        pen.disc((0.165 * side, -0.5), (0.085, 0.08), eyes)
        pen.disc((0.165 * side, -0.5), (0.032, 0.075), INK)
        pen.disc((0.165 * side + 0.025, -0.53), 0.018, PALE)
        pen.line([(0.0, -0.345), (0.04 * side, -0.295), (0.1 * side, -0.31)], 0.016, INK)
        for drop in (-0.04, 0.02, 0.08):
            pen.line(
                [(0.17 * side, -0.36 + drop * 0.4), (0.5 * side, -0.4 + drop * 1.6)],
                0.01,
                mix(coat, PALE, 0.75),
            )
    pen.plate(path("-0.045,-0.4 0.045,-0.4 0,-0.345"), (222, 120, 122))


def _cat_coat(pen: Pen, marks: int, dark: Colour, rng: np.random.Generator) -> None:
    for row in range(4 if marks == 1 else 0):
        for side in SIDES:
            pen.line(
                path("0.6,0 0.32,0.06 0.22,0.04", size=(side, 1.0), at=(0.0, 0.15 * row)),
                0.05,
                dark,
            )
    for x, y in rng.uniform((0.2, -0.1), (0.5, 0.75), (18 if marks == 2 else 0, 2)).tolist():
        pen.disc((x if rng.random() < 0.5 else -x, y), 0.036, dark)


def cat(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a sitting cat from the front: plain, tabby or spotted."""
    coat, marks = COATS[rng.integers(len(COATS))], int(rng.integers(3))
    dark, pale = mix(coat, INK, 0.4), mix(coat, PALE, 0.65)
    tail = path("0.2,0.76 0.68,0.72 0.8,0.4 0.68,0.15 0.78,0", size=(rng.uniform(0.88, 1.08), 1.0))
    pen.line(tail, 0.13, mix(coat, INK, 0.12))
    pen.disc((tail[-1, 0], 0.0), 0.075, pale)
    stout = (rng.uniform(0.9, 1.1), 1.0)
    body = smooth(mirrored("0.16,-0.35 0.26,-0.05 0.45,0.45 0.43,0.78 0.2,0.86", size=stout))
    pen.plate(body, coat)
    with pen.within(body):
        _cat_coat(pen, marks, dark, rng)
        pen.disc((0.0, 0.1), (0.17, 0.3), pale)
    for side in SIDES:
        pen.line([(0.17 * side, 0.45), (0.2 * side, 0.78)], 0.02, dark)
        pen.disc((0.12 * side, 0.83), (0.12, 0.075), pale)
        pen.blob(path("0.08,-0.7 0.31,-1 0.33,-1 0.38,-0.6", size=(side, 1.0)), coat)
        pen.blob(path("0.16,-0.72 0.29,-0.9 0.33,-0.66", size=(side, 1.0)), (226, 152, 146))
    head = smooth(mirrored("0,-0.8 0.24,-0.76 0.4,-0.52 0.32,-0.28 0,-0.18"))
    pen.plate(head, coat)
    with pen.within(head):
        for x in (-0.11, 0.0, 0.11) if marks else ():
            pen.line([(x, -0.85), (x * 0.75, -0.64)], 0.045, dark)
    _cat_face(
        pen,
        coat,
        eyes=((236, 196, 92), (142, 190, 120), (130, 186, 206))[rng.integers(3)],
        pale=pale,
    )
    if rng.random() < 0.6:
        pen.line(path("-0.23,-0.19 0,-0.12 0.23,-0.19"), 0.06, tint.accent)
        pen.disc((0.0, -0.09), 0.05, (250, 208, 98))


def guitar(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw an acoustic guitar from the front, neck up."""
    wood, neck = mix(tint.main, (64, 42, 46), 0.6), mix((92, 62, 52), INK, rng.uniform(0.0, 0.5))
    bouts = "0,-0.16 0.16,-0.15 0.28,-0.07 0.31,0.06 0.27,0.2 0.29,0.33 0.39,0.5 0.43,0.67 0.38,0.85 0.22,0.96 0,1"
    outline = smooth(mirrored(bouts, size=(rng.uniform(0.92, 1.12), 1.0)))
    pen.plate((outline - (0.0, 0.45)) * 1.06 + (0.0, 0.45), wood)
    pen.plate(outline, tint.main)
    with pen.within(outline):
        pen.shade(
            smooth(path("0.3,-0.3 0.6,-0.3 0.6,1.1 -0.2,1.1 0.1,0.92 0.26,0.7 0.12,0.35")),
            share=0.12,
        )
        if rng.random() < 0.6:
            pen.blob(path("0.06,0.16 0.2,0.2 0.25,0.42 0.22,0.5 0.1,0.4"), wood)
    pen.disc((0.0, 0.22), 0.155, tint.accent)
    pen.disc((0.0, 0.22), 0.12, INK)
    pen.plate(path("-0.17,0.66 0.17,0.66 0.2,0.74 -0.2,0.74"), wood)
    pen.plate(path("-0.06,0.12 0.06,0.12 0.048,-0.78 -0.048,-0.78"), neck)
    for fret in (-0.78 + 1.5 * 0.9 * (1 - 0.5 ** (np.arange(1, 9) / 9))).tolist():
        pen.line([(-0.05, fret), (0.05, fret)], 0.01, mix(neck, PALE, 0.6))
    pen.plate(path("-0.05,-0.77 0.05,-0.77 0.1,-1.08 0,-1.12 -0.1,-1.08"), wood)
    for row in (-1.02, -0.94, -0.86):
        for side in SIDES:
            pen.line([(0.09 * side, row), (0.135 * side, row)], 0.036, mix(PALE, tint.accent, 0.3))
    for string in (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0):
        pen.line([(0.038 * string, -0.8), (0.1 * string, 0.7)], 0.007, (226, 212, 190))


def mushroom(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a spotted toadstool in a little grass."""
    flesh, wide, top = (
        mix(PALE, tint.second, 0.12),
        rng.uniform(0.68, 0.86),
        rng.uniform(0.65, 0.85),
    )
    for x in np.linspace(-0.5, 0.5, int(rng.integers(5, 9))).tolist():
        green, tip = (
            mix((92, 140, 92), INK, rng.uniform(0.0, 0.3)),
            (x * 1.4, 0.86 - rng.uniform(0.18, 0.42)),
        )
        pen.blob(
            [(x - 0.05, 0.88), (x - 0.05, 0.88), tip, tip, (x + 0.05, 0.88), (x + 0.05, 0.88)],
            green,
        )
    stem = smooth(
        mirrored("0,-0.1 0.19,-0.1 0.18,0.4 0.28,0.8 0.12,0.9", size=(rng.uniform(0.8, 1.2), 1.0))
    )
    pen.plate(stem, flesh)
    with pen.within(stem):
        pen.shade(path("0.04,-0.2 0.6,-0.2 0.6,1 0.12,1"), share=0.12)
    pen.blob(mirrored("0,0.14 0.19,0.16 0.3,0.33 0.16,0.31 0,0.36"), mix(flesh, PALE, 0.6))
    pen.disc((0.0, 0.02), (wide * 0.94, 0.16), mix(flesh, INK, 0.3))
    for share in np.linspace(-0.8, 0.8, 11).tolist():
        pen.line(
            [(share * 0.25, 0.0), (share * wide, 0.13 - 0.1 * share * share)],
            0.012,
            mix(flesh, INK, 0.5),
        )
    dome = "0,-1 0.72,-0.66 0.97,-0.12 1,0.03 0.94,0.09 0.55,0.03 0,-0.07"
    cap = smooth(mirrored(dome, size=(wide, top)))
    pen.plate(cap, tint.main)
    with pen.within(cap):
        spots = path(
            "-0.08,-0.72 -0.55,-0.4 0.36,-0.5 -0.16,-0.24 0.7,-0.2 0.26,-0.1 -0.86,-0.06",
            size=(wide, top),
        )
        for x, y in (spots + rng.uniform(-0.04, 0.04, spots.shape)).tolist():
            pen.disc(
                (x, y), rng.uniform(0.06, 0.13), tint.second if sum(tint.main) > 660 else flesh
            )
        pen.shade(smooth(path("0.35,-1.2 1.4,-1 1.4,0.3 0.2,0.3 0.62,-0.4", size=(wide, top))))


def sailboat(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a sailing boat on a strip of water."""
    tall, cloth = rng.uniform(0.92, 1.06), mix(PALE, tint.second, rng.uniform(0.0, 0.2))
    size, deck, peak = (rng.uniform(0.85, 1.15), tall), (0.0, 0.26), 0.26 - 1.25 * tall
    aft = "-0.05,-1.25 -0.05,-1.25 -0.05,0 -0.05,0 -0.62,0.02 -0.62,0.02 -0.36,-0.5"
    fore = "0.05,-1.15 0.05,-1.15 0.34,-0.46 0.6,0 0.6,0 0.12,-0.02 0.12,-0.02 0.15,-0.5"
    main, jib = smooth(path(aft, size=size, at=deck)), smooth(path(fore, size=size, at=deck))
    pen.line([(0.0, 0.5), (0.0, peak - 0.05)], 0.045, mix(INK, (150, 105, 70), 0.6))
    pen.plate(main, cloth)
    with pen.within(main):
        for row in np.linspace(-0.55, 0.12, int(rng.integers(1, 5))).tolist():
            pen.plate(path("-1,0.06 0,0 0,0.1 -1,0.16", at=(0.0, row)), tint.main)
        pen.shade([(-1.0, 0.4), (-0.34, 0.4), (-0.05, peak), (-0.3, peak)], share=0.1)
    pen.plate(jib, tint.main)
    with pen.within(jib):
        pen.shade([(0.24, 0.4), (0.0, 0.4), (0.0, peak), (0.05, peak)], share=0.1)
    pen.plate(path("0,-0.05 0,0.07 -0.2,0.01", at=(0.0, peak)), tint.accent)
    hull = smooth(
        path(
            "-0.78,0.4 -0.78,0.4 0.1,0.44 0.92,0.34 0.92,0.34 0.7,0.66 0.55,0.8 -0.5,0.8 -0.68,0.66"
        )
    )
    pen.plate(hull, tint.accent)
    with pen.within(hull):
        pen.shade(path("-1,0.56 1,0.54 1,1 -1,1"), share=0.35)
        pen.line(path("-0.9,0.48 0.1,0.51 1,0.42"), 0.035, PALE)
    sea, across = (
        mix(SEAS[rng.integers(len(SEAS))], tint.main, rng.uniform(0.0, 0.2)),
        np.linspace(-1.05, 1.05, 15),
    )
    for depth, colour in ((0.0, mix(sea, PALE, 0.35)), (0.09, sea)):
        crest = np.stack(
            [across * (1 - 0.08 * (depth > 0)), 0.68 + depth + 0.035 * (np.arange(15) % 2)], axis=1
        )
        pen.blob(np.vstack([crest, path("0.75,0.9 0,0.94 -0.75,0.9", at=(0.0, depth))]), colour)


def _teapot_pattern(pen: Pen, pattern: int, colour: Colour) -> None:
    if pattern == 0:
        pen.plate(path("-1,-0.11 1,-0.11 1,0.11 -1,0.11"), colour)
    for x in np.linspace(-0.6, 0.6, 8).tolist():
        for row in ((0,), (-1, 0, 1), ())[pattern]:
            pen.disc((x + 0.09 * (row % 2), 0.24 * row), 0.05, colour if pattern else PALE)
        if pattern == 2:
            pen.line([(x * 0.7, -0.5), (x * 1.1, 0.0), (x * 0.7, 0.5)], 0.05, colour)


def teapot(pen: Pen, tint: Tint, rng: np.random.Generator) -> None:
    """Draw a round-bellied teapot, spout to the right, with a band, dots or stripes."""
    tall, dark = rng.uniform(0.42, 0.54), mix(tint.accent, INK, 0.15)
    size = (rng.uniform(0.54, 0.64), tall)
    pen.line(path("-0.7,-0.6 -1.3,-0.68 -1.6,-0.2 -1.36,0.42 -0.8,0.62", size=size), 0.1, dark)
    spout = path("0.6,0.5 1.2,0.28 1.42,-0.6 1.66,-0.92 1.78,-0.8 1.64,-0.45 1.46,0.46 0.7,0.92")
    pen.blob(spout * size * (1.0, rng.uniform(0.8, 1.05)), mix(tint.main, INK, 0.16))
    pen.blob(path("-0.3,-0.06 0.3,-0.06 0.35,0.06 -0.35,0.06", at=(0.0, tall)), dark)
    belly = smooth(mirrored("0,-1 0.5,-0.88 0.88,-0.5 1,0 0.9,0.46 0.54,0.86 0,1", size=size))
    pen.plate(belly, tint.main)
    with pen.within(belly):
        _teapot_pattern(pen, int(rng.integers(3)), tint.second)
        pen.shade(smooth(path("0.2,1.1 0.78,0.2 0.6,-1 1.3,-1 1.3,1.1", size=size)))
    pen.line(
        path("-0.76,-0.05 -0.64,-0.46 -0.42,-0.68", size=size), 0.045, mix(tint.main, PALE, 0.45)
    )
    pen.blob(mirrored("0,-0.15 0.2,-0.09 0.34,0.07 0,0.12", at=(0.0, -tall)), tint.accent)
    pen.disc((0.0, -tall - 0.19), rng.uniform(0.07, 0.1), tint.accent)
