"""A request's body: JSON, or a form with pictures in it, kept in memory and checked."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lookalike.server.problems import Problem, invalid

__all__ = ["MOST_PICTURES", "pictures_and", "read_json", "read_pictures"]

MOST_PICTURES = 16
_MOST_JSON = 1 << 20

M = TypeVar("M", bound=BaseModel)


class _InMemory(MultiPartParser):
    # The whole body is bounded already, and what clients send is not written to disk.
    spool_max_size = 1 << 40


async def read_json(request: Request, kind: type[M]) -> M:
    """Return a JSON body as what it must be."""
    if _media_type(request) != "application/json":
        raise _wrong_type("application/json")
    return _checked(await request.body(), kind)


async def read_pictures(request: Request) -> list[bytes]:
    """Return the pictures of a form: its parts named ``image``."""
    return (await _form(request))[0]


async def pictures_and(request: Request, kind: type[M]) -> tuple[M, list[bytes]]:
    """Return a question and the pictures that came with it: JSON alone, or a form with ``image`` and ``query``.

    A form without ``query`` searches by all of its pictures alike.
    """
    if _media_type(request) == "application/json":
        return await read_json(request, kind), []
    pictures, query = await _form(request)
    if query is None:
        return kind.model_validate({"plus": [{"image": number} for number in range(len(pictures))]}), pictures
    return _checked(query, kind), pictures


async def _form(request: Request) -> tuple[list[bytes], bytes | None]:
    if _media_type(request) != "multipart/form-data":
        raise _wrong_type("application/json or multipart/form-data")
    parser = _InMemory(
        request.headers, request.stream(), max_files=MOST_PICTURES + 1, max_fields=4, max_part_size=_MOST_JSON
    )
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as error:
        reason = getattr(error, "message", str(error)).rstrip(".")
        raise Problem(422, "Not a valid form", f"The form cannot be read: {reason}.") from error
    try:
        return await _parts(form)
    finally:
        await form.close()


async def _parts(form: FormData) -> tuple[list[bytes], bytes | None]:
    pictures, query = [], None
    for name, value in form.multi_items():
        data = await value.read() if isinstance(value, UploadFile) else value.encode(errors="replace")
        if name == "image" and isinstance(value, UploadFile):
            pictures.append(data)
        elif name == "query" and query is None:
            query = data
        else:
            raise Problem(
                422, "Not a valid form", f"The form has a part {name!r}; expected files named image, and one query."
            )
    if not 1 <= len(pictures) <= MOST_PICTURES:
        raise Problem(
            422, "Not a valid form", f"The form holds {len(pictures)} files named image; expected 1 to {MOST_PICTURES}."
        )
    return pictures, query


def _checked(data: bytes, kind: type[M]) -> M:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _wrong_type(expected: str) -> Problem:
    return Problem(415, "Not a known media type", f"Send the body with the content type {expected}.")
