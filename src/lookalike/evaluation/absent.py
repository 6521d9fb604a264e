"""How often a search answers: images like those of a collection, and images of absent kinds.

A label is absent while all of its rows are held out. An answer to one of its images is false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError
from lookalike.evaluation.nearest import FOLDS, NearestRows, nearest_rows, read_labels
from lookalike.retrieval.confidence import LEAST_DISTANCES, LabelRate, Rate, conformal
from lookalike.store.view import View
from lookalike.types import MIN_CONFIDENCE, Distances, Places

__all__ = [
    "AbsentChoice",
    "AbsentScores",
    "choose_labels",
    "evaluate_absent",
    "mean_with_interval",
    "score_absent",
]

# The most choices of labels that are measured; of more, this many are drawn.
_MOST_CHOICES = 100
_RESAMPLES = 1000

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AbsentChoice:
    """The rates while the rows of some labels are held out.

    Attributes
    ----------
    labels
        The labels.
    images
        The number of their images that were queries.
    kept
        The share of held-out images of the other labels that are answered.
    answered
        The share of images of the held-out labels that are answered: false answers.
    """

    labels: tuple[str, ...]
    images: int
    kept: float
    answered: float


@dataclass(frozen=True, slots=True, eq=False)
class AbsentScores:
    """How often a Space answers images like its own, and images of labels that are held out.

    Attributes
    ----------
    space
        The Space.
    min_confidence
        The confidence from which a query counts as answered.
    rows, queries
        The number of rows, and of those that were queries.
    kept
        The share of held-out images that are answered, with no label held out.
    answered
        The mean of the labels' rates; None without two labels. Its interval comes from resampling
        the labels.
    choices
        The rates of each choice of labels.
    labels
        The rates of each label, the highest first.
    distances
        float64 ``[m]``, ascending: the distance of each query to its nearest other row.
    """

    space: str
    min_confidence: float
    rows: int
    queries: int
    kept: Rate
    answered: Rate | None
    choices: tuple[AbsentChoice, ...]
    labels: tuple[LabelRate, ...]
    distances: Distances

    @property
    def worst(self) -> AbsentChoice | None:
        """The choice with the most false answers."""
        if not self.choices:
            return None
        return max(self.choices, key=lambda choice: choice.answered)

    @property
    def mean_kept(self) -> float:
        """The mean of `kept` over the choices, or of the whole Space without one."""
        if not self.choices:
            return self.kept.value
        kept = [choice.kept for choice in self.choices]
        mean = np.mean(kept)
        return float(mean)

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain data, as ``lookalike evaluate --absent --json`` prints it."""
        answered = None
        if self.answered is not None:
            answered = self.answered.to_dict()
        return {
            "space": self.space,
            "min_confidence": self.min_confidence,
            "images": self.rows,
            "queries": self.queries,
            "kept": self.kept.to_dict(),
            "answered": answered,
            "mean_kept": self.mean_kept,
            "choices": [asdict(choice) for choice in self.choices],
            "labels": [rate._asdict() for rate in self.labels],
        }


