"""Queries: images, rows, texts and vectors to search by, each with a weight.

A new kind of query is a class with the two methods of `Query`; nothing else has to change.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeGuard, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike import imaging
from lookalike.errors import ImageError, InputError
from lookalike.models.text.reader import ReadText, clean_text
from lookalike.sources import can_read, read_uri, resolve_uri
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import NO_IDS, Ids, Model, VectorsF16

__all__ = [
    "Encoder",
    "ImageQuery",
    "Queries",
    "Query",
    "QueryInput",
    "RowQuery",
    "TextQuery",
    "VectorQuery",
    "WeightedQuery",
    "as_queries",
    "as_query",
    "region_query",
    "text_queries",
    "undecodable",
]

# A longer address, such as one that holds its data, is cut in messages.
_MAX_ADDRESS_SHOWN = 80


class Encoder(Protocol):
    """Encodes images, texts and rows in one Space, for queries; a `Searcher` is one."""

    @property
    def model(self) -> Model:
        """The Model that fills the Space."""
        ...

    @property
    def filled_by(self) -> tuple[str, str, str | None]:
        """Identifies that Model: equal values, equal vectors. Queries can cache vectors by it."""
        ...

    def embed_image(self, image: Image.Image) -> VectorsF16:
        """Return the vector of an upright RGB image, float16 ``[dim]``."""
        ...

    def row_vector(self, row_id: int) -> VectorsF16:
        """Return the vector that the collection holds for a row, float16 ``[dim]``."""
        ...

    def read_text(self, text: str) -> ReadText:
        """Return a text as a vector, float32 ``[dim]``, and what was understood of it."""
        ...


class Query(Protocol):
    """A query: anything that has a vector in a Space."""

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the query's vector, float16 ``[dim]``, rounded as the collection's vectors are."""
        ...

    def own_rows(self, view: View) -> Ids:
        """Return the int64 ids of the rows that are the query itself, for ``exclude_self``."""
        ...


