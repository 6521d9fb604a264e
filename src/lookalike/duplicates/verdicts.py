"""Verdicts: pairs of images that a person has said are not duplicates of each other.

A verdict is about two contents, whatever the names and the order of their files, and is kept in the
file ``verdicts.json`` of the collection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lookalike.duplicates.find import ContentPair
from lookalike.duplicates.groups import DuplicateGroup, Duplicates
from lookalike.errors import CollectionError, InputError
from lookalike.sources import resolve_uri
from lookalike.store.failures import Operation, translate_errors
from lookalike.store.location import VERDICTS
from lookalike.store.table import Table
from lookalike.store.view import View

__all__ = [
    "Verdict",
    "content_pair",
    "contents_of",
    "dismiss",
    "forget",
    "read_verdicts",
    "verdicts",
    "without_dismissed",
]

_VERDICTS_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Two contents that are not duplicates of each other.

    Attributes
    ----------
    contents
        The sha256 of both, as hexadecimal digits, the smaller one first.
    uris
        For each content the uris of the collection that have it now; none for a removed image.
    """

    contents: ContentPair
    uris: tuple[tuple[str, ...], tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain data."""
        return {
            "contents": list(self.contents),
            "uris": [list(uris) for uris in self.uris],
        }


def content_pair(first: str, second: str) -> ContentPair:
    """Return two contents in the order of verdicts.

    Raises
    ------
    InputError
        If they are the same.
    """
    if first == second:
        raise InputError(
            "Both images have the same content, byte for byte. A verdict is about two contents; "
            "to keep both files, protect a folder of one of them with --protect."
        )
    smaller, larger = sorted((first, second))
    return smaller, larger


def read_verdicts(view: View) -> frozenset[ContentPair]:
    """Return the pairs of contents that are not duplicates.

    Raises
    ------
    CollectionError
        If they cannot be read.
    """
    with translate_errors(view.path, Operation.READ):
        if not view.location.has_file(VERDICTS):
            return frozenset()
        content = view.location.read(VERDICTS)
    try:
        values = json.loads(content)
        pairs = [(first, second) for first, second in values["not_duplicates"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CollectionError(
            f"The verdicts of the collection {view.path} are damaged: {error}. "
            f"Remove the file {view.location.uri(VERDICTS)}, or restore a backup."
        ) from error
    return frozenset(pairs)


def verdicts(view: View) -> list[Verdict]:
    """Return all verdicts, each with the uris of its images."""
    listed = []
    for pair in sorted(read_verdicts(view)):
        first, second = (_uris_with(view, content) for content in pair)
        listed.append(Verdict(pair, (first, second)))
    return listed


def _uris_with(view: View, content: str) -> tuple[str, ...]:
    sha256 = bytes.fromhex(content)
    ids = view.ids_with_content(sha256)
    listed = ids.tolist()
    uris = view.uris(listed)
    names = sorted(uris.values())
    return tuple(names)


def dismiss(table: Table, pairs: Sequence[ContentPair]) -> int:
    """Remember pairs of contents that are not duplicates; return how many are new.

    Raises
    ------
    CollectionError
        If the collection cannot be written.
    """
    return _change_pairs(table, lambda known: known.union(pairs))


def forget(table: Table, pairs: Sequence[ContentPair]) -> int:
    """Forget verdicts, so that their images are found again; return how many there were.

    Raises
    ------
    CollectionError
        If the collection cannot be written.
    """
    return _change_pairs(table, lambda known: known.difference(pairs))


def _change_pairs(
    table: Table, change: Callable[[frozenset[ContentPair]], frozenset[ContentPair]]
) -> int:
    """Replace the pairs of contents; return how many were added and removed."""
    with table.write_lock():
        known = read_verdicts(table)
        new = change(known)
        _write_pairs(table, new)
    differing = known ^ new
    return len(differing)


def _write_pairs(table: Table, pairs: frozenset[ContentPair]) -> None:
    values = {"format": _VERDICTS_FORMAT, "not_duplicates": sorted(pairs)}
    text = json.dumps(values, indent=1)
    content = text.encode()
    with translate_errors(table.path, Operation.WRITE):
        table.location.write(VERDICTS, content)


def contents_of(view: View, uris: Sequence[str]) -> list[str]:
    """Return the contents of images by uri or path, as hexadecimal digits.

    Raises
    ------
    InputError
        If the collection has no such image.
    """
    resolved = [resolve_uri(uri) for uri in uris]
    existing = view.existing_rows(resolved)
    contents = []
    for uri, given in zip(resolved, uris, strict=True):
        row = existing.get(uri)
        if row is None or row.sha256 is None:
            raise InputError(
                f"The collection {view.path} has no image {given!r}. "
                "Give a uri as lookalike duplicates prints it."
            )
        contents.append(row.sha256.hex())
    return contents


def without_dismissed(
    duplicates: Duplicates, rejected: frozenset[ContentPair]
) -> list[DuplicateGroup]:
    """Return the groups of an earlier search without the pairs that were dismissed since."""
    groups = []
    for group in duplicates:
        keeper = group.keeper
        copies = []
        for copy in group.copies:
            pair = tuple(sorted((keeper.sha256, copy.sha256)))
            if pair not in rejected:
                copies.append(copy)
        if copies:
            groups.append(DuplicateGroup(keeper, tuple(copies)))
    return groups
