"""Points of interest: whether two small images show the same pixels, shifted, turned or scaled.

SIFT finds points that look alike at every rotation and scale. If enough of them match by one
similarity transform, it is fitted as an affine one, which also squeezes, and the images are laid
upon each other and compared pixel by pixel.

References
----------
Lowe: Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.types import Places, VectorsF32

__all__ = [
    "MIN_CORRELATION",
    "MIN_INLIERS",
    "Alignment",
    "PointFeatures",
    "align",
    "find_points",
]

# A copy has at least this many matching points, and an overlap that is as alike as this.
MIN_INLIERS = 15
MIN_CORRELATION = 0.85

# Thumbnails are doubled, because SIFT finds few points on so few pixels.
_ENLARGEMENT = 2
_POINTS = 300
# A match must be this much nearer than the next best one, on both sides.
_RATIO = 0.85
_RANSAC_PIXELS = 4.0
_RANSAC_STEPS = 2000
_RANSAC_CONFIDENCE = 0.995
# The scale of one image in the other. RANSAC finds "matches" that shrink all points into one.
_MIN_SCALE = 0.3
_MAX_SCALE = 3.3
# How much longer one direction may become than another.
_MAX_STRETCH = 2.0
# The number of times that the transform is fitted to the points that it brings together.
_FITS = 2
# Matching points of one cell, in pixels of the doubled thumbnail, count once: a repeated
# texture or a word has dozens in one place.
_CELL = 6
# The pixels of the overlap that a correlation needs.
_MIN_OVERLAP = 200

# SIFT's descriptor has 4 x 4 places with 8 directions each. A mirrored image has the rows of
# places and the directions in reverse order.
_PLACES = np.arange(128).reshape(4, 4, 8)
_MIRRORED = _PLACES[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()

Gray = npt.NDArray[np.uint8]


class PointFeatures(NamedTuple):
    """The points of interest of a thumbnail.

    Attributes
    ----------
    points
        float32 ``[n, 2]``, x and y in pixels of the doubled thumbnail.
    descriptors
        uint8 ``[n, 128]``.
    gray
        uint8 ``[height, width]``, the thumbnail in gray, not doubled.
    """

    points: VectorsF32
    descriptors: npt.NDArray[np.uint8]
    gray: Gray

    def mirrored(self) -> PointFeatures:
        """Return the features of the mirror image, without looking for them again."""
        width = _ENLARGEMENT * self.gray.shape[1]
        points = self.points.copy()
        points[:, 0] = width - 1 - points[:, 0]
        descriptors = self.descriptors[:, _MIRRORED]
        gray = np.ascontiguousarray(self.gray[:, ::-1])
        return PointFeatures(points, descriptors, gray)


class Alignment(NamedTuple):
    """How well one image lies upon another one.

    Attributes
    ----------
    inliers
        The number of cells with points that match by one transform; 0 if fewer points than
        `MIN_INLIERS` match at all.
    correlation
        The normalized cross-correlation of the overlap, -1 to 1; 0 without an overlap.
    is_mirrored
        Whether one of the images was mirrored first.
    """

    inliers: int
    correlation: float
    is_mirrored: bool

    @property
    def is_copy(self) -> bool:
        """Whether the images show the same pixels."""
        has_points = self.inliers >= MIN_INLIERS
        is_correlated = self.correlation >= MIN_CORRELATION
        return has_points and is_correlated


def find_points(thumbnail: Image.Image) -> PointFeatures:
    """Return the points of interest of a thumbnail, at most 300."""
    import cv2

    gray_image = thumbnail.convert("L")
    doubled = gray_image.resize(
        (_ENLARGEMENT * thumbnail.width, _ENLARGEMENT * thumbnail.height),
        Image.Resampling.BICUBIC,
    )
    detector = _detector()
    keypoints, descriptors = detector.detectAndCompute(np.asarray(doubled), None)
    gray = np.asarray(gray_image)
    if descriptors is None:
        return PointFeatures(
            np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8), gray
        )
    points = np.asarray(cv2.KeyPoint.convert(keypoints), np.float32)
    # OpenCV returns whole numbers as float32, and now and then one point more.
    whole = descriptors.astype(np.uint8)
    return PointFeatures(points[:_POINTS], whole[:_POINTS], gray)


def align(first: PointFeatures, second: PointFeatures) -> Alignment:
    """Lay one image upon another one, as it is and, where that fails, mirrored."""
    plain = _align(first, second, is_mirrored=False)
    if plain.is_copy:
        return plain
    mirror_image = second.mirrored()
    mirrored = _align(first, mirror_image, is_mirrored=True)
    if mirrored.is_copy:
        return mirrored
    return plain


def _align(
    first: PointFeatures, second: PointFeatures, *, is_mirrored: bool
) -> Alignment:
    import cv2

    none = Alignment(0, 0.0, is_mirrored)
    matches = _matches(first.descriptors, second.descriptors)
    first_places, second_places = matches
    count = len(first_places)
    if count < MIN_INLIERS:
        return none
    from_points = first.points[first_places]
    to_points = second.points[second_places]
    transform, is_inlier = cv2.estimateAffinePartial2D(
        from_points,
        to_points,
        method=cv2.RANSAC,
        ransacReprojThreshold=_RANSAC_PIXELS,
        maxIters=_RANSAC_STEPS,
        confidence=_RANSAC_CONFIDENCE,
    )
    if transform is None:
        return none
    fitted = np.asarray(transform, np.float64)
    inlier_rows = np.flatnonzero(is_inlier)
    for _ in range(_FITS):
        if len(inlier_rows) < MIN_INLIERS:
            return none
        fitted = _fit(from_points[inlier_rows], to_points[inlier_rows])
        moved = from_points @ fitted[:, :2].T + fitted[:, 2]
        apart = np.linalg.norm(moved - to_points, axis=1)
        inlier_rows = np.flatnonzero(apart < _RANSAC_PIXELS)
    if not _is_plausible(fitted):
        return none

    first_cells = _count_cells(from_points[inlier_rows])
    second_cells = _count_cells(to_points[inlier_rows])
    inliers = min(first_cells, second_cells)
    correlation = _correlation(first.gray, second.gray, fitted)
    return Alignment(inliers, correlation, is_mirrored)


def _fit(from_points: VectorsF32, to_points: VectorsF32) -> npt.NDArray[np.float64]:
    """Return the affine transform, ``[2, 3]``, with the least squared distances."""
    ones = np.ones(len(from_points))
    columns = np.column_stack([from_points, ones])
    solution, *_ = np.linalg.lstsq(columns, to_points, rcond=None)
    return np.asarray(solution.T, np.float64)


def _is_plausible(transform: npt.NDArray[np.float64]) -> bool:
    """Return whether the scale lies within bounds in all directions, and is much like one."""
    linear = transform[:, :2]
    largest, smallest = np.linalg.svd(linear, compute_uv=False)
    if smallest < _MIN_SCALE or largest > _MAX_SCALE:
        return False
    return bool(largest <= _MAX_STRETCH * smallest)


def _matches(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]
) -> tuple[Places, Places]:
    """Return the rows of descriptors that are each other's nearest, clearly before the next."""
    none = np.empty(0, np.intp)
    if min(len(first), len(second)) < 2:
        return none, none
    left = first.astype(np.float32)
    right = second.astype(np.float32)
    left_squares = np.einsum("nd,nd->n", left, left)
    right_squares = np.einsum("nd,nd->n", right, right)
    squares = left_squares[:, np.newaxis] + right_squares - 2 * (left @ right.T)

    # Pairs that are each other's nearest.
    nearest = squares.argmin(axis=1)
    nearest_back = squares.argmin(axis=0)
    rows = np.flatnonzero(nearest_back[nearest] == np.arange(len(left)))
    columns = nearest[rows]
    if len(rows) < MIN_INLIERS:
        return none, none

    # The next best of their rows, and of their columns.
    distances = squares[rows, columns]
    squares[rows, columns] = np.inf
    next_best = np.minimum(squares[rows].min(axis=1), squares[:, columns].min(axis=0))
    is_clear = distances < _RATIO**2 * next_best
    return rows[is_clear], columns[is_clear]


