"""Measure a map on images, and on labels, that it was not learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.evaluation import metrics
from lookalike.evaluation.scores import METRICS, Estimate
from lookalike.learning.fit import LabelMoments, learn_axes
from lookalike.learning.report import Gains
from lookalike.models.learned import VectorMap
from lookalike.types import Places, Purpose, VectorsF16, VectorsF32
from lookalike.vectors.centering import Center

__all__ = [
    "AppliedMap",
    "LabeledVectors",
    "Learn",
    "TuneProgress",
    "learn_map",
    "measure_gains",
]

# The step that runs, the work done of it, and its total.
TuneProgress = Callable[[str, int, int], None]

# The images, and the labels, are split at random into so many parts. Each is left out in turn.
_THIRDS = 3
# More labeled images are measured on a sample of them.
_MAX_MEASURED = 4000
_MAX_LABELS = 160
_DRAWS = 1000

_PLAIN, _CENTERED, _TUNED = range(3)

_Values = npt.NDArray[np.float64]


class LabeledVectors(NamedTuple):
    """Vectors of a Space with their labels, as numbers.

    Attributes
    ----------
    rows
        float16 ``[n, dim]``.
    classes
        intp ``[n]``, the class of each row, from 0 on without a gap.
    contents
        intp ``[n]``, the same number for rows with the same vector: copies of one image.
    center
        The mean of all rows of the Space, labeled or not.
    """

    rows: VectorsF16
    classes: Places
    contents: Places
    center: Center

    def take(self, places: Places) -> LabeledVectors:
        """Return some of the rows; their classes are numbered again."""
        classes = self.classes[places]
        _, renumbered = np.unique(classes, return_inverse=True)
        return LabeledVectors(
            self.rows[places], renumbered, self.contents[places], self.center
        )


@dataclass(frozen=True, slots=True, eq=False)
class _HeldOut:
    """A part that is left out: the rows that are learned from, the queries, and the gallery."""

    learned: Places
    queries: Places
    gallery: Places


class AppliedMap(Protocol):
    """A map that was learned, such as a `VectorMap`."""

    def apply(self, rows: VectorsF16) -> VectorsF32:
        """Return the mapped vectors, float32 ``[n, any]``, of float16 ``[n, dim]``."""
        ...


# What learns a map from vectors and their labels.
Learn = Callable[[LabeledVectors], AppliedMap]


def learn_map(data: LabeledVectors, purpose: Purpose) -> VectorMap:
    """Learn the map of a purpose from vectors and their labels."""
    moments = LabelMoments.of(data.rows, data.classes, data.center)
    axes = learn_axes(moments, purpose)
    return VectorMap(data.center, axes, purpose)


def measure_gains(
    data: LabeledVectors,
    learn: Learn,
    *,
    seed: int = 0,
    progress: TuneProgress | None = None,
) -> tuple[Gains, Gains | None]:
    """Measure a map on what it was not learned from, with bootstrap 95 % intervals.

    Images are left out: a third of them at a time, each a query among this third. Then labels are
    left out: the images of a third of them at a time, each a query among all images. Copies of an
    image are left out together. Of more than 160 labels, 160 are drawn, and of more than 4,000
    images, 4,000.

    Parameters
    ----------
    data
        The vectors and their labels.
    learn
        Learns a map from some of them.
    seed
        The seed of the parts and of the bootstrap.
    progress
        Called with the step that runs, the number of queries ranked in it, and their total.

    Returns
    -------
    new_images, new_labels
        The gains on images, and on labels, that were left out. The second is None with two labels,
        because nothing can be learned from the one that is left.
    """
    random = np.random.default_rng(seed)
    progress = progress or _no_report
    data = _sample(data, random)
    image_parts = list(_image_splits(data, random))
    step = partial(progress, "Measuring on new images")
    new_images = _measure_splits(data, learn, image_parts, seed, step)
    class_count = int(data.classes.max()) + 1
    if class_count < _THIRDS:
        return new_images, None
    label_parts = list(_label_splits(data, random))
    step = partial(progress, "Measuring on labels left out")
    new_labels = _measure_splits(data, learn, label_parts, seed, step)
    return new_images, new_labels


def _no_report(_step: str, _done: int, _total: int) -> None:
    pass


def _sample(data: LabeledVectors, random: np.random.Generator) -> LabeledVectors:
    """Return the labeled vectors, or those of some labels and images drawn at random."""
    class_count = int(data.classes.max()) + 1
    chosen = np.arange(len(data.rows))
    if class_count > _MAX_LABELS:
        drawn_classes = random.choice(class_count, _MAX_LABELS, replace=False)
        is_drawn = np.isin(data.classes, drawn_classes)
        chosen = np.flatnonzero(is_drawn)
    if len(chosen) > _MAX_MEASURED:
        drawn = random.choice(chosen, _MAX_MEASURED, replace=False)
        chosen = np.sort(drawn)
    if len(chosen) == len(data.rows):
        return data
    return data.take(chosen)


def _image_splits(
    data: LabeledVectors, random: np.random.Generator
) -> Iterator[_HeldOut]:
    # Each class is spread evenly: its contents, in random order, go to the parts in turn.
    part_of = np.zeros(len(data.rows), np.intp)
    class_count = int(data.classes.max()) + 1
    for number in range(class_count):
        members = np.flatnonzero(data.classes == number)
        _, contents = np.unique(data.contents[members], return_inverse=True)
        order = random.permutation(int(contents.max()) + 1)
        part_of[members] = order[contents] % _THIRDS
    for part in range(_THIRDS):
        is_left_out = part_of == part
        left_out = np.flatnonzero(is_left_out)
        learned = np.flatnonzero(~is_left_out)
        yield _HeldOut(learned, left_out, left_out)


def _label_splits(
    data: LabeledVectors, random: np.random.Generator
) -> Iterator[_HeldOut]:
    class_count = int(data.classes.max()) + 1
    part_of_class = random.permutation(class_count) % _THIRDS
    part_of = part_of_class[data.classes]
    everything = np.arange(len(data.rows))
    for part in range(_THIRDS):
        is_left_out = part_of == part
        left_out = np.flatnonzero(is_left_out)
        learned = np.flatnonzero(~is_left_out)
        yield _HeldOut(learned, left_out, everything)


def _measure_splits(
    data: LabeledVectors,
    learn: Learn,
    parts: list[_HeldOut],
    seed: int,
    progress: Callable[[int, int], None],
) -> Gains:
    """Return the scores over the queries of all parts."""
    total = sum(len(part.queries) for part in parts)
    done = 0
    progress(done, total)
    plain = data.rows
    centered = data.center.center_all(plain)
    values_by_part = []
    classes_by_part = []
    for part in parts:
        labeled = data.take(part.learned)
        learned_map = learn(labeled)
        mapped = learned_map.apply(plain)
        tuned = mapped.astype(np.float16)

        # A query without another image of its class in the gallery measures nothing.
        class_count = int(data.classes.max()) + 1
        sizes = np.bincount(data.classes[part.gallery], minlength=class_count)
        relevant = sizes[data.classes[part.queries]] - 1
        queries = part.queries[relevant > 0]
        values = []
        for rows in (plain, centered, tuned):
            values.append(_rank(rows, data.classes, queries, part.gallery))
        values_by_part.append(np.stack(values, axis=1))
        classes_by_part.append(data.classes[queries])
        done += len(part.queries)
        progress(done, total)

    all_values = np.concatenate(values_by_part)
    all_classes = np.concatenate(classes_by_part)
    return _to_gains(all_values, all_classes, seed)


def _rank(
    rows: VectorsF16, classes: Places, queries: Places, gallery: Places
) -> _Values:
    """Return the metrics of each query among the other images of the gallery."""
    own = np.searchsorted(gallery, queries)
    query_rows = rows[queries]
    gallery_rows = rows[gallery]
    query_classes = classes[queries]
    gallery_classes = classes[gallery]
    values = np.empty((len(queries), len(METRICS)))
    for part, squares in vectors.distance_blocks(query_rows, gallery_rows, own=own):
        order = np.argsort(squares, axis=1, kind="stable")
        # The query itself is infinitely far: it comes last.
        others = order[:, :-1]
        own_classes = query_classes[part]
        hits = gallery_classes[others] == own_classes[:, np.newaxis]
        relevant = hits.sum(axis=1)
        values[part] = metrics.measure(hits, relevant)
    return values


def _to_gains(values: _Values, classes: Places, seed: int) -> Gains:
    """Return the means over queries; `values` is ``[queries, 3, metrics]``."""
    for kind in (_PLAIN, _CENTERED, _TUNED):
        metrics.weight_by_class(values[:, kind], classes)
    means = metrics.bootstrap(values, classes, _DRAWS, seed)

    def scores(kind: int) -> Estimate:
        estimates = metrics.estimates(values[:, kind], means[:, kind])
        return estimates["mean_class_map"]

    differences = metrics.estimates(
        values[:, _TUNED] - values[:, _PLAIN], means[:, _TUNED] - means[:, _PLAIN]
    )
    return Gains(
        queries=len(values),
        labels=len(np.unique(classes)),
        plain=scores(_PLAIN),
        centered=scores(_CENTERED),
        tuned=scores(_TUNED),
        gain=differences["mean_class_map"],
        precision_gain=differences["precision_at_1"],
    )
