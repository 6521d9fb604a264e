"""Split texts into the tokens of a text tower, by its ``tokenizer.json``."""

from __future__ import annotations

import string
import unicodedata
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lookalike.errors import ModelError, UnknownWordsError
from lookalike.io.reasons import first_line
from lookalike.models.text.excerpt import excerpt
from lookalike.types import Model, TextTower

__all__ = ["Tokenizer", "import_tokenizers"]

TokenIds = npt.NDArray[np.int64]

# That of SigLIP 2, with 256,000 tokens, has 34 MB.
_MAX_TOKENIZER_BYTES = 128 * 1024 * 1024

# Files name the token that stands for unknown words in several ways.
_UNKNOWN_NAMES: Final = ("<unk>", "[UNK]")

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Tokenizer:
    """The tokenizer of a Model's text tower.

    Parameters
    ----------
    model
        A Model with a text tower.
    path
        Its ``tokenizer.json``.

    Raises
    ------
    ModelError
        If the package ``tokenizers`` is not installed, or the file is not one that it reads.
    """

    def __init__(self, model: Model, path: Path) -> None:
        tower = model.text
        assert tower is not None  # noqa: S101 (for the type checker)
        self._tower: TextTower = tower
        self._model_name = model.name
        self._tokenizer = _read_tokenizer(model, path, tower.context)
        self._unknown = _unknown_token(self._tokenizer)

    def encode(self, text: str) -> tuple[TokenIds, TokenIds]:
        """Return the tokens of a text, and a mask that is 0 where they only fill the context.

        Returns
        -------
        ids, mask
            int64 ``[tokens]`` each, at most the tower's context.

        Raises
        ------
        UnknownWordsError
            If the text has no word, is in an alphabet that the tower did not learn, or the tower
            knows none of its words.
        """
        prepared = self._prepare(text)
        try:
            encoding = self._tokenizer.encode(prepared)
        # Faults of the library's compiled part may be no Exception.
        except BaseException as error:
            _raise_interrupt(error)
            reason = first_line(error)
            raise ModelError(
                f"The tokenizer of the model {self._model_name!r} failed: {reason}. "
                "Give the tokenizer.json of that model."
            ) from error
        self._check_known(encoding, text)
        ids = np.array(encoding.ids, np.int64)
        return self._fill(ids)

    def _prepare(self, text: str) -> str:
        """Return the text as the tower learned texts."""
        tower = self._tower
        self._check_alphabet(text)
        prepared = tower.template.replace("{}", text)
        if tower.lower_case:
            prepared = prepared.lower()
        if tower.strip_punctuation:
            prepared = prepared.translate(_NO_PUNCTUATION)
        words = prepared.split()
        return " ".join(words)

    def _check_alphabet(self, text: str) -> None:
        is_alphanumeric = map(str.isalnum, text)
        if not any(is_alphanumeric):
            shown = excerpt(text)
            raise UnknownWordsError(
                f"The text {shown} has no words. Use words, such as 'red car'."
            )
        if self._tower.alphabet == "any":
            return
        is_latin = map(_is_latin, text)
        if all(is_latin):
            return
        shown = excerpt(text)
        raise UnknownWordsError(
            f"The model {self._model_name!r} learned only English, and the text {shown} is in "
            "another alphabet. Use English words, or a Space of a model for many languages, "
            "such as siglip2-base-patch16-224."
        )

    def _check_known(self, encoding: Any, text: str) -> None:
        """Refuse a text of which the tower knows nothing."""
        ids = encoding.ids
        special = encoding.special_tokens_mask
        for token, is_special in zip(ids, special, strict=True):
            if not is_special and token != self._unknown:
                return
        shown = excerpt(text)
        raise UnknownWordsError(
            f"The model {self._model_name!r} knows no word of the text {shown}. Use other words, "
            "or another language."
        )

    def _fill(self, ids: TokenIds) -> tuple[TokenIds, TokenIds]:
        mask = np.ones_like(ids)
        padding = self._tower.padding
        if padding is None:
            return ids, mask
        context = self._tower.context
        missing = context - len(ids)
        filled = np.pad(ids, (0, missing), constant_values=padding)
        filled_mask = np.pad(mask, (0, missing))
        return filled, filled_mask


def import_tokenizers(model: Model) -> ModuleType:
    """Import the package that reads tokenizers.

    Raises
    ------
    ModelError
        If it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ModelError(
            f"The text tower of the model {model.name!r} needs the package tokenizers, which is "
            "not installed. Install it with: pip install 'lookalike[text]'"
        ) from error
    return tokenizers


def _read_tokenizer(model: Model, path: Path, context: int) -> Any:
    """Read a tokenizer, with the tower's own limits in place of the file's."""
    tokenizers = import_tokenizers(model)
    subject = f"The tokenizer {path} of the model {model.name!r}"
    size = path.stat().st_size
    if size > _MAX_TOKENIZER_BYTES:
        raise ModelError(
            f"{subject} has {size:,} bytes; expected at most {_MAX_TOKENIZER_BYTES:,}. "
            "Give another file."
        )
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=context)
    except BaseException as error:
        _raise_interrupt(error)
        reason = first_line(error)
        raise ModelError(
            f"{subject} cannot be read: {reason}. Give a valid tokenizer.json."
        ) from error
    return tokenizer


def _raise_interrupt(error: BaseException) -> None:
    """Raise an error that ends the process, such as an interrupt, again."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        raise error


def _unknown_token(tokenizer: Any) -> int | None:
    """Return the id that stands for unknown words; None if every text has tokens of its own."""
    names = list(_UNKNOWN_NAMES)
    own_name = getattr(tokenizer.model, "unk_token", None)
    if own_name:
        names.insert(0, own_name)
    for name in names:
        token: int | None = tokenizer.token_to_id(name)
        if token is not None:
            return token
    return None


def _is_latin(character: str) -> bool:
    """Return whether a character is none of another alphabet's letters."""
    if not character.isalpha():
        return True
    # The name of a letter begins with its alphabet. Compatible forms, such as ª, become letters.
    plain = unicodedata.normalize("NFKC", character)
    letter = plain[0]
    name = unicodedata.name(letter, "")
    return name.startswith("LATIN")
