"""Edits of photographs: the copies that a search should find.

Each edit is a deterministic function from an RGB image to an RGB image.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

Edit = Callable[[Image.Image], Image.Image]

_BLACK = (0, 0, 0)
_WHITE = (255, 255, 255)
_BAR = (32, 33, 36)


def jpeg(image: Image.Image) -> Image.Image:
    """Return the image as a JPEG of quality 30 shows it."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=30)
    with Image.open(file) as decoded:
        return decoded.convert("RGB")


def half_size(image: Image.Image) -> Image.Image:
    return _resized(image, 0.5)


def crop_10(image: Image.Image) -> Image.Image:
    return _cropped(image, 0.10)


def crop_25(image: Image.Image) -> Image.Image:
    return _cropped(image, 0.25)


def crop_40(image: Image.Image) -> Image.Image:
    return _cropped(image, 0.40)


def flip(image: Image.Image) -> Image.Image:
    return ImageOps.mirror(image)


def mirrored_crop(image: Image.Image) -> Image.Image:
    cropped = _cropped(image, 0.25)
    return ImageOps.mirror(cropped)


def rotate_5(image: Image.Image) -> Image.Image:
    """Return the image turned by 5 degrees; the corners that this opens are black."""
    return image.rotate(5, Image.Resampling.BICUBIC, expand=True, fillcolor=_BLACK)


def rotate_90(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90)


def gray(image: Image.Image) -> Image.Image:
    return ImageOps.grayscale(image).convert("RGB")


def brighter(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.4)


def darker(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(0.6)


def tint(image: Image.Image) -> Image.Image:
    """Return the image in a warm light: more red, less blue."""
    red, green, blue = image.split()
    warm_red = red.point(lambda value: min(255, round(value * 1.2)))
    cold_blue = blue.point(lambda value: round(value * 0.8))
    return Image.merge("RGB", (warm_red, green, cold_blue))


def contrast(image: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1.5)


def watermark(image: Image.Image) -> Image.Image:
    """Return the image with half-transparent words across its middle."""
    layer = Image.new("RGBA", image.size)
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(max(8, image.width // 8))
    middle = image.width / 2, image.height / 2
    draw.text(middle, "SAMPLE PHOTO", (*_WHITE, 128), font, anchor="mm")
    marked = Image.alpha_composite(image.convert("RGBA"), layer)
    return marked.convert("RGB")


def border(image: Image.Image) -> Image.Image:
    """Return the image in a white border, 8 % of its longer side."""
    width = round(0.08 * max(image.size))
    return ImageOps.expand(image, width, _WHITE)


def blur(image: Image.Image) -> Image.Image:
    """Return the image blurred, by 1 % of its longer side."""
    radius = 0.01 * max(image.size)
    return image.filter(ImageFilter.GaussianBlur(radius))


def screenshot(image: Image.Image) -> Image.Image:
    """Return the image as a telephone shows it: between two dark bars with words, at 80 %."""
    small = _resized(image, 0.8)
    bar = max(12, round(0.15 * small.height))
    screen = Image.new("RGB", (small.width, small.height + 2 * bar), _BAR)
    screen.paste(small, (0, bar))
    draw = ImageDraw.Draw(screen)
    font = ImageFont.load_default(max(8, bar // 2))
    draw.text((bar // 4, bar // 4), "12:30", _WHITE, font)
    draw.text((bar // 4, screen.height - 3 * bar // 4), "Share   Edit", _WHITE, font)
    return screen


EDITS: dict[str, Edit] = {
    "JPEG 30": jpeg,
    "half size": half_size,
    "crop 10 %": crop_10,
    "crop 25 %": crop_25,
    "crop 40 %": crop_40,
    "flip": flip,
    "rotation 5": rotate_5,
    "rotation 90": rotate_90,
    "gray": gray,
    "brighter": brighter,
    "darker": darker,
    "tint": tint,
    "contrast": contrast,
    "watermark": watermark,
    "border": border,
    "blur": blur,
    "mirrored crop": mirrored_crop,
    "screenshot": screenshot,
}


def _resized(image: Image.Image, scale: float) -> Image.Image:
    width = max(1, round(scale * image.width))
    height = max(1, round(scale * image.height))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, share: float) -> Image.Image:
    """Return the image without a share of its width and height, two thirds of it left and above."""
    width, height = image.size
    left = round(width * share * 2 / 3)
    top = round(height * share * 2 / 3)
    right = left + round(width * (1 - share))
    bottom = top + round(height * (1 - share))
    return image.crop((left, top, right, bottom))
