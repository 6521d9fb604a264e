"""Time exact and approximate search of Lookalike and other engines on synthetic vectors."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import engines
from engines import APPROXIMATE, EXACT, MANY, RECALL, STORED, Engine, Gallery, Queries
from lookalike.store import upkeep
from lookalike.store.table import Table
from measuring import Report, alternate, parser, resident, spread
from vectors_made import (
    BLOCK,
    RARE,
    K,
    add_source,
    embedded,
    fill,
    grown,
    projected,
    space_of,
)

# The engines take turns after each of this number of parts of the queries.
PARTS = 5
TUNING = 300


def main() -> int:
    arguments = _arguments()
    packages = ["scikit-learn", "faiss-cpu", "usearch", "hnswlib", "pylance"]
    report = Report("search", arguments, packages)
    report.measure_limits()
    with tempfile.TemporaryDirectory() as place:
        gallery, queries = _make_data(arguments, Path(place))
        rows, dim = gallery.matrix.shape
        report.figures.update(rows=rows, dim=dim, matrix_mb=gallery.matrix.nbytes / 1e6)
        built = _build(report, gallery, {**EXACT, **APPROXIMATE}, arguments.engines)
        _time_single(report, built, queries)
        built.clear()  # Frees their memory.
        _time_many(report, gallery, queries, arguments)
        if gallery.collection is not None:
            _time_filtered(report, gallery, queries)
    _aims(report)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser(
        "search", "Time exact and approximate search beside other engines."
    )
    add_source(options, collection=True)
    options.add_argument(
        "--images",
        type=int,
        default=3079,
        help="images whose vectors the synthetic ones are made from",
    )
    options.add_argument(
        "--rows", type=int, default=100_000, help="number of rows (default: 100000)"
    )
    options.add_argument(
        "--dim",
        type=int,
        help="use this number of principal components (default: all numbers)",
    )
    options.add_argument(
        "--changed",
        type=float,
        default=0,
        metavar="SHARE",
        help="of --rows, the share that replaced other rows after the engines were built",
    )
    options.add_argument(
        "--queries", type=int, default=500, help="number of queries (default: 500)"
    )
    options.add_argument(
        "--many", type=int, default=200, help="number of queries at once (default: 200)"
    )
    names = [*EXACT, *APPROXIMATE]
    options.add_argument(
        "--engines",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"engines to time, of {names}",
    )
    arguments = options.parse_args()
    if (
        arguments.rows < 20 * K
        or arguments.queries < PARTS
        or arguments.many > arguments.queries
    ):
        options.error(
            f"expected at least {20 * K} --rows, at least {PARTS} --queries, "
            "and --many within --queries."
        )
    if not 0 <= arguments.changed < 1:
        options.error("expected a share below 1 for --changed.")
    arguments.engines = arguments.engines or names
    return arguments


def _make_data(arguments: argparse.Namespace, place: Path) -> tuple[Gallery, Queries]:
    """Return the rows with a collection of them, and queries that are not rows."""
    generator = np.random.default_rng(arguments.seed)
    base = embedded(arguments, place, arguments.images)
    if arguments.dim is not None:
        base = projected(base, arguments.dim, arguments.seed)
    asked = arguments.queries + TUNING
    removed = int(arguments.changed * arguments.rows)
    total = max(arguments.rows, len(base)) + removed + asked
    made = np.concatenate(list(grown(base, total, generator)))
    halves, probes = made[: arguments.rows], made[-asked:]
    gone = made[arguments.rows : arguments.rows + removed]
    collection = None
    if STORED & set(arguments.engines):
        collection = Table.create(
            place / "collection", [space_of(place, halves.shape[1])]
        )
        fill(collection, np.split(halves, range(BLOCK, len(halves), BLOCK)))
        upkeep.tidy(collection)
    matrix = halves.astype(np.float32)
    of = (
        Queries.of(halves, part, K)
        for part in (probes[: arguments.queries], probes[arguments.queries :])
    )
    queries, tuning = of
    return Gallery(matrix, halves, collection, tuning, gone), queries


def _build(
    report: Report,
    gallery: Gallery,
    makers: Mapping[str, Callable[[Gallery], Engine]],
    wanted: list[str],
) -> dict[str, Engine]:
    """Build the engines that are installed, and record their time and memory."""
    built: dict[str, Engine] = {}
    figures = report.figures["engines"] = {}
    for name in wanted:
        gc.collect()
        before, start = resident(), time.perf_counter()
        try:
            engine = makers[name](gallery)
        except ImportError as error:
            report.skip(name, error)
            continue
        seconds = time.perf_counter() - start
        engine.search(gallery.tuning.vectors[0], K)
        memory = max(resident() - before, 0) + engine.uses
        built[name] = engine
        figures[name] = {
            "kind": "exact" if name in EXACT else "approximate",
            "setting": engine.setting,
            "build_s": seconds,
            "memory_mb": memory / 1e6,
        }
    return built


def _time_single(report: Report, built: Mapping[str, Engine], queries: Queries) -> None:
    """Time each engine with one query at a time."""
    times: dict[str, list[float]] = {name: [] for name in built}
    found: dict[str, list[np.ndarray]] = {name: [] for name in built}
    for part in np.array_split(queries.vectors, PARTS):
        for name, engine in built.items():
            # Threads of the previous engine may still wait for work and use a core.
            time.sleep(0.1)
            engine.search(part[-1], K)
            milliseconds, rows = _time_queries(engine.search, part, K)
            times[name] += milliseconds
            found[name] += rows
    for name, figures in report.figures["engines"].items():
        p50, p99 = np.percentile(times[name], [50, 99]).tolist()
        figures |= {"p50_ms": p50, "p99_ms": p99, "recall": queries.recall(found[name])}
    size = f"{report.figures['rows']:,} rows of {report.figures['dim']:,} numbers"
    keys = ("p50_ms", "p99_ms", "recall", "memory_mb", "build_s", "setting")
    rows = [
        [name, *(figures[key] for key in keys)]
        for name, figures in report.figures["engines"].items()
    ]
    headers = ["", "p50 ms", "p99 ms", "recall@10", "memory MB", "build s", "setting"]
    report.print_table(
        f"{size}, one query at a time, {len(queries.vectors):,} of them", headers, rows
    )


def _time_queries(
    search: engines.Search, queries: np.ndarray, k: int
) -> tuple[list[float], list[np.ndarray]]:
    """Return the milliseconds of each query, and its rows."""
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query, k))
        times.append((time.perf_counter() - start) * 1e3)
    return times, found


def _time_many(
    report: Report, gallery: Gallery, queries: Queries, arguments: argparse.Namespace
) -> None:
    """Time the engines with many queries at once."""
    asked = queries.vectors[: arguments.many]
    made: dict[str, engines.Search] = {}
    for name in [name for name in MANY if name in arguments.engines]:
        try:
            made[name] = MANY[name](gallery)
        except ImportError as error:
            report.skip(f"{name}, many at once", error)
    report.figures["many"] = {}
    if not made:
        return
    runs = alternate(
        {name: lambda search=search: search(asked, K) for name, search in made.items()},
        1 + PARTS,
    )
    spreads = {
        name: spread([1e3 * t / len(asked) for t in seconds[1:]])
        for name, seconds in runs.items()
    }
    report.figures["many"] = {
        name: figures._asdict() for name, figures in spreads.items()
    }
    rows = [(name, figures.format(2)) for name, figures in spreads.items()]
    report.print_table(f"{len(asked)} queries at once", ["", "ms a query"], rows)


def _time_filtered(report: Report, gallery: Gallery, queries: Queries) -> None:
    """Time searches with a filter that keeps one row in a hundred."""
    rows = gallery.collection.scan(["uri"], f"label = '{RARE}'")
    kept = np.zeros(len(gallery.matrix), np.bool_)
    kept[
        np.concatenate([engines.numbers(batch["uri"].to_pylist()) for batch in rows])
    ] = True
    asked = queries.vectors[: max(PARTS, len(queries.vectors) // 5)]
    among = np.flatnonzero(kept)
    k = min(K, len(among) - 1)
    truth = Queries.of(gallery.halves[among], asked.astype(np.float16), k)
    makers: dict[str, Callable[[], engines.Search]] = {
        "Lookalike search": lambda: engines.filtered_lookalike(gallery),
        "NumPy": lambda: engines.filtered_numpy(gallery, kept),
    }
    figures: dict[str, Any] = {}
    for name, make in makers.items():
        try:
            search = make()
        except ImportError as error:
            report.skip(f"{name}, filtered", error)
            continue
        search(asked[0], k)
        times, found = _time_queries(search, asked, k)
        p50, p99 = np.percentile(times, [50, 99]).tolist()
        figures[name] = {
            "p50_ms": p50,
            "p99_ms": p99,
            "recall": truth.recall([among.searchsorted(r) for r in found]),
        }
    report.figures["filtered"] = {"kept": len(among), "engines": figures}
    table_rows = [[name, *values.values()] for name, values in figures.items()]
    report.print_table(
        f"A filter that keeps {len(among):,} rows",
        ["", "p50 ms", "p99 ms", f"recall@{k}"],
        table_rows,
    )


def _aims(report: Report) -> None:
    figures, many = report.figures["engines"], report.figures["many"]
    for name, most in (("NumPy", 0.12), ("FAISS flat", 0.12), ("scikit-learn", 0.12)):
        if name in figures and "Lookalike" in figures:
            ratio = figures["Lookalike"]["p50_ms"] / figures[name]["p50_ms"]
            report.aim(f"exact p50, Lookalike / {name}", ratio, most=most)
    if {"Lookalike", "NumPy"} <= figures.keys():
        ratio = figures["Lookalike"]["p99_ms"] / figures["NumPy"]["p99_ms"]
        report.aim("exact p99, Lookalike / NumPy", ratio, most=0.4)
        report.aim("exact recall@10", figures["Lookalike"]["recall"], least=1)
    if {"Lookalike", "Lookalike search"} <= figures.keys():
        whole = figures["Lookalike search"]["p50_ms"]
        added = whole - figures["Lookalike"]["p50_ms"]
        report.aim("whole search, ms more than its comparison", added, most=0.6)
    # A benchmark of changed rows has none.
    filtered = report.figures.get("filtered", {"engines": {}})["engines"]
    if {"Lookalike search", "NumPy"} <= filtered.keys():
        ratio = filtered["Lookalike search"]["p50_ms"] / filtered["NumPy"]["p50_ms"]
        report.aim("filtered p50, Lookalike / NumPy", ratio, most=2)
    for name in ("NumPy", "FAISS flat"):
        if {"Lookalike", name} <= many.keys():
            ratio = many["Lookalike"]["median"] / many[name]["median"]
            report.aim(f"many at once, Lookalike / {name}", ratio, most=0.4)
    if {"Lookalike in memory", "FAISS HNSW"} <= figures.keys():
        ours, theirs = figures["Lookalike in memory"], figures["FAISS HNSW"]
        report.aim(
            "in memory p50, Lookalike / FAISS HNSW",
            ours["p50_ms"] / theirs["p50_ms"],
            most=2,
        )
        report.aim("in memory recall@10", ours["recall"], least=RECALL)
    if "Lookalike approximate" in figures:
        ours = figures["Lookalike approximate"]
        report.aim("approximate p50 ms", ours["p50_ms"], most=6)
        report.aim("approximate p99 ms", ours["p99_ms"], most=15)
        report.aim("approximate recall@10", ours["recall"], least=RECALL)


if __name__ == "__main__":
    sys.exit(main())
