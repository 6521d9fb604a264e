"""Measure how times, memory and disk use of a collection grow with its rows.

At each size a new process opens it, updates its index, searches, and appends rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.maintenance.optimize import optimize
from lookalike.store import upkeep
from lookalike.store.table import Table
from lookalike.vectors import distance_blocks
from measuring import Report, Watch, exponent, parser, timed
from vectors_made import (
    BLOCK,
    K,
    VectorSearcher,
    add_source,
    embedded,
    fill,
    grown,
    numbers,
    projected,
    space_of,
)

# The recall that the index is tuned to.
RECALL = 0.95
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
# The size that the aims are for, and the largest one unless more is asked for.
MOST = 1_000_000
# A size is reached in about as many commits, each of at least `BLOCK` rows.
COMMITS = 100
# The title and the digits of each figure.
COLUMNS = {
    "fill_s": ("fill s", 1),
    "open_ms": ("open ms", 1),
    "optimize_s": ("optimize s", 2),
    "first_search_ms": ("first search ms", 0),
    "search_p50_ms": ("search p50 ms", 2),
    "search_p99_ms": ("p99 ms", 2),
    "recall": ("recall@10", 4),
    "append_ms": ("append ms", 0),
    "peak_mib": ("peak MiB", 0),
    "disk_mib": ("disk MiB", 1),
}


class Rows:
    """Rows of a stream of blocks, in pieces of any length."""

    def __init__(self, blocks: Iterator[np.ndarray]) -> None:
        self._blocks = blocks
        self._rest = next(blocks)

    def take(self, count: int, most: int) -> Iterator[np.ndarray]:
        """Yield the next rows, at most `most` at a time."""
        while count > 0:
            parts = []
            missing = min(count, most)
            count -= missing
            while missing > 0:
                if not len(self._rest):
                    self._rest = next(self._blocks)
                part, self._rest = self._rest[:missing], self._rest[missing:]
                missing -= len(part)
                parts.append(part)
            yield np.concatenate(parts)


class Truth:
    """The nearest rows to some queries among all rows added."""

    def __init__(self, queries: np.ndarray) -> None:
        self._queries = queries
        self._squares = np.empty((len(queries), 0))
        self.numbers = np.empty((len(queries), 0), np.int64)

    def add(self, block: np.ndarray, first: int) -> None:
        """Add rows whose numbers start at `first`."""
        found = np.concatenate(
            [squares for _, squares in distance_blocks(self._queries, block)]
        )
        new = np.broadcast_to(np.arange(first, first + len(block)), found.shape)
        squares, rows = (
            np.hstack([self._squares, found]),
            np.hstack([self.numbers, new]),
        )
        best = np.argsort(squares, axis=1, kind="stable")[:, :K]
        self._squares, self.numbers = (
            np.take_along_axis(values, best, axis=1) for values in (squares, rows)
        )

    def recall(self, found: list[list[int]]) -> float:
        """Return the mean share of the nearest rows found."""
        shares = [
            len(set(row) & set(true.tolist())) / len(true)
            for row, true in zip(found, self.numbers, strict=True)
        ]
        return float(np.mean(shares))


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(_used(*map(Path, arguments.child))))
        return 0
    sizes = [size for size in sorted(arguments.sizes) if size <= arguments.most]
    report = Report("grow", arguments, ["pylance", "pyarrow"])
    with tempfile.TemporaryDirectory() as place:
        _grow(report, arguments, sizes, Path(place))
    runs = report.figures["sizes"]
    growth = {
        name: exponent(sizes, [run[name] for run in runs])
        for name in COLUMNS
        if name != "recall"
    }
    report.figures["exponents"] = growth
    rows = [
        [
            f"{run['rows']:,}",
            *(f"{run[name]:,.{digits}f}" for name, (_, digits) in COLUMNS.items()),
        ]
        for run in runs
    ]
    fitted = [growth.get(name) for name in COLUMNS]
    rows.append(
        [
            "fitted power of the rows",
            *(None if power is None else f"{power:.2f}" for power in fitted),
        ]
    )
    report.print_table(
        "A growing collection",
        ["rows", *(title for title, _ in COLUMNS.values())],
        rows,
    )
    for run in runs:
        if run["rows"] == MOST:
            report.aim("p50 ms", run["search_p50_ms"], most=10)
            report.aim("recall@10", run["recall"], least=0.95)
            report.aim("peak GiB", run["peak_mib"] / 1024, most=4)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser(
        "grow",
        "Measure how times, memory and disk use of a collection grow with its rows.",
    )
    add_source(options, collection=True)
    options.add_argument(
        "--images",
        type=int,
        default=3079,
        help="images whose vectors the synthetic ones are made from",
    )
    options.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=SIZES,
        metavar="N",
        help="numbers of rows (default: 10k to 10M)",
    )
    options.add_argument(
        "--most",
        type=int,
        default=MOST,
        metavar="N",
        help="skip larger sizes (default: 1M)",
    )
    options.add_argument(
        "--append",
        type=int,
        default=2000,
        help="rows appended at each size (default: 2000)",
    )
    options.add_argument(
        "--dim",
        type=int,
        help="numbers in a vector (default: 256; 64 for more than 1M rows)",
    )
    options.add_argument(
        "--queries", type=int, default=200, help="queries at each size (default: 200)"
    )
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.dim is None:
        arguments.dim = 256 if arguments.most <= MOST else 64
    steps = np.diff(sorted(arguments.sizes), prepend=0)
    if min(arguments.sizes) > arguments.most or (steps <= arguments.append).any():
        options.error(
            "expected --sizes that differ by more than --append, and one of them within --most."
        )
    return arguments


def _grow(
    report: Report, arguments: argparse.Namespace, sizes: list[int], place: Path
) -> None:
    generator = np.random.default_rng(arguments.seed)
    base = embedded(arguments, place, arguments.images)
    base = projected(base, arguments.dim, arguments.seed)
    *_, last = grown(
        base, len(base) + arguments.queries, generator, block=arguments.queries
    )
    queries, files = (
        last,
        {name: place / f"{name}.npy" for name in ("queries", "appended")},
    )
    np.save(files["queries"], queries)
    rows, truth = (
        Rows(grown(base, sizes[-1] + arguments.append, generator)),
        Truth(queries),
    )
    collection = Table.create(place / "collection", [space_of(place, base.shape[1])])
    runs = report.figures["sizes"] = []
    for size in sizes:
        run: dict[str, Any] = {"rows": size, "fill_s": 0.0}
        commit_rows = max(BLOCK, size // COMMITS)
        first = collection.count()
        for block in rows.take(size - first, commit_rows):
            truth.add(block, first)
            run["fill_s"] += timed(partial(fill, collection, [block], first))
            first += len(block)
        run["fill_s"] += timed(lambda: upkeep.tidy(collection))
        appended = np.concatenate(list(rows.take(arguments.append, BLOCK)))
        np.save(files["appended"], appended)
        command = [
            sys.executable,
            __file__,
            "--child",
            collection.path,
            *map(str, files.values()),
        ]
        used = json.loads(
            subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
        )
        run |= {
            **used,
            "recall": truth.recall(used.pop("found")),
            "disk_mib": _disk(Path(collection.path)) / 2**20,
        }
        truth.add(appended, size)
        collection.refresh()
        runs.append(run)
        print(f"{size:,} rows done", file=sys.stderr)


def _used(path: Path, queries: Path, appended: Path) -> dict[str, Any]:
    """Open, optimize, search and append, and return the time and memory of each step."""
    with Watch("open") as watch:
        start = time.perf_counter()
        collection = Table.open(path)
        seconds = {"open": time.perf_counter() - start}
        watch.mark = "optimize"
        seconds["optimize"] = timed(lambda: optimize(collection, recall=RECALL))
        watch.mark = "search"
        collection = Table.open(path)
        searcher, found, times = VectorSearcher(collection), [], []
        asked = list(np.load(queries))
        seconds["first"] = timed(lambda: searcher.search_vector(asked[0], k=K))
        for query in asked:
            start = time.perf_counter()
            matches = searcher.search_vector(query, k=K)
            times.append(time.perf_counter() - start)
            found.append(numbers(matches.uris).tolist())
        watch.mark = "append"
        seconds["append"] = timed(lambda: fill(collection, [np.load(appended)]))
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    peaks = {
        step: max(bytes_ for mark, bytes_ in watch.samples if mark == step)
        for step, _ in watch.samples
    }
    return {
        "open_ms": seconds["open"] * 1e3,
        "optimize_s": seconds["optimize"],
        "first_search_ms": seconds["first"] * 1e3,
        "search_p50_ms": p50,
        "search_p99_ms": p99,
        "append_ms": seconds["append"] * 1e3,
        "peak_mib": max(peaks.values()) / 2**20,
        "peaks_mib": {step: peak / 2**20 for step, peak in peaks.items()},
        "found": found,
    }


def _disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
