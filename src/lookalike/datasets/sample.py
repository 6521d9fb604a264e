"""The drawn sample: nine small classes of images, drawn here, so that a demo needs no download.

Each image is a subject (`silhouettes`, `vehicles`) on a backdrop (`backdrops`). Backdrop, colors,
size, and position have the same distributions in every class. Pixels alone therefore say little
about the class, and the shape says everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lookalike.datasets import silhouettes, vehicles
from lookalike.datasets.backdrops import choose_backdrop_colors, draw_backdrop
from lookalike.datasets.pen import INK, PALE, Color, Pen, SubjectColors
from lookalike.errors import InputError
from lookalike.io.files import atomic_write

__all__ = ["CLASSES", "draw_sample_image", "write_sample"]


@dataclass(frozen=True)
class Subject:
    """How a class is drawn.

    Attributes
    ----------
    draw
        The function that draws it.
    tilt
        The largest tilt, in degrees.
    stands
        Whether it stands on the ground, and casts its shadow there.
    """

    draw: Callable[[Pen, SubjectColors, np.random.Generator], None]
    tilt: float
    stands: bool = True


SUBJECTS: dict[str, Subject] = {
    "airplane": Subject(vehicles.draw_airplane, tilt=28.0, stands=False),
    "bicycle": Subject(vehicles.draw_bicycle, tilt=7.0),
    "butterfly": Subject(silhouettes.draw_butterfly, tilt=45.0, stands=False),
    "car": Subject(vehicles.draw_car, tilt=4.0),
    "cat": Subject(silhouettes.draw_cat, tilt=5.0),
    "guitar": Subject(silhouettes.draw_guitar, tilt=60.0, stands=False),
    "mushroom": Subject(silhouettes.draw_mushroom, tilt=6.0),
    "sailboat": Subject(vehicles.draw_sailboat, tilt=9.0),
    "teapot": Subject(silhouettes.draw_teapot, tilt=5.0),
}
CLASSES: tuple[str, ...] = tuple(SUBJECTS)

_SIZES = ((320, 240), (300, 300), (240, 320), (360, 240), (320, 256))
# The side of the subject's canvas in pixels, two to four times its final size.
_CANVAS = 840
# The least difference between a subject and its backdrop, summed over the color channels.
_MIN_CONTRAST = 150

# Sets of main, second, and accent color.
_COLOR_SETS: tuple[tuple[Color, Color, Color], ...] = (
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


def draw_sample_image(label: str, index: int, *, seed: int = 0) -> Image.Image:
    """Draw one image of a class.

    Parameters
    ----------
    label
        One of `CLASSES`.
    index
        The number of the image in its class, from 0.
    seed
        Another seed gives another sample.

    Returns
    -------
    PIL.Image.Image
        An RGB image about 300 pixels wide. The same arguments give the same pixels.

    Raises
    ------
    InputError
        If the class is unknown, or a number is negative.
    """
    if label not in SUBJECTS:
        raise InputError(
            f"The drawn sample has no class {label!r}. Choose one of: {', '.join(CLASSES)}."
        )
    if index < 0 or seed < 0:
        raise InputError(
            f"Cannot draw image {index} with seed {seed}: both count from 0. Give 0 or more."
        )

    # The order of the random draws is part of each image: changing it changes the sample.
    class_index = CLASSES.index(label)
    bits = np.random.PCG64([class_index, index, seed])
    rng = np.random.Generator(bits)
    width, height = _SIZES[rng.integers(len(_SIZES))]
    far, near = choose_backdrop_colors(rng)
    subject_colors = _choose_subject_colors(far, near, rng)
    subject = _draw_subject(label, subject_colors, rng)
    subject = _scale_to_frame(subject, width, height, rng)

    # Place the subject, and the ground a little above its foot.
    free_x = width - subject.width
    free_y = height - subject.height
    left = round(free_x * rng.uniform(0.06, 0.94))
    top = round(free_y * rng.uniform(0.2, 0.92))
    foot = top + subject.height
    lift = height * rng.uniform(0.04, 0.14)
    ground = foot - round(lift)

    image = draw_backdrop((width, height), ground, colors=(far, near), rng=rng)
    if SUBJECTS[label].stands:
        _draw_shadow_on_ground(image, left, foot, subject.width)
    else:
        _draw_shadow_behind(image, left, top, subject)
    image.paste(subject, (left, top), subject)
    return image


def write_sample(folder: Path, *, per_class: int = 40, seed: int = 0) -> Path:
    """Write the drawn sample as ``folder/<label>/<label>_0001.jpg`` and so on.

    Parameters
    ----------
    folder
        The target folder, which is created if needed. Existing files are never overwritten.
    per_class
        The number of images of each class.
    seed
        As for `draw_sample_image`.

    Returns
    -------
    Path
        `folder`.
    """
    for label in CLASSES:
        class_folder = folder / label
        class_folder.mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            number = index + 1
            name = f"{label}_{number:04d}.jpg"
            path = class_folder / name
            if path.exists():
                continue
            image = draw_sample_image(label, index, seed=seed)
            _write_jpeg(image, path)
    return folder


def _choose_subject_colors(
    far: Color, near: Color, rng: np.random.Generator
) -> SubjectColors:
    """Choose colors that stand out from the backdrop."""

    def contrast(colors: tuple[Color, Color, Color]) -> float:
        main = colors[0]
        to_far = _color_difference(main, far)
        to_near = _color_difference(main, near)
        return min(to_far, to_near)

    clear = []
    for colors in _COLOR_SETS:
        if contrast(colors) > _MIN_CONTRAST:
            clear.append(colors)
    if not clear:
        best = max(_COLOR_SETS, key=contrast)
        clear.append(best)

    chosen = rng.integers(len(clear))
    main, second, accent = clear[chosen]
    # Thin lines are dark on a light backdrop, and light on a dark one.
    brightness = sum(far) + sum(near)
    line = PALE
    if brightness > 620:
        line = INK
    return SubjectColors(main, second, accent, line)


def _color_difference(first: Color, second: Color) -> int:
    total = 0
    channels = zip(first, second, strict=True)
    for a, b in channels:
        difference = a - b
        total += abs(difference)
    return total


def _draw_subject(
    label: str, colors: SubjectColors, rng: np.random.Generator
) -> Image.Image:
    """Draw a subject, tilted and perhaps mirrored, and cut off the empty border."""
    subject = SUBJECTS[label]
    tilt = rng.uniform(-subject.tilt, subject.tilt)
    mirror = rng.random() < 0.5
    pen = Pen(_CANVAS, tilt=tilt, mirror=mirror)
    subject.draw(pen, colors, rng)
    drawn_box = pen.layer.getbbox()
    return pen.layer.crop(drawn_box)


def _scale_to_frame(
    subject: Image.Image, width: int, height: int, rng: np.random.Generator
) -> Image.Image:
    """Scale a subject to a random share of the frame's area, but let it fit inside."""
    old_width, old_height = subject.size
    frame_area = width * height
    subject_area = old_width * old_height
    by_area = rng.uniform(0.44, 0.78) * math.sqrt(frame_area / subject_area)
    by_width = 0.94 * width / old_width
    by_height = 0.94 * height / old_height
    scale = min(by_area, by_width, by_height)

    new_width = round(old_width * scale)
    new_height = round(old_height * scale)
    new_size = (new_width, new_height)
    return subject.resize(new_size, Image.Resampling.LANCZOS)


