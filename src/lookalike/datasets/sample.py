"""The drawn sample: nine small classes of pictures, drawn here, so that a demo needs no download.

Each picture is a subject (`silhouettes`) on a backdrop. Backdrop, colours, size and place are drawn from the
same distributions for every class: pixels alone then tell little about the class, the shape tells it all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lookalike.datasets import silhouettes
from lookalike.datasets.silhouettes import INK, PALE, Colour, Pen, Tint, mix
from lookalike.errors import InputError
from lookalike.io.files import atomic_write

__all__ = ["CLASSES", "draw", "write_sample"]


@dataclass(frozen=True)
class Subject:
    """How a class is drawn: its function, the greatest tilt in degrees, and whether it stands on the ground."""

    draw: Callable[[Pen, Tint, np.random.Generator], None]
    tilt: float
    stands: bool = True


SUBJECTS: dict[str, Subject] = {
    "airplane": Subject(silhouettes.airplane, tilt=28.0, stands=False),
    "bicycle": Subject(silhouettes.bicycle, tilt=7.0),
    "butterfly": Subject(silhouettes.butterfly, tilt=45.0, stands=False),
    "car": Subject(silhouettes.car, tilt=4.0),
    "cat": Subject(silhouettes.cat, tilt=5.0),
    "guitar": Subject(silhouettes.guitar, tilt=60.0, stands=False),
    "mushroom": Subject(silhouettes.mushroom, tilt=6.0),
    "sailboat": Subject(silhouettes.sailboat, tilt=9.0),
    "teapot": Subject(silhouettes.teapot, tilt=5.0),
}
CLASSES: tuple[str, ...] = tuple(SUBJECTS)

FRAMES = ((320, 240), (300, 300), (240, 320), (360, 240), (320, 256))
FINE = 2  # backdrops are drawn this many times larger, then reduced: soft edges
CANVAS = 840  # the subject's canvas in pixels, two to four times its final size

# A backdrop is (far, near): sky and land, wall and floor, or ground and pattern.
BACKDROPS: tuple[tuple[Colour, Colour], ...] = (
    ((247, 232, 208), (230, 190, 150)),
    ((190, 222, 226), (126, 170, 150)),
    ((252, 214, 186), (222, 140, 118)),
    ((222, 226, 206), (150, 172, 130)),
    ((88, 112, 150), (52, 70, 106)),
    ((240, 204, 206), (190, 136, 156)),
    ((158, 190, 218), (88, 128, 164)),
    ((250, 224, 142), (226, 172, 84)),
    ((112, 152, 144), (64, 106, 106)),
    ((206, 198, 226), (140, 126, 176)),
    ((238, 236, 230), (200, 196, 190)),
    ((196, 112, 94), (140, 72, 72)),
)
SUITS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((222, 84, 66), (250, 214, 150), (44, 96, 124)),
    ((42, 128, 132), (246, 196, 120), (232, 112, 84)),
    ((244, 180, 68), (90, 70, 110), (206, 76, 72)),
    ((62, 92, 148), (244, 220, 190), (236, 156, 66)),
    ((150, 78, 124), (248, 200, 160), (60, 130, 130)),
    ((250, 240, 222), (226, 108, 82), (58, 90, 130)),
    ((108, 150, 86), (250, 226, 160), (190, 84, 60)),
    ((240, 140, 120), (80, 130, 140), (72, 62, 98)),
    ((140, 84, 62), (240, 196, 140), (54, 118, 118)),
    ((120, 176, 200), (250, 236, 210), (216, 82, 80)),
)


@dataclass(frozen=True)
class Stage:
    """A backdrop being drawn: the image, its two colours, the y of the ground in its pixels."""

    image: Image.Image
    far: Colour
    near: Colour
    ground: int
    rng: np.random.Generator

    @property
    def soft(self) -> Colour:
        """A colour a little off the far one, for patterns."""
        return mix(self.far, self.near, 0.35)

    def plate(self, points: Iterable[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        ImageDraw.Draw(self.image).polygon([(round(x), round(y)) for x, y in points], fill=colour)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        """Fill a circle."""
        x, y = centre
        box = (round(x - radius), round(y - radius), round(x + radius), round(y + radius))
        ImageDraw.Draw(self.image).ellipse(box, fill=colour)

    def ramp(self, first: Colour, last: Colour, *, across: Colour | None = None) -> None:
        """Fill with a smooth ramp from top to bottom, by way of `across` at the upper right."""
        corners = Image.new("RGB", (2, 2))
        for place, colour in (
            ((0, 0), first),
            ((1, 0), across or first),
            ((0, 1), across or last),
            ((1, 1), last),
        ):
            corners.putpixel(place, colour)
        self.image.paste(
            corners.resize(self.image.size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))
        )


def _flat(stage: Stage) -> None:
    stage.ramp(mix(stage.far, PALE, 0.08), mix(stage.far, stage.near, 0.12))


def _gradient(stage: Stage) -> None:
    stage.ramp(
        stage.far, stage.near, across=mix(stage.far, stage.near, stage.rng.uniform(0.0, 0.6))
    )


def _ridge(stage: Stage, level: float, *, colour: Colour, swing: float = 0.0) -> None:
    """Fill everything below a level line that swings up and down by `swing` pixels."""
    width, bottom = stage.image.size
    x = np.linspace(0.0, width, 60)
    phase, waves = stage.rng.uniform(0.0, 6.3, 2), stage.rng.uniform(3.0, 9.0, 2) / width
    y = level + swing * (
        np.sin(phase[0] + x * waves[0]) + 0.5 * np.sin(phase[1] + 2 * x * waves[1])
    )
    stage.plate([*zip(x.tolist(), y.tolist(), strict=True), (width, bottom), (0, bottom)], colour)


def _hills(stage: Stage) -> None:
    height = stage.image.height
    stage.ramp(mix(stage.far, PALE, 0.25), stage.far)
    if stage.rng.random() < 0.6:
        _sunlight(stage, colour=mix(stage.far, PALE, 0.55), share=stage.rng.uniform(0.08, 0.14))
    for step, share in enumerate((0.35, 0.65, 1.0)):
        lift = height * (0.16 - 0.08 * step)
        _ridge(
            stage,
            stage.ground - lift,
            colour=mix(stage.far, stage.near, share),
            swing=height * (0.035 - 0.01 * step),
        )


def _sunlight(stage: Stage, *, colour: Colour, share: float) -> None:
    width, height = stage.image.size
    centre = (stage.rng.uniform(0.15, 0.85) * width, stage.rng.uniform(0.15, 0.45) * height)
    stage.disc(centre, share * (width + height) / 2, colour)


def _sun(stage: Stage) -> None:
    stage.ramp(stage.far, mix(stage.far, stage.near, 0.5))
    _sunlight(stage, colour=mix(stage.far, PALE, 0.5), share=stage.rng.uniform(0.22, 0.36))
    _ridge(stage, stage.ground, colour=stage.near)


def _room(stage: Stage) -> None:
    stage.ramp(stage.far, mix(stage.far, stage.near, 0.2))
    _ridge(stage, stage.ground, colour=stage.near)
    _ridge(stage, stage.ground + 0.02 * stage.image.height, colour=mix(stage.near, INK, 0.06))


def _stripes(stage: Stage) -> None:
    width, height = stage.image.size
    stage.ramp(stage.far, stage.far)
    step, slope = stage.rng.uniform(0.1, 0.22) * width, stage.rng.uniform(-0.6, 0.6) * height
    for left in np.arange(-height, width + height, step).tolist():
        edge = [
            (left, 0),
            (left + step / 2, 0),
            (left + step / 2 + slope, height),
            (left + slope, height),
        ]
        stage.plate(edge, stage.soft)


def _dots(stage: Stage) -> None:
    width, height = stage.image.size
    stage.ramp(stage.far, stage.far)
    step = stage.rng.uniform(0.1, 0.18) * width
    radius = stage.rng.uniform(0.1, 0.24) * step
    for row, y in enumerate(np.arange(0.0, height + step, step * 0.8).tolist()):
        for x in np.arange(step / 2 * (row % 2), width + step, step).tolist():
            stage.disc((x, y), radius, stage.soft)


def _rays(stage: Stage) -> None:
    width, height = stage.image.size
    stage.ramp(stage.far, stage.far)
    x, y = stage.rng.uniform(0.2, 0.8) * width, stage.rng.uniform(0.2, 0.9) * height
    count, turn, reach = (
        int(stage.rng.integers(7, 13)),
        stage.rng.uniform(0.0, 1.0),
        2.0 * (width + height),
    )
    for start in range(count):
        angles = [2 * math.pi * (start + part + turn) / count for part in (0.0, 0.5)]
        stage.plate(
            [(x, y), *((x + reach * math.cos(a), y + reach * math.sin(a)) for a in angles)],
            stage.soft,
        )


def _terrazzo(stage: Stage) -> None:
    width, height = stage.image.size
    stage.ramp(stage.far, stage.far)
    corners = (0.0, 0.13, 0.37, 0.55, 0.82)
    for x, y, size, turn, tone in stage.rng.uniform(0.0, 1.0, (70, 5)).tolist():
        reach, angles = (
            (0.012 + 0.022 * size) * width,
            [2 * math.pi * (corner + turn) for corner in corners],
        )
        colour = mix(stage.far, stage.near, 0.9 * tone) if tone > 0.3 else mix(stage.far, PALE, 0.6)
        stage.plate(
            [(x * width + reach * math.cos(a), y * height + reach * math.sin(a)) for a in angles],
            colour,
        )


SCENES = (_flat, _gradient, _hills, _sun, _room, _stripes, _dots, _rays, _terrazzo)


def _colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Return a backdrop's two colours: a pair of the list, shifted towards another, so that few are alike."""
    first, other = (BACKDROPS[choice] for choice in rng.integers(len(BACKDROPS), size=2))
    share, (tone, most) = rng.uniform(0.0, 0.2), ((PALE, 0.2), (INK, 0.06))[rng.integers(2)]
    veil = rng.uniform(0.0, most)
    far, near = (mix(mix(a, b, share), tone, veil) for a, b in zip(first, other, strict=True))
    return far, near


