"""Parsing of request bodies: JSON, or a form with images, held in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from lookalike.server.batch_schemas import BatchBody
from lookalike.server.problems import Problem, invalid_request
from lookalike.server.schemas import (
    MAX_BATCH_IMAGES,
    MAX_IMAGES,
    ImageExample,
    QueryBody,
)
from lookalike.server.validation import json_errors

__all__ = [
    "parse_json",
    "read_batch",
    "read_image",
    "read_json",
    "read_query",
    "read_with_images",
]

_JSON = "application/json"
_FORM = "multipart/form-data"
_MAX_JSON_BYTES = 1 << 20
# Each further error would take time and is not listed.
_MAX_ERRORS = 1000

AnyQuery = TypeVar("AnyQuery", bound=QueryBody)
Content = TypeVar("Content")


@dataclass(slots=True)
class _FormPart:
    """A part of a form, and the chunks of its content."""

    name: str | None
    filename: str | None
    chunks: list[Any] = field(default_factory=list)


async def read_json(request: Request, schema: TypeAdapter[Content]) -> Content:
    """Return a JSON body, validated.

    Raises
    ------
    Problem
        413, 415 or 422, if the body is too large, not JSON or invalid.
    """
    media_type, _ = _content_type(request)
    if media_type != _JSON:
        raise _unsupported_type(_JSON)
    body = await request.body()
    validate_json = schema.validate_json
    return parse_json(body, validate_json)


async def read_image(request: Request) -> bytes:
    """Return the image of a form with one part, named ``image``.

    Raises
    ------
    Problem
        415 or 422, if the body is not such a form.
    """
    media_type, options = _content_type(request)
    images, _ = await _read_form(request, media_type, options)
    count = len(images)
    if count != 1:
        detail = f"The form has {count} files named image; expected one."
        raise _invalid_form(detail)
    return images[0]


async def read_query(
    request: Request, schema: type[AnyQuery]
) -> tuple[AnyQuery, list[bytes]]:
    """Return a query and the images sent with it.

    The body is JSON, or a form with files named ``image`` and optionally the JSON as ``query``.
    In a form whose query has no positive example, every image that is not a negative example is a
    positive one.

    Raises
    ------
    Problem
        413, 415 or 422, if the body is too large, of another type or invalid.
    """
    media_type, options = _content_type(request)
    validate_json = schema.model_validate_json
    if media_type == _JSON:
        body = await request.body()
        query = parse_json(body, validate_json)
        return query, []
    images, query_json = await _read_form(request, media_type, options)
    body = query_json or b"{}"
    query = parse_json(body, validate_json)
    if not query.positive:
        count = len(images)
        query = _with_images(query, count)
    return query, images


async def read_with_images(
    request: Request, validate_json: Callable[[bytes], Content]
) -> tuple[Content, list[bytes]]:
    """Return a body and the images sent with it.

    The body is JSON, or a form with files named ``image`` and the JSON as ``query``.

    Raises
    ------
    Problem
        413, 415 or 422, if the body is too large, of another type or invalid.
    """
    media_type, options = _content_type(request)
    if media_type == _JSON:
        body = await request.body()
        content = parse_json(body, validate_json)
        return content, []
    images, query_json = await _read_form(request, media_type, options)
    body = query_json or b"{}"
    content = parse_json(body, validate_json)
    return content, images


async def read_batch(request: Request) -> tuple[list[Any], list[bytes]]:
    """Return the searches of a batch, each still to be validated, and the images sent with it.

    Raises
    ------
    Problem
        413, 415 or 422, if the body is too large, of another type or invalid.
    """
    media_type, options = _content_type(request)
    images: list[bytes] = []
    if media_type == _JSON:
        body = await request.body()
    else:
        images, query_json = await _read_form(
            request, media_type, options, max_images=MAX_BATCH_IMAGES
        )
        body = query_json or b""
    batch = parse_json(body, BatchBody.model_validate_json)
    return batch.searches, images


def _with_images(query: AnyQuery, count: int) -> AnyQuery:
    """Return a query whose positive examples are the images that are not negative ones."""
    negative = {
        example.image for example in query.negative if isinstance(example, ImageExample)
    }
    positive = []
    for index in range(count):
        if index not in negative:
            example = ImageExample(image=index)
            positive.append(example)
    return query.model_copy(update={"positive": positive})


def _content_type(request: Request) -> tuple[str, dict[str, str]]:
    """Return the media type of a body and its options, such as a form's boundary."""
    headers = request.headers
    header = headers.get("content-type", "")
    media_type, options = parse_options_header(header)
    return media_type, options


async def _read_form(
    request: Request,
    media_type: str,
    options: dict[str, str],
    *,
    max_images: int = MAX_IMAGES,
) -> tuple[list[bytes], bytes | None]:
    """Return the images and the query of a form."""
    if media_type != _FORM:
        expected = f"{_JSON} or {_FORM}"
        raise _unsupported_type(expected)
    body = await request.body()
    boundary = options.get("boundary", "")
    try:
        parts = _parse_form(body, boundary, max_images)
    except MultipartError as error:
        message = str(error)
        reason = message.rstrip(".")
        detail = f"The form cannot be parsed: {reason}."
        raise _invalid_form(detail) from error
    return _images_and_query(parts, max_images)


def _parse_form(body: bytes, boundary: str, max_images: int) -> list[_FormPart]:
    """Return the parts of a form; the size of the body is already limited."""
    parts: list[_FormPart] = []
    max_parts = max_images + 1
    with PushMultipartParser(boundary, max_segment_count=max_parts) as parser:
        events = parser.parse(body)
        for event in events:
            if isinstance(event, MultipartSegment):
                part = _FormPart(event.name, event.filename)
                parts.append(part)
            elif event is not None:
                last = parts[-1]
                last.chunks.append(event)
    return parts


def _images_and_query(
    parts: list[_FormPart], max_images: int
) -> tuple[list[bytes], bytes | None]:
    images: list[bytes] = []
    query: bytes | None = None
    for part in parts:
        content = b"".join(part.chunks)
        if part.name == "image" and part.filename is not None:
            images.append(content)
        elif part.name == "query" and query is None:
            query = content
        else:
            raise _invalid_form(
                f"The form has a part {part.name!r}; expected files named image and one query."
            )
    count = len(images)
    if not 1 <= count <= max_images:
        raise _invalid_form(
            f"The form has {count} files named image; expected 1 to {max_images}."
        )
    return images, query


def parse_json(body: bytes, validate_json: Callable[[bytes], Content]) -> Content:
    """Return JSON validated by a schema.

    Raises
    ------
    Problem
        413 or 422, if it is too large or violates the schema.
    """
    if len(body) > _MAX_JSON_BYTES:
        raise Problem(
            413,
            "Content too large",
            f"The JSON has {len(body):,} bytes; expected at most {_MAX_JSON_BYTES:,}.",
        )
    try:
        return validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        first_errors = errors[:_MAX_ERRORS]
        raise invalid_request(json_errors(first_errors, body)) from None


def _unsupported_type(expected: str) -> Problem:
    detail = f"Send the body with the content type {expected}."
    return Problem(415, "Unsupported media type", detail)


def _invalid_form(detail: str) -> Problem:
    return Problem(422, "Invalid form", detail)
