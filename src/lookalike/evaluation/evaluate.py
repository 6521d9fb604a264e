"""Evaluate how near the Spaces of a collection place the images of one label to each other.

Every labeled image is a query against all the others (leave-one-out), or the test images of a
manifest are queries against its train images. An image is relevant to a query if it has the
query's label.

The gallery is ranked for each query by the same ranking that a search uses: by Euclidean distance,
equal distances by id, unless others are named. In leave-one-out, only the mean of the rows, which
`centered` and `context` subtract, includes the query. Precision at k is the number of relevant
images among the first k, divided by k (also if the gallery is smaller). Recall at k is that number
divided by the number of all relevant images. R-precision is the precision at that number. AP is the
mean, over the relevant images, of the precision at the rank of each, and mAP is the mean of AP over
the queries; `mean_class_map` is the mean of the classes' mAPs.

Intervals are percentile bootstrap, 95 %: queries are drawn with replacement; for `mean_class_map`
within their class, so that each class keeps its size. The same draws serve every Space and ranking,
so that differences are paired.

References
----------
Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, chapter 8.
Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.errors import InputError
from lookalike.evaluation import metrics
from lookalike.evaluation.scores import CUTS, METRICS, Evaluation, SpaceScores
from lookalike.evaluation.task import EvaluationTask, make_task, read_split
from lookalike.retrieval.fusion import fuse_orders, fused_name
from lookalike.retrieval.ranking import Gallery, Ranking, resolve_ranking
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import Places, VectorsF16
from lookalike.vectors.exact import ExactIndex

__all__ = ["Evaluation", "evaluate"]

# The first neighbors that are looked at for confused classes.
_NEIGHBORS = 10

# A slice of the queries, and the order in which each ranks the gallery, intp ``[len(slice), n]``.
_Orders = tuple[slice, Places]

# The name of a Space, or of several, and that of a ranking.
_Title = tuple[str, str]


def evaluate(
    view: View,
    *,
    spaces: Sequence[str] | str = (),
    split: str | os.PathLike[str] | pa.Table | None = None,
    rankings: Sequence[str | Ranking] | str | Ranking = "plain",
    fused: bool = False,
    seed: int = 0,
    resamples: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Measure how near Spaces of a collection place the images of one label to each other.

    The module's text defines the scores.

    Parameters
    ----------
    view
        The collection at the version to measure.
    spaces
        Names of Spaces; all of the collection if none is named. Only images with a vector in each
        of them take part.
    split
        A manifest, or a path to one. Its test images are the queries, its train images the gallery,
        and its labels are used. None evaluates leave-one-out over all labeled images.
    rankings
        The name of a ranking, or a Ranking, or several; see `lookalike.retrieval.ranking`.
    fused
        Whether to measure the Spaces together too, as a search in several of them answers; see
        `lookalike.retrieval.fusion`. It needs two.
    seed, resamples
        The seed of the bootstrap and its number of resamples.
    progress
        Called with the number of queries ranked since the last call, in one Space and by one
        ranking after another.

    Raises
    ------
    InputError
        If fewer than two labels or no query are left, the manifest cannot be used or names no image
        of the collection, the ranking is unknown, `resamples` is below 1, or `seed` is below 0.
    SpaceError
        If the collection lacks a Space, or no labeled image has a vector in every Space.
    CollectionError
        If the collection cannot be read.
    """
    _check_resampling(seed, resamples)
    listed = [rankings] if isinstance(rankings, str | Ranking) else rankings
    resolved = [resolve_ranking(ranking) for ranking in listed]
    names = _requested_spaces(view, spaces)
    if fused and len(names) < 2:
        raise InputError(
            f"One Space, {names[0]}, cannot be fused. Name two or more, or evaluate it alone."
        )
    manifest = None if split is None else read_split(split)
    task = make_task(view, names, manifest)

    titles, measured = _measure_all(view, names, resolved, fused, task, progress)
    scores = _scores(titles, task, measured, resamples=resamples, seed=seed)
    return Evaluation(scores, task.counts, task.leave_one_out, seed, resamples)


def _measure_all(
    view: View,
    names: Sequence[str],
    rankings: Sequence[Ranking],
    fused: bool,
    task: EvaluationTask,
    progress: Callable[[int], None] | None,
) -> tuple[list[_Title], list[_SpaceMeasures]]:
    """Measure each Space by each ranking, then all Spaces together."""
    titles = []
    measured = []
    for space, ranking in product(names, rankings):
        orders = _SpaceOrders(view, space, ranking, task)
        with span(f"rank {space}"):
            measures = _measure(orders, task, progress)
        titles.append((space, ranking.name))
        measured.append(measures)
    if not fused:
        return titles, measured
    together = fused_name(names)
    for ranking in rankings:
        spaces = [_SpaceOrders(view, space, ranking, task) for space in names]
        fused_orders = _fused_orders(spaces)
        with span(f"rank {together}"):
            measures = _measure(fused_orders, task, progress)
        titles.append((together, ranking.name))
        measured.append(measures)
    return titles, measured


def _check_resampling(seed: int, resamples: int) -> None:
    if resamples < 1 or seed < 0:
        raise InputError(
            f"resamples = {resamples} with seed = {seed} gives no intervals; expected whole "
            "numbers, from 1 and from 0."
        )


