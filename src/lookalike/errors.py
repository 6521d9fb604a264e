"""Every error that Lookalike raises on purpose.

::

    LookalikeError
    |-- InputError            an argument that cannot be used
    |   |-- SourceError       a folder, file or list to read images from
    |   |-- ImageError        one image that cannot be read or decoded
    |   |   `-- FormatError   an image of a kind that is not read
    |   |-- UnknownWordsError a text of which no word is known
    |   |-- ModelError        a model's name, description or graph
    |   `-- SpaceError        a Space that the collection lacks, or fills with another Model
    |-- WeightsError          a weights file that is missing, refused or has another hash
    |-- DownloadError         a download that failed or gave the wrong bytes
    |-- ClusterError          a Ray cluster that is missing or cannot run the work
    |-- DatasetError          an archive or folder that is not the dataset it should be
    `-- CollectionError       a collection that cannot be created, opened, read or written
        |-- BusyError         one that another process has been changing for too long
        `-- ReadOnlyError     one that may be read, but not written

A message is one paragraph: the value given, the value expected, the next step.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "BusyError",
    "ClusterError",
    "CollectionError",
    "DatasetError",
    "DownloadError",
    "FormatError",
    "ImageError",
    "InputError",
    "LookalikeError",
    "ModelError",
    "ReadOnlyError",
    "SourceError",
    "SpaceError",
    "UnknownWordsError",
    "WeightsError",
]


class LookalikeError(Exception):
    """Base of every error that Lookalike raises on purpose."""


class InputError(LookalikeError):
    """An argument cannot be used."""


class SourceError(InputError):
    """A folder, file or list to read images from cannot be used."""


class ImageError(InputError):
    """An image cannot be read or decoded. The message is the reason, without the image's name.

    Attributes
    ----------
    reason
        The message without the advice, which is for those who index the image.
    """

    def __init__(self, reason: str, advice: str | None = None) -> None:
        message = reason
        if advice is not None:
            message += f" ({advice})"
        super().__init__(message)
        self.reason = reason


class FormatError(ImageError):
    """An image is of a kind that is not read. It may well be undamaged."""


class UnknownWordsError(InputError):
    """A text cannot be searched by, because its words are not known, or it has none.

    Attributes
    ----------
    suggestions
        Known words that are spelled alike, the nearest first.
    """

    def __init__(self, message: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class ModelError(InputError):
    """A model's name, description or graph cannot be used."""


class SpaceError(InputError):
    """The collection lacks the Space, or fills it with another Model."""


class WeightsError(LookalikeError):
    """A weights file is missing, refused or has another hash than expected."""


class DownloadError(LookalikeError):
    """A download failed, or its bytes have another hash than expected."""


class ClusterError(LookalikeError):
    """A Ray cluster is missing, or cannot run the work."""


class DatasetError(LookalikeError):
    """An archive or folder is not the dataset it should be."""


class CollectionError(LookalikeError):
    """A collection cannot be created, opened, read or written."""


class BusyError(CollectionError):
    """Another process has been changing the collection for longer than the lock timeout."""


class ReadOnlyError(CollectionError):
    """A collection can be read but not written: its disk or folder is read-only."""
