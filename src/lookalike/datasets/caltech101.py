"""Caltech 101: photographs of 101 kinds of things, about 40 to 800 of each, a folder a class.

Li, Andreeto, Ranzato and Perona, "Caltech 101" (2022), CaltechDATA, doi:10.22002/D1.20086, licence CC BY 4.0.
The archive is a zip that holds ``101_ObjectCategories.tar.gz``, which holds the photographs.
"""

from __future__ import annotations

import difflib
import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa

from lookalike.datasets.manifest import stratify
from lookalike.errors import DatasetError, InputError
from lookalike.io.downloads import download
from lookalike.io.files import file_lock

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CLASSES", "NINE_CLASSES", "OFFICIAL", "Archive", "fetch", "split"]

NINE_CLASSES = (
    "airplanes",
    "Motorbikes",
    "Faces",
    "Faces_easy",
    "Leopards",
    "car_side",
    "grand_piano",
    "brain",
    "butterfly",
)

# The folders of the archive but for BACKGROUND_Google, which holds pictures of anything and is no class.
_NAMES = """
    Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai brain
    brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body
    cougar_face crab crayfish crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar
    elephant emu euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill
    headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama lobster lotus
    mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid
    revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy soccer_ball stapler starfish
    stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch water_lilly wheelchair wild_cat
    windsor_chair wrench yin_yang
"""
CLASSES = tuple(_NAMES.split())

_ROOT = "101_ObjectCategories"
_INNER = f"{_ROOT}.tar.gz"
_IMAGE = re.compile(r"image_\d+\.jpg")
_CHUNK = 1 << 18
# More than three times what the official archive unpacks to.
_MOST_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the zip is, and what it must be.

    Attributes
    ----------
    url
        Its http or https address.
    sha256
        64 hexadecimal digits.
    size
        Bytes.
    """

    url: str
    sha256: str
    size: int


OFFICIAL = Archive(
    url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip?download=1",
    sha256="331234750fc7f77520e50d9565e8b6907b03565e30320da1401130db08c61f91",
    size=137_414_764,
)


def fetch(
    folder: Path,
    *,
    source: Path | None = None,
    classes: str | Sequence[str] = "nine",
    archive: Archive = OFFICIAL,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Make photographs available as ``<root>/<class>/image_0001.jpg``, and return that root.

    Classes that are there already are left as they are, so a call after an interruption, or for other classes, adds
    what is missing. Each class appears whole or not at all.

    Parameters
    ----------
    folder
        Where ``101_ObjectCategories`` is made. The downloaded zip stays here too, as ``caltech-101.zip``.
    source
        What to use in place of a download: a folder that is, or holds, ``101_ObjectCategories``, used where it is;
        or the zip, or the tar.gz in it. Such an archive is checked for its layout and its own checksums, not against
        ``archive``.
    classes
        Names of classes, or ``"nine"`` for the nine of `NINE_CLASSES`, or ``"all"`` for every class there is.
    archive
        What is downloaded.
    progress
        Called with the bytes downloaded and the bytes in all.

    Raises
    ------
    InputError
        If a class is unknown, or the source does not exist.
    DownloadError
        If the zip cannot be downloaded.
    DatasetError
        If the source or zip is damaged, unsafe or of another layout, or lacks a class; if it cannot be unpacked.
    """
    wanted = _chosen(classes)
    if source is not None and not source.exists():
        raise InputError(
            f"There is no source {source}. Give the folder {_ROOT}, the zip, or the tar.gz in it."
        )
    if source is not None and source.is_dir():
        root = source / _ROOT if (source / _ROOT).is_dir() else source
    else:
        root = folder / _ROOT
        if _missing(root, wanted):
            _unpack(source or _downloaded(folder, archive, progress), root, wanted)
    _held(root, classes)
    return root


def split(
    root: Path, *, classes: str | Sequence[str] = "nine", test: float = 0.2, seed: int = 0
) -> pa.Table:
    """Draw the photographs to test with, in every class the same share; see `stratify`.

    Parameters
    ----------
    root
        What `fetch` returned.
    classes
        Names of classes, or ``"nine"``, or ``"all"`` for every class that the root holds.

    Raises
    ------
    InputError
        If a class is unknown, or the share or seed is out of range.
    DatasetError
        If the root lacks a class.
    """
    return stratify(
        {label: _images(root / label) for label in _held(root, classes)}, test=test, seed=seed
    )