def _requested_spaces(view: View, spaces: Sequence[str] | str) -> list[str]:
    """Return the names of the Spaces to measure, each once; all of them if none is named."""
    if isinstance(spaces, str):
        spaces = [spaces]
    if not spaces:
        spaces = list(view.models)
    names: dict[str, None] = {}
    for space in spaces:
        name = view.space(space)
        names[name] = None
    return list(names)


@dataclass(frozen=True, slots=True, eq=False)
class _SpaceMeasures:
    """The measures of one Space.

    Attributes
    ----------
    values
        float64 ``[queries, len(METRICS)]``.
    wrong
        intp ``[queries, 10]``, the classes of each query's ten nearest; -1 for its own class.
    """

    values: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.intp]


class _SpaceOrders:
    """The order in which each query ranks the gallery in one Space, by one ranking.

    Parameters
    ----------
    view, space, ranking
        The collection, the name of the Space, and the ranking.
    task
        The queries and the gallery.
    """

    def __init__(
        self, view: View, space: str, ranking: Ranking, task: EvaluationTask
    ) -> None:
        ids, matrix = view.vectors(space)
        rows = np.searchsorted(ids, task.ids)
        query_rows = rows[task.queries]
        self._queries = _take_rows(matrix, query_rows)
        gallery_rows = rows[task.gallery]
        gallery_vectors = _take_rows(matrix, gallery_rows)
        self._gallery = Gallery(task.ids[task.gallery], gallery_vectors)
        self._ranking = ranking
        self._own = task.queries if task.leave_one_out else None

    def __iter__(self) -> Iterator[_Orders]:
        """Yield blocks of queries. In leave-one-out, the query itself comes last."""
        k = max(CUTS)
        gallery = self._gallery
        stored = ExactIndex(gallery.ids, gallery.vectors)
        fitted = self._ranking.fit(stored)
        blocks = fitted.distance_blocks(self._queries, self._own)
        for part, squares in blocks:
            queries = self._queries[part]
            order = self._ranking.order_gallery(queries, gallery, squares, k)
            yield part, order


def _fused_orders(spaces: Sequence[_SpaceOrders]) -> Iterator[_Orders]:
    """Yield the orders of several Spaces as one, a query at a time."""
    rows = [_rows_of(orders) for orders in spaces]
    for number, orders in enumerate(zip(*rows, strict=True)):
        fused = fuse_orders(orders)
        yield slice(number, number + 1), fused[np.newaxis]


def _rows_of(orders: Iterable[_Orders]) -> Iterator[Places]:
    for _, block in orders:
        yield from block


def _measure(
    orders: Iterable[_Orders],
    task: EvaluationTask,
    progress: Callable[[int], None] | None,
) -> _SpaceMeasures:
    """Measure the order in which each query ranks the gallery, a block of queries at a time."""
    others = len(task.gallery)
    if task.leave_one_out:
        others -= 1
    count = len(task.queries)
    width = min(_NEIGHBORS, others)
    values = np.empty((count, len(METRICS)))
    wrong = np.empty((count, width), np.intp)

    own_classes = task.query_classes[:, np.newaxis]
    for part, order in orders:
        # In leave-one-out, the query itself comes last and is cut off.
        ranked = order[:, :others]
        found = task.gallery_classes[ranked]
        own_class = own_classes[part]
        hits = found == own_class
        relevant = task.relevant[part]
        values[part] = metrics.measure(hits, relevant)

        # The classes of the nearest, without the query's own.
        first = found[:, :_NEIGHBORS]
        is_hit = hits[:, :_NEIGHBORS]
        wrong[part] = np.where(is_hit, -1, first)
        if progress is not None:
            progress(len(order))
    metrics.weight_by_class(values, task.query_classes)
    return _SpaceMeasures(values, wrong)


def _take_rows(matrix: VectorsF16, rows: npt.NDArray[np.intp]) -> VectorsF16:
    """Return some rows, which rise; the matrix itself, not a copy, if these are all."""
    if len(rows) == len(matrix):
        return matrix
    return matrix[rows]


def _scores(
    titles: Sequence[_Title],
    task: EvaluationTask,
    measured: Sequence[_SpaceMeasures],
    *,
    resamples: int,
    seed: int,
) -> tuple[SpaceScores, ...]:
    """Return the means over the queries in each Space by each ranking, with their intervals."""
    values_by_space = [measures.values for measures in measured]
    values = np.stack(values_by_space, axis=1)
    with span("bootstrap"):
        means = metrics.bootstrap(values, task.query_classes, resamples, seed)

    first_values = values[:, 0]
    first_means = means[:, 0]
    scores = []
    for number, (space, ranking) in enumerate(titles):
        own_values = values[:, number]
        own_means = means[:, number]
        estimates = metrics.estimates(own_values, own_means)
        differences = {}
        if number > 0:
            # The same draws resample both, so the differences are paired.
            value_differences = own_values - first_values
            mean_differences = own_means - first_means
            differences = metrics.estimates(value_differences, mean_differences)
        classes = metrics.scores_by_class(task, own_values)
        wrong = measured[number].wrong
        confused = metrics.most_confused(task, wrong)
        space_scores = SpaceScores(
            space, ranking, estimates, differences, classes, confused
        )
        scores.append(space_scores)
    return tuple(scores)
