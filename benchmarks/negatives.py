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
    """The ids of a query, of its two negatives, and of the other rows of its label.

    `near` is the nearest row of the query's label, `wrong` the nearest of another label.
    """

    row: int
    near: int
    wrong: int
    relevant: frozenset[int]


def main() -> int:
    arguments = _arguments()
    k = arguments.k
    report = Report("negatives", arguments, [])
    report.figures["k"] = k
    report.figures["default"] = DEFAULT_GAMMA
    for path in arguments.collections:
        table = Table.open(path)
        searcher = Searcher(table)
        trials = _draw_trials(searcher, table, arguments.queries, arguments.seed)
        rows = [_measure(searcher, trials, k, gamma) for gamma in GAMMAS]
        report.figures[path] = rows
        report.print_table(
            f"{path}: {len(trials)} queries, precision@{k}",
            ["gamma", "its own label", "another label"],
            [[f"{gamma:g}", *row] for gamma, row in zip(GAMMAS, rows, strict=True)],
        )
        near_without, wrong_without = rows[0]
        near_chosen, wrong_chosen = rows[GAMMAS.index(DEFAULT_GAMMA)]
        report.aim(f"{path}: loss", near_without - near_chosen, most=MAX_LOSS)
        report.aim(f"{path}: gain", wrong_chosen - wrong_without, least=0.0)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("negatives", "Measure negative queries by their strength.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    options.add_argument("--queries", type=int, default=150)
    options.add_argument("-k", type=int, default=50, help="matches to look at")
    return options.parse_args()


def _draw_trials(
    searcher: Searcher, table: Table, count: int, seed: int
) -> list[Trial]:
    """Draw labeled queries, and find the two negatives of each by a search."""
    label_of = _labels(searcher, table)
    labeled = list(label_of)
    generator = np.random.default_rng(seed)
    most = min(count, len(labeled))
    drawn = generator.choice(labeled, most, replace=False)
    trials = []
    for row in drawn.tolist():
        request = _request(row, (), k=table.count(), gamma=0.0)
        found = searcher.find(request)
        nearest = [other for other in found.ids.tolist() if other in label_of]
        label = label_of[row]
        own = [other for other in nearest if label_of[other] == label]
        others = [other for other in nearest if label_of[other] != label]
        if own and others:
            relevant = frozenset(own)
            trial = Trial(row, own[0], others[0], relevant)
            trials.append(trial)
    if not trials:
        sys.exit(f"{table.path} needs two labels, and two images of one of them.")
    return trials


def _labels(searcher: Searcher, table: Table) -> dict[int, str]:
    """Return the label of each labeled row of the Space."""
    ids, _ = table.vectors(searcher.space)
    rows = table.take(ids, ["label"])
    labels = rows["label"].to_pylist()
    by_row = zip(ids.tolist(), labels, strict=True)
    return {row: label for row, label in by_row if label is not None}


def _measure(
    searcher: Searcher, trials: list[Trial], k: int, gamma: float
) -> tuple[float, float]:
    """Return the precision with the near negative, and with the wrong one."""
    near = []
    wrong = []
    for trial in trials:
        with_near = _precision(searcher, trial, trial.near, k, gamma)
        near.append(with_near)
        with_wrong = _precision(searcher, trial, trial.wrong, k, gamma)
        wrong.append(with_wrong)
    return float(np.mean(near)), float(np.mean(wrong))


def _precision(
    searcher: Searcher, trial: Trial, negative: int, k: int, gamma: float
) -> float:
    """Return the share of the label among the first k matches, query and negative left out."""
    request = _request(trial.row, (negative,), k=k, gamma=gamma)
    found = searcher.find(request)
    ids = found.ids.tolist()
    relevant = trial.relevant.intersection(ids)
    return len(relevant) / k


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
