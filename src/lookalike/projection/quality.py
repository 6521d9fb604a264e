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
    k = min(k, (rows - 1) // 2)
    if k < 1:
        return {
            "k": 0,
            "trustworthiness": None,
            "preservation": None,
            "queries": 0,
            "rows": rows,
        }

    sample = np.arange(rows)
    if rows > max_queries:
        generator = np.random.default_rng(seed)
        sample = np.sort(generator.choice(rows, max_queries, replace=False))

    near_on_map, _ = k_nearest(xy[sample], xy, k, own=sample)
    penalty = preserved = 0
    for block, squares in distance_blocks(vectors[sample], vectors, own=sample):
        squares_on_map = np.take_along_axis(squares, near_on_map[block], axis=1)
        # The rank in the Space of each neighbor on the map. Equal distances share the better rank.
        ranks = np.empty(squares_on_map.shape, np.int64)
        for neighbor, column in enumerate(squares_on_map.T):
            is_nearer = squares < column[:, np.newaxis]
            ranks[:, neighbor] = 1 + is_nearer.sum(axis=1)
        penalty += int(np.maximum(ranks - k, 0).sum())
        preserved += int((ranks <= k).sum())

    worst_penalty = len(sample) * k * (2 * rows - 3 * k - 1) / 2
    return {
        "k": k,
        "trustworthiness": round(1 - penalty / worst_penalty, 6),
        "preservation": round(preserved / (len(sample) * k), 6),
        "queries": len(sample),
        "rows": rows,
    }