def _tint(far: Colour, near: Colour, rng: np.random.Generator) -> Tint:
    def contrast(suit: tuple[Colour, Colour, Colour]) -> float:
        return min(
            sum(abs(a - b) for a, b in zip(suit[0], ground, strict=True)) for ground in (far, near)
        )

    clear = [suit for suit in SUITS if contrast(suit) > 150] or [max(SUITS, key=contrast)]
    main, second, accent = clear[rng.integers(len(clear))]
    return Tint(main, second, accent, line=INK if sum(far) + sum(near) > 620 else PALE)


def _figure(label: str, tint: Tint, rng: np.random.Generator) -> Image.Image:
    subject = SUBJECTS[label]
    pen = Pen(CANVAS, tilt=rng.uniform(-subject.tilt, subject.tilt), mirror=rng.random() < 0.5)
    subject.draw(pen, tint, rng)
    return pen.layer.crop(pen.layer.getbbox())


def _backdrop(
    frame: tuple[int, int], ground: int, *, colours: tuple[Colour, Colour], rng: np.random.Generator
) -> Image.Image:
    image = Image.new("RGB", (frame[0] * FINE, frame[1] * FINE))
    stage = Stage(image, *colours, ground * FINE, rng)
    SCENES[rng.integers(len(SCENES))](stage)
    return image.resize(frame, Image.Resampling.LANCZOS)