def _draw_shadow_on_ground(
    image: Image.Image, left: int, foot: int, width: int
) -> None:
    """Draw a soft ellipse under a subject that stands."""
    depth = max(5, width // 22)
    top = foot - 1.6 * depth
    right = left + width
    bottom = foot + 0.8 * depth
    shadow = Image.new("L", image.size)
    drawing = ImageDraw.Draw(shadow)
    drawing.ellipse((left, top, right, bottom), fill=90)
    _paste_shadow(image, shadow, blur=3)


def _draw_shadow_behind(
    image: Image.Image, left: int, top: int, subject: Image.Image
) -> None:
    """Draw a soft copy of a subject that does not stand, a little lower and to the right."""
    cover = subject.getchannel("A")
    faint_cover = cover.point(lambda level: level // 3)
    corner = (left + 5, top + 8)
    shadow = Image.new("L", image.size)
    shadow.paste(faint_cover, corner)
    _paste_shadow(image, shadow, blur=5)


def _paste_shadow(image: Image.Image, shadow: Image.Image, *, blur: int) -> None:
    """Darken an image where a shadow is, after blurring the shadow."""
    soft = ImageFilter.GaussianBlur(blur)
    blurred = shadow.filter(soft)
    image.paste(INK, mask=blurred)


def _write_jpeg(image: Image.Image, path: Path) -> None:
    # Encoded in memory: Pillow does not notice a disk that takes only part of a file.
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=90)
    content = encoded.getbuffer()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
