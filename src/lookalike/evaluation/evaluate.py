"""Evaluation: how well a collection's Spaces bring together the images that the user gave one label.

Every labelled image is a query against all the others (leave-one-out), or those of a manifest's test split against
its train split. An image is relevant to a query if it has the query's label.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike import vectors
from lookalike.datasets.manifest import SCHEMA, read_manifest
from lookalike.errors import InputError, SpaceError
from lookalike.evaluation.scores import (
    CUTS,
    METRICS,
    ClassScores,
    Confusion,
    Counts,
    Estimate,
    Evaluation,
    SpaceScores,
)
from lookalike.store.view import View
from lookalike.tracing import span

__all__ = ["Evaluation", "evaluate"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_MOST_CONFUSED = 20
_MEAN_CLASS_MAP = METRICS.index("mean_class_map")


def evaluate(
    collection: View,
    *,
    spaces: Sequence[str] | str = (),
    split: str | os.PathLike[str] | pa.Table | None = None,
    seed: int = 0,
    resamples: int = 1000,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Measure how well Spaces of a collection bring together the images of one label.

    For each query the gallery is ranked by Euclidean distance, equal distances by id. Precision at k is the number of
    relevant images among the first k, divided by k (also where the gallery is smaller); recall at k is that number
    divided by all that are relevant; R-precision is the precision at as many as are relevant. AP is the mean, over
    the relevant, of the precision at the rank of each, and mAP the mean of AP over the queries; `mean_class_map` is
    the mean over the classes of their mAPs.

    Intervals are percentile bootstrap, 95 %: queries are drawn again with replacement; for `mean_class_map` within
    their class, so that each keeps its size. The same draws serve every Space, so that differences are paired.

    Parameters
    ----------
    collection
        The collection, at the version that is measured.
    spaces
        Names of Spaces; all that the collection has if there are none. Only images with a vector in each take part.
    split
        A manifest, or a path to one: its test images are then the queries, its train images the gallery, and its
        labels those that count. None for leave-one-out over all labelled images.
    seed, resamples
        Of the bootstrap.
    progress
        Called with the number of queries ranked since its last call, in one Space after another.

    Raises
    ------
    InputError
        If fewer than two labels or no query is left to evaluate, the manifest cannot be used or names no image of
        the collection, or `resamples` is below 1
        or `seed` below 0.
    SpaceError
        If the collection lacks a Space, or has no vector in it.
    CollectionError
        If the collection cannot be read.

    References
    ----------
    Manning, Raghavan, Schütze: Introduction to Information Retrieval, 2008, chapter 8. Efron, Tibshirani: An
    Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
    """
    if resamples < 1 or seed < 0:
        raise InputError(
            f"resamples = {resamples} with seed = {seed} gives no intervals; expected whole numbers, from 1 and from 0."
        )
    asked = [spaces] if isinstance(spaces, str) else list(spaces) or list(collection.models)
    names = list(dict.fromkeys(collection.space(name) for name in asked))
    listed = None if split is None else _listed(split)
    task = _task(collection, names, listed)
    ranked = [_rank(collection, name, task, progress or (lambda _: None)) for name in names]
    scores = _scores(names, task, ranked, resamples=resamples, seed=seed)
    return Evaluation(scores, task.counts, task.leave_one_out, seed, resamples)


class _Listed(NamedTuple):
    """What a manifest says: how messages name it, and label and split by uri."""

    name: str
    rows: dict[str, tuple[str | None, str]]


class _Image(NamedTuple):
    """A labelled image of the collection; its part is ``train``, ``test`` or, in leave-one-out, ``both``."""

    id: int
    label: str
    part: str
    spaces: frozenset[str]


class _Task(NamedTuple):
    """Which rows are compared with which.

    `ids` rise; `queries` and `gallery` are places among them, and their classes are places in `labels`. `relevant`
    says how many the gallery holds for each query.
    """

    ids: npt.NDArray[np.int64]
    labels: list[str]
    queries: Rows
    query_classes: Rows
    gallery: Rows
    gallery_classes: Rows
    relevant: Rows
    leave_one_out: bool
    counts: Counts


class _Ranked(NamedTuple):
    """Of one Space: ``[queries, len(METRICS)]``, and the classes of each query's ten first, -1 where it is its own."""

    values: Floats
    wrong: Rows


def _listed(split: str | os.PathLike[str] | pa.Table) -> _Listed:
    """Read the manifest; one that is given as a table is checked as far as it is used."""
    if isinstance(split, pa.Table):
        name, table = "The manifest", split
        if not set(SCHEMA.names) <= set(table.column_names) or not set(
            table["split"].to_pylist()
        ) <= {"train", "test"}:
            raise InputError(
                f"{name} has the columns {table.column_names}; expected {SCHEMA.names}, with train or test as split."
            )
    else:
        name, table = f"The manifest {os.fspath(split)}", read_manifest(Path(split).expanduser())
    labels, parts = table["label"].to_pylist(), table["split"].to_pylist()
    return _Listed(
        name, dict(zip(table["uri"].to_pylist(), zip(labels, parts, strict=True), strict=True))
    )


