"""Measure how often words are answered whose objects are in a collection, and others.

Words of the collection's own labels should be kept. Two kinds of words should not: those of labels
that only the other collections have, and those of animals that none of its labels is near to. The
smallest confidence was chosen on the nine classes. A second table compares the matches of a word
that have a confidence with its images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lookalike import Collection
from lookalike.models.text.table import WordTable
from lookalike.types import MIN_WORD_CONFIDENCE
from measuring import Report, parser
from words import CLASSES_OF_TEXTS

HEADERS = ["confidence", "kept", "answered, other labels", "answered, other animals"]
MATCH_HEADERS = ["confidence of a match", "precision", "recall"]
LEAST_VALUES = (0.3, MIN_WORD_CONFIDENCE, 0.7)
# Words of the twelve classes, and their labels.
OTHER_TEXTS: Mapping[str, Sequence[str]] = {
    "accordion": ["accordion"],
    "squeeze box": ["accordion"],
    "crab": ["crab"],
    "crustacean": ["crab"],
    "dolphin": ["dolphin"],
    "elephant": ["elephant"],
    "african elephant": ["elephant"],
    "indian elephant": ["elephant"],
    "ewer": ["ewer"],
    "pitcher": ["ewer"],
    "vessel": ["ewer", "ferry", "ketch"],
    "ship": ["ferry", "ketch"],
    "boat": ["ferry", "ketch"],
    "watercraft": ["ferry", "ketch"],
    "sailing vessel": ["ketch"],
}
# Labels of the twelve classes that words of the nine are true of, too.
ALSO: Mapping[str, Sequence[str]] = {
    "aircraft": ["helicopter"],
    "animal": ["crab", "dolphin", "elephant"],
    "arthropod": ["crab"],
    "instrument": ["accordion", "euphonium"],
    "musical instrument": ["accordion", "euphonium"],
    "vehicle": ["ferry", "helicopter", "ketch"],
}
# What is near to a label among animals.
NEAR: Mapping[str, Sequence[str]] = {
    "Leopards": ["feline"],
    "butterfly": ["insect"],
    "crab": ["arthropod"],
    "dolphin": ["whale", "fish", "seal", "sea cow"],
    "elephant": ["elephant", "tusker"],
}
LEAST_KEPT = 0.97
LEAST_PRECISION = 0.98
MOST_ANSWERED = 0.01


def main() -> int:
    arguments = _arguments()
    report = Report("word_confidence", arguments, [])
    for path in arguments.collections:
        _measure(report, path)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("word_confidence", "Measure whether words are answered rightly.")
    options.add_argument("collections", nargs="+", metavar="COLLECTION")
    return options.parse_args()


def _measure(report: Report, path: str) -> None:
    collection = Collection.open(path)
    labels: set[str] = set()
    for batch in collection.table.scan(["label"]):
        labels |= set(batch["label"].to_pylist())
    present = []
    absent = []
    labels_of_texts = {}
    for text, listed in {**CLASSES_OF_TEXTS, **OTHER_TEXTS}.items():
        labels_of_texts[text] = {*listed, *ALSO.get(text, ())}
        is_present = not labels.isdisjoint(labels_of_texts[text])
        (present if is_present else absent).append(text)
    animals = _other_animals(labels)
    kept = _confidences(collection, present)
    of_labels = _confidences(collection, absent)
    of_animals = _confidences(collection, animals)
    rows = []
    for least in LEAST_VALUES:
        shares = [
            float((values >= least).mean()) for values in (kept, of_labels, of_animals)
        ]
        rows.append([f"at least {least}", *shares])
        if least == MIN_WORD_CONFIDENCE:
            report.aim(f"{path}: kept", shares[0], least=LEAST_KEPT)
            report.aim(f"{path}: animals answered", shares[2], most=MOST_ANSWERED)
    report.figures[path] = rows
    counts = f"{len(present)} words, {len(absent)} of other labels, {len(animals)} of animals"
    report.print_table(f"{path}: {counts}", HEADERS, rows)
    is_answered = of_labels >= MIN_WORD_CONFIDENCE
    answered = np.array(absent)[is_answered]
    print("Answered, of other labels:", ", ".join(answered) or "none")
    labels_of_present = {text: labels_of_texts[text] for text in present}
    _measure_matches(report, path, collection, labels_of_present)


def _measure_matches(
    report: Report,
    path: str,
    collection: Collection,
    labels_of_texts: Mapping[str, set[str]],
) -> None:
    """Print the mean precision and recall over words of the matches of a confidence."""
    precisions: dict[float, list[float]] = {least: [] for least in LEAST_VALUES}
    recalls: dict[float, list[float]] = {least: [] for least in LEAST_VALUES}
    count = len(collection)
    for text, labels in labels_of_texts.items():
        matches = collection.search(text=text, k=count, min_confidence=0)
        is_right = np.array([label in labels for label in matches.labels])
        for least in LEAST_VALUES:
            right = is_right[matches.confidences >= least]
            recalls[least].append(right.sum() / is_right.sum())
            if len(right):
                precisions[least].append(right.mean())
    rows = []
    for least in LEAST_VALUES:
        precision = float(np.mean(precisions[least]))
        recall = float(np.mean(recalls[least]))
        rows.append([f"at least {least}", precision, recall])
        if least == MIN_WORD_CONFIDENCE:
            report.aim(f"{path}: precision", precision, least=LEAST_PRECISION)
    report.figures[f"{path}: matches"] = rows
    report.print_table(f"{path}: matches of the words", MATCH_HEADERS, rows)


def _other_animals(labels: Iterable[str]) -> list[str]:
    """Return words for animals that are near to no label, one for each set of classes."""
    table = WordTable.load()
    near: set[int] = set()
    for label in labels:
        for word in NEAR.get(label, ()):
            near |= set(table.words.get(word, ()))
    animals = set(table.words["animal"])
    words: dict[tuple[int, ...], str] = {}
    for word, numbers in table.words.items():
        classes = set(numbers)
        if classes <= animals and not classes & near:
            words.setdefault(tuple(numbers), word)
    return list(words.values())


def _confidences(collection: Collection, texts: Iterable[str]) -> np.ndarray:
    values = []
    for text in texts:
        (understood,) = collection.search(text=text, k=10).understood
        values.append(understood.confidence)
    return np.array(values)


if __name__ == "__main__":
    sys.exit(main())
