"""Measure how well words find the photographs of nine classes, beside chance and one vector alone.

The texts and their classes were listed before anything was measured. How a broad word is split was
chosen on the plain words afterwards, which phrases count as understood on the texts for objects and
others, and when the table answers on the phrases and the plain words after others. So these figures
do not estimate how other texts do. Faces and brains are in the collection and in no text: the
networks know neither.

With the extra ``words``, the table and the encoder are measured side by side. What one of them does
not understand counts as an order by chance.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import lookalike
from lookalike import Collection
from lookalike.errors import UnknownWordsError
from lookalike.evaluation.nearest import read_labels
from lookalike.evaluation.texts import score_ranking, score_text
from lookalike.models.text import phrases
from lookalike.models.text.classifier import ClassifierReader
from lookalike.models.text.reader import ReadText
from lookalike.retrieval.query import TextQuery
from lookalike.retrieval.search import Searcher
from measuring import Report, parser
from word_lists import CLASSES_OF_TEXTS, MODIFIED, MORE_WORDS, OBJECTS, OTHERS, PHRASES

# Each has only its own images among the first ten.
EXACT = ("airplane", "motorbike", "leopard", "grand piano", "car")
REFUSED = ("asdfgh", "Steinway", "portrait")
# Chosen on these same texts, so they guard what was reached, and promise nothing for others.
# Without the encoder, and with it.
LEAST_AVERAGE_PRECISION = (0.90, 0.91)
LEAST_OF_PHRASES = 0.71
LEAST_PRECISION = 0.95


def main() -> int:
    arguments = _arguments()
    report = Report("words", arguments, ["onnxruntime"])
    if arguments.collection is not None:
        _measure(Collection.open(arguments.collection), report)
        return report.close()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photographs")
        lookalike.index(arguments.data / "101_ObjectCategories", path)
        _measure(Collection.open(path), report)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("words", "Measure searches by words.")
    options.add_argument("--data", type=Path, default=Path("../shared/caltech101"))
    options.add_argument("--collection", help="one of these photographs")
    return options.parse_args()


def _measure(collection: Collection, report: Report) -> None:
    scorer = Scorer(collection)
    words = CLASSES_OF_TEXTS
    has_encoder = phrases.are_available()
    if has_encoder:
        words = {**words, **MORE_WORDS}
    means, rows = _compare(scorer, report, "words", words)
    report.aim("mean AP", means["AP"], least=LEAST_AVERAGE_PRECISION[has_encoder])
    report.aim("mean precision@10", means["P@10"], least=LEAST_PRECISION)
    for text in EXACT:
        report.aim(f"{text}: precision@10", rows[text]["P@10"], least=1.0)
    if has_encoder:
        means, _ = _compare(scorer, report, "phrases", PHRASES)
        report.aim("phrases: mean AP", means["AP"], least=LEAST_OF_PHRASES)
        _compare(scorer, report, "a plain word after others", MODIFIED)
        _print_understood(scorer, report)
    else:
        print("Phrases are not measured: pip install 'lookalike[words]'")
    refused = sum(_is_refused(scorer.searcher, text) for text in REFUSED)
    report.aim("unknown words refused", refused, least=len(REFUSED))


class Scorer:
    """Scores texts in the first Space of a collection, as the table and the encoder read them."""

    def __init__(self, collection: Collection) -> None:
        self.searcher = collection.searcher()
        self.reader = ClassifierReader.load(self.searcher.model)
        labeled = read_labels(collection.table, self.searcher.space)
        self.ids = labeled.ids
        self._labels = np.array(labeled.labels, dtype=str)

    def score(self, text: str, classes: Sequence[str]) -> dict[str, float]:
        """Return the figures of a text by what reads it."""
        is_relevant = np.isin(self._labels, classes)
        chance = float(is_relevant.mean())
        try:
            answer = score_text(self.searcher, TextQuery(text), self.ids, is_relevant)
            average, precision = answer.average_precision, answer.precision
        except UnknownWordsError:
            average = precision = chance
        by_table = self.reader.read_words(text)
        by_encoder = self.reader.read_phrase(text)
        alone = None if by_table is None else by_table._replace(kinds=None)
        return {
            "chance": chance,
            "AP": average,
            "P@10": precision,
            "AP, table": self._average_precision(by_table, is_relevant),
            "AP, encoder": self._average_precision(by_encoder, is_relevant),
            "AP, one vector of the table": self._average_precision(alone, is_relevant),
        }

    def _average_precision(
        self, read: ReadText | None, is_relevant: np.ndarray
    ) -> float:
        if read is None:
            return float(is_relevant.mean())
        kinds = [read.vector] if read.kinds is None else read.kinds
        distances = [
            self.searcher.distances(kind.astype(np.float16))[1] for kind in kinds
        ]
        order = np.argsort(np.min(distances, axis=0), kind="stable")
        return score_ranking(is_relevant[order])[0]


def _compare(
    scorer: Scorer, report: Report, name: str, texts: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Print the figures of some texts, and return their means and themselves."""
    scores = {text: scorer.score(text, classes) for text, classes in texts.items()}
    columns = list(next(iter(scores.values())))
    means = {
        column: float(np.mean([score[column] for score in scores.values()]))
        for column in columns
    }
    scores[f"mean of {len(texts)}"] = means
    rows = [[text, *score.values()] for text, score in scores.items()]
    report.figures[name] = rows
    report.print_table(
        f"{scorer.searcher.space}, {len(scorer.ids):,} photographs: {name}",
        ["text", *columns],
        rows,
    )
    return means, scores


def _print_understood(scorer: Scorer, report: Report) -> None:
    """Print how many texts the encoder alone takes for understood, and which wrongly."""
    for name, listed, is_wanted in [
        ("objects", OBJECTS, True),
        ("others", OTHERS, False),
    ]:
        texts = [" ".join(text.split()) for text in listed.split(";")]
        wrong = [
            text
            for text in texts
            if (scorer.reader.read_phrase(text) is not None) != is_wanted
        ]
        right = len(texts) - len(wrong)
        verb = "understood" if is_wanted else "refused"
        report.figures[name] = {"texts": len(texts), "right": right, "wrong": wrong}
        print(f"\n{right} of {len(texts)} {name} {verb}; not: {', '.join(wrong)}.")


def _is_refused(searcher: Searcher, text: str) -> bool:
    try:
        searcher.read_text(text)
    except UnknownWordsError as error:
        print(error)
        return len(error.suggestions) > 0
    return False


if __name__ == "__main__":
    sys.exit(main())
