"""The reader of texts of a Model: words in, a vector of its Space out."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import NamedTuple, Protocol

from lookalike.errors import InputError
from lookalike.models.text.excerpt import excerpt
from lookalike.types import Model, VectorsF32

__all__ = [
    "MAX_CHARACTERS",
    "ReadText",
    "TextReader",
    "clean_text",
    "load_reader",
    "reads_text",
]

# A longer text is a document: no reader here understands one.
MAX_CHARACTERS = 1000

# Control characters, surrogates, and code points that no text has.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Cn"})
# Format characters that are a part of words and of emoji.
_JOINERS = frozenset("\u200c\u200d")


class ReadText(NamedTuple):
    """A text as a vector of a Space.

    Attributes
    ----------
    vector
        float32 ``[dim]``, of unit length where the vectors of the Space are.
    understood
        What the text was understood as, to be shown with the answer: the names of the classes that
        its words stand for, or the text itself if the whole of it was read.
    unknown
        The words of the text that were not understood.
    kinds
        float32 ``[m, dim]``, the vectors of the kinds of object that the text stands for, if one
        vector cannot stand for all: an animal is a bird or a dog. A search by the text alone finds
        what is near one of them. None if `vector` does.
    confidence
        Returns how sure the network is that each of some vectors shows it, 0 to 1, float32 ``[n]``
        of unit-length float32 ``[n, dim]``. None where it cannot be said.
    """

    vector: VectorsF32
    understood: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    kinds: VectorsF32 | None = None
    confidence: Callable[[VectorsF32], VectorsF32] | None = None


class TextReader(Protocol):
    """Reads texts in the Space of one Model."""

    def read(self, text: str) -> ReadText:
        """Return a text, as `clean_text` returns it, as a vector.

        Raises
        ------
        InputError
            If the text was not understood. The message says what would be.
        """
        ...


def reads_text(model: Model) -> bool:
    """Return whether a Model has a reader of texts, without loading anything."""
    loader = _find_loader(model)
    return loader is not None


def load_reader(model: Model) -> TextReader:
    """Load the reader of texts of a Model.

    Raises
    ------
    InputError
        If the Model has none.
    WeightsError
        If its files are missing or refused.
    """
    loader = _find_loader(model)
    if loader is None:
        name = model.name
        raise InputError(f"The model {name!r} reads no text.")
    return loader(model)


def _find_loader(model: Model) -> Callable[[Model], TextReader] | None:
    """Return what loads the reader of a Model; None if it has none."""
    # A map is learned from images alone.
    if model.learned is not None:
        return None
    if model.text is not None:
        # Imported only here: this needs the runtime, which a search by a row does without.
        from lookalike.models.text.tower import TowerReader

        return TowerReader
    from lookalike.models.text.classifier import ClassifierReader, has_classifier

    if has_classifier(model):
        return ClassifierReader.load
    return None


def clean_text(text: str) -> str:
    """Return a text in one line, with single spaces between its words.

    Invisible characters, such as soft hyphens and marks of direction, are left out.

    Raises
    ------
    InputError
        If it is empty, longer than 1,000 characters, or has characters that no text has.
    """
    if not isinstance(text, str):
        raise InputError(
            f"The text of a query has the type {type(text).__name__}; expected a string."
        )
    length = len(text)
    if length > MAX_CHARACTERS:
        raise InputError(
            f"The text of the query has {length:,} characters; expected at most "
            f"{MAX_CHARACTERS:,}. Search by a few words."
        )
    visible = "".join(filter(_is_visible, text))
    words = visible.split()
    cleaned = " ".join(words)
    if not cleaned:
        raise InputError("The text of the query is empty. Give a word, such as: piano")
    for character in cleaned:
        category = unicodedata.category(character)
        if category in _REFUSED_CATEGORIES:
            kind = "control" if category == "Cc" else "invalid"
            raise InputError(
                f"The text {excerpt(cleaned)} has the {kind} character U+{ord(character):04X}. "
                "Remove it."
            )
    return cleaned


def _is_visible(character: str) -> bool:
    is_format = unicodedata.category(character) == "Cf"
    return not is_format or character in _JOINERS