def _task(collection: View, spaces: Sequence[str], listed: _Listed | None) -> _Task:
    """Decide which images are queries, and which are gallery."""
    images, unlabelled = _labelled(collection, listed)
    kept = sorted(image for image in images if image.spaces.issuperset(spaces))
    if not kept:
        raise SpaceError(
            f"No labelled image of {collection.path} has a vector in {' and in '.join(spaces)}. "
            f"Fill the Spaces that it has with: lookalike index FOLDER -c {collection.path}"
        )
    labels = sorted({image.label for image in kept})
    number = {label: index for index, label in enumerate(labels)}
    classes = np.array([number[image.label] for image in kept], np.intp)
    gallery = np.flatnonzero([image.part != "test" for image in kept])
    asked = np.flatnonzero([image.part != "train" for image in kept])
    relevant = np.bincount(classes[gallery], minlength=len(labels))[classes[asked]] - (
        listed is None
    )
    queries = asked[relevant > 0]
    if len(np.unique(classes[gallery])) < 2 or not len(queries):
        raise InputError(
            f"{listed.name if listed else collection.path} gives {len(gallery):,} images to search among (labels: "
            f"{len(np.unique(classes[gallery])):,}), and {len(queries):,} queries that share their label with another "
            "of them; expected two labels and a query at least. "
            + (
                "Write it anew with more classes in both of its splits."
                if listed
                else _how_to_label(collection)
            )
        )
    counts = Counts(
        queries=len(queries),
        gallery=len(gallery),
        skipped=len(asked) - len(queries),
        unlabelled=unlabelled,
        left_out=len(images) - len(kept),
        absent=len(listed.rows) - len(images) - unlabelled if listed else 0,
    )
    ids = np.array([image.id for image in kept], np.int64)
    relevant = relevant[relevant > 0]
    return _Task(
        ids,
        labels,
        queries,
        classes[queries],
        gallery,
        classes[gallery],
        relevant,
        listed is None,
        counts,
    )


def _labelled(collection: View, listed: _Listed | None) -> tuple[list[_Image], int]:
    """Return the images that may take part, and how many others have no label."""
    images, unlabelled = [], 0
    for batch in collection.scan(["uri", "label", "spaces"]):
        columns = (batch[name].to_pylist() for name in ("_rowid", "uri", "label", "spaces"))
        for row_id, uri, own, spaces in zip(*columns, strict=True):
            if listed is not None and uri not in listed.rows:
                continue
            label, part = (own, "both") if listed is None else listed.rows[uri]
            if label is None:
                unlabelled += 1
            else:
                images.append(_Image(row_id, label, part, frozenset(spaces or ())))
    if not images and listed is not None:
        raise InputError(
            f"{listed.name} lists {len(listed.rows):,} images, and {collection.path} holds none of them under these "
            "uris. Index the folder that the manifest was written for, or write the manifest anew."
        )
    if not images:
        raise InputError(
            f"{collection.path} holds no image with a label, and {unlabelled:,} without. {_how_to_label(collection)}"
        )
    return images, unlabelled


def _how_to_label(collection: View) -> str:
    return (
        "A picture's label is the name of its folder: put the pictures of each class into a folder of their own, "
        f"then: lookalike index FOLDER -c {collection.path} --labels folder"
    )


def _rank(collection: View, space: str, task: _Task, progress: Callable[[int], None]) -> _Ranked:
    """Rank the gallery for each query, and measure."""
    ids, matrix = collection.vectors(space)
    rows = np.searchsorted(ids, task.ids)
    queries, gallery = (_rows(matrix, rows[places]) for places in (task.queries, task.gallery))
    others = len(gallery) - task.leave_one_out
    values = np.empty((len(queries), len(METRICS)))
    wrong = np.empty((len(queries), min(10, others)), np.intp)
    with span(f"rank {space}"):
        for part, squares in vectors.distance_blocks(queries, gallery):
            if task.leave_one_out:
                # The query itself comes last, and is cut off.
                squares[np.arange(len(squares)), task.queries[part]] = np.inf
            found = task.gallery_classes[_order(squares)[:, :others]]
            own = task.query_classes[part, np.newaxis]
            values[part] = _measure(found == own, task.relevant[part])
            first = found[:, :10]
            wrong[part] = np.where(first == own, -1, first)
            progress(len(squares))
    sizes = np.bincount(task.query_classes)
    # So weighted, the mean over the queries is the mean of the classes' means.
    values[:, _MEAN_CLASS_MAP] *= len(queries) / (
        np.count_nonzero(sizes) * sizes[task.query_classes]
    )
    return _Ranked(values, wrong)


