"""How well words find images: the names of the labels are the queries, their images the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError, UnknownWordsError
from lookalike.evaluation.absent import mean_with_interval
from lookalike.evaluation.nearest import read_labels
from lookalike.retrieval.confidence import Rate
from lookalike.retrieval.query import TextQuery, WeightedQuery
from lookalike.retrieval.request import SearchRequest
from lookalike.retrieval.search import Searcher
from lookalike.store.view import View
from lookalike.types import Ids

__all__ = [
    "TextEvaluation",
    "TextScore",
    "evaluate_texts",
    "score_ranking",
    "score_text",
]

# The matches of the first page.
_PAGE = 10

_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TextScore:
    """How well one text finds its images.

    Attributes
    ----------
    text
        The text.
    words
        What was understood of it.
    images
        The number of its images.
    chance
        Their share of all images: the average precision of an order by chance, nearly.
    average_precision
        The mean, over its images, of the precision at the rank of each.
    precision
        The share of its images among the first ten matches.
    """

    text: str
    words: tuple[str, ...]
    images: int
    chance: float
    average_precision: float
    precision: float


@dataclass(frozen=True, slots=True)
class TextEvaluation:
    """How well the names of labels find their images in one Space.

    Attributes
    ----------
    space
        The Space.
    images
        The number of images that were ranked.
    texts
        The figures of each text that was understood.
    not_understood
        The other labels.
    average_precision, precision, chance
        The means over the texts; intervals come from resampling the texts. None without a text.
    """

    space: str
    images: int
    texts: tuple[TextScore, ...]
    not_understood: tuple[str, ...]
    average_precision: Rate | None
    precision: Rate | None
    chance: float

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as plain data, as ``lookalike evaluate --text labels --json`` does."""
        fields = asdict(self)
        for name in ("average_precision", "precision"):
            rate: Rate | None = getattr(self, name)
            if rate is not None:
                fields[name] = rate.to_dict()
        return fields


def evaluate_texts(
    view: View,
    *,
    space: str | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> TextEvaluation:
    """Search by the name of each label, and measure how well its images are found.

    Parameters
    ----------
    view
        The collection at the version to measure.
    space
        The Space; None for the first.
    seed
        The seed of the bootstrap.
    progress
        Called with 1 after each label.

    Raises
    ------
    InputError
        If no image has a label, or the Space reads no text.
    SpaceError
        If the collection lacks the Space, or it is empty.
    """
    searcher = Searcher(view, space)
    labeled = read_labels(view, searcher.space)
    if not labeled.names:
        raise InputError(
            f"No image of {view.path} has a label, and labels are the queries. Index folders "
            "that are named after their images."
        )
    scores = []
    not_understood = []
    labels = np.array(labeled.labels, dtype=object)
    for label in labeled.names:
        is_relevant = labels == label
        score = _score_label(searcher, label, labeled.ids, is_relevant)
        if score is None:
            not_understood.append(label)
        else:
            scores.append(score)
        if progress is not None:
            progress(1)
    images = len(labeled.ids)
    return _summarize(searcher.space, images, scores, not_understood, seed)


def _score_label(
    searcher: Searcher, label: str, ids: Ids, is_relevant: _Flags
) -> TextScore | None:
    """Return how well a label's name finds its images; None if it was not understood."""
    text = label.replace("_", " ")
    try:
        query = TextQuery(text)
    except InputError:
        # A folder may have a name that is no text, such as "_".
        return None
    try:
        return score_text(searcher, query, ids, is_relevant)
    except UnknownWordsError:
        return None


def score_text(
    searcher: Searcher, query: TextQuery, ids: Ids, is_relevant: _Flags
) -> TextScore:
    """Rank all images by a text, and measure where the relevant ones are.

    Parameters
    ----------
    searcher, query
        The Space and the text.
    ids
        int64 ``[n]``, ascending: all rows of the Space.
    is_relevant
        ``[n]``, of each row.

    Raises
    ------
    InputError
        If the text was not understood.
    """
    weighted = WeightedQuery(query)
    request = SearchRequest([weighted], k=len(ids), exact=True)
    found = searcher.find(request)
    places = np.searchsorted(ids, found.ids)
    average_precision, precision = score_ranking(is_relevant[places])
    understood = found.understood[0]
    return TextScore(
        text=query.text,
        words=understood.words,
        images=int(is_relevant.sum()),
        chance=float(is_relevant.mean()),
        average_precision=average_precision,
        precision=precision,
    )


def score_ranking(is_relevant: _Flags) -> tuple[float, float]:
    """Return the average precision of a ranking, and the precision of its first ten.

    Parameters
    ----------
    is_relevant
        ``[n]``, of each image, the nearest first; at least one is relevant.
    """
    places = np.flatnonzero(is_relevant)
    found = np.arange(1, len(places) + 1)
    precisions = found / (places + 1)
    first = is_relevant[:_PAGE]
    return float(precisions.mean()), float(first.mean())


def _summarize(
    space: str,
    images: int,
    scores: list[TextScore],
    not_understood: list[str],
    seed: int,
) -> TextEvaluation:
    average_precision: Rate | None = None
    precision: Rate | None = None
    chance = 0.0
    if scores:
        random = np.random.default_rng(seed)
        averages = np.array([score.average_precision for score in scores])
        firsts = np.array([score.precision for score in scores])
        chances = [score.chance for score in scores]
        average_precision = mean_with_interval(averages, random)
        precision = mean_with_interval(firsts, random)
        chance = float(np.mean(chances))
    return TextEvaluation(
        space=space,
        images=images,
        texts=tuple(scores),
        not_understood=tuple(not_understood),
        average_precision=average_precision,
        precision=precision,
        chance=chance,
    )