def _count_cells(points: VectorsF32) -> int:
    """Return the number of cells that hold points."""
    positions = points / _CELL
    cells = np.floor(positions)
    distinct = np.unique(cells, axis=0)
    return len(distinct)


def _correlation(first: Gray, second: Gray, transform: npt.NDArray[Any]) -> float:
    """Return the normalized cross-correlation of two images where they overlap.

    Parameters
    ----------
    first, second
        The images in gray, not doubled.
    transform
        ``[2, 3]``, from pixels of the first doubled image to those of the second.
    """
    import cv2

    # The centers of the pixels of a doubled image lie half a pixel apart from the others.
    linear = transform[:, :2]
    center = np.full(2, (_ENLARGEMENT - 1) / 2)
    shift = (linear @ center + transform[:, 2] - center) / _ENLARGEMENT
    small = np.column_stack([linear, shift])

    height, width = second.shape
    moved = cv2.warpAffine(first, small, (width, height), flags=cv2.INTER_LINEAR)
    inside = np.full(first.shape, 255, np.uint8)
    mask = cv2.warpAffine(inside, small, (width, height), flags=cv2.INTER_LINEAR)
    overlap = mask == 255
    if np.count_nonzero(overlap) < _MIN_OVERLAP:
        return 0.0
    left = moved[overlap].astype(np.float64)
    right = second[overlap].astype(np.float64)
    left -= left.mean()
    right -= right.mean()
    norm = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / norm) if norm > 0 else 0.0


def _detector() -> Any:
    import cv2

    # The type stubs name the class, and not the function that all versions have.
    create = getattr(cv2, "SIFT_create")  # noqa: B009
    return create(nfeatures=_POINTS)
