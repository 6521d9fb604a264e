"""Explanations of matches, within the limits of a server."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from PIL import Image
from starlette.responses import Response

from lookalike.imaging import as_region
from lookalike.models.explanation import (
    Explanation,
    explain_difference,
    explain_likeness,
)
from lookalike.server.explain_schemas import ExplainBody
from lookalike.server.query import row_not_found, sent_image
from lookalike.server.registry import CollectionView
from lookalike.server.replicas import view_with_row
from lookalike.server.responses import json_response
from lookalike.server.schemas import RowExample, UploadExample
from lookalike.server.state import ServerState

__all__ = ["explain_match"]


async def explain_match(
    state: ServerState, body: ExplainBody, images: list[bytes]
) -> Response:
    """Explain two images in the image pool; return the values of the cells, or a PNG.

    Raises
    ------
    Problem
        404, 422 or 503, if an image does not exist or cannot be decoded, or the pool is full.
    """
    view = await view_with_row(state, body.collection, body.match)
    if isinstance(body.query, RowExample) and body.query.id not in view.row_cache:
        view = await view_with_row(state, body.collection, body.query.id)

    def run() -> Explanation | bytes:
        explanation = _explain(state, view, body, images)
        if body.format == "png":
            return _figure_as_png(explanation)
        return explanation

    result = await state.image_pool.run(run)
    if isinstance(result, bytes):
        return Response(result, media_type="image/png")
    return json_response({"collection": view.name, **result.to_dict()})


def _explain(
    state: ServerState, view: CollectionView, body: ExplainBody, images: list[bytes]
) -> Explanation:
    space = view.table.space(body.space)
    model = view.table.models[space]
    query, query_is_thumbnail = _read_query(state, view, body, images)
    row = _row(view, body.match)
    match, match_is_thumbnail = state.row_images.read(view, row)
    if model.architecture == "pixels":
        explained = explain_difference(space, model, query, match)
    else:
        network = state.cell_networks.get(model)
        explained = explain_likeness(space, network, query, match)
    query_image = replace(explained.query, is_thumbnail=query_is_thumbnail)
    match_image = replace(explained.match, is_thumbnail=match_is_thumbnail)
    return replace(explained, query=query_image, match=match_image)


def _read_query(
    state: ServerState, view: CollectionView, body: ExplainBody, images: list[bytes]
) -> tuple[Image.Image, bool]:
    """Return the query's image or its region, and whether it is only a thumbnail."""
    example = body.query
    is_thumbnail = False
    uploads = state.uploads
    if isinstance(example, RowExample):
        row = _row(view, example.id)
        image, is_thumbnail = state.row_images.read(view, row)
        size = row["width"], row["height"]
    elif isinstance(example, UploadExample):
        upload = uploads.find(example.upload)
        image, size = uploads.decode(upload), upload.size
    else:
        upload = uploads.add(sent_image(images, example.image))
        image, size = uploads.decode(upload), upload.size
    if example.region is not None:
        # Pixels count in the original, also where only the thumbnail can be read.
        region = as_region(example.region).fractions(size)
        image = region.crop(image)
    return image, is_thumbnail


def _row(view: CollectionView, row_id: int) -> dict[str, Any]:
    row = view.row_cache.row(row_id)
    if row is None:
        raise row_not_found(view, row_id)
    return row


def _figure_as_png(explanation: Explanation) -> bytes:
    # Matplotlib takes longer to import than everything else of an answer.
    from lookalike.drawing.explanation import explanation_image

    file = io.BytesIO()
    explanation_image(explanation).save(file, "PNG")
    return file.getvalue()