class ImageQuery:
    """A query by an image.

    Parameters
    ----------
    image
        A path, the uri of a row, the bytes of an image file, a Pillow image, or uint8
        ``[height, width]``, ``[height, width, 3]`` or ``[height, width, 4]``.
    region
        The part to search by: a `Region` or its four numbers; None for the whole image.

    Raises
    ------
    InputError
        If the region is invalid.
    """

    def __init__(
        self,
        image: str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any],
        region: imaging.RegionInput | None = None,
    ) -> None:
        self.image = image
        self.region = None if region is None else imaging.as_region(region)

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector of the image, or of its region, float16 ``[dim]``.

        Raises
        ------
        FormatError
            If the image is of a kind that is not read.
        ImageError
            If the query is an address, the file cannot be read, or the data cannot be decoded as
            an image.
        InputError
            If the region reaches beyond the image, or is smaller than 8 pixels.
        """
        with span("decode query"):
            if self.region is not None:
                # At full scale: a part has no pixels to spare.
                whole = self.decode()
                image = self.region.crop(whole)
            else:
                # JPEG decoders can skip detail that the network's small input does not show.
                min_side = imaging.min_decoded_side(encoder.model)
                image = self.decode(min_side)
        return encoder.embed_image(image)

    def decode(self, min_side: int | None = None) -> Image.Image:
        """Return the whole image as upright RGB.

        Parameters
        ----------
        min_side
            A large JPEG may be decoded at a fraction of its size, with no side below this; at full
            scale by default.

        Raises
        ------
        FormatError, ImageError
            As `encode`.
        """
        data = self.data
        if data is not None:
            try:
                if min_side is None:
                    return imaging.decode(data)
                image, _ = imaging.decode_small(data, min_side=min_side)
            except ImageError as error:
                raise undecodable(error) from error
            return image
        array = self.image
        if isinstance(array, Image.Image):
            return _load(array)
        assert isinstance(array, np.ndarray)  # noqa: S101 (for the type checker)
        return imaging.from_array(array)

    def own_rows(self, view: View) -> Ids:
        """Return the row with the image's path, or else all rows with the image's content."""
        uri = self._uri
        if uri is not None:
            existing = view.existing_rows([uri])
            row = existing.get(uri)
            if row is not None:
                return _as_ids(row.id)
        data = self.data
        if data is None:
            return NO_IDS
        digest = hashlib.sha256(data)
        sha256 = digest.digest()
        return view.ids_with_content(sha256)

    @cached_property
    def data(self) -> bytes | None:
        """The bytes of the image file, read once; None for an image in memory.

        Raises
        ------
        ImageError
            If the file cannot be read.
        """
        image = self.image
        if isinstance(image, bytes):
            return image
        if self._uri is None:
            return None
        name = str(image)
        if not can_read(name):
            shown = name[:_MAX_ADDRESS_SHOWN]
            raise ImageError(
                f"The query {shown} is an address, and addresses are not fetched. "
                "Download the image, and search by the file."
            )
        try:
            return read_uri(self._uri)
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(
                f"The query {name} cannot be read: {reason}. Name an image file."
            ) from error

    @cached_property
    def _uri(self) -> str | None:
        """The uri of the image; None for bytes and for an image in memory."""
        image = self.image
        if isinstance(image, str | os.PathLike):
            return resolve_uri(image)
        return None


@dataclass(frozen=True, slots=True)
class RowQuery:
    """A query by the vector of a row, given by the row's id; no image is read."""

    id: int

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the row's vector, float16 ``[dim]``.

        Raises
        ------
        InputError
            If the collection has no such row, or the row has no vector in the Space.
        """
        return encoder.row_vector(self.id)

    def own_rows(self, view: View) -> Ids:
        """Return the row itself."""
        return _as_ids(self.id)


@dataclass(frozen=True, slots=True, init=False)
class TextQuery:
    """A query by words, in a Space whose Model reads text.

    Parameters
    ----------
    text
        A word or a phrase, of at most 1,000 characters.

    Attributes
    ----------
    text
        The text, with single spaces between its words.
    kind
        The kind of query that a calibration is for.

    Raises
    ------
    InputError
        If the text is empty, too long, or has control characters.
    """

    text: str
    kind: ClassVar[str] = "text"

    def __init__(self, text: str) -> None:
        cleaned = clean_text(text)
        object.__setattr__(self, "text", cleaned)

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector of the text, float16 ``[dim]``.

        Raises
        ------
        InputError
            If the Space reads no text, or the text was not understood.
        WeightsError
            If the files that read it are missing or refused.
        """
        read = encoder.read_text(self.text)
        rounded: VectorsF16 = read.vector.astype(np.float16)
        return rounded

    def own_rows(self, view: View) -> Ids:
        """Return no rows: no image is the text."""
        return NO_IDS


@dataclass(frozen=True, slots=True, eq=False)
class VectorQuery:
    """A query by a vector of the Space, float ``[dim]``."""

    vector: npt.NDArray[np.floating[Any]]

    def encode(self, encoder: Encoder) -> VectorsF16:
        """Return the vector rounded to float16.

        Raises
        ------
        InputError
            If the vector has another length than the Space's vectors, or values that are not
            real numbers or not finite in float16.
        """
        vector = np.asarray(self.vector)
        is_numeric = np.issubdtype(vector.dtype, np.number)
        if not is_numeric or np.iscomplexobj(vector):
            raise InputError(
                f"The query vector holds {vector.dtype}; expected real numbers."
            )
        dim = encoder.model.dim
        shape = list(vector.shape)
        if shape != [dim]:
            raise InputError(
                f"The query vector has the shape {shape}; expected [{dim}]."
            )
        with np.errstate(over="ignore"):
            rounded: VectorsF16 = vector.astype(np.float16)
        if not np.isfinite(rounded).all():
            raise InputError(
                "The query vector has values that are not finite in float16; expected at most "
                "65,504 in each."
            )
        return rounded

    def own_rows(self, view: View) -> Ids:
        """Return no rows: a vector does not say where it comes from."""
        return NO_IDS


QueryInput = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[Any] | Query


