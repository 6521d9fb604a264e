"""How well a map keeps neighbourhoods: trustworthiness and preservation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.vectors import distance_blocks, k_nearest

__all__ = ["fidelity"]

Floats = npt.NDArray[np.floating[Any]]


def fidelity(
    vectors: Floats, xy: Floats, *, k: int = 10, most: int = 5000, seed: int = 0
) -> dict[str, float | int | None]:
    """Measure how well places on a map keep the neighbourhoods of the vectors.

    Parameters
    ----------
    vectors, xy
        Floats ``[n, dim]`` and ``[n, 2]``, row by row the same.
    k
        Size of a neighbourhood; fewer where there are not more than twice as many rows.
    most
        With more rows than this, so many are drawn as queries; each is still compared with every row.
    seed
        Of that draw.

    Returns
    -------
    dict
        ``k``; ``trustworthiness`` (0 to 1: near on the map means near in the Space; Venna and Kaski 2001);
        ``preservation`` (0 to 1: the mean share of a row's k nearest that are among its k nearest on the map);
        ``queries`` and ``rows`` that were compared. The two measures are None below 3 rows, where neither is defined.
    """
    n = len(vectors)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return {"k": 0, "trustworthiness": None, "preservation": None, "queries": 0, "rows": n}
    chosen = (
        np.arange(n)
        if n <= most
        else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    )
    near, _ = k_nearest(xy[chosen], xy, k, own=chosen)
    penalty = kept = 0
    for part, squares in distance_blocks(vectors[chosen], vectors, own=chosen):
        reached = np.take_along_axis(squares, near[part], axis=1)
        # A rank is one more than the rows that are strictly nearer: equal distances share the better rank.
        ranks = 1 + np.stack(
            [(squares < column[:, np.newaxis]).sum(axis=1) for column in reached.T]
        )
        penalty += int(np.maximum(ranks - k, 0).sum())
        kept += int((ranks <= k).sum())
    trustworthiness = 1 - 2 * penalty / (len(chosen) * k * (2 * n - 3 * k - 1))
    return {
        "k": k,
        "trustworthiness": round(trustworthiness, 6),
        "preservation": round(kept / (len(chosen) * k), 6),
        "queries": len(chosen),
        "rows": n,
    }
