"""Measure how often words are answered whose objects are in a collection, and others.

Words of the collection's own labels should be kept. Two kinds of words should not: those of labels
that only the other collections have, and those of animals that none of its labels is near to. The
smallest confidence was chosen on the nine classes.
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
    for text, listed in {**CLASSES_OF_TEXTS, **OTHER_TEXTS}.items():
        is_present = not labels.isdisjoint([*listed, *ALSO.get(text, ())])
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