def _chosen(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names that the choice stands for, each once."""
    match classes:
        case "all":
            return CLASSES
        case "nine":
            return NINE_CLASSES
        case str():
            names: tuple[str, ...] = (classes,)
        case _:
            names = tuple(dict.fromkeys(classes))
    if not names:
        raise InputError("No class was chosen. Name at least one, or give 'nine' or 'all'.")
    folded = {name.lower(): name for name in CLASSES}
    for name in names:
        if name not in CLASSES:
            near = [folded[other] for other in difflib.get_close_matches(name.lower(), folded)]
            hint = (
                f"Did you mean {' or '.join(map(repr, near))}?"
                if near
                else f"They are {', '.join(CLASSES)}."
            )
            raise InputError(
                f"Caltech 101 has no class {name!r}. {hint} 'nine' and 'all' stand for several."
            )
    return names


def _images(folder: Path) -> list[Path]:
    """Return the photographs of a class in the order of their names; none where there is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if _IMAGE.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatasetError(
            f"The class {folder} cannot be read: {error}. See to its permissions."
        ) from error


def _missing(root: Path, wanted: Sequence[str]) -> list[str]:
    return [name for name in wanted if not _images(root / name)]


def _held(root: Path, classes: str | Sequence[str]) -> list[str]:
    """Return the chosen classes, all of which the root must hold; of ``"all"``, those that it holds."""
    wanted = _chosen(classes)
    missing = _missing(root, wanted)
    if missing and (classes != "all" or len(missing) == len(wanted)):
        raise DatasetError(
            f"{root} lacks the photographs (image_0001.jpg and so on) of {', '.join(missing)}. Choose other classes, "
            "or fetch them from the official archive."
        )
    return [name for name in wanted if name not in missing]


def _downloaded(
    folder: Path, archive: Archive, progress: Callable[[int, int | None], None] | None
) -> Path:
    target = folder / "caltech-101.zip"
    return download(
        archive.url, target, sha256=archive.sha256, size=archive.size, progress=progress
    )


def _unpack(packed: Path, root: Path, wanted: Sequence[str]) -> None:
    """Bring those of the wanted classes that are missing from the archive into the root, each by one rename."""
    unfinished = root.with_name(f"{root.name}.part")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root.with_name(f"{root.name}.lock")):
            missing = _missing(
                root, wanted
            )  # another process may have unpacked them while this one waited
            _clear(unfinished)  # left by a run that was killed
            try:
                _extract(packed, unfinished, missing)
                for name in missing:
                    if (unfinished / name).is_dir():
                        _place(unfinished / name, root / name)
            finally:
                _clear(unfinished)
    except OSError as error:
        raise DatasetError(
            f"{packed} cannot be unpacked into {root}: {error}. See to the folder's space and permissions, and run "
            "again: the classes already there are kept."
        ) from error


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _place(unpacked: Path, target: Path) -> None:
    if target.is_dir():
        target.rmdir()  # it holds no photograph; where it holds something else, this fails and nothing is lost
    unpacked.replace(target)


def _extract(packed: Path, folder: Path, wanted: Collection[str]) -> None:
    """Write the wanted classes' photographs as ``<folder>/<class>/<name>``, in one pass over the archive."""
    if not wanted:
        return
    try:
        with (
            _inner(packed) as stream,
            gzip.open(stream) as gzipped,
            io.BufferedReader(_Limited(packed, gzipped), _CHUNK) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r|") as tar,
        ):
            for member in tar:
                _check_name(packed, member.name)
                if not (member.isfile() or member.isdir()):
                    raise _unsafe(packed, member.name, "is a link or a device")
                place = PurePosixPath(member.name).parts
                if member.isfile() and _is_wanted(place, wanted):
                    _write(cast("IO[bytes]", tar.extractfile(member)), folder / place[1] / place[2])
            while unzipped.read(_CHUNK):
                pass  # to the very end, where the checksums are
    # A damaged zip leads its reader to the last two: a name in no encoding, a method that nobody knows.
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, ValueError,
            RuntimeError) as error:  # fmt: skip
        raise DatasetError(
            f"{packed} is damaged, or neither caltech-101.zip nor the {_INNER} in it: {error}. Replace it, or remove "
            "it so that it is downloaded."
        ) from error


class _Limited(io.RawIOBase):
    """A stream that ends with an error where it unfolds to far more than the official archive does."""

    def __init__(self, packed: Path, stream: gzip.GzipFile) -> None:
        self._packed = packed
        self._stream = stream
        self._left = _MOST_BYTES

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read what comes next into a buffer, and return how many bytes that is."""
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DatasetError(
                f"{self._packed} is refused: it unpacks to more than {_MOST_BYTES:,} bytes, far more than the official "
                "archive. Remove the file and get it from the official address."
            )
        return count


@contextmanager
def _inner(packed: Path) -> Iterator[IO[bytes]]:
    """Open the tar.gz that the archive is, or holds."""
    if not zipfile.is_zipfile(packed):
        with packed.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(packed) as zipped:
        for info in zipped.infolist():
            _check_name(packed, info.filename)
            if stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise _unsafe(packed, info.filename, "is a link or a device")
        inner = next((info for info in zipped.infolist() if _is_inner(info.filename)), None)
        if inner is None:
            raise DatasetError(
                f"{packed} holds no {_INNER}, as caltech-101.zip does. Replace it by that one."
            )
        with zipped.open(inner) as stream:
            yield stream


def _is_inner(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name == _INNER and path.parts[0] != "__MACOSX"


def _is_wanted(place: tuple[str, ...], wanted: Collection[str]) -> bool:
    return (
        len(place) == 3
        and place[0] == _ROOT
        and place[1] in wanted
        and _IMAGE.fullmatch(place[2]) is not None
    )


def _check_name(packed: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise _unsafe(packed, name, "leads out of the folder")


def _unsafe(packed: Path, name: str, why: str) -> DatasetError:
    return DatasetError(
        f"{packed} is refused: its member {name!r} {why}, which the official archive has none of. Remove the file and "
        "get it from the official address."
    )


def _write(data: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(data, file, _CHUNK)
