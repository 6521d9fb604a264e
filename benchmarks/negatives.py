"""Measure what a negative query does to the matches, by the strength gamma.

Each query is a labeled image with one negative: the nearest image of its own label, which should do
little harm, or the nearest image of another label, which should help.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from lookalike.retrieval.query import RowQuery, WeightedQuery
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store.table import Table
from lookalike.types import DEFAULT_GAMMA
from measuring import Report, parser

GAMMAS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
# The largest loss that a negative of the query's own label may cost.
MAX_LOSS = 0.01


@dataclass(frozen=True)
class Trial:
    """A query, the negatives beside it, and the rows of its label."""

    row: int
    near: int
    wrong: int
    relevant: frozenset[int]


def main() -> int:
    arguments = _arguments()
    report = Report("negatives", arguments, [])
    figures: dict[str, object] = {"k": arguments.k, "default": DEFAULT_GAMMA}
    for path in arguments.collections:
        searcher = Searcher(Table.open(path))
        trials = _draw_trials(searcher, path, arguments.queries, arguments.seed)
        rows = [_measure(searcher, trials, arguments.k, gamma) for gamma in GAMMAS]
        figures[path] = rows
        report.print_table(
            f"{path}: {len(trials)} queries, precision@{arguments.k}",
            ["gamma", "its own label", "another label"],
            [[f"{gamma:g}", *row] for gamma, row in zip(GAMMAS, rows, strict=True)],
        )
        without = rows[0]
        chosen = rows[GAMMAS.index(DEFAULT_GAMMA)]
        report.aim(f"{path}: loss", without[0] - chosen[0], most=MAX_LOSS)
        report.aim(f"{path}: gain", chosen[1] - without[1], least=0.0)
    report.figures.update(figures)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("negatives", "Measure negative queries by their strength.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    options.add_argument("--queries", type=int, default=150)
    options.add_argument("-k", type=int, default=50, help="matches to look at")
    return options.parse_args()


def _draw_trials(searcher: Searcher, path: str, count: int, seed: int) -> list[Trial]:
    """Draw queries, and find the two negatives of each by a search."""
    table = Table.open(path)
    ids, _ = table.vectors(searcher.space)
    labels = table.take(ids, ["label"])["label"].to_pylist()
    label_of = dict(zip(ids.tolist(), labels, strict=True))
    generator = np.random.default_rng(seed)
    drawn = generator.choice(ids, min(count, len(ids)), replace=False)
    trials = []
    for row in drawn.tolist():
        request = _request(row, (), k=len(ids), gamma=0.0)
        nearest = searcher.find(request).ids.tolist()
        label = label_of[row]
        own = [other for other in nearest if label_of[other] == label]
        others = [other for other in nearest if label_of[other] != label]
        if own and others:
            trial = Trial(row, own[0], others[0], frozenset(own))
            trials.append(trial)
    return trials


def _measure(
    searcher: Searcher, trials: list[Trial], k: int, gamma: float
) -> tuple[float, float]:
    """Return the precision with the near negative, and with the wrong one."""
    near = [_precision(searcher, trial, trial.near, k, gamma) for trial in trials]
    wrong = [_precision(searcher, trial, trial.wrong, k, gamma) for trial in trials]
    return float(np.mean(near)), float(np.mean(wrong))


def _precision(
    searcher: Searcher, trial: Trial, negative: int, k: int, gamma: float
) -> float:
    """Return the share of the label among the first k matches, query and negative left out."""
    request = _request(trial.row, (negative,), k=k, gamma=gamma)
    found = searcher.find(request).ids.tolist()
    return sum(row in trial.relevant for row in found) / k


def _request(
    row: int, negatives: tuple[int, ...], *, k: int, gamma: float
) -> SearchRequest:
    return SearchRequest(
        positive=[WeightedQuery(RowQuery(row))],
        negative=[WeightedQuery(RowQuery(other)) for other in negatives],
        k=k,
        gamma=gamma,
        exclude_self=True,
        exact=True,
    )


if __name__ == "__main__":
    sys.exit(main())
