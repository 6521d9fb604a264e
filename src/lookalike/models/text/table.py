"""The words that a classifier of ImageNet knows, and how they are found in a text.

The table comes from WordNet 3.0; ``scripts/word_table.py`` writes it.
"""

from __future__ import annotations

import difflib
import gzip
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.errors import UnknownWordsError
from lookalike.models.text.excerpt import excerpt

__all__ = ["PATH", "Found", "WordTable", "normalize"]

PATH = Path(__file__).with_name("words.json.gz")

# Words without an object of their own: "a photo of a dog".
_STOP_TEXT = """
a an the some any my your his her its our their this that these those and or of in on at by with
from for to is are show me find photo photos photograph photographs image images picture pictures
pic pics snapshot
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
# The plurals that end so, and what takes the place of the ending.
_PLURALS = (
    ("ies", "y"),
    ("ves", "f"),
    ("men", "man"),
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("oes", "o"),
    ("s", ""),
)
# No word of the table has more parts.
_MAX_PARTS = 5
_MAX_NARROW = 60
_SUGGESTIONS = 3
# Less alike words are no suggestion.
_LEAST_ALIKE = 0.5
_MAX_LETTERS = 30
# Combining marks of Latin letters, and what may be a part of a word: full stops and apostrophes.
_NOT_A_LETTER = re.compile("[\u0300-\u036f.'\u2019]")
# The order of the parts of a text for one object; see `Found`.
_ONE_OBJECT = re.compile("s*u*ks*")
_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of a text in the table.

    Attributes
    ----------
    words
        The numbers of the classes of each known word; none if no word is known.
    unknown
        The words that are not known.
    order
        The parts of the text, each as a letter: ``k`` for a known word, ``u`` for one that is not
        known, and ``s`` for one without an object of its own, such as "the" or "on".
    """

    words: Mapping[str, Sequence[int]]
    unknown: Sequence[str]
    order: str

    @property
    def is_one_object(self) -> bool:
        """Whether the text is one known word, with others at most right before it: "a red car".

        Before a broad word, such as "vehicle", the others may say which kind is meant.
        """
        if _ONE_OBJECT.fullmatch(self.order) is None:
            return False
        if not self.unknown:
            return True
        (numbers,) = self.words.values()
        return _is_narrow(numbers)


@dataclass(frozen=True, slots=True)
class WordTable:
    """The words, and the classes that each stands for.

    Attributes
    ----------
    names
        The name of each class.
    words
        The numbers of the classes of each word, ascending.
    irregular
        The singular of each irregular plural.
    """

    names: Sequence[str]
    words: Mapping[str, Sequence[int]]
    irregular: Mapping[str, str]

    @classmethod
    def load(cls) -> WordTable:
        """Read the table of this package."""
        content = PATH.read_bytes()
        text = gzip.decompress(content)
        fields = json.loads(text)
        names = fields["names"]
        words = fields["words"]
        irregular = fields["irregular"]
        return cls(names, words, irregular)

    def find(self, text: str) -> Found:
        """Return the words of a text that the table knows, the longest first at each place."""
        normalized = normalize(text)
        waiting = normalized.split()
        words: dict[str, Sequence[int]] = {}
        unknown = []
        order = ""
        while waiting:
            word, length = self._longest(waiting)
            token = waiting[0]
            if word is not None:
                words[word] = self.words[word]
                order += "k"
            elif token in _STOP_WORDS:
                order += "s"
            else:
                unknown.append(token)
                order += "u"
            waiting = waiting[length:]
        return Found(words, unknown, order)

    def narrow_words(self) -> list[str]:
        """Return the words that stand for few classes, at most 60, in the order of the table.

        The words for more are too broad to be near to any one meaning.
        """
        narrow = []
        for word, numbers in self.words.items():
            if _is_narrow(numbers):
                narrow.append(word)
        return narrow

    def _longest(self, tokens: Sequence[str]) -> tuple[str | None, int]:
        """Return the longest known word at the start of some tokens, and its number of tokens."""
        token_count = len(tokens)
        most = min(token_count, _MAX_PARTS)
        longest_first = range(most, 0, -1)
        for length in longest_first:
            parts = tokens[:length]
            joined = " ".join(parts)
            word = self._known_form(joined)
            is_known = word is not None
            if is_known:
                return word, length
        return None, 1

    def _known_form(self, word: str) -> str | None:
        """Return the form of a word that the table has; None without one."""
        is_stop_word = word in _STOP_WORDS
        if is_stop_word:
            return None
        words = self.words
        forms = self._forms(word)
        known = (form for form in forms if form in words)
        return next(known, None)

    def _forms(self, word: str) -> Iterator[str]:
        """Yield a word and what it may be the plural of."""
        yield word
        singular = self.irregular.get(word)
        if singular is not None:
            yield singular
        for ending, replacement in _PLURALS:
            if word.endswith(ending):
                stem = word.removesuffix(ending)
                yield stem + replacement

    def unknown_error(
        self, text: str, unknown: Sequence[str], hint: str
    ) -> UnknownWordsError:
        """Return the error for a text without a known word; it names words spelled alike.

        Parameters
        ----------
        text, unknown
            The text, and its unknown words.
        hint
            A last sentence for the message.
        """
        suggestions: list[str] = []
        # Of several unknown words, the first one is corrected.
        if unknown:
            first = unknown[0]
            searched = first[:_MAX_LETTERS]
            suggestions = difflib.get_close_matches(
                searched, self.words, n=_SUGGESTIONS, cutoff=_LEAST_ALIKE
            )
        shown = excerpt(text)
        message = f"No word of {shown} is known. "
        if suggestions:
            listed = ", ".join(suggestions)
            message += f"The nearest known words are: {listed}."
        else:
            count = len(self.words)
            nouns = f"{count:,} English nouns for objects and animals"
            message += f"The known words are {nouns}."
        message += f" {hint}"
        return UnknownWordsError(message, suggestions)


def _is_narrow(numbers: Sequence[int]) -> bool:
    """Return whether a word with these classes stands for few kinds of objects."""
    count = len(numbers)
    return count <= _MAX_NARROW


def normalize(text: str) -> str:
    """Return a text in lower case without accents, hyphens and punctuation."""
    folded = text.casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    letters = _NOT_A_LETTER.sub("", decomposed)
    spaced = _NOT_A_WORD.sub(" ", letters)
    words = spaced.split()
    return " ".join(words)
