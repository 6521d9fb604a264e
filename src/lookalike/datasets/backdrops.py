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
    far, near = _COLOR_PAIRS[first_index]
    other_far, other_near = _COLOR_PAIRS[other_index]
    other_share = rng.uniform(0.0, 0.2)
    far = mix(far, other_far, other_share)
    near = mix(near, other_near, other_share)

    # A veil of a light or a dark tone over both.
    is_dark = rng.integers(2) == 1
    tone = PALE
    most = 0.2
    if is_dark:
        tone = INK
        most = 0.06
    tone_share = rng.uniform(0.0, most)
    far = mix(far, tone, tone_share)
    near = mix(near, tone, tone_share)
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
    enlarged_size = (width * _SCALE, height * _SCALE)
    image = Image.new("RGB", enlarged_size)
    far, near = colors
    stage = Stage(image=image, far=far, near=near, ground=ground * _SCALE, rng=rng)

    scene_index = rng.integers(len(_SCENES))
    draw_scene = _SCENES[scene_index]
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
        rounded = []
        for x, y in corners:
            corner = (round(x), round(y))
            rounded.append(corner)
        drawing = ImageDraw.Draw(self.image)
        drawing.polygon(rounded, fill=color)

    def disc(self, center: Point, radius: float, color: Color) -> None:
        """Fill a circle."""
        x, y = center
        left = round(x - radius)
        top = round(y - radius)
        right = round(x + radius)
        bottom = round(y + radius)
        drawing = ImageDraw.Draw(self.image)
        drawing.ellipse((left, top, right, bottom), fill=color)

    def gradient(
        self, top: Color, bottom: Color, *, corner: Color | None = None
    ) -> None:
        """Fill with a gradient from top to bottom; `corner` is mixed in at both other corners."""
        top_right = corner or top
        bottom_left = corner or bottom
        corners = Image.new("RGB", (2, 2))
        corners.putpixel((0, 0), top)
        corners.putpixel((1, 0), top_right)
        corners.putpixel((0, 1), bottom_left)
        corners.putpixel((1, 1), bottom)

        # Sampled between the centers of the four pixels, so that each is one corner's color.
        centers = (0.5, 0.5, 1.5, 1.5)
        size = self.image.size
        filled = corners.resize(size, Image.Resampling.BILINEAR, box=centers)
        self.image.paste(filled)


def _draw_flat(stage: Stage) -> None:
    far = stage.far
    top = mix(far, PALE, 0.08)
    bottom = mix(far, stage.near, 0.12)
    stage.gradient(top, bottom)


def _draw_gradient(stage: Stage) -> None:
    far = stage.far
    near = stage.near
    share = stage.rng.uniform(0.0, 0.6)
    corner = mix(far, near, share)
    stage.gradient(far, near, corner=corner)


def _draw_hills(stage: Stage) -> None:
    far = stage.far
    rng = stage.rng
    height = stage.image.height
    zenith = mix(far, PALE, 0.25)
    stage.gradient(zenith, far)
    has_sun = rng.random() < 0.6
    if has_sun:
        sun_color = mix(far, PALE, 0.55)
        sun_share = rng.uniform(0.08, 0.14)
        _draw_sun_disc(stage, sun_color, share=sun_share)

    # Three ranges of hills, the furthest first.
    for step, share in enumerate((0.35, 0.65, 1.0)):
        lift = height * (0.16 - 0.08 * step)
        swing = height * (0.035 - 0.01 * step)
        level = stage.ground - lift
        color = mix(far, stage.near, share)
        _fill_below(stage, level, color, swing=swing)


def _draw_sun(stage: Stage) -> None:
    far = stage.far
    near = stage.near
    horizon = mix(far, near, 0.5)
    stage.gradient(far, horizon)
    sun_color = mix(far, PALE, 0.5)
    sun_share = stage.rng.uniform(0.22, 0.36)
    _draw_sun_disc(stage, sun_color, share=sun_share)
    _fill_below(stage, stage.ground, near)


