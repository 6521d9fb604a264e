"""The quality of a map: trustworthiness and the preservation of nearest neighbors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.vectors import distance_blocks, k_nearest

__all__ = ["measure_fidelity"]

_Floats = npt.NDArray[np.floating[Any]]


def measure_fidelity(
    vectors: _Floats,
    xy: _Floats,
    *,
    k: int = 10,
    max_queries: int = 5000,
    seed: int = 0,
) -> dict[str, float | int | None]:
    """Measure how well the positions on a map keep the neighborhoods of the vectors.

    Parameters
    ----------
    vectors, xy
        Floats ``[n, dim]`` and ``[n, 2]``, row by row the same.
    k
        The size of a neighborhood, reduced to less than half of the rows.
    max_queries
        With more rows than this, a random sample of them is compared with all rows.
    seed
        The seed of that sample.

    Returns
    -------
    dict
        - ``k``: the size used.
        - ``trustworthiness``, 0 to 1: whether neighbors on the map are near in the Space.
        - ``preservation``, 0 to 1: the mean share of a row's k nearest that stay so on the map.
        - ``queries`` and ``rows``: how many were measured, and compared with. The measures are
          None below 3 rows.

    References
    ----------
    Venna, Kaski: Neighborhood preservation in nonlinear projection methods, ICANN 2001.
    """
    rows = len(vectors)
    largest_k = (rows - 1) // 2
    k = min(k, largest_k)
    if k < 1:
        return {
            "k": 0,
            "trustworthiness": None,
            "preservation": None,
            "queries": 0,
            "rows": rows,
        }

    sample = _sample_rows(rows, max_queries, seed)
    penalty, preserved = _compare_neighborhoods(vectors, xy, sample, k)

    # All neighbors on the map would be the rows furthest away in the Space.
    pairs = len(sample) * k
    twice_worst = 2 * rows - 3 * k - 1
    worst_penalty = pairs * twice_worst / 2
    trustworthiness = 1 - penalty / worst_penalty
    preservation = preserved / pairs
    return {
        "k": k,
        "trustworthiness": round(trustworthiness, 6),
        "preservation": round(preservation, 6),
        "queries": len(sample),
        "rows": rows,
    }


def _sample_rows(rows: int, count: int, seed: int) -> npt.NDArray[np.intp]:
    """Return all rows, or a random sample of them, ascending, if there are more than `count`."""
    if rows <= count:
        return np.arange(rows)
    generator = np.random.default_rng(seed)
    sample = generator.choice(rows, count, replace=False)
    return np.sort(sample)


def _compare_neighborhoods(
    vectors: _Floats, xy: _Floats, sample: npt.NDArray[np.intp], k: int
) -> tuple[int, int]:
    """Return the penalty of wrong neighbors on the map, and the number of preserved ones."""
    sampled_xy = xy[sample]
    sampled_vectors = vectors[sample]
    near_on_map, _ = k_nearest(sampled_xy, xy, k, own=sample)
    penalty = preserved = 0
    for part, squares in distance_blocks(sampled_vectors, vectors, own=sample):
        near = near_on_map[part]
        ranks = _rank_neighbors(squares, near)

        # A neighbor on the map is penalized by how far it is from the k nearest in the Space.
        excess = np.maximum(ranks - k, 0)
        penalty += int(excess.sum())
        is_preserved = ranks <= k
        preserved += int(is_preserved.sum())
    return penalty, preserved


def _rank_neighbors(
    squares: npt.NDArray[np.float64], neighbors: npt.NDArray[np.intp]
) -> npt.NDArray[np.int64]:
    """Return the rank in the Space of each neighbor on the map.

    Neighbors at equal distance share the better rank.

    Parameters
    ----------
    squares
        ``[m, n]``, the squared distances in the Space of some queries to all rows.
    neighbors
        ``[m, k]``, the nearest rows of each query on the map.
    """
    neighbor_squares = np.take_along_axis(squares, neighbors, axis=1)
    ranks = np.empty(neighbors.shape, np.int64)
    for index, column in enumerate(neighbor_squares.T):
        is_nearer = squares < column[:, np.newaxis]
        nearer_count = is_nearer.sum(axis=1)
        ranks[:, index] = 1 + nearer_count
    return ranks
