"""Measure the rankings beside the plain one, and what they cost in a large collection.

Each labeled collection is evaluated leave-one-out. With ``--merge A=B``, the images of label A
count as those of B: some classes of Caltech 101 are crops of the same photographs. With
``--families N``, N of the images are edited, and the edited ones search for them. With
``--rows N``, the rankings are fitted to N rows: those of the first collection, and rows made from
them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.scores import TITLES
from lookalike.retrieval.fitted import FittedVectors
from lookalike.retrieval.ranking import rankings, resolve_ranking
from lookalike.store.table import Table
from lookalike.types import VectorsF16
from lookalike.vectors.exact import ExactIndex
from measuring import Report, Watch, add_merge_option, label_merges, parser, spread
from near_copies import make_copies, measure_copies
from vectors_made import grown

METRICS = ("mean_class_map", "precision_at_1", "precision_at_10")
QUERIES = 200
ADDED = 10
GIB = 2**30


def main() -> int:
    arguments = _arguments()
    report = Report("ranking", arguments, [])
    with tempfile.TemporaryDirectory() as place:
        for number, path in enumerate(arguments.collections):
            table = Table.open(path)
            _evaluate(report, path, table)
            if arguments.merge:
                copied = shutil.copytree(path, Path(place, str(number)))
                merged = Table.open(copied)
                if _merge_labels(merged, label_merges(arguments)):
                    _evaluate(report, f"{path}, merged", merged)
            if arguments.families:
                folder = Path(place, f"families-{number}")
                folder.mkdir()
                seed = arguments.seed
                copies = make_copies(table, arguments.families, folder, seed)
                measure_copies(report, path, copies, seed)
    if arguments.rows:
        matrix = _made_rows(arguments)
        _measure_cost(report, matrix, arguments.seed)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("ranking", "Measure rankings by labels, time and memory.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    add_merge_option(options)
    options.add_argument(
        "--families",
        type=int,
        default=0,
        metavar="N",
        help="photographs to edit in every way of edits.py, and to search for",
    )
    options.add_argument(
        "--rows", type=int, default=0, help="made rows to fit the rankings to"
    )
    return options.parse_args()


def _merge_labels(table: Table, new_labels: dict[str, str]) -> bool:
    """Rename labels; return whether there were any."""
    uris, labels = [], []
    for batch in table.scan(["uri", "label"]):
        for row in batch.to_pylist():
            if row["label"] in new_labels:
                uris.append(row["uri"])
                labels.append(new_labels[row["label"]])
    if uris:
        table.update({"uri": uris, "label": labels})
    return bool(uris)


def _evaluate(report: Report, name: str, table: Table) -> None:
    """Print the scores of each ranking, and the gain over the plain one with its interval."""
    space = table.space(None)
    evaluation = evaluate(table, spaces=space, rankings=rankings())
    rows = []
    for scores in evaluation.spaces:
        row: list[object] = [scores.ranking]
        for metric in METRICS:
            row.append(f"{scores.metrics[metric].value:.3f}")
            gain = scores.differences.get(metric)
            cell = None
            if gain is not None:
                cell = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            row.append(cell)
        rows.append(row)
    headers = ["ranking"]
    for metric in METRICS:
        headers += [TITLES[metric], "gain"]
    report.figures[name] = evaluation.to_dict()
    report.print_table(
        f"{name}, {space}: {evaluation.counts.queries:,} queries", headers, rows
    )


def _made_rows(arguments: argparse.Namespace) -> VectorsF16:
    """Return the rows of the first collection, and rows made from them."""
    table = Table.open(arguments.collections[0])
    _, stored = table.vectors(table.space(None))
    generator = np.random.default_rng(arguments.seed)
    blocks = grown(stored.astype(np.float32), arguments.rows, generator)
    return np.concatenate(list(blocks))


def _measure_cost(report: Report, matrix: VectorsF16, seed: int) -> None:
    """Print what a fit, an update and a search take."""
    rows, dim = matrix.shape
    random = np.random.default_rng(seed)
    queries = matrix[random.choice(rows, QUERIES)]
    stored = ExactIndex(np.arange(rows), matrix)
    without = ExactIndex(np.arange(rows - ADDED), matrix[:-ADDED])
    table_rows = []
    for name in rankings():
        ranking = resolve_ranking(name)
        with Watch(name) as watch:
            start, cpu_start = time.perf_counter(), time.process_time()
            earlier = ranking.fit(without)
            seconds = time.perf_counter() - start
            cpu_seconds = time.process_time() - cpu_start
            start = time.perf_counter()
            fitted = ranking.refit(stored, earlier.state)
            update_seconds = time.perf_counter() - start
        largest = max(memory for _, memory in watch.samples) / GIB
        del earlier

        times = _search_times(fitted, queries)
        table_rows.append(
            [name, seconds, cpu_seconds, update_seconds, largest, spread(times)]
        )
        report.figures[f"{name}, {rows} rows"] = {
            "fit_seconds": seconds,
            "fit_cpu_seconds": cpu_seconds,
            "update_seconds": update_seconds,
            "memory_gib": largest,
            "search_ms": spread(times),
        }
        if name == "context" and rows == 100_000:
            report.aim("context, 100,000 rows: memory, GiB", largest, most=3)
    report.print_table(
        f"{rows:,} made rows of {dim:,} numbers",
        [
            "ranking",
            "fit, s",
            "of all cores, s",
            f"{ADDED} more rows, s",
            "largest memory, GiB",
            "search, ms",
        ],
        table_rows,
    )


def _search_times(fitted: FittedVectors, queries: VectorsF16) -> list[float]:
    """Return the milliseconds of a search by each query."""
    times = []
    for query in queries:
        start = time.perf_counter()
        fitted.index.search(fitted.encode(query), 10)
        times.append(1000 * (time.perf_counter() - start))
    return times


if __name__ == "__main__":
    sys.exit(main())
