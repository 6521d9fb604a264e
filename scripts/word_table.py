"""Write the table of words that a classifier of ImageNet knows, from WordNet 3.0.

WordNet is in Debian's package ``wordnet-base``: ``apt-get install wordnet-base``. A word knows the
classes at or below one of its senses, so that "piano" knows the grand piano and the upright.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lookalike.models.text.table import PATH, normalize

WORDNET = Path("/usr/share/wordnet")
CLASSES = Path(__file__).with_name("imagenet_classes.txt")

# The mean of more classes, those of "artifact" and "entity", has no direction.
MAX_CLASSES = 450
# The synset "person": ImageNet has three of its kinds, which stand for no other.
PERSON = 7846


@dataclass
class Synset:
    """A meaning: its words, and its narrower meanings."""

    words: list[str]
    below: list[int] = field(default_factory=list)
    above: list[int] = field(default_factory=list)


@dataclass
class WordNet:
    """The nouns of WordNet.

    Attributes
    ----------
    synsets
        Each meaning by its offset, which is the number in an ImageNet id.
    senses
        The meanings of each word, the most frequent first.
    irregular
        The singular of each irregular plural.
    """

    synsets: dict[int, Synset]
    senses: dict[str, list[int]]
    irregular: dict[str, str]


def main() -> int:
    arguments = _arguments()
    wordnet = read_wordnet(arguments.wordnet)
    lines = CLASSES.read_text().split()
    classes = [int(line.removeprefix("n")) for line in lines]
    words = find_words(wordnet, classes)
    table = {
        "names": name_classes(wordnet, classes),
        "words": words,
        "irregular": find_irregular(wordnet, words),
    }
    text = json.dumps(table, separators=(",", ":"))
    # Without a time, the same table always gives the same bytes.
    content = gzip.compress(text.encode(), mtime=0)
    arguments.output.write_bytes(content)
    print(f"{len(words):,} words, {len(content):,} bytes: {arguments.output}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, default=WORDNET, metavar="FOLDER")
    parser.add_argument("--output", type=Path, default=PATH, metavar="FILE")
    return parser.parse_args()


def read_wordnet(folder: Path) -> WordNet:
    """Read the nouns from the files of WordNet 3.0."""
    synsets = {}
    for line in _entries(folder / "data.noun"):
        offset, synset = _parse_synset(line)
        synsets[offset] = synset
    senses = {}
    for line in _entries(folder / "index.noun"):
        word, *fields = line.split()
        count = int(fields[1])
        senses[word] = [int(offset) for offset in fields[-count:]]
    irregular = {}
    for line in (folder / "noun.exc").read_text().splitlines():
        plural, singular, *_ = line.split()
        irregular[plural] = singular
    return WordNet(synsets, senses, irregular)


def _entries(path: Path) -> Iterator[str]:
    """Yield the lines of a file after the license, whose lines begin with spaces."""
    with path.open() as file:
        for line in file:
            if not line.startswith("  "):
                yield line


def _parse_synset(line: str) -> tuple[int, Synset]:
    data, _, _ = line.partition(" | ")
    fields = data.split()
    offset = int(fields[0])
    word_count = int(fields[3], 16)
    # Each word is followed by a number, and the words by the number of pointers.
    end = 4 + 2 * word_count
    words = fields[4:end:2]
    synset = Synset([word.replace("_", " ") for word in words])
    pointers = fields[end + 1 :]
    # Each pointer has four fields: its kind, an offset, a part of speech, and words.
    for place in range(0, len(pointers), 4):
        kind, target, part = pointers[place : place + 3]
        if part != "n":
            continue
        if kind in {"~", "~i"}:
            synset.below.append(int(target))
        elif kind in {"@", "@i"}:
            synset.above.append(int(target))
    return offset, synset


def find_words(wordnet: WordNet, classes: list[int]) -> dict[str, list[int]]:
    """Return the numbers of the classes of each word, ascending."""
    below = _classes_below(wordnet, classes)
    people = _synsets_below(wordnet, PERSON) - set(classes)
    found: dict[str, set[int]] = {}
    for word, senses in wordnet.senses.items():
        numbers: set[int] = set()
        for sense in senses:
            numbers_of_sense = below[sense]
            if sense not in people and len(numbers_of_sense) <= MAX_CLASSES:
                numbers |= numbers_of_sense
        if numbers:
            key = normalize(word.replace("_", " "))
            found.setdefault(key, set()).update(numbers)
    return {word: sorted(found[word]) for word in sorted(found)}


def _classes_below(wordnet: WordNet, classes: list[int]) -> Mapping[int, set[int]]:
    """Return the numbers of the classes at or below each synset."""
    below: dict[int, set[int]] = {offset: set() for offset in wordnet.synsets}
    for number, offset in enumerate(classes):
        # A synset may have several above it, so each is visited once.
        waiting = [offset]
        while waiting:
            current = waiting.pop()
            if number in below[current]:
                continue
            below[current].add(number)
            waiting.extend(wordnet.synsets[current].above)
    return below


def _synsets_below(wordnet: WordNet, offset: int) -> set[int]:
    found: set[int] = set()
    waiting = [offset]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(wordnet.synsets[current].below)
    return found


def name_classes(wordnet: WordNet, classes: list[int]) -> list[str]:
    """Return the name of each class: its plainest word, with its kind where two share it."""
    plain = [_plain_name(wordnet, offset) for offset in classes]
    uses = Counter(plain)
    names = []
    for offset, word in zip(classes, plain, strict=True):
        name = word
        if uses[word] > 1:
            kind = wordnet.synsets[offset].above[0]
            name = f"{word} ({wordnet.synsets[kind].words[0]})"
        names.append(name)
    return names


def _plain_name(wordnet: WordNet, offset: int) -> str:
    """Return the first word whose most frequent meaning this is, or else the first word.

    Scientific names, such as "Panthera pardus", are no plain words.
    """
    words = wordnet.synsets[offset].words
    for word in words:
        key = word.lower().replace(" ", "_")
        is_plain = word == words[0] or word.islower()
        if is_plain and wordnet.senses[key][0] == offset:
            return word
    return words[0]


def find_irregular(wordnet: WordNet, words: Mapping[str, list[int]]) -> dict[str, str]:
    """Return the singular of each irregular plural whose singular is a word of the table."""
    found = {}
    for plural, singular in sorted(wordnet.irregular.items()):
        spaced = normalize(plural.replace("_", " "))
        key = normalize(singular.replace("_", " "))
        if key in words and spaced not in words:
            found[spaced] = key
    return found


if __name__ == "__main__":
    sys.exit(main())