def _shadow(
    scene: Image.Image, figure: Image.Image, corner: tuple[int, int], *, stands: bool
) -> None:
    shade = Image.new("L", scene.size)
    if stands:
        left, foot = corner[0], corner[1] + figure.height
        depth = max(5, figure.width // 22)
        ImageDraw.Draw(shade).ellipse(
            (left, foot - 1.6 * depth, left + figure.width, foot + 0.8 * depth), fill=90
        )
        shade = shade.filter(ImageFilter.GaussianBlur(3))
    else:
        shade.paste(
            figure.getchannel("A").point(lambda level: level // 3), (corner[0] + 5, corner[1] + 8)
        )
        shade = shade.filter(ImageFilter.GaussianBlur(5))
    scene.paste(INK, mask=shade)


def draw(label: str, index: int, *, seed: int = 0) -> Image.Image:
    """Draw one picture of a class.

    Parameters
    ----------
    label
        One of `CLASSES`.
    index
        Which picture of the class, from 0.
    seed
        Another seed gives another sample.

    Returns
    -------
    PIL.Image.Image
        An RGB image about 300 pixels wide; the same arguments give the same pixels.

    Raises
    ------
    InputError
        If there is no such class, or a number is negative.
    """
    if label not in SUBJECTS:
        raise InputError(
            f"The drawn sample has no class {label!r}. Choose one of: {', '.join(CLASSES)}."
        )
    if index < 0 or seed < 0:
        raise InputError(
            f"Cannot draw picture {index} with seed {seed}: both count from 0. Give 0 or more."
        )
    rng = np.random.Generator(np.random.PCG64([CLASSES.index(label), index, seed]))
    width, height = FRAMES[rng.integers(len(FRAMES))]
    far, near = _colours(rng)
    figure = _figure(label, _tint(far, near, rng), rng)
    even = rng.uniform(0.44, 0.78) * math.sqrt(width * height / (figure.width * figure.height))
    scale = min(even, 0.94 * width / figure.width, 0.94 * height / figure.height)
    figure = figure.resize(
        (round(figure.width * scale), round(figure.height * scale)), Image.Resampling.LANCZOS
    )
    slack = (width - figure.width, height - figure.height)
    corner = (round(slack[0] * rng.uniform(0.06, 0.94)), round(slack[1] * rng.uniform(0.2, 0.92)))
    ground = corner[1] + figure.height - round(height * rng.uniform(0.04, 0.14))
    scene = _backdrop((width, height), ground, colours=(far, near), rng=rng)
    _shadow(scene, figure, corner, stands=SUBJECTS[label].stands)
    scene.paste(figure, corner, figure)
    return scene


def write_sample(folder: Path, *, per_class: int = 40, seed: int = 0) -> Path:
    """Write the drawn sample as ``folder/<label>/<label>_0001.jpg`` and so on.

    Parameters
    ----------
    folder
        Where to write; it is made if need be. Files already there are kept as they are.
    per_class
        How many pictures of each class.
    seed
        As for `draw`.

    Returns
    -------
    Path
        `folder`.
    """
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            path = folder / label / f"{label}_{index + 1:04d}.jpg"
            if not path.exists():
                _write(draw(label, index, seed=seed), path)
    return folder


def _write(image: Image.Image, path: Path) -> None:
    encoded = (
        BytesIO()
    )  # by itself Pillow does not notice a disk that takes only part of what it writes
    image.save(encoded, "JPEG", quality=90)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.getbuffer())
