"""The backdrops of the drawn sample: skies, rooms, and patterns.

The order of the random draws is part of each image: changing it changes the sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from lookalike.datasets.pen import INK, PALE, Color, Point, mix

__all__ = ["choose_backdrop_colors", "draw_backdrop"]

# Backdrops are drawn this many times larger, then reduced, which softens their edges.
_SCALE = 2

# Pairs of far and near: sky and land, wall and floor, or ground and pattern.
_COLOR_PAIRS: tuple[tuple[Color, Color], ...] = (
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


def choose_backdrop_colors(rng: np.random.Generator) -> tuple[Color, Color]:
    """Return the far and the near color: a pair of the list, varied so that few are equal."""
    first_index, other_index = rng.integers(len(_COLOR_PAIRS), size=2)
    first, other = _COLOR_PAIRS[first_index], _COLOR_PAIRS[other_index]
    other_share = rng.uniform(0.0, 0.2)

    # A veil of a light or a dark tone over both.
    tone, most = ((PALE, 0.2), (INK, 0.06))[rng.integers(2)]
    tone_share = rng.uniform(0.0, most)
    far = mix(mix(first[0], other[0], other_share), tone, tone_share)
    near = mix(mix(first[1], other[1], other_share), tone, tone_share)
    return far, near


def draw_backdrop(
    size: tuple[int, int],
    ground: int,
    *,
    colors: tuple[Color, Color],
    rng: np.random.Generator,
) -> Image.Image:
    """Draw a random backdrop.

    Parameters
    ----------
    size
        Width and height in pixels.
    ground
        The y at which the ground begins.
    colors
        The far and the near color.
    rng
        Decides the kind of backdrop and its details.
    """
    width, height = size
    image = Image.new("RGB", (width * _SCALE, height * _SCALE))
    far, near = colors
    stage = Stage(image, far, near, ground * _SCALE, rng)
    draw_scene = _SCENES[rng.integers(len(_SCENES))]
    draw_scene(stage)
    return image.resize(size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Stage:
    """A backdrop in the making.

    Attributes
    ----------
    image
        The enlarged image.
    far, near
        Its colors.
    ground
        The y of the ground in the enlarged image.
    rng
        Decides the details.
    """

    image: Image.Image
    far: Color
    near: Color
    ground: int
    rng: np.random.Generator

    @property
    def pattern_color(self) -> Color:
        """A color a little off the far one."""
        return mix(self.far, self.near, 0.35)

    def polygon(self, corners: Iterable[Point], color: Color) -> None:
        """Fill a polygon."""
        rounded = [(round(x), round(y)) for x, y in corners]
        ImageDraw.Draw(self.image).polygon(rounded, fill=color)

    def disc(self, center: Point, radius: float, color: Color) -> None:
        """Fill a circle."""
        x, y = center
        left, top = round(x - radius), round(y - radius)
        right, bottom = round(x + radius), round(y + radius)
        box = (left, top, right, bottom)
        ImageDraw.Draw(self.image).ellipse(box, fill=color)

    def gradient(
        self, top: Color, bottom: Color, *, corner: Color | None = None
    ) -> None:
        """Fill with a gradient from top to bottom; `corner` is mixed in at both other corners."""
        corners = Image.new("RGB", (2, 2))
        corners.putpixel((0, 0), top)
        corners.putpixel((1, 0), corner or top)
        corners.putpixel((0, 1), corner or bottom)
        corners.putpixel((1, 1), bottom)
        # Sampled between the centers of the four pixels, so that each is one corner's color.
        centers = (0.5, 0.5, 1.5, 1.5)
        filled = corners.resize(self.image.size, Image.Resampling.BILINEAR, box=centers)
        self.image.paste(filled)


def _draw_flat(stage: Stage) -> None:
    top = mix(stage.far, PALE, 0.08)
    bottom = mix(stage.far, stage.near, 0.12)
    stage.gradient(top, bottom)


def _draw_gradient(stage: Stage) -> None:
    share = stage.rng.uniform(0.0, 0.6)
    stage.gradient(stage.far, stage.near, corner=mix(stage.far, stage.near, share))


def _draw_hills(stage: Stage) -> None:
    height = stage.image.height
    stage.gradient(mix(stage.far, PALE, 0.25), stage.far)
    if stage.rng.random() < 0.6:
        sun_color = mix(stage.far, PALE, 0.55)
        _draw_sun_disc(stage, sun_color, share=stage.rng.uniform(0.08, 0.14))

    for step, share in enumerate((0.35, 0.65, 1.0)):
        lift = height * (0.16 - 0.08 * step)
        swing = height * (0.035 - 0.01 * step)
        color = mix(stage.far, stage.near, share)
        _fill_below(stage, stage.ground - lift, color, swing=swing)


def _draw_sun(stage: Stage) -> None:
    stage.gradient(stage.far, mix(stage.far, stage.near, 0.5))
    sun_color = mix(stage.far, PALE, 0.5)
    _draw_sun_disc(stage, sun_color, share=stage.rng.uniform(0.22, 0.36))
    _fill_below(stage, stage.ground, stage.near)


def _draw_room(stage: Stage) -> None:
    stage.gradient(stage.far, mix(stage.far, stage.near, 0.2))
    _fill_below(stage, stage.ground, stage.near)
    floor = stage.ground + 0.02 * stage.image.height
    _fill_below(stage, floor, mix(stage.near, INK, 0.06))


def _draw_stripes(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    step = stage.rng.uniform(0.1, 0.22) * width
    slope = stage.rng.uniform(-0.6, 0.6) * height
    for left in np.arange(-height, width + height, step).tolist():
        right = left + step / 2
        stripe = [
            (left, 0),
            (right, 0),
            (right + slope, height),
            (left + slope, height),
        ]
        stage.polygon(stripe, stage.pattern_color)


def _draw_dots(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    step = stage.rng.uniform(0.1, 0.18) * width
    radius = stage.rng.uniform(0.1, 0.24) * step
    for row, y in enumerate(np.arange(0.0, height + step, step * 0.8).tolist()):
        # Every other row is shifted by half a step.
        shift = step / 2 * (row % 2)
        for x in np.arange(shift, width + step, step).tolist():
            stage.disc((x, y), radius, stage.pattern_color)


def _draw_rays(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    x = stage.rng.uniform(0.2, 0.8) * width
    y = stage.rng.uniform(0.2, 0.9) * height
    count = int(stage.rng.integers(7, 13))
    turn = stage.rng.uniform(0.0, 1.0)

    length = 2.0 * (width + height)
    for ray in range(count):
        corners = [(x, y)]
        for part in (0.0, 0.5):
            angle = 2 * math.pi * (ray + part + turn) / count
            corners.append((x + length * math.cos(angle), y + length * math.sin(angle)))
        stage.polygon(corners, stage.pattern_color)


def _draw_terrazzo(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    corner_turns = (0.0, 0.13, 0.37, 0.55, 0.82)
    for x, y, size, turn, tone in stage.rng.uniform(0.0, 1.0, (70, 5)).tolist():
        radius = (0.012 + 0.022 * size) * width
        chip = []
        for corner_turn in corner_turns:
            angle = 2 * math.pi * (corner_turn + turn)
            chip_x = x * width + radius * math.cos(angle)
            chip_y = y * height + radius * math.sin(angle)
            chip.append((chip_x, chip_y))

        color = mix(stage.far, PALE, 0.6)
        if tone > 0.3:
            color = mix(stage.far, stage.near, 0.9 * tone)
        stage.polygon(chip, color)


_SCENES = (
    _draw_flat,
    _draw_gradient,
    _draw_hills,
    _draw_sun,
    _draw_room,
    _draw_stripes,
    _draw_dots,
    _draw_rays,
    _draw_terrazzo,
)


def _draw_sun_disc(stage: Stage, color: Color, *, share: float) -> None:
    width, height = stage.image.size
    x = stage.rng.uniform(0.15, 0.85) * width
    y = stage.rng.uniform(0.15, 0.45) * height
    stage.disc((x, y), share * (width + height) / 2, color)


def _fill_below(
    stage: Stage, level: float, color: Color, *, swing: float = 0.0
) -> None:
    """Fill everything below a line that swings up and down by `swing` pixels."""
    width, bottom = stage.image.size
    x = np.linspace(0.0, width, 60)
    phases = stage.rng.uniform(0.0, 6.3, 2)
    frequencies = stage.rng.uniform(3.0, 9.0, 2) / width

    slow = np.sin(phases[0] + x * frequencies[0])
    fast = 0.5 * np.sin(phases[1] + 2 * x * frequencies[1])
    y = level + swing * (slow + fast)
    line = zip(x.tolist(), y.tolist(), strict=True)
    stage.polygon([*line, (width, bottom), (0, bottom)], color)
