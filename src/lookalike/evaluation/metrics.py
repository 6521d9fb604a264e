"""The metrics of a ranking, their bootstrap intervals, and the results of each class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lookalike.evaluation.scores import CUTS, METRICS, ClassScores, Confusion, Estimate
from lookalike.evaluation.task import EvaluationTask

__all__ = [
    "MEAN_CLASS_MAP",
    "bootstrap",
    "estimates",
    "measure",
    "most_confused",
    "scores_by_class",
    "weight_by_class",
]

Values = npt.NDArray[np.float64]
Classes = npt.NDArray[np.intp]

MEAN_CLASS_MAP = METRICS.index("mean_class_map")

_MOST_CONFUSED = 20


def measure(hits: npt.NDArray[np.bool_], relevant: Classes) -> Values:
    """Return the metrics of each query.

    Parameters
    ----------
    hits
        bool ``[b, n]``, whether each image of a query's ranking is relevant.
    relevant
        intp ``[b]``, the number of relevant images of each query, all of them in its ranking.

    Returns
    -------
    values
        float64 ``[b, len(METRICS)]``. The column of `mean_class_map` holds the average precision.
    """
    count = len(hits)
    # One entry for each relevant image: the row of its query, and its rank from 0.
    rows, ranks = np.nonzero(hits)

    # Its number among the relevant images of the query, from 1.
    first_entries = np.cumsum(relevant) - relevant
    entries = np.arange(1, len(rows) + 1)
    numbers = entries - np.repeat(first_entries, relevant)
    precisions = numbers / (ranks + 1)
    precision_sums = np.bincount(rows, precisions, minlength=count)
    average_precision = precision_sums / relevant

    is_early = ranks < relevant[rows]
    early_counts = np.bincount(rows[is_early], minlength=count)
    r_precision = early_counts / relevant

    hit_counts = []
    for k in CUTS:
        first_hits = hits[:, :k]
        hit_counts.append(first_hits.sum(axis=1))
    within = np.stack(hit_counts, axis=1)
    precision_at = within / CUTS
    recall_at = within / relevant[:, np.newaxis]
    return np.column_stack(
        [average_precision, average_precision, r_precision, precision_at, recall_at]
    )


def weight_by_class(values: Values, classes: Classes) -> None:
    """Scale each query's share of `mean_class_map`, in place.

    The mean over the queries is then the mean of the means of the classes.
    """
    sizes = np.bincount(classes)
    class_count = np.count_nonzero(sizes)
    own_sizes = sizes[classes]
    weights = len(values) / (class_count * own_sizes)
    values[:, MEAN_CLASS_MAP] *= weights


def bootstrap(values: Values, classes: Classes, resamples: int, seed: int) -> Values:
    """Return the means of resampled queries.

    Queries are drawn with replacement; for `mean_class_map` within their class, so that each class
    keeps its size. The same draws serve every Space.

    Parameters
    ----------
    values
        float64 ``[queries, spaces, metrics]``.
    classes
        intp ``[queries]``.

    Returns
    -------
    means
        float64 ``[resamples, spaces, metrics]``.
    """
    count = len(values)
    rng = np.random.default_rng(seed)
    flat = values.reshape(count, -1)
    class_map = values[:, :, MEAN_CLASS_MAP]

    # The queries in the order of their classes, and the start and size of each one's class.
    by_class = np.argsort(classes, kind="stable")
    ordered = classes[by_class]
    starts = np.searchsorted(ordered, ordered)
    sizes = np.bincount(classes)[ordered]

    means = np.empty((resamples, *values.shape[1:]))
    for sample in means:
        drawn = rng.integers(count, size=count)
        times = np.bincount(drawn, minlength=count)
        flat_means = times @ flat / count
        sample[:] = flat_means.reshape(sample.shape)

        drawn_places = starts + rng.integers(sizes)
        drawn = by_class[drawn_places]
        times = np.bincount(drawn, minlength=count)
        sample[:, MEAN_CLASS_MAP] = times @ class_map / count
    return means


def estimates(values: Values, means: Values) -> dict[str, Estimate]:
    """Return the mean of each metric, and the 2.5th and 97.5th percentile of its resampled means.

    `values` is ``[queries, metrics]``, `means` is ``[resamples, metrics]``.
    """
    value = values.mean(axis=0)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    found = {}
    for column, name in enumerate(METRICS):
        found[name] = Estimate(
            value=float(value[column]),
            low=float(low[column]),
            high=float(high[column]),
        )
    return found


def scores_by_class(task: EvaluationTask, values: Values) -> dict[str, ClassScores]:
    """Return the mean scores of each class that has queries; `values` is ``[queries, metrics]``."""
    queries = np.bincount(task.query_classes)
    means = []
    for name in ("map", "precision_at_1", "precision_at_10"):
        column = METRICS.index(name)
        sums = np.bincount(task.query_classes, values[:, column])
        with np.errstate(invalid="ignore"):
            # A class without queries has no mean.
            means.append(sums / queries)

    scores = {}
    for number in np.flatnonzero(queries):
        label = task.labels[number]
        query_count = int(queries[number])
        class_means = [float(column[number]) for column in means]
        scores[label] = ClassScores(query_count, *class_means)
    return scores


def most_confused(task: EvaluationTask, wrong: Classes) -> tuple[Confusion, ...]:
    """Return the pairs of classes that are confused most often, worst first.

    Parameters
    ----------
    wrong
        intp ``[queries, 10]``, the classes of the ten nearest of each query; -1 for its own class.
    """
    # A pair of classes as one number.
    label_count = len(task.labels)
    own_classes = task.query_classes[:, np.newaxis]
    pair_numbers = own_classes * label_count + wrong
    is_wrong = wrong >= 0
    pairs, times = np.unique(pair_numbers[is_wrong], return_counts=True)

    # The share of all the neighbors of a class's queries that the other class takes.
    query_counts = np.bincount(task.query_classes)
    own_numbers = pairs // label_count
    neighbor_counts = query_counts[own_numbers] * wrong.shape[1]
    shares = times / neighbor_counts
    worst_first = np.lexsort((pairs, -shares))

    confusions = []
    for place in worst_first[:_MOST_CONFUSED]:
        own, other = divmod(int(pairs[place]), label_count)
        confusion = Confusion(
            label=task.labels[own],
            taken_for=task.labels[other],
            share=float(shares[place]),
        )
        confusions.append(confusion)
    return tuple(confusions)
