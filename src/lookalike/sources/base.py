"""The protocols of image sources: iterate over images, and read an image by its uri."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from io import BufferedReader
from typing import TYPE_CHECKING, Protocol

from lookalike.errors import SourceError

if TYPE_CHECKING:
    from lookalike.sources.exclusion import SkippedFiles
    from lookalike.types import Item

__all__ = ["FolderState", "Source", "UriReader"]


class FolderState(StrEnum):
    """The state of a folder: it does not exist, holds no file at any depth, or holds files."""

    MISSING = "missing"
    EMPTY = "empty"
    FILLED = "filled"


class Source(Protocol):
    """A stream of images, with the roots that it searches.

    Indexing removes the rows below a root whose images no longer exist. It does so only after an
    iteration has ended and only for the roots that `completed` returns.
    """

    @property
    def roots(self) -> Sequence[str]:
        """The folders, buckets or archives that are searched, as shown to users."""
        ...

    def __iter__(self) -> Iterator[Item]:
        """Yield each image once, unread."""
        ...

    def count(self) -> int:
        """Return the number of Items of an iteration."""
        ...

    def completed(self) -> Mapping[str, int]:
        """Return the number of images per root that the last iteration read to the end."""
        ...

    def unreachable(self) -> Sequence[str]:
        """Return uris below which the last iteration could not look. Rows below them stay."""
        ...

    def skipped(self) -> SkippedFiles:
        """Return the files and folders that the last iteration left out."""
        ...

    def prefixes(self, folder: str) -> Sequence[str]:
        """Return the strings that start the uris of all images below a root or folder.

        A folder is one that `folders_of` or `unreachable` names.
        """
        ...

    def exists(self, uri: str) -> bool:
        """Return whether a uri below one of the roots still exists."""
        ...

    def folders_of(self, uri: str) -> Sequence[str]:
        """Return the uris of the folders that hold a uri, the nearest first, its root last."""
        ...

    def folder_state(self, folder: str) -> FolderState:
        """Return the state of a folder that `folders_of` names, links to folders followed."""
        ...

    def devices(self) -> Mapping[str, str]:
        """Return the file systems that the last iteration met, by the uri of a folder.

        They are those of each root, and of each folder below it on another one than its parent. An
        identity is any text that differs between file systems. A source without file systems
        returns nothing.
        """
        ...

    def empty_error(self) -> SourceError:
        """Return the error for a source without images: where it looked, and what to do."""
        ...


class UriReader(Protocol):
    """Access to the files behind uris of a scheme; see `lookalike.sources.register_reader`."""

    def read(self, uri: str) -> bytes:
        """Return the content, or raise OSError."""
        ...

    def open(self, uri: str) -> BufferedReader:
        """Open a regular file for reading, or raise OSError. Never wait, as a pipe would."""
        ...

    def exists(self, uri: str) -> bool:
        """Return whether the uri exists, readable or not."""
        ...
