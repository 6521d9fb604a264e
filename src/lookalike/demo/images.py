"""The images that the demo runs on: the user's folder, Caltech 101, or the drawn sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from lookalike.datasets import caltech101, sample
from lookalike.errors import DownloadError
from lookalike.sources import to_uri

__all__ = ["DemoImages", "Say", "find_images"]

Say = Callable[[str], None]

_CALTECH_CREDIT = (
    "Photographs: Li, Andreeto, Ranzato, Perona: "
    "Caltech 101 (2022), CaltechDATA, CC BY 4.0."
)


@dataclass(frozen=True, slots=True)
class DemoImages:
    """Folders of images, each image labeled by the folder it is in.

    Attributes
    ----------
    name
        Names the collection. Each set of images has its own, so that reports never mix them.
    paths
        The folders to index.
    description
        A phrase for the images, such as "photographs of nine classes".
    credit
        The authors and the license, where the images have them.
    """

    name: str
    paths: list[Path]
    description: str
    credit: str = ""


def find_images(
    folder: Path | None, data: Path | None, output: Path, say: Say
) -> DemoImages:
    """Return the first set of images available: a user's folder, Caltech 101, or the drawn sample.

    Parameters
    ----------
    folder
        The user's own images.
    data
        A copy of Caltech 101 to use instead of a download.
    output
        The folder in which a sample is drawn, if nothing else is available.
    say
        Called with each line of text for the user.

    Raises
    ------
    InputError
        If `data` does not exist.
    DatasetError
        If Caltech 101 is damaged or cannot be unpacked.
    """
    if folder is not None:
        uri = to_uri(folder)
        digest = hashlib.sha256(uri.encode())
        short_digest = digest.hexdigest()[:6]
        name = f"folder-{short_digest}"
        description = f"the images in {folder}"
        return DemoImages(name, [folder], description)

    try:
        return _fetch_caltech101(data, say)
    except DownloadError as error:
        say(f"  Not available: {error}")
        sample_folder = output / "sample"
        return _draw_sample(sample_folder, say)


def _fetch_caltech101(data: Path | None, say: Say) -> DemoImages:
    if data is None:
        say("Looking for Caltech 101 (131 MB, downloaded once; --data names a copy)")
    caches = platformdirs.user_cache_dir("lookalike", appauthor=False)
    cache = Path(caches, "caltech101")
    reporter = _TenthsReporter(say)
    root = caltech101.fetch(cache, source=data, progress=reporter.update)
    return DemoImages(
        "caltech101",
        [root / label for label in caltech101.NINE_CLASSES],
        "photographs of nine classes of Caltech 101",
        _CALTECH_CREDIT,
    )


def _draw_sample(folder: Path, say: Say) -> DemoImages:
    say(
        f"Drawing a sample instead: {len(sample.CLASSES)} classes of images, in {folder}"
    )
    root = sample.write_sample(folder)
    return DemoImages("sample", [root], "nine classes drawn by Lookalike itself")


class _TenthsReporter:
    """Reports each tenth of a download."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._reported = 0

    def update(self, done: int, total: int | None) -> None:
        if not total:
            return
        tenths = 10 * done // total
        if tenths > self._reported:
            percent = 10 * tenths
            self._say(f"  {percent} %")
            self._reported = tenths
