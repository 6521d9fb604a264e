"""Stars: each content joins the best one that it was compared with and matches.

Groups by way of others would grow without end: a frame of a burst matches the next one, and that
the one after it. In a star every member matches the center itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Edges", "complete", "components", "join_stars"]

# The matching pairs, both ways: the neighbors of each content.
Edges = dict[int, set[int]]

# How often the members of the components are compared with their best one. Each round settles one
# star of each component; what is left then joins by the pairs that are known.
_ROUNDS = 12


def join_stars(
    edges: Edges, ranks: Sequence[int], anchored: frozenset[int] = frozenset()
) -> dict[int, int]:
    """Return the center of each member of a star.

    Parameters
    ----------
    edges
        The matching pairs.
    ranks
        The rank of each content; the smallest is the best.
    anchored
        Contents that may be a center, but no member.
    """
    centers: dict[int, int] = {}
    settled: set[int] = set(anchored)
    for center in sorted(edges, key=ranks.__getitem__):
        if center in settled and center not in anchored:
            continue
        members = edges[center] - settled - {center}
        if not members:
            continue
        settled |= members | {center}
        for member in members:
            centers[member] = center
    return centers


def complete(
    edges: Edges,
    ranks: Sequence[int],
    matches: Callable[[list[tuple[int, int]]], list[bool]],
) -> None:
    """Compare the best content of each component with all members, and add the matches.

    Each copy of a photograph with many copies was compared with a few others only. The work grows
    with the size of a component, not with its square.

    Parameters
    ----------
    edges
        The matching pairs; more are added.
    ranks
        The rank of each content.
    matches
        Compares pairs, each the smaller number first.
    """
    unsettled = set(edges)
    for _ in range(_ROUNDS):
        best_of_each = []
        new_pairs = []
        for members in components(edges, unsettled):
            best = min(members, key=ranks.__getitem__)
            best_of_each.append(best)
            others = set(members) - edges[best] - {best}
            new_pairs += [(min(best, other), max(best, other)) for other in others]
        if not best_of_each:
            return
        new_pairs.sort()
        for (first, second), is_match in zip(
            new_pairs, matches(new_pairs), strict=True
        ):
            if is_match:
                edges[first].add(second)
                edges[second].add(first)

        # These stars are settled; what is left of their components is looked at again.
        for best in best_of_each:
            unsettled -= {best} | edges[best]


def components(edges: Edges, contents: set[int]) -> list[list[int]]:
    """Return the connected components of some contents, those with two or more members."""
    order = sorted(contents)
    number = {content: place for place, content in enumerate(order)}
    rows, columns = [], []
    for content in order:
        for other in edges[content]:
            if other in number:
                rows.append(number[content])
                columns.append(number[other])
    if not rows:
        return []
    ones = np.ones(len(rows), np.int8)
    graph = coo_array((ones, (rows, columns)), shape=(len(order), len(order)))
    _, labels = connected_components(graph, directed=False)
    groups: dict[int, list[int]] = {}
    for content, label in zip(order, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(content)
    return [members for members in groups.values() if len(members) > 1]
