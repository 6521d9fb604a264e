"""How well a map keeps neighbourhoods: blocked nearest neighbours, trustworthiness and preservation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.vectors import distance_blocks

__all__ = ["fidelity", "neighbours"]

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]


def neighbours(
    queries: Floats, gallery: Floats, k: int, *, own: Rows | None = None
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Return the k rows of a gallery that are nearest to each query, and their Euclidean distances.

    Parameters
    ----------
    queries, gallery
        Floats ``[m, dim]`` and ``[n, dim]``.
    k
        How many, at most n (n - 1 where `own` leaves one out).
    own
        ``[m]``, the gallery's row that is the query itself and is left out; None if it has none.

    Returns
    -------
    rows, distances
        ``[m, k]`` each, nearest first.
    """
    rows = np.empty((len(queries), k), np.intp)
    distances = np.empty((len(queries), k))
    for part, squares in _blocks(queries, gallery, own):
        nearest = (
            np.argpartition(squares, k - 1, axis=1)[:, :k] if k < len(gallery) else _all(squares)
        )
        found = np.take_along_axis(squares, nearest, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        rows[part] = np.take_along_axis(nearest, order, axis=1)
        distances[part] = np.sqrt(np.take_along_axis(found, order, axis=1))
    return rows, distances


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
    near, _ = neighbours(xy[chosen], xy, k, own=chosen)
    penalty = kept = 0
    for part, squares in _blocks(vectors[chosen], vectors, chosen):
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


def _blocks(
    queries: Floats, gallery: Floats, own: Rows | None
) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
    """Yield the squared distances of some queries at a time to all of the gallery, own rows infinitely far."""
    for part, squares in distance_blocks(queries, gallery):
        if own is not None:
            squares[np.arange(len(squares)), own[part]] = np.inf
        yield part, squares


def _all(squares: Floats) -> Rows:
    return np.broadcast_to(np.arange(squares.shape[1]), squares.shape)
