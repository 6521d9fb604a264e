"""Time Lookalike's t-SNE against scikit-learn's, on the same 50 principal components at the same perplexity.

Without a collection the vectors are drawn: clusters on the unit sphere, as a network's are. With one, its vectors are
taken; where more rows are asked for than it has, the rest lie between near ones, a little off.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE

from lookalike import Collection, layouts
from lookalike.fidelity import fidelity, neighbours
from lookalike.vectors import unit_length

BOUND = 0.8
PERPLEXITY = 30.0


def main() -> int:
    arguments = _arguments()
    generator = np.random.default_rng(arguments.seed)
    given = _drawn(generator) if arguments.collection is None else _of(arguments.collection)
    vectors = _grown(given, arguments.rows, generator)
    components = layouts.principal(vectors, arguments.seed)(vectors)
    recipe = layouts.Recipe("tsne", arguments.seed, PERPLEXITY)
    theirs = TSNE(perplexity=PERPLEXITY, random_state=arguments.seed, n_jobs=-1)
    layouts.tsne(components[:200], recipe)  # loads what is loaded but once
    rows = [
        _measured("Lookalike", lambda: layouts.tsne(components, recipe)[0], vectors),
        _measured("scikit-learn", lambda: theirs.fit_transform(components), vectors),
    ]
    ratio = rows[0]["seconds"] / rows[1]["seconds"]
    print(f"{len(vectors):,} rows of {vectors.shape[1]:,} numbers, {components.shape[1]} components")
    print(f"{'':14}{'seconds':>9}{'trustworthiness':>17}{'10 nearest kept':>17}")
    for row in rows:
        print(f"{row['name']:14}{row['seconds']:9.1f}{row['trustworthiness']:17.4f}{row['preservation']:17.1%}")
    print(f"{'ratio':14}{ratio:9.2f}  (aim: at most {BOUND})")
    if arguments.json:
        report = {"rows": len(vectors), "perplexity": PERPLEXITY, "ratio": ratio, "runs": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return int(ratio > BOUND)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time Lookalike's t-SNE against scikit-learn's.")
    parser.add_argument("--rows", type=int, default=9000, help="how many (default: 9000)")
    parser.add_argument("--collection", metavar="PATH", help="take the vectors of its first Space (default: draw some)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args()


def _of(path: str) -> np.ndarray:
    collection = Collection.open(path)
    return collection.vectors(collection.space(None))[1].astype(np.float32)


def _drawn(generator: np.random.Generator) -> np.ndarray:
    """Return 3,000 vectors of 1,280 numbers in 30 clusters, each spread in 40 directions of its own."""
    middles = generator.normal(0, 1, (30, 1280))
    directions = generator.normal(0, 0.15, (30, 40, 1280))
    weights = generator.normal(0, 1, (30, 100, 40))
    drawn = np.maximum(middles[:, np.newaxis] + weights @ directions, 0)
    return unit_length(drawn.reshape(-1, 1280).astype(np.float32))


def _grown(vectors: np.ndarray, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Return so many rows: some of those given, or all and new ones between a row and one of its 10 nearest."""
    if rows <= len(vectors):
        return vectors[generator.permutation(len(vectors))[:rows]]
    near, _ = neighbours(vectors, vectors, 10, own=np.arange(len(vectors)))
    first = generator.integers(0, len(vectors), rows - len(vectors))
    second = near[first, generator.integers(0, 10, len(first))]
    share = generator.uniform(0.2, 0.8, (len(first), 1)).astype(np.float32)
    between = vectors[first] * share + vectors[second] * (1 - share)
    noise = generator.normal(0, 0.3 * np.std(vectors[first] - vectors[second]), between.shape).astype(np.float32)
    return np.concatenate([vectors, unit_length(between + noise)])


def _measured(name: str, make: Callable[[], np.ndarray], vectors: np.ndarray) -> dict:
    start = time.perf_counter()
    xy = make()
    seconds = time.perf_counter() - start
    kept = fidelity(vectors, xy)
    return {"name": name, "seconds": seconds, **{key: kept[key] for key in ("trustworthiness", "preservation")}}


if __name__ == "__main__":
    sys.exit(main())
