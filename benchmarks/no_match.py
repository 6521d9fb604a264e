"""Measure how often images of absent kinds are answered, beside other ways to say "no match".

Labels are held out, as many at a time as ``--absent`` says. A fifth of the other images is held out
too: these should be answered, and images of the absent labels should not. Every method but the
fixed distance is calibrated on the remaining images, so that 97 % of them would be answered.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lookalike.evaluation.absent import choose_labels, evaluate_absent
from lookalike.retrieval.confidence import conformal
from lookalike.retrieval.ranking import resolve_ranking
from lookalike.store.table import Table
from lookalike.types import MIN_CONFIDENCE, Distances, Places, VectorsF16
from lookalike.vectors import distance_blocks
from lookalike.vectors.exact import ExactIndex
from measuring import Report, parser

HEADERS = ["method", "kept, mean", "least", "answered though absent, mean", "most"]
NEIGHBORS = 10
# Choices of labels for which rankings are fitted again.
MOST_FITS = 10

Flags = npt.NDArray[np.bool_]
# The score of each query, small for a match, from its sorted distances to the nearest rows, and the
# distance of each of these rows to its own nearest one.
Score = Callable[[Distances, Distances], Distances]


def main() -> int:
    arguments = _arguments()
    report = Report("no_match", arguments, [])
    for path in arguments.collections:
        _measure(report, path, Table.open(path), arguments)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser(
        "no_match", "Measure how often images of absent kinds are answered."
    )
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    options.add_argument(
        "--absent", type=int, default=3, help="labels held out at a time"
    )
    options.add_argument(
        "--present",
        action="append",
        default=[],
        metavar="LABEL",
        help="a label that is never held out; may be repeated",
    )
    options.add_argument(
        "--distance",
        type=float,
        default=0.85,
        help="the fixed distance to compare with",
    )
    options.add_argument(
        "--rankings", action="store_true", help="measure other rankings' distances too"
    )
    return options.parse_args()


def _measure(
    report: Report, path: str, table: Table, arguments: argparse.Namespace
) -> None:
    space = table.space(None)
    ids, matrix = table.vectors(space)
    labels = np.array(table.take(ids, ["label"])["label"].to_pylist())
    names = sorted(set(labels) - set(arguments.present))
    chosen = choose_labels(names, arguments.absent, arguments.seed)

    scores = evaluate_absent(
        table, count=arguments.absent, labels=names, seed=arguments.seed
    )
    kept = [choice.kept for choice in scores.choices]
    answered = [choice.answered for choice in scores.choices]
    rows = [_row("Lookalike, as evaluate --absent measures it", kept, answered)]
    report.figures[path] = scores.to_dict()

    distances = _all_distances(matrix)
    random = np.random.default_rng(arguments.seed)
    is_new = random.random(len(ids)) < 1 / 5
    methods: dict[str, Score] = {
        "nearest distance, conformal": _nearest,
        "ratio of the two nearest distances": _ratio,
        "density around the ten nearest (LOF)": _density,
    }
    for title, score in methods.items():
        rates = [
            _rates(distances, score, np.isin(labels, absent), is_new)
            for absent in chosen
        ]
        rows.append(_row(title, *zip(*rates, strict=True)))
    limit = arguments.distance
    rates = [
        _fixed_rates(distances, limit, np.isin(labels, absent), is_new)
        for absent in chosen
    ]
    rows.append(_row(f"the fixed distance {limit:g}", *zip(*rates, strict=True)))
    if arguments.rankings:
        rows += _ranking_rows(matrix, labels, chosen, is_new)
    title = (
        f"{path}: {len(ids):,} images, {len(chosen)} choices of "
        f"{arguments.absent} of {len(names)} labels"
    )
    report.print_table(title, HEADERS, rows)
    _measure_matches(report, path, distances, labels)


def _row(title: str, kept: npt.ArrayLike, answered: npt.ArrayLike) -> list[object]:
    figures = [np.mean(kept), np.min(kept), np.mean(answered), np.max(answered)]
    return [title, *(f"{figure:.4f}" for figure in figures)]


def _all_distances(matrix: VectorsF16) -> Distances:
    """Return the distances between all rows; infinite from a row to itself."""
    count = len(matrix)
    distances = np.empty((count, count))
    for part, squares in distance_blocks(matrix, matrix, own=np.arange(count)):
        distances[part] = np.sqrt(squares)
    return distances


def _nearest(to_rows: Distances, _: Distances) -> Distances:
    return to_rows[:, 0]


def _ratio(to_rows: Distances, _: Distances) -> Distances:
    return to_rows[:, 0] / np.maximum(to_rows[:, 1], 1e-9)


def _density(to_rows: Distances, own_nearest: Distances) -> Distances:
    return to_rows.mean(axis=1) / np.maximum(own_nearest.mean(axis=1), 1e-9)


def _rates(
    distances: Distances, score: Score, is_absent: Flags, is_new: Flags
) -> tuple[float, float]:
    """Return the shares of new and of absent images that are answered."""
    rows = np.flatnonzero(~is_absent & ~is_new)
    calibrated = np.sort(_score(distances, score, rows, rows))
    shares = []
    for group in (~is_absent & is_new, is_absent):
        scores = _score(distances, score, np.flatnonzero(group), rows)
        is_answered = conformal(calibrated, scores) >= MIN_CONFIDENCE
        shares.append(float(is_answered.mean()))
    return shares[0], shares[1]


def _score(
    distances: Distances, score: Score, queries: Places, rows: Places
) -> Distances:
    among = distances[np.ix_(queries, rows)]
    nearest = np.argpartition(among, NEIGHBORS, axis=1)[:, :NEIGHBORS]
    to_rows = np.take_along_axis(among, nearest, axis=1)
    order = np.argsort(to_rows, axis=1)
    to_rows = np.take_along_axis(to_rows, order, axis=1)
    nearest = np.take_along_axis(nearest, order, axis=1)
    own_nearest = distances[np.ix_(rows, rows)].min(axis=1)
    return score(to_rows, own_nearest[nearest])


def _fixed_rates(
    distances: Distances, limit: float, is_absent: Flags, is_new: Flags
) -> tuple[float, float]:
    rows = np.flatnonzero(~is_absent & ~is_new)
    shares = []
    for group in (~is_absent & is_new, is_absent):
        nearest = distances[np.ix_(np.flatnonzero(group), rows)].min(axis=1)
        shares.append(float((nearest <= limit).mean()))
    return shares[0], shares[1]


def _ranking_rows(
    matrix: VectorsF16,
    labels: npt.NDArray[np.str_],
    chosen: list[tuple[str, ...]],
    is_new: Flags,
) -> list[list[object]]:
    """Return the rates by the distances of other rankings, fitted to the present rows alone."""
    step = -(-len(chosen) // MOST_FITS)
    rows = []
    for name in ("plain", "centered", "context"):
        kept, answered = [], []
        for absent in chosen[::step]:
            is_absent = np.isin(labels, absent)
            present = matrix[~is_absent & ~is_new]
            places = np.arange(len(present))
            fitted = resolve_ranking(name).fit(ExactIndex(places, present))
            calibrated = np.sort(
                _fitted_nearest(fitted.distance_blocks(present, places))
            )
            for group, shares in ((~is_absent & is_new, kept), (is_absent, answered)):
                blocks = fitted.distance_blocks(matrix[group], None)
                confidences = conformal(calibrated, _fitted_nearest(blocks))
                shares.append(float((confidences >= MIN_CONFIDENCE).mean()))
        title = f"distances of {name}, conformal ({len(kept)} choices)"
        rows.append(_row(title, kept, answered))
    return rows


def _fitted_nearest(blocks: object) -> Distances:
    parts = [np.sqrt(squares.min(axis=1)) for _, squares in blocks]  # type: ignore[attr-defined]
    return np.concatenate(parts)


def _measure_matches(
    report: Report, path: str, distances: Distances, labels: npt.NDArray[np.str_]
) -> None:
    """Print how many of the ten nearest have the label of the query, on both sides of the line."""
    calibrated = np.sort(distances.min(axis=1))
    nearest = np.argsort(distances, axis=1)[:, :NEIGHBORS]
    to_rows = np.take_along_axis(distances, nearest, axis=1)
    is_alike = conformal(calibrated, to_rows.ravel()) >= MIN_CONFIDENCE
    is_right = (labels[nearest] == labels[:, np.newaxis]).ravel()
    rows: list[list[object]] = []
    for title, side in (("before the line", is_alike), ("after it", ~is_alike)):
        share = side.mean()
        right = is_right[side].mean() if side.any() else 0.0
        rows.append([title, f"{share:.3f}", f"{right:.3f}"])
        report.figures[f"{path}, {title}"] = {"share": share, "right": right}
    headers = ["the ten nearest", "share", "with the query's label"]
    report.print_table(f"{path}: matches", headers, rows)


if __name__ == "__main__":
    sys.exit(main())
