"""The request of a search, independent of where it comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from lookalike.errors import InputError
from lookalike.retrieval.query import WeightedQuery
from lookalike.retrieval.ranking import Ranking
from lookalike.types import DEFAULT_GAMMA

__all__ = ["SearchOptions", "SearchRequest", "check_k"]


class SearchOptions(TypedDict, total=False):
    """The options of `lookalike.Collection.search`, each by its name.

    Attributes
    ----------
    gamma
        The strength of the negative queries, 0.1 by default: 0 ignores them, 1 lets them count as
        much as the positive ones. See `lookalike.vectors.combine`.
    where
        A filter such as ``label = 'cat' and width > 300``. Only images that match it are compared,
        and the k nearest of them are returned. See `lookalike.store.filters`.
    max_distance
        The largest distance of a match, in the units of the Space; any by default.
    exclude_self
        Whether to leave out the rows of the queries: the row with the same path, or else the rows
        with the same content.
    unique
        Whether to return each content once: of files with the same bytes, the first. Then k counts
        contents, and `Matches.copies` says how many images share each.
    exact
        Whether to compare every row even if the Space has an index. Without an index, every row is
        compared.
    min_confidence
        The smallest confidence of a match, from 0 to 1. By default no match is left out. For an
        image, `Matches.confidences` says how alike each is; a Space without a calibration has none,
        see `lookalike.Collection.calibrate`. For one word, it says how sure the network is that
        each match shows it.
    ranking
        The name of a ranking: ``plain`` by default, ``centered`` or ``context``. See
        `lookalike.retrieval.ranking`.
    """

    gamma: float
    where: str | None
    max_distance: float | None
    exclude_self: bool
    unique: bool
    exact: bool
    min_confidence: float | None
    ranking: str | Ranking


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search.

    Attributes
    ----------
    positive, negative
        Queries that the matches resemble, and queries that they keep away from.
    k
        The number of matches.
    gamma
        The strength of the negative queries; see `lookalike.vectors.combine`.
    where
        A filter; see `lookalike.store.filters`.
    max_distance
        The largest distance of a match; None for any.
    exclude_self
        Whether to leave out the rows that are the queries themselves.
    unique
        Whether to return each content once.
    exact
        Whether to compare every row even if the Space has an index.
    min_confidence
        The smallest confidence of a match; None for any.
    ranking
        The name of a ranking, or a Ranking; see `lookalike.retrieval.ranking`.
    first_page
        If these are the matches up to a later page of an approximate answer, the number of matches
        of its first page, which stay the first; see `lookalike.retrieval.pages`.

    Raises
    ------
    InputError
        If k, gamma, max_distance, min_confidence or where is invalid.
    """

    positive: Sequence[WeightedQuery]
    negative: Sequence[WeightedQuery] = ()
    k: int = 10
    gamma: float = DEFAULT_GAMMA
    where: str | None = None
    max_distance: float | None = None
    exclude_self: bool = False
    unique: bool = False
    exact: bool = False
    min_confidence: float | None = None
    ranking: str | Ranking = "plain"
    first_page: int | None = None

    def __post_init__(self) -> None:
        check_k(self.k)
        _check_number("gamma", self.gamma)
        if self.max_distance is not None:
            _check_number("max_distance", self.max_distance)
        if self.min_confidence is not None:
            _check_share("min_confidence", self.min_confidence)
        where = self.where
        if where is not None and not isinstance(where, str):
            kind = type(where).__name__
            raise InputError(
                f"where has the type {kind}; expected a filter such as \"label = 'cat'\"."
            )

    @property
    def queries(self) -> list[WeightedQuery]:
        """The positive and the negative queries."""
        queries = list(self.positive)
        queries.extend(self.negative)
        return queries

    @property
    def examples(self) -> list[WeightedQuery]:
        """The queries that the search depends on: without the negative ones if gamma is 0."""
        if self.gamma == 0:
            return list(self.positive)
        return self.queries


def check_k(k: int) -> None:
    """Check the number of matches.

    Raises
    ------
    InputError
        If it is not a whole number of at least 1.
    """
    is_whole = isinstance(k, int | np.integer)
    if not is_whole or k < 1:
        raise InputError(
            f"k = {k!r} is invalid; expected a whole number of at least 1."
        )


def _check_number(name: str, value: float) -> None:
    """Check that an option is a finite number of at least 0."""
    is_number = isinstance(value, int | float | np.number)
    if not is_number or not 0 <= value < math.inf:
        raise InputError(
            f"{name} = {value!r} is invalid; expected a finite number of at least 0."
        )


def _check_share(name: str, value: float) -> None:
    """Check that an option is a number from 0 to 1."""
    is_number = isinstance(value, int | float | np.number)
    if not is_number or not 0 <= value <= 1:
        raise InputError(
            f"{name} = {value!r} is invalid; expected a number from 0 to 1."
        )