def _rows(matrix: npt.NDArray[np.float16], rows: Rows) -> npt.NDArray[np.float16]:
    """Return some rows, in rising order; the matrix itself, not a copy, if that is all."""
    return matrix if len(rows) == len(matrix) else matrix[rows]


def _order(squares: Floats) -> Rows:
    """Return the columns of each row by rising distance, equal ones by column, which is by id."""
    order = np.argsort(squares, axis=1)
    ranked = np.take_along_axis(squares, order, axis=1)
    # A stable sort would take ten times as long; equal ones are few, and are put in order by themselves.
    as_before = np.zeros(squares.shape, np.bool_)
    np.equal(ranked[:, 1:], ranked[:, :-1], out=as_before[:, 1:])
    tied = as_before.copy()
    tied[:, :-1] |= as_before[:, 1:]
    runs, columns = np.cumsum(~as_before[tied]), order[tied]
    order[tied] = columns[np.lexsort((columns, runs))]
    return order


def _measure(hits: npt.NDArray[np.bool_], relevant: Rows) -> Floats:
    """Return the metrics of each query, ``[b, len(METRICS)]``, from what is relevant in its ranking, ``[b, n]``."""
    rows, ranks = np.nonzero(hits)
    so_far = np.arange(1, len(rows) + 1) - np.repeat(np.cumsum(relevant) - relevant, relevant)
    average = np.bincount(rows, so_far / (ranks + 1), minlength=len(hits)) / relevant
    r_precision = np.bincount(rows[ranks < relevant[rows]], minlength=len(hits)) / relevant
    within = np.stack([hits[:, :k].sum(axis=1) for k in CUTS], axis=1)
    return np.column_stack(
        [average, average, r_precision, within / CUTS, within / relevant[:, np.newaxis]]
    )


def _scores(
    names: Sequence[str], task: _Task, ranked: Sequence[_Ranked], *, resamples: int, seed: int
) -> tuple[SpaceScores, ...]:
    """Take the means over the queries, with their intervals, in each Space."""
    values = np.stack([one.values for one in ranked], axis=1)
    with span("bootstrap"):
        drawn = _bootstrap(values, task.query_classes, resamples, seed)
    return tuple(
        SpaceScores(
            name,
            _estimates(values[:, index], drawn[:, index]),
            _estimates(values[:, index] - values[:, 0], drawn[:, index] - drawn[:, 0])
            if index
            else {},
            _classes(task, values[:, index]),
            _confused(task, ranked[index].wrong),
        )
        for index, name in enumerate(names)
    )


def _bootstrap(values: Floats, classes: Rows, resamples: int, seed: int) -> Floats:
    """Return the means of resampled queries: from ``[queries, spaces, metrics]``, ``[resamples, spaces, metrics]``."""
    count = len(values)
    rng = np.random.default_rng(seed)
    flat = values.reshape(count, -1)
    by_class = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[by_class], classes[by_class])
    sizes = np.bincount(classes)[classes[by_class]]
    drawn = np.empty((resamples, *values.shape[1:]))
    for sample in drawn:
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        sample[:] = (times @ flat / count).reshape(sample.shape)
        times = np.bincount(by_class[starts + rng.integers(sizes)], minlength=count)
        sample[:, _MEAN_CLASS_MAP] = times @ values[:, :, _MEAN_CLASS_MAP] / count
    return drawn


def _estimates(values: Floats, drawn: Floats) -> dict[str, Estimate]:
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    columns = (column.tolist() for column in (values.mean(axis=0), low, high))
    return dict(zip(METRICS, map(Estimate, *columns), strict=True))


def _classes(task: _Task, values: Floats) -> dict[str, ClassScores]:
    queries = np.bincount(task.query_classes)
    names = ("map", "precision_at_1", "precision_at_10")
    sums = np.stack(
        [np.bincount(task.query_classes, values[:, METRICS.index(name)]) for name in names], axis=1
    )
    return {
        task.labels[number]: ClassScores(
            int(queries[number]), *(sums[number] / queries[number]).tolist()
        )
        for number in np.flatnonzero(queries)
    }


def _confused(task: _Task, wrong: Rows) -> tuple[Confusion, ...]:
    count = len(task.labels)
    pairs, times = np.unique(
        (task.query_classes[:, np.newaxis] * count + wrong)[wrong >= 0], return_counts=True
    )
    shares = times / (np.bincount(task.query_classes)[pairs // count] * wrong.shape[1])
    worst = np.lexsort((pairs, -shares))[:_MOST_CONFUSED]
    return tuple(
        Confusion(
            task.labels[pairs[at] // count], task.labels[pairs[at] % count], float(shares[at])
        )
        for at in worst
    )
