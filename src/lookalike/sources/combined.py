"""Several sources, of different kinds, as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lookalike.errors import SourceError
from lookalike.sources.base import FolderState, Source
from lookalike.sources.exclusion import SkippedFiles
from lookalike.types import Item

__all__ = ["CombinedSource"]


class CombinedSource:
    """The images of several sources, one source after the other.

    Parameters
    ----------
    sources
        At least one source. No uri belongs to two of them.

    Raises
    ------
    ValueError
        By the methods that take a uri or folder, if it is below no root.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)

    @property
    def roots(self) -> list[str]:
        """The roots of all sources."""
        roots: list[str] = []
        for source in self._sources:
            roots += source.roots
        return roots

    def __iter__(self) -> Iterator[Item]:
        for source in self._sources:
            yield from source

    def count(self) -> int:
        """Return the number of Items of all sources."""
        return sum(source.count() for source in self._sources)

    def completed(self) -> dict[str, int]:
        """Return the roots that the last iteration read to the end, with their image counts."""
        counts: dict[str, int] = {}
        for source in self._sources:
            completed = source.completed()
            counts |= completed
        return counts

    def unreachable(self) -> list[str]:
        """Return uris below which the last iteration could not look."""
        uris: list[str] = []
        for source in self._sources:
            uris += source.unreachable()
        return uris

    def skipped(self) -> SkippedFiles:
        """Return the files and folders that the last iteration left out."""
        total = SkippedFiles()
        for source in self._sources:
            skipped = source.skipped()
            total.add(skipped)
        return total

    def prefixes(self, folder: str) -> Sequence[str]:
        """Return the strings that start the uris of all images below a root or folder."""
        source = self._source_of(folder)
        return source.prefixes(folder)

    def exists(self, uri: str) -> bool:
        """Return whether a uri below one of the roots still exists."""
        source = self._source_of(uri)
        return source.exists(uri)

    def folders_of(self, uri: str) -> Sequence[str]:
        """Return the uris of the folders that hold a uri, the nearest first, its root last."""
        source = self._source_of(uri)
        return source.folders_of(uri)

    def folder_state(self, folder: str) -> FolderState:
        """Return the state of a folder that `folders_of` names."""
        source = self._source_of(folder)
        return source.folder_state(folder)

    def devices(self) -> Mapping[str, str]:
        """Return the file systems that the last iteration met, by the uri of a folder."""
        devices: dict[str, str] = {}
        for source in self._sources:
            devices_of_source = source.devices()
            devices |= devices_of_source
        return devices

    def empty_error(self) -> SourceError:
        """Return the error for sources without images; it names what each was given."""
        reasons = [str(source.empty_error()) for source in self._sources]
        return SourceError(" ".join(reasons))

    def _source_of(self, uri: str) -> Source:
        """Return the source that a root belongs to, or the uri of an image or folder below it."""
        # The prefixes of a root end in a slash, which the uri of a folder lacks.
        as_folder = f"{uri}/"
        for source in self._sources:
            for root in source.roots:
                prefixes = tuple(source.prefixes(root))
                if uri == root or as_folder.startswith(prefixes):
                    return source
        raise ValueError(f"{uri!r} is not a root of these sources, and below none")