@dataclass(frozen=True, slots=True, init=False)
class WeightedQuery:
    """One of several queries, and its weight.

    The weight of a positive query is relative to the other positive ones. The weights of negative
    queries are absolute up to a sum of 1, and relative from there on; see
    `lookalike.vectors.combine`.

    Parameters
    ----------
    query
        A Query, or an image as `ImageQuery` takes it.
    weight
        A number above 0.

    Raises
    ------
    InputError
        If the weight is not a finite number above 0, or the query has an unknown type.
    """

    query: Query
    weight: float = 1.0

    def __init__(self, query: QueryInput, weight: float = 1.0) -> None:
        is_number = isinstance(weight, int | float | np.number)
        if not is_number or not 0 < weight < math.inf:
            raise InputError(
                f"A query has the weight {weight!r}; expected a number above 0. To keep away from "
                "an image, make it a negative query."
            )
        checked = as_query(query)
        object.__setattr__(self, "query", checked)
        object.__setattr__(self, "weight", weight)


Queries = QueryInput | WeightedQuery | Sequence[QueryInput | WeightedQuery]


def as_query(value: QueryInput) -> Query:
    """Return a value as a Query: a path, bytes, a Pillow image or an array becomes an `ImageQuery`.

    Raises
    ------
    InputError
        If the value has another type.
    """
    if _is_query(value):
        return value
    if isinstance(value, str | os.PathLike | bytes | Image.Image | np.ndarray):
        return ImageQuery(value)
    raise InputError(
        f"A query has the type {type(value).__name__}; expected a path, bytes, a Pillow image, "
        "a NumPy array or a Query such as RowQuery(id)."
    )


def text_queries(texts: str | Sequence[str]) -> list[WeightedQuery]:
    """Return one text, or a list or tuple of texts, as weighted queries."""
    several = texts if isinstance(texts, list | tuple) else [cast(str, texts)]
    queries = []
    for text in several:
        query = TextQuery(text)
        weighted = WeightedQuery(query)
        queries.append(weighted)
    return queries


def region_query(query: Queries, region: imaging.RegionInput) -> ImageQuery:
    """Return the query by a part of one image.

    Raises
    ------
    InputError
        If the query is anything else than one image, or the region is invalid.
    """
    several = as_queries(query)
    images = [one.query for one in several if isinstance(one.query, ImageQuery)]
    is_one_image = len(several) == 1 and len(images) == 1
    if not is_one_image:
        raise InputError(
            "A region is a part of one image, and the query is something else. Give one image, or "
            "an ImageQuery with its own region for each; search by a part of a row by its uri."
        )
    whole = images[0]
    return ImageQuery(whole.image, region)


def _is_query(value: QueryInput) -> TypeGuard[Query]:
    """Return whether a value follows the protocol; `isinstance` is slow with protocols."""
    if not hasattr(value, "own_rows"):
        return False
    return hasattr(value, "encode")


def as_queries(values: Queries) -> list[WeightedQuery]:
    """Return one value, or a list or tuple of values, as weighted queries."""
    # A string or bytes is a Sequence too, but one query.
    several = values if isinstance(values, list | tuple) else [cast(QueryInput, values)]
    queries = []
    for value in several:
        if isinstance(value, WeightedQuery):
            queries.append(value)
        else:
            weighted = WeightedQuery(value)
            queries.append(weighted)
    return queries


def undecodable(error: ImageError) -> ImageError:
    """Return the error for a query that cannot be decoded, of the class of the decoder's error."""
    kind = type(error)
    return kind(f"The query cannot be decoded as an image: {error.reason}.")


def _as_ids(row_id: int) -> Ids:
    ids = [row_id]
    return np.array(ids, np.int64)


def _load(image: Image.Image) -> Image.Image:
    """Return a Pillow image as upright RGB; Pillow reads the file of an opened image only now."""
    width, height = image.size
    if not width or not height:
        raise ImageError(
            f"The query is a Pillow image of {width} x {height} pixels; expected at least one."
        )
    try:
        image.load()
        return imaging.upright(image)
    except Exception as error:  # Pillow raises errors of many types
        raise ImageError(
            f"The query is a Pillow image that cannot be loaded: {error}. "
            "Open its file again, or give the path or the bytes of a whole file."
        ) from error
