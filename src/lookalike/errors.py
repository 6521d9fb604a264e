"""Every error that Lookalike raises on purpose.

::

    LookalikeError
    |-- InputError            what the caller gave cannot be used
    |   |-- SourceError       a folder, file or list to read images from
    |   |-- ImageError        one image that cannot be read or decoded
    |   |-- ModelError        a model's name, description or graph
    |   `-- SpaceError        a Space that the collection lacks, or fills with another Model
    |-- WeightsError          a weights file that is missing, refused or not what was promised
    |-- DownloadError         a download that failed or gave the wrong bytes
    |-- DatasetError          an archive or folder that is not the dataset it should be
    `-- CollectionError       a collection that cannot be created, opened, read or written
        |-- BusyError         one that another process has been changing for too long
        `-- ReadOnlyError     one that may be read, but not written

A message is one paragraph: what was given, what was expected, what to do next.
"""

from __future__ import annotations

__all__ = [
    "BusyError",
    "CollectionError",
    "DatasetError",
    "DownloadError",
    "ImageError",
    "InputError",
    "LookalikeError",
    "ModelError",
    "ReadOnlyError",
    "SourceError",
    "SpaceError",
    "WeightsError",
]


class LookalikeError(Exception):
    """Base of every error that Lookalike raises on purpose."""


class InputError(LookalikeError):
    """What the caller gave cannot be used."""


class SourceError(InputError):
    """A folder, file or list to read images from cannot be used."""


class ImageError(InputError):
    """One image cannot be read or decoded; the message is the reason alone, without the image's name."""


class ModelError(InputError):
    """A model's name, description or graph cannot be used."""


class SpaceError(InputError):
    """The collection lacks the Space, or fills it with another Model."""


class WeightsError(LookalikeError):
    """A weights file is missing, refused or not what was promised."""


class DownloadError(LookalikeError):
    """A download failed, or gave other bytes than were promised."""


class DatasetError(LookalikeError):
    """An archive or folder is not the dataset it should be."""


class CollectionError(LookalikeError):
    """A collection cannot be created, opened, read or written."""


class BusyError(CollectionError):
    """A collection that another process has been changing for longer than this one was willing to wait."""


class ReadOnlyError(CollectionError):
    """A collection may be read, but its disk or its folder's rights do not let it be written."""
