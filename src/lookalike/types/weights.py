"""A file that a Model needs: its weights, its calibration, or a part of a text tower."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Weights"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A file that a Model needs, and where it comes from.

    Attributes
    ----------
    file
        The name of the file, or a path to it.
    sha256, md5
        The hash of the file: the sha256, or the md5 if its publisher gives no other. Both are None
        only for a file that a description names without a hash; a download needs one.
    package
        The installed package that ships the file, if one does.
    extra
        The extra of Lookalike that installs that package.
    hub
        The place on the Hugging Face hub: ``owner/repository``, followed by ``@revision`` for a
        revision other than ``main``, and by ``/path`` if the name there is not `file`.
    url
        Another place to download the file from.
    license
        The SPDX identifier or the name of the license, shown before a download.
    size
        The size of the file in bytes. A download of another size is refused before it begins.
    notice
        A sentence of the publisher about the use of the file, shown before a download.
    terms
        The address of a license that the user accepts before a download; None if there is none.
    content
        The file itself as base64 text, if the Model holds it; see
        `lookalike.models.held_calibration`. None for a file that lies somewhere.
    """

    file: str
    sha256: str | None = None
    md5: str | None = None
    package: str | None = None
    extra: str | None = None
    hub: str | None = None
    url: str | None = None
    license: str | None = None
    size: int | None = None
    notice: str | None = None
    terms: str | None = None
    content: str | None = None
