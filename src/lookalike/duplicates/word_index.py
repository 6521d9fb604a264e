"""An inverted file: the images that share the rarest visual words with an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from lookalike.duplicates.visual_words import WORDS, Words, WordsOfImage
from lookalike.types import Places, VectorsF32

__all__ = ["WordIndex"]

# Words of more images than this share of them, or than as many, say little and are passed over.
# They bound the time that a query takes.
_MAX_SHARE = 0.05
_LEAST_BOUND = 50
_LARGEST_BOUND = 2_000
# The scores that are in memory at a time, 64 MiB.
_SCORES_AT_ONCE = 1 << 24


class WordIndex:
    """The images of each word, weighted by how rare the word is (tf-idf).

    Parameters
    ----------
    words
        The words of each image.
    """

    def __init__(self, words: Sequence[WordsOfImage]) -> None:
        plain = [image.plain for image in words]
        self._count = len(plain)
        joined = np.concatenate([np.empty(0, np.uint16), *plain])
        images_of_word = np.bincount(joined, minlength=WORDS)
        share = int(_MAX_SHARE * self._count)
        bound = min(max(share, _LEAST_BOUND), _LARGEST_BOUND)
        is_common = images_of_word > bound
        rarity = np.log1p(self._count / np.maximum(images_of_word, 1))
        rarity[is_common] = 0
        self._weights: VectorsF32 = rarity.astype(np.float32)
        by_image = self._matrix(plain)
        self._by_word = by_image.T.tocsr()

    def nearest(
        self,
        queries: Sequence[WordsOfImage],
        k: int,
        *,
        own: Places | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Places:
        """Return the k images that share most with each query, as it is or mirrored.

        Parameters
        ----------
        queries
            The words of ``m`` images.
        k
            The number of images; all if there are fewer.
        own
            intp ``[m]``, the image that is the query itself and is left out; None if the queries
            are other images.
        progress
            Called with the queries that are done, and with their number.

        Returns
        -------
        places
            intp ``[m, k]``, in no order; -1 where no other image shares a word.
        """
        k = min(k, self._count)
        total = len(queries)
        places = np.full((total, k), -1, np.intp)
        if not k:
            return places
        rows = max(1, _SCORES_AT_ONCE // self._count)
        for start in range(0, total, rows):
            part = slice(start, start + rows)
            scores = self._scores(queries[part])
            if own is not None:
                own_part = own[part]
                scores[np.arange(len(own_part)), own_part] = 0
            best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            shares_words = np.take_along_axis(scores, best, axis=1) > 0
            places[part] = np.where(shares_words, best, -1)
            if progress is not None:
                done = min(start + rows, total)
                progress(done, total)
        return places

    def _scores(self, queries: Sequence[WordsOfImage]) -> VectorsF32:
        """Return the cosines of queries and all images, the larger of both orientations."""
        plain_words = [query.plain for query in queries]
        mirrored_words = [query.mirrored for query in queries]
        plain = self._matrix(plain_words) @ self._by_word
        mirrored = self._matrix(mirrored_words) @ self._by_word
        scores: VectorsF32 = plain.toarray()
        mirrored_scores = mirrored.toarray()
        np.maximum(scores, mirrored_scores, out=scores)
        return scores

    def _matrix(self, images: Sequence[Words]) -> csr_array:
        """Return the weights of the words of images, ``[n, 65536]``, of unit length."""
        no_words = np.empty(0, np.uint16)
        no_weights = np.empty(0, np.float32)
        words_of_rows = [no_words]
        weights_of_rows = [no_weights]
        ends = [0]
        for words in images:
            # Words of many images have no weight, and take no place.
            weights = self._weights[words]
            is_rare = weights > 0
            rare_words = words[is_rare]
            rare_weights = _unit_length(weights[is_rare])
            words_of_rows.append(rare_words)
            weights_of_rows.append(rare_weights)
            end = ends[-1] + len(rare_words)
            ends.append(end)

        # The rows one after the other, and where each ends.
        joined_words = np.concatenate(words_of_rows)
        columns = joined_words.astype(np.int32)
        data = np.concatenate(weights_of_rows)
        row_ends = np.array(ends)
        shape = (len(images), WORDS)
        return csr_array((data, columns, row_ends), shape=shape)


def _unit_length(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = max(float(np.linalg.norm(weights)), 1e-6)
    scaled: npt.NDArray[np.float32] = weights / np.float32(length)
    return scaled
