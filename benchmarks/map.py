"""Time the t-SNE of Lookalike and of scikit-learn on the same components and perplexity.

Without a collection the vectors are random clusters on the unit sphere, like those of a network.
With one, its vectors are used, and further rows lie between near ones, with a little noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.manifold import TSNE

from lookalike.projection import layouts
from lookalike.projection.quality import measure_fidelity
from lookalike.store.table import Table
from lookalike.vectors import unit_length
from measuring import Report, parser
from vectors_made import grown

BOUND = 0.8
PERPLEXITY = 30.0


def main() -> int:
    arguments = _arguments()
    generator = np.random.default_rng(arguments.seed)
    given = (
        _random_clusters(generator)
        if arguments.collection is None
        else _read_vectors(arguments.collection)
    )
    vectors = np.concatenate(list(grown(given, arguments.rows, generator))).astype(
        np.float32
    )
    components = layouts.fit_components(vectors, arguments.seed)(vectors)
    settings = layouts.LayoutSettings("tsne", arguments.seed, PERPLEXITY)
    theirs = TSNE(perplexity=PERPLEXITY, random_state=arguments.seed, n_jobs=-1)
    layouts.TSne().fit(components[:200], settings)  # Loads the libraries.
    rows = [
        _measure(
            "Lookalike", lambda: layouts.TSne().fit(components, settings)[0], vectors
        ),
        _measure("scikit-learn", lambda: theirs.fit_transform(components), vectors),
    ]
    ratio = rows[0]["seconds"] / rows[1]["seconds"]
    report = Report("map", arguments, ["openTSNE", "scikit-learn"])
    report.figures.update(
        rows=len(vectors), perplexity=PERPLEXITY, ratio=ratio, runs=rows
    )
    shape = (
        f"{len(vectors):,} rows of {vectors.shape[1]:,} numbers, "
        f"{components.shape[1]} components"
    )
    table_rows = [
        [row[key] for key in ("name", "seconds", "trustworthiness", "preservation")]
        for row in rows
    ]
    report.print_table(
        shape, ["", "seconds", "trustworthiness", "10 nearest kept"], table_rows
    )
    report.aim("seconds, Lookalike / scikit-learn", ratio, most=BOUND)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("map", "Time Lookalike's t-SNE against scikit-learn's.")
    options.add_argument(
        "--rows", type=int, default=9000, help="number of rows (default: 9000)"
    )
    options.add_argument(
        "--collection",
        metavar="PATH",
        help="use the vectors of its first Space (default: random ones)",
    )
    return options.parse_args()


def _read_vectors(path: str) -> np.ndarray:
    collection = Table.open(path)
    return collection.vectors(collection.space(None))[1].astype(np.float32)


def _random_clusters(generator: np.random.Generator) -> np.ndarray:
    """Return 3,000 vectors of 1,280 numbers in 30 clusters with 40 random directions each."""
    middles = generator.normal(0, 1, (30, 1280))
    directions = generator.normal(0, 0.15, (30, 40, 1280))
    weights = generator.normal(0, 1, (30, 100, 40))
    drawn = np.maximum(middles[:, np.newaxis] + weights @ directions, 0)
    return unit_length(drawn.reshape(-1, 1280).astype(np.float32))


def _measure(name: str, make: Callable[[], np.ndarray], vectors: np.ndarray) -> dict:
    start = time.perf_counter()
    xy = make()
    seconds = time.perf_counter() - start
    kept = measure_fidelity(vectors, xy)
    return {
        "name": name,
        "seconds": seconds,
        **{key: kept[key] for key in ("trustworthiness", "preservation")},
    }


if __name__ == "__main__":
    sys.exit(main())
