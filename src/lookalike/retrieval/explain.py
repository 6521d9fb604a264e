"""Explain why two images are near each other: read both, and compare their parts."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from PIL import Image

from lookalike import imaging
from lookalike.errors import ImageError, InputError
from lookalike.models.cells import load_cells
from lookalike.models.embedder import OnnxEmbedder
from lookalike.models.explanation import (
    Explanation,
    explain_difference,
    explain_likeness,
)
from lookalike.retrieval.query import ImageQuery, QueryInput, RowQuery, as_query
from lookalike.sources import is_web_address, read_uri, resolve_uri
from lookalike.store.view import View
from lookalike.tracing import span

__all__ = ["Explainer", "ImageInput"]

# An image, or the id of a row.
ImageInput = QueryInput | int


class Explainer:
    """Explains matches of one Space; keeps its network without the pooling.

    Parameters
    ----------
    view
        The collection's table.
    space
        The name of the Space; None for the first.

    Raises
    ------
    SpaceError
        If the collection has no such Space.
    """

    def __init__(self, view: View, space: str | None = None) -> None:
        self.space = view.space(space)
        self._view = view
        self._network: OnnxEmbedder | None = None

    def explain(self, query: ImageInput, match: ImageInput) -> Explanation:
        """Explain which parts of two images make them alike.

        The network of the Space runs without its pooling, at a larger input. The first explanation
        loads it.

        Parameters
        ----------
        query, match
            The two images: the id of a row, or an image as `lookalike.Collection.search` takes it.
            The thumbnail takes the place of a row's original that cannot be read.

        Raises
        ------
        InputError
            If a row does not exist, or a query is no image.
        FormatError, ImageError
            If an image is of a kind that is not read, or cannot be decoded.
        ModelError, WeightsError
            If the Space's Model cannot be run, or its graph gives no features of parts.
        """
        query_image, query_is_thumbnail = self._read(query)
        match_image, match_is_thumbnail = self._read(match)
        model = self._view.models[self.space]
        with span("explain"):
            if model.architecture == "pixels":
                explained = explain_difference(
                    self.space, model, query_image, match_image
                )
            else:
                if self._network is None:
                    self._network = load_cells(model)
                explained = explain_likeness(
                    self.space, self._network, query_image, match_image
                )
        return replace(
            explained,
            query=replace(explained.query, is_thumbnail=query_is_thumbnail),
            match=replace(explained.match, is_thumbnail=match_is_thumbnail),
        )

    def _read(self, value: ImageInput) -> tuple[Image.Image, bool]:
        """Return an upright image, and whether it is only the thumbnail of a row."""
        if isinstance(value, int | np.integer):
            value = RowQuery(int(value))
        query = as_query(value)
        if isinstance(query, RowQuery):
            return self._read_row(query.id)
        if not isinstance(query, ImageQuery):
            kind = type(query).__name__
            raise InputError(
                f"A {kind} cannot be explained; expected an image, or the id of a row."
            )
        try:
            image = query.decode()
        except ImageError:
            # The original of a row may be away.
            thumbnail = self._thumbnail_of(query)
            if thumbnail is None:
                raise
            return _cut(thumbnail, query), True
        return _cut(image, query), False

    def _read_row(self, row_id: int) -> tuple[Image.Image, bool]:
        """Return the image of a row, or its thumbnail if it is on the web or cannot be read."""
        uris = {}
        is_id = 0 <= row_id < 2**63
        if is_id:
            uris = self._view.uris([row_id])
        if row_id not in uris:
            raise InputError(f"The collection {self._view.path} has no row {row_id}.")
        uri = uris[row_id]
        if not is_web_address(uri):
            try:
                content = read_uri(uri)
                return imaging.decode(content), False
            except (OSError, ImageError):
                pass
        thumbnail = self._thumbnail(row_id)
        return thumbnail, True

    def _thumbnail_of(self, query: ImageQuery) -> Image.Image | None:
        """Return the thumbnail of the row with the query's path, if there is one."""
        if not isinstance(query.image, str | os.PathLike):
            return None
        uri = resolve_uri(query.image)
        row = self._view.existing_rows([uri]).get(uri)
        if row is None or row.id is None:
            return None
        return self._thumbnail(row.id)

    def _thumbnail(self, row_id: int) -> Image.Image:
        rows = self._view.take([row_id], ["thumbnail"])
        (thumbnail,) = rows["thumbnail"].to_pylist()
        if thumbnail is None:
            raise ImageError(
                f"The image of row {row_id} cannot be read, and has no thumbnail. Index it again."
            )
        return imaging.open_thumbnail(thumbnail)


def _cut(image: Image.Image, query: ImageQuery) -> Image.Image:
    if query.region is None:
        return image
    return query.region.crop(image)
