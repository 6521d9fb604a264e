"""Visual words: the points of interest of an image as numbers of two bytes.

Copies share many words, however they are turned, scaled or cropped. Both halves of a descriptor
are named by the nearest of 256 prototypes each, and the two names make one of 65,536 words. The
prototypes are the centers of clusters of descriptors of drawn images (`scripts/prototypes`).

References
----------
Sivic, Zisserman: Video Google: A Text Retrieval Approach to Object Matching in Videos, ICCV 2003.
Babenko, Lempitsky: The Inverted Multi-Index, CVPR 2012.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from lookalike.duplicates.points import PointFeatures
from lookalike.types import VectorsF32

__all__ = [
    "PROTOTYPES",
    "PROTOTYPES_FILE",
    "WORDS",
    "Words",
    "WordsOfImage",
    "find_words",
]

PROTOTYPES = 256
WORDS = PROTOTYPES**2
PROTOTYPES_FILE = "prototypes.safetensors"

# uint16 [m], rising, each word once.
Words = npt.NDArray[np.uint16]


class WordsOfImage(NamedTuple):
    """The visual words of an image.

    Attributes
    ----------
    plain
        The words of the image as it is.
    mirrored
        Those of its mirror image.
    """

    plain: Words
    mirrored: Words


def find_words(features: PointFeatures) -> WordsOfImage:
    """Return the visual words of an image by its points of interest."""
    mirror_image = features.mirrored()
    plain = _words(features.descriptors)
    mirrored = _words(mirror_image.descriptors)
    return WordsOfImage(plain, mirrored)


def _words(descriptors: npt.NDArray[np.uint8]) -> Words:
    whole = descriptors.astype(np.float32)
    halves = np.split(whole, 2, axis=1)
    prototypes = _prototypes()
    upper, lower = (
        _nearest(half, centers)
        for half, centers in zip(halves, prototypes, strict=True)
    )
    words = upper * PROTOTYPES + lower
    distinct = np.unique(words)
    return distinct.astype(np.uint16)


def _nearest(rows: VectorsF32, centers: VectorsF32) -> npt.NDArray[np.intp]:
    squares = np.einsum("nd,nd->n", centers, centers)
    # The square of a row's own length is the same for all centers.
    distances = squares - 2 * (rows @ centers.T)
    nearest: npt.NDArray[np.intp] = distances.argmin(axis=1)
    return nearest


@lru_cache(maxsize=1)
def _prototypes() -> VectorsF32:
    """Return the prototypes of the upper and of the lower half, ``[2, 256, 64]``."""
    package = files("lookalike.duplicates")
    content = package.joinpath(PROTOTYPES_FILE).read_bytes()
    tensors = load(content)
    whole = tensors["prototypes"]
    return whole.astype(np.float32)