def _draw_room(stage: Stage) -> None:
    far = stage.far
    near = stage.near
    lower_wall = mix(far, near, 0.2)
    stage.gradient(far, lower_wall)

    # A skirting board between wall and floor.
    level = float(stage.ground)
    _fill_below(stage, level, near)
    level += 0.02 * stage.image.height
    floor_color = mix(near, INK, 0.06)
    _fill_below(stage, level, floor_color)


def _draw_stripes(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    step = stage.rng.uniform(0.1, 0.22) * width
    slope = stage.rng.uniform(-0.6, 0.6) * height
    left_edges = np.arange(-height, width + height, step)
    for left in left_edges.tolist():
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
    color = stage.pattern_color
    step = stage.rng.uniform(0.1, 0.18) * width
    radius = stage.rng.uniform(0.1, 0.24) * step
    right = width + step
    bottom = height + step
    rows = np.arange(0.0, bottom, step * 0.8)
    for row, y in enumerate(rows.tolist()):
        # Every other row is shifted by half a step.
        shift = step / 2 * (row % 2)
        columns = np.arange(shift, right, step)
        for x in columns.tolist():
            stage.disc((x, y), radius, color)


def _draw_rays(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    color = stage.pattern_color
    rng = stage.rng
    x = rng.uniform(0.2, 0.8) * width
    y = rng.uniform(0.2, 0.9) * height
    center = (x, y)
    count = int(rng.integers(7, 13))
    turn = rng.uniform(0.0, 1.0)

    # Each ray is a triangle from the center to far outside the image.
    length = 2.0 * (width + height)
    for ray in range(count):
        corners = [center]
        for part in (0.0, 0.5):
            turns = ray + part + turn
            angle = 2 * math.pi * turns / count
            corner = _point_on_circle(center, length, angle)
            corners.append(corner)
        stage.polygon(corners, color)


def _draw_terrazzo(stage: Stage) -> None:
    width, height = stage.image.size
    stage.gradient(stage.far, stage.far)
    pale = mix(stage.far, PALE, 0.6)
    corner_turns = (0.0, 0.13, 0.37, 0.55, 0.82)
    chips = stage.rng.uniform(0.0, 1.0, (70, 5))
    for x, y, size, turn, tone in chips.tolist():
        center = (x * width, y * height)
        radius = (0.012 + 0.022 * size) * width
        corners = []
        for corner_turn in corner_turns:
            angle = 2 * math.pi * (corner_turn + turn)
            corner = _point_on_circle(center, radius, angle)
            corners.append(corner)

        color = pale
        if tone > 0.3:
            near_share = 0.9 * tone
            color = mix(stage.far, stage.near, near_share)
        stage.polygon(corners, color)


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


def _point_on_circle(center: Point, radius: float, angle: float) -> Point:
    """Return the point at an angle, in radians."""
    x, y = center
    x += radius * math.cos(angle)
    y += radius * math.sin(angle)
    return x, y


def _draw_sun_disc(stage: Stage, color: Color, *, share: float) -> None:
    width, height = stage.image.size
    x = stage.rng.uniform(0.15, 0.85) * width
    y = stage.rng.uniform(0.15, 0.45) * height
    radius = share * (width + height) / 2
    stage.disc((x, y), radius, color)


def _fill_below(
    stage: Stage, level: float, color: Color, *, swing: float = 0.0
) -> None:
    """Fill everything below a line that swings up and down by `swing` pixels."""
    width, bottom = stage.image.size
    rng = stage.rng
    slow_phase, fast_phase = rng.uniform(0.0, 6.3, 2)
    frequencies = rng.uniform(3.0, 9.0, 2)
    frequencies /= width
    slow_frequency, fast_frequency = frequencies

    # Two waves, the fast one half as high.
    x = np.linspace(0.0, width, 60)
    slow_wave = np.sin(slow_phase + x * slow_frequency)
    fast_wave = np.sin(fast_phase + 2 * x * fast_frequency)
    wave = slow_wave + 0.5 * fast_wave
    y = level + swing * wave
    line = np.stack([x, y], axis=1)
    corners = line.tolist()
    corners.append((width, bottom))
    corners.append((0, bottom))
    stage.polygon(corners, color)