def evaluate_absent(
    view: View,
    *,
    space: str | None = None,
    count: int = 1,
    labels: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> AbsentScores:
    """Measure how often images of absent labels are answered, and images of the others.

    Parameters
    ----------
    view
        The collection at the version to measure.
    space
        The Space; None for the first.
    count
        The number of labels that are held out at a time: every choice of so many, or 100 of them.
    labels
        The labels to choose from; all by default.
    seed
        The seed of the choices, the folds, the sample and the bootstrap.
    progress
        Called with the number of rows compared since the last call.

    Raises
    ------
    InputError
        If the collection has not more labels than are held out, one of `labels` is missing, or the
        Space holds fewer than 34 different images.
    SpaceError
        If the collection has no such Space.
    """
    name = view.space(space)
    rows = read_labels(view, name)
    known = rows.names
    candidates = list(dict.fromkeys(labels)) or known
    missing = sorted(set(candidates) - set(known))
    if missing:
        raise InputError(
            f"{view.path} has no image with the label {missing[0]!r} and a vector in {name}. "
            f"Its labels: {', '.join(known[:20]) or 'none'}."
        )
    if not 1 <= count <= len(candidates) or count >= len(known):
        raise InputError(
            f"{count} labels were to be held out of {len(known)}; expected a number from 1 to "
            f"{max(1, len(known) - 1)}, and two labels at least. The label of an image is the name "
            f"of its folder; set it with: lookalike index FOLDER -c {view.path} --labels folder"
        )

    chosen = choose_labels(candidates, count, seed)
    names = sorted({label for labels in chosen for label in labels})
    nearest = nearest_rows(view, name, rows, names, seed=seed, progress=progress)
    return score_absent(name, len(rows.ids), nearest, chosen, seed)


def score_absent(
    space: str,
    rows: int,
    nearest: NearestRows,
    chosen: Sequence[tuple[str, ...]],
    seed: int = 0,
) -> AbsentScores:
    """Return the rates of some choices of labels.

    Raises
    ------
    InputError
        If too few rows differ from each other for a confidence below the default.
    """
    whole = nearest.without([])
    distances = whole.min(axis=1)
    is_finite = np.isfinite(distances)
    different = distances[is_finite]
    finite = np.sort(different)
    if len(finite) < LEAST_DISTANCES:
        raise InputError(
            f"The Space {space!r} holds {rows:,} images, of which {len(finite):,} have another one "
            f"to compare with; expected {LEAST_DISTANCES} at least. Copies of one image do not "
            "count. Index more images."
        )
    random = np.random.default_rng(seed)
    query_count = len(distances)
    everyone = np.ones(query_count, np.bool_)
    is_kept = _is_kept(nearest, whole, everyone)

    choices = []
    answered_by_label: dict[str, list[float]] = {}
    names = nearest.names
    for labels in chosen:
        absent = [names.index(label) for label in labels]
        scored = _score_choice(nearest, absent, answered_by_label)
        if scored is not None:
            choices.append(scored)
    rates = []
    for label, shares in answered_by_label.items():
        rate = _label_rate(nearest, label, shares)
        rates.append(rate)
    rates.sort(key=lambda rate: (-rate.answered, rate.label))

    answered = None
    if rates:
        means = np.array([rate.answered for rate in rates])
        answered = mean_with_interval(means, random)
    kept_values = is_kept.astype(np.float64)
    kept = mean_with_interval(kept_values, random)
    return AbsentScores(
        space=space,
        min_confidence=MIN_CONFIDENCE,
        rows=rows,
        queries=query_count,
        kept=kept,
        answered=answered,
        choices=tuple(choices),
        labels=tuple(rates),
        distances=finite,
    )


def choose_labels(
    labels: Sequence[str], count: int, seed: int
) -> list[tuple[str, ...]]:
    """Return every choice of some labels, or a sample of the choices if they are many."""
    total = math.comb(len(labels), count)
    if total <= _MOST_CHOICES:
        return list(combinations(labels, count))
    random = np.random.default_rng(seed)
    drawn: dict[tuple[str, ...], None] = {}
    while len(drawn) < _MOST_CHOICES:
        places = np.sort(random.choice(len(labels), count, replace=False))
        drawn[tuple(labels[place] for place in places)] = None
    return list(drawn)


def _is_kept(
    nearest: NearestRows, to_folds: Distances, is_present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return for each present row whether it is answered as an image that is new.

    Each fold in turn is new: the other folds are the collection, and are calibrated.
    """
    kept = np.zeros(len(to_folds), np.bool_)
    for fold in range(FOLDS):
        to_others = np.delete(to_folds, fold, axis=1)
        distances = to_others.min(axis=1)
        in_fold = nearest.folds == fold
        is_new = is_present & in_fold
        is_old = is_present & ~in_fold
        calibrated = distances[is_old]
        new_distances = distances[is_new]
        kept[is_new] = _is_answered(calibrated, new_distances)
    return kept[is_present]


def _is_answered(calibrated: Distances, distances: Distances) -> npt.NDArray[np.bool_]:
    """Return whether each distance has the default confidence beside calibrated ones."""
    is_finite = np.isfinite(calibrated)
    finite = np.sort(calibrated[is_finite])
    confidences = conformal(finite, distances)
    is_answered: npt.NDArray[np.bool_] = confidences >= MIN_CONFIDENCE
    return is_answered


def _score_choice(
    nearest: NearestRows, absent: list[int], answered_by_label: dict[str, list[float]]
) -> AbsentChoice | None:
    """Return the rates without some labels; None without a query of theirs, or of the others."""
    to_folds = nearest.without(absent)
    distances = to_folds.min(axis=1)
    is_absent = np.isin(nearest.groups, absent)
    if not is_absent.any() or is_absent.all():
        return None
    answered = _is_answered(distances[~is_absent], distances[is_absent])
    groups = nearest.groups[is_absent]
    for group in absent:
        own = answered[groups == group]
        if len(own):
            shares = answered_by_label.setdefault(nearest.names[group], [])
            shares.append(float(own.mean()))
    kept = _is_kept(nearest, to_folds, ~is_absent)
    return AbsentChoice(
        labels=tuple(nearest.names[group] for group in absent),
        images=len(answered),
        kept=float(kept.mean()),
        answered=float(answered.mean()),
    )


def _label_rate(nearest: NearestRows, label: str, shares: list[float]) -> LabelRate:
    """Return the mean of a label's rates, and the label that its images are nearest to."""
    group = nearest.names.index(label)
    is_own = nearest.groups == group
    answered = float(np.mean(shares))
    match = None
    if answered > 0:
        to_groups = nearest.distances[is_own].min(axis=2)
        to_groups[:, group] = np.inf
        counts = np.bincount(to_groups.argmin(axis=1))
        most = int(counts.argmax())
        if most < len(nearest.names):
            match = nearest.names[most]
    return LabelRate(label, int(np.count_nonzero(is_own)), answered, match)


def mean_with_interval(values: Shares, random: np.random.Generator) -> Rate:
    """Return the mean of some values, and its percentile bootstrap 95 % interval."""
    count = len(values)
    means = np.empty(_RESAMPLES)
    for number in range(_RESAMPLES):
        drawn: Places = random.integers(count, size=count)
        resampled = values[drawn]
        means[number] = resampled.mean()
    interval = np.percentile(means, [2.5, 97.5])
    low, high = interval.tolist()
    mean = values.mean()
    return Rate(float(mean), low, high)
