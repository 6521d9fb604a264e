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

from lookalike.server.problems import Problem, invalid_request
from lookalike.server.schemas import MAX_IMAGES, QueryBody
from lookalike.server.validation import json_errors

__all__ = ["read_image", "read_json", "read_query"]

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
    return _validate(body, validate_json)


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
    In a form without ``query``, every image is a positive example.

    Raises
    ------
    Problem
        413, 415 or 422, if the body is too large, of another type or invalid.
    """
    media_type, options = _content_type(request)
    validate_json = schema.model_validate_json
    if media_type == _JSON:
        body = await request.body()
        query = _validate(body, validate_json)
        return query, []
    images, query_json = await _read_form(request, media_type, options)
    if query_json is not None:
        query = _validate(query_json, validate_json)
        return query, images
    count = len(images)
    examples = [{"image": index} for index in range(count)]
    query = schema.model_validate({"positive": examples})
    return query, images


def _content_type(request: Request) -> tuple[str, dict[str, str]]:
    """Return the media type of a body and its options, such as a form's boundary."""
    headers = request.headers
    header = headers.get("content-type", "")
    media_type, options = parse_options_header(header)
    return media_type, options


async def _read_form(
    request: Request, media_type: str, options: dict[str, str]
) -> tuple[list[bytes], bytes | None]:
    """Return the images and the query of a form."""
    if media_type != _FORM:
        raise _unsupported_type(f"{_JSON} or {_FORM}")
    body = await request.body()
    boundary = options.get("boundary", "")
    try:
        parts = _parse_form(body, boundary)
    except MultipartError as error:
        reason = str(error).rstrip(".")
        detail = f"The form cannot be parsed: {reason}."
        raise _invalid_form(detail) from error
    return _images_and_query(parts)


def _parse_form(body: bytes, boundary: str) -> list[_FormPart]:
    """Return the parts of a form; the size of the body is already limited."""
    parts: list[_FormPart] = []
    max_parts = MAX_IMAGES + 1
    with PushMultipartParser(boundary, max_segment_count=max_parts) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                part = _FormPart(event.name, event.filename)
                parts.append(part)
            elif event is not None:
                parts[-1].chunks.append(event)
    return parts


def _images_and_query(parts: list[_FormPart]) -> tuple[list[bytes], bytes | None]:
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
    if not 1 <= count <= MAX_IMAGES:
        raise _invalid_form(
            f"The form has {count} files named image; expected 1 to {MAX_IMAGES}."
        )
    return images, query


def _validate(body: bytes, validate_json: Callable[[bytes], Content]) -> Content:
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
