"""Stars never chain, and their work grows with the number of copies, not with its square."""

from __future__ import annotations

from collections import defaultdict

from lookalike.duplicates.stars import complete, join_stars


def edges_of(*pairs):
    edges = defaultdict(set)
    for first, second in pairs:
        edges[first].add(second)
        edges[second].add(first)
    return edges


def test_a_chain_is_no_group():
    chain = edges_of((0, 1), (1, 2), (2, 3))
    assert join_stars(chain, [0, 1, 2, 3]) == {1: 0, 3: 2}


def test_an_anchored_content_takes_and_does_not_join():
    edges = edges_of((0, 1), (1, 2))
    assert join_stars(edges, [0, 1, 2], frozenset([1])) == {0: 1, 2: 1}


def test_many_copies_are_each_compared_with_the_best_one_only():
    count = 1_000
    edges = edges_of(*[(place, place + 1) for place in range(count - 1)])
    asked = []

    def matches(pairs):
        asked.extend(pairs)
        return [True] * len(pairs)

    ranks = list(range(count))
    complete(edges, ranks, matches)
    assert len(asked) <= count
    assert set(join_stars(edges, ranks).values()) == {0}


def test_what_does_not_match_the_best_one_forms_its_own_star():
    edges = edges_of((0, 1), (1, 2), (2, 3), (3, 4))

    def matches(pairs):
        return [0 not in pair for pair in pairs]

    complete(edges, list(range(5)), matches)
    assert join_stars(edges, list(range(5))) == {1: 0, 3: 2, 4: 2}
