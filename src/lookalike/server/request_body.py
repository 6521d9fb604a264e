"""A request's body: JSON, or a form with pictures in it, kept in memory and checked."""

from __future__ import annotations

from typing import TypeVar

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lookalike.server.problems import Problem, invalid

__all__ = ["MOST_PICTURES", "pictures_and", "read_json", "read_pictures"]

MOST_PICTURES = 16
_MOST_JSON = 1 << 20

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request, kind: type[M]) -> M:
    """Return a JSON body as what it must be."""
    if _media_type(request)[0] != "application/json":
        raise _wrong_type("application/json")
    return _checked(await request.body(), kind)


async def read_pictures(request: Request) -> list[bytes]:
    """Return the pictures of a form: its parts named ``image``."""
    return (await _form(request))[0]


async def pictures_and(request: Request, kind: type[M]) -> tuple[M, list[bytes]]:
    """Return a question and the pictures that came with it: JSON alone, or a form with ``image`` and ``query``.

    A form without ``query`` searches by all of its pictures alike.
    """
    if _media_type(request)[0] == "application/json":
        return await read_json(request, kind), []
    pictures, query = await _form(request)
    if query is None:
        return kind.model_validate(
            {"plus": [{"image": number} for number in range(len(pictures))]}
        ), pictures
    return _checked(query, kind), pictures


async def _form(request: Request) -> tuple[list[bytes], bytes | None]:
    kind, options = _media_type(request)
    if kind != "multipart/form-data":
        raise _wrong_type("application/json or multipart/form-data")
    parts: list[tuple[MultipartSegment, list[bytes]]] = []
    try:
        # The whole body is bounded already.
        with PushMultipartParser(
            options.get("boundary", ""), max_segment_count=MOST_PICTURES + 1
        ) as parser:
            for event in parser.parse(await request.body()):
                if isinstance(event, MultipartSegment):
                    parts.append((event, []))
                elif event is not None:
                    parts[-1][1].append(event)
    except MultipartError as error:
        raise Problem(
            422, "Not a valid form", f"The form cannot be read: {str(error).rstrip('.')}."
        ) from error
    return _sorted(parts)


def _sorted(parts: list[tuple[MultipartSegment, list[bytes]]]) -> tuple[list[bytes], bytes | None]:
    """Return a form's pictures and its query."""
    pictures, query = [], None
    for part, received in parts:
        if part.name == "image" and part.filename is not None:
            pictures.append(b"".join(received))
        elif part.name == "query" and query is None:
            query = b"".join(received)
        else:
            raise Problem(
                422,
                "Not a valid form",
                f"The form has a part {part.name!r}; expected files named image, and one query.",
            )
    if not 1 <= len(pictures) <= MOST_PICTURES:
        raise Problem(
            422,
            "Not a valid form",
            f"The form holds {len(pictures)} files named image; expected 1 to {MOST_PICTURES}.",
        )
    return pictures, query


def _checked(data: bytes, kind: type[M]) -> M:
    if len(data) > _MOST_JSON:
        raise Problem(
            413, "Too large", f"The JSON has {len(data):,} bytes; expected at most {_MOST_JSON:,}."
        )
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise invalid(
            error.errors(include_url=False, include_context=False, include_input=False)
        ) from None


def _media_type(request: Request) -> tuple[str, dict[str, str]]:
    """Return a body's media type and its parameters, such as a form's boundary."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    return kind, options


def _wrong_type(expected: str) -> Problem:
    return Problem(
        415, "Not a known media type", f"Send the body with the content type {expected}."
    )
