"""Which parts of two images make them alike, or in which parts their pixels differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging
from lookalike.imaging import Region
from lookalike.models.embedder import OnnxEmbedder
from lookalike.types import Model, VectorsF32

__all__ = [
    "ExplainedImage",
    "Explanation",
    "explain_difference",
    "explain_likeness",
    "likeness_by_cell",
]

# Digits of a value in JSON.
_DIGITS = 6
# Keeps a division by a length of 0 finite.
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class ExplainedImage:
    """One of the two images of an explanation.

    Attributes
    ----------
    image
        Upright RGB.
    heat
        float32 ``[rows, columns]``, one value for each cell of the area; see `Explanation`.
    area
        The part of the image that the cells cover: all of it, unless the Model cuts out the center.
    is_thumbnail
        Whether the thumbnail took the place of an original that cannot be read.
    """

    image: Image.Image
    heat: VectorsF32
    area: Region
    is_thumbnail: bool = False

    @property
    def peak(self) -> tuple[float, float]:
        """The x and y, as fractions of the image, of the middle of the cell that counts most."""
        shape = self.heat.shape
        rows, columns = shape
        largest = self.heat.argmax()
        row, column = np.unravel_index(largest, shape)
        middle_x = float(column) + 0.5
        middle_y = float(row) + 0.5

        area = self.area
        x = area.x + area.width * middle_x / columns
        y = area.y + area.height * middle_y / rows
        return x, y

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data, without the image."""
        rounded = np.round(self.heat.astype(np.float64), _DIGITS)
        peak = [round(value, _DIGITS) for value in self.peak]
        return {
            "heat": rounded.tolist(),
            "peak": peak,
            "area": self.area.to_list(),
            "is_thumbnail": self.is_thumbnail,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why two images are near each other in a Space.

    Attributes
    ----------
    space
        The name of the Space.
    kind
        ``likeness`` for networks. The value of a cell says by how much the cosine of the two images
        would fall without the cell: from -2 to 2, in practice a few hundredths; below 0 where the
        cell makes the images less alike. There are 14 x 14 cells for EfficientNet-Lite, 12 x 12 for
        Inception-v3.

        ``difference`` for pixels. The value of a cell is the mean difference of its R, G and B,
        from 0 to 1, the same in both images. Cells are the pixels that the Space compares.
    similarity
        The cosine of the two images as the network sees them here, at a larger input than in a
        search; 1 minus the mean difference for pixels.
    query, match
        The two images and their cells.
    """

    space: str
    kind: Literal["likeness", "difference"]
    similarity: float
    query: ExplainedImage
    match: ExplainedImage

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as plain data, as ``lookalike explain --json`` prints it."""
        return {
            "space": self.space,
            "kind": self.kind,
            "similarity": round(self.similarity, _DIGITS),
            "query": self.query.to_dict(),
            "match": self.match.to_dict(),
        }


def explain_likeness(
    space: str, network: OnnxEmbedder, query: Image.Image, match: Image.Image
) -> Explanation:
    """Explain the likeness of two upright RGB images by the cells of a network.

    Parameters
    ----------
    space
        The name of the Space.
    network
        The Space's network, from `lookalike.models.cells.load_cells`.
    query, match
        The images.

    Raises
    ------
    ModelError
        If the network gives no cells.
    """
    model = network.model
    images = [imaging.prepare(image, model) for image in (query, match)]
    query_cells, match_cells = network.feature_map(np.stack(images))
    query_sum = query_cells.sum(axis=(0, 1))
    match_sum = match_cells.sum(axis=(0, 1))
    return Explanation(
        space=space,
        kind="likeness",
        similarity=_cosine(query_sum, match_sum),
        query=ExplainedImage(
            image=query,
            heat=likeness_by_cell(query_cells, match_sum),
            area=_seen_area(query, model),
        ),
        match=ExplainedImage(
            image=match,
            heat=likeness_by_cell(match_cells, query_sum),
            area=_seen_area(match, model),
        ),
    )


def likeness_by_cell(cells: VectorsF32, other: VectorsF32) -> VectorsF32:
    """Return by how much each cell raises the cosine of an image and another vector.

    With S the sum of the cells f_c and q the other vector, it is ``cos(S, q) - cos(S - f_c, q)``.

    Parameters
    ----------
    cells
        float32 ``[rows, columns, dim]``, the features of an image.
    other
        float32 ``[dim]``, the vector of the other image, of any length.

    Returns
    -------
    array
        float32 ``[rows, columns]``, from -2 to 2.
    """
    # In float64: a cell changes the cosine by a thousandth of its value.
    features = cells.astype(np.float64)
    direction = other.astype(np.float64)
    length = float(np.linalg.norm(direction))
    direction /= max(length, _TINY)

    total = features.sum(axis=(0, 1))
    rest = total - features
    whole_cosine = _cosine(total, direction)
    rest_lengths = np.linalg.norm(rest, axis=2)
    divisors = np.maximum(rest_lengths, _TINY)
    rest_cosines = rest @ direction / divisors
    fall = whole_cosine - rest_cosines
    heat: VectorsF32 = fall.astype(np.float32)
    return heat


def explain_difference(
    space: str, model: Model, query: Image.Image, match: Image.Image
) -> Explanation:
    """Explain the distance of two upright RGB images by the pixels that a pixel Space compares."""
    query_input = imaging.prepare(query, model)
    match_input = imaging.prepare(match, model)
    query_pixels = query_input.astype(np.float32)
    match_pixels = match_input.astype(np.float32)
    signed = query_pixels - match_pixels
    levels = np.abs(signed)
    difference = levels / 255
    heat: VectorsF32 = difference.mean(axis=2)
    mean_heat = heat.mean()
    mean_difference = float(mean_heat)
    similarity = 1 - mean_difference
    query_area = _seen_area(query, model)
    match_area = _seen_area(match, model)
    explained_query = ExplainedImage(query, heat, query_area)
    explained_match = ExplainedImage(match, heat, match_area)
    return Explanation(
        space=space,
        kind="difference",
        similarity=similarity,
        query=explained_query,
        match=explained_match,
    )


def _cosine(
    first: npt.NDArray[np.floating[Any]], second: npt.NDArray[np.floating[Any]]
) -> float:
    first_length = np.linalg.norm(first)
    second_length = np.linalg.norm(second)
    length = float(first_length * second_length)
    product = float(first @ second)
    return product / max(length, _TINY)


def _seen_area(image: Image.Image, model: Model) -> Region:
    """Return the part of an image that its Model sees."""
    if model.resize != "crop":
        return Region(0, 0, 1, 1)
    box = imaging.center_box(image, model)
    left, top, right, bottom = box
    width = right - left
    height = bottom - top
    return Region(
        left / image.width,
        top / image.height,
        width / image.width,
        height / image.height,
    )
