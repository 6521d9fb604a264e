"""Cursors: where the next page of an answer begins, of which query and version."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pydantic_core

from lookalike.server.problems import Problem

__all__ = ["Cursor", "digest_of"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The beginning of a page of matches.

    Attributes
    ----------
    version
        The version of the table that was searched.
    offset
        The number of matches before the page.
    query
        The `digest_of` the query.
    first_page
        The number of matches of the first page, if an approximate search has found them; 0 if all
        rows were compared.
    """

    version: int
    offset: int
    query: str
    first_page: int

    def to_text(self) -> str:
        """Return the cursor as clients receive it."""
        fields = [self.version, self.offset, self.query, self.first_page]
        encoded = pydantic_core.to_json(fields)
        return base64.urlsafe_b64encode(encoded).decode()

    @classmethod
    def from_text(cls, text: str, *, version: int, query: str) -> Cursor:
        """Return the cursor of a text that `to_text` returned for the same query and version.

        Raises
        ------
        Problem
            422, if it is not a cursor of this query; 409, if the collection has changed since.
        """
        cursor = cls._parse(text)
        if cursor.query != query:
            raise _invalid("belongs to another query")
        if cursor.version != version:
            raise Problem(
                409,
                "Stale cursor",
                "The collection has changed since the first page of this search. "
                "Search again without the cursor.",
            )
        return cursor

    @classmethod
    def version_in(cls, text: str) -> int:
        """Return the version that the text of a cursor names.

        Raises
        ------
        Problem
            422, if it is not a cursor.
        """
        return cls._parse(text).version

    @classmethod
    def _parse(cls, text: str) -> Cursor:
        try:
            encoded = base64.urlsafe_b64decode(text)
            cursor = cls(*json.loads(encoded))
        except (ValueError, TypeError) as error:
            raise _invalid("is not one that a search returned") from error
        numbers = cursor.version, cursor.offset, cursor.first_page
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise _invalid("is not one that a search returned")
        if cursor.first_page > cursor.offset:
            raise _invalid("is not one that a search returned")
        return cursor


def digest_of(parts: Sequence[object]) -> str:
    """Return a short hash of everything that decides the order of an answer.

    Parameters
    ----------
    parts
        Values whose `repr` is equal if and only if they are.
    """
    text = repr(parts)
    digest = hashlib.sha256(text.encode())
    return digest.hexdigest()[:16]


def _invalid(reason: str) -> Problem:
    return Problem(
        422,
        "Invalid cursor",
        f"The cursor {reason}. Send the `next` of a search together with the same query.",
    )
