"""The review of a collection: one pass over its vectors, and the parts that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from lookalike.errors import InputError
from lookalike.review.clusters import find_clusters
from lookalike.review.components import principal_components
from lookalike.review.diverse import choose_diverse
from lookalike.review.labels import VOTERS, find_doubtful_labels
from lookalike.review.outliers import find_outliers
from lookalike.review.results import PARTS, Review, ReviewPart, ReviewSettings
from lookalike.review.rows import (
    MIN_COMPARED_ROWS,
    ReviewedRows,
    read_reviewed_rows,
    unit_rows,
)
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import VectorsF32
from lookalike.vectors.neighbors import NeighborGraph, neighbor_graph

__all__ = ["ReviewProgress", "review"]

# The step that runs, the work done of it, and its total.
ReviewProgress = Callable[[str, int, int | None], None]

_STEPS: dict[ReviewPart, str] = {
    "clusters": "Finding clusters",
    "outliers": "Finding outliers",
    "labels": "Checking labels",
    "diverse": "Choosing diverse images",
}


def review(
    view: View, *, progress: ReviewProgress | None = None, **settings: Any
) -> Review:
    """Review the images of a collection by their vectors in one Space.

    Parameters
    ----------
    view
        The collection, as one version of its table.
    progress
        Called with the step that runs, the work done of it, and its total or None.
    settings
        The fields of `lookalike.review.results.ReviewSettings`.

    Raises
    ------
    InputError
        If a part is unknown, a number is out of range, or the filter cannot be parsed or matches no
        image.
    SpaceError
        If the collection has no such Space, or the Space is empty.
    CollectionError
        If the collection cannot be read.
    """
    given = ReviewSettings(**settings)
    checked = _ordered_settings(given)
    space = view.space(checked.space)
    rows = read_reviewed_rows(view, space, checked.where)
    _check_cluster_count(checked, rows)
    reviewer = _Reviewer(rows, progress)
    found = {}
    for part in checked.parts:
        found[part] = reviewer.find(part, checked)
    notes = _notes(view, space, rows, checked)
    return Review(
        space=space, version=view.version, images=len(rows), notes=tuple(notes), **found
    )


class _Reviewer:
    """Finds the parts of a review, and computes once what several of them need."""

    def __init__(self, rows: ReviewedRows, progress: ReviewProgress | None) -> None:
        self._rows = rows
        self._progress = progress
        seed = 0
        self._random = np.random.default_rng(seed)

    def find(self, part: ReviewPart, settings: ReviewSettings) -> Any:
        """Return one part of a review."""
        rows = self._rows
        if part == "diverse":
            self._begin(part)
            return choose_diverse(rows, settings.diverse)
        if part == "clusters":
            components = self._components
            self._begin(part)
            return find_clusters(rows, components, settings.clusters, self._random)
        graph = self._neighbors
        if part == "outliers":
            self._begin(part)
            return find_outliers(rows, graph, settings.outliers)
        components = self._components
        self._begin(part)
        return find_doubtful_labels(rows, graph, components)

    @cached_property
    def _neighbors(self) -> NeighborGraph:
        rows = self._rows
        with span("review neighbors"):
            return neighbor_graph(
                rows.vectors, VOTERS, prepare=unit_rows, progress=self._compared
            )

    @cached_property
    def _components(self) -> VectorsF32:
        rows = self._rows
        self._report("Finding components", 0, None)
        with span("review components"):
            return principal_components(rows.vectors, self._random)

    def _begin(self, part: ReviewPart) -> None:
        step = _STEPS[part]
        self._report(step, 0, None)

    def _compared(self, done: int, total: int) -> None:
        self._report("Comparing images", done, total)

    def _report(self, step: str, done: int, total: int | None) -> None:
        progress = self._progress
        if progress is None:
            return
        progress(step, done, total)


def _ordered_settings(settings: ReviewSettings) -> ReviewSettings:
    """Return settings whose parts are in order and unique, or raise an InputError."""
    given = settings.parts
    expected = ", ".join(PARTS)
    unknown = set(given).difference(PARTS)
    if unknown or not given:
        raise InputError(
            f"The parts {list(given)} cannot be reviewed; expected some of {expected}."
        )
    _check_count("clusters", settings.clusters)
    _check_count("outliers", settings.outliers)
    _check_count("diverse", settings.diverse)
    parts = []
    for part in PARTS:
        if part in given:
            parts.append(part)
    return replace(settings, parts=parts)


def _check_count(name: str, value: int | None) -> None:
    if value is None or value >= 1:
        return
    raise InputError(
        f"{name} = {value} is out of range; expected a whole number above 0."
    )


def _check_cluster_count(settings: ReviewSettings, rows: ReviewedRows) -> None:
    most = len(rows)
    count = settings.clusters
    if count is None or count <= most:
        return
    raise InputError(
        f"clusters = {count} is out of range: there are {most:,} images to review. "
        f"Give a whole number from 1 to {most}."
    )


def _notes(
    view: View, space: str, rows: ReviewedRows, settings: ReviewSettings
) -> Iterator[str]:
    """Yield what could not be reviewed."""
    count = len(rows)
    without = _count_matching(view, settings.where) - count
    if without:
        yield (
            f"{without:,} of the images are left out: they have no vector in {space}. "
            f"Compute them with: lookalike index FOLDER -c {view.path} --model {space}"
        )
    compared = set(settings.parts)
    compared.discard("diverse")
    if compared and count < MIN_COMPARED_ROWS:
        yield (
            "Clusters, outliers and doubtful labels are found from "
            f"{MIN_COMPARED_ROWS} images on; there are {count}."
        )
    labels = rows.label_codes.names
    if "labels" in settings.parts and len(labels) < 2:
        yield "No label was checked: that needs at least two different labels."


def _count_matching(view: View, where: str | None) -> int:
    """Return the number of images that match a filter, with or without a vector."""
    if where is None:
        return view.count()
    clause = view.filter_clause(where)
    return view.count_where(clause)
