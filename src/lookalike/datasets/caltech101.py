"""Caltech 101: photographs of 101 kinds of objects, about 40 to 800 of each, in a folder per class.

Li, Andreeto, Ranzato and Perona, "Caltech 101" (2022), CaltechDATA, doi:10.22002/D1.20086, license
CC BY 4.0. The archive is a zip that holds ``101_ObjectCategories.tar.gz``, which holds the
photographs.
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

__all__ = ["ALL_CLASSES", "NINE_CLASSES", "OFFICIAL", "Archive", "fetch", "split"]

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

# The folders of the archive, except BACKGROUND_Google, which holds images of anything.
_NAMES = """
    Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular
    bonsai brain brontosaurus buddha butterfly camera cannon car_side ceiling_fan cellphone chair
    chandelier cougar_body cougar_face crab crayfish crocodile crocodile_head cup dalmatian
    dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium ewer ferry flamingo
    flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog helicopter
    ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama lobster lotus mandolin mayfly
    menorah metronome minaret nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid
    revolver rhino rooster saxophone schooner scissors scorpion sea_horse snoopy soccer_ball stapler
    starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch water_lilly
    wheelchair wild_cat windsor_chair wrench yin_yang
"""
ALL_CLASSES = tuple(_NAMES.split())

_ROOT = "101_ObjectCategories"
_INNER = f"{_ROOT}.tar.gz"
_IMAGE = re.compile(r"image_\d+\.jpg")
_CHUNK = 1 << 18
# The kinds of members that a zip may have: a file, a folder, or a kind that it does not state.
_PLAIN_KINDS = {0, stat.S_IFREG, stat.S_IFDIR}
# More than three times the unpacked size of the official archive.
_MAX_UNPACKED_BYTES = 1 << 29

# A damaged zip can also raise the last two: a name in an unknown encoding, an unknown compression.
_DAMAGE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Archive:
    """The zip on the web, and its checksum.

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

    Existing classes are left as they are. A call after an interruption, or for other classes, adds
    the missing ones. Each class appears whole or not at all.

    Parameters
    ----------
    folder
        The folder in which ``101_ObjectCategories`` is made. The downloaded zip stays here too, as
        ``caltech-101.zip``.
    source
        A copy to use instead of a download: a folder that is, or holds, ``101_ObjectCategories``,
        which is used in place; or the zip, or the tar.gz in it. The layout and the checksums inside
        such an archive are checked, but not ``archive``.
    classes
        Names of classes, or ``"nine"`` for `NINE_CLASSES`, or ``"all"`` for every class found.
    archive
        The zip to download.
    progress
        Called with the number of bytes downloaded, and the total.

    Raises
    ------
    InputError
        If a class is unknown, or the source does not exist.
    DownloadError
        If the zip cannot be downloaded.
    DatasetError
        If the source or zip is damaged, unsafe, of another layout, or lacks a class; or if it
        cannot be unpacked.
    """
    wanted = _chosen_classes(classes)
    if source is not None and not source.exists():
        raise InputError(
            f"The source {source} does not exist. "
            f"Give the folder {_ROOT}, the zip, or the tar.gz in it."
        )

    if source is not None and source.is_dir():
        inner = source / _ROOT
        root = inner if inner.is_dir() else source
    else:
        root = folder / _ROOT
        if _missing_classes(root, wanted):
            packed = source or _download_zip(folder, archive, progress)
            _unpack(packed, root, wanted)
    _available_classes(root, classes)
    return root


def split(
    root: Path,
    *,
    classes: str | Sequence[str] = "nine",
    test: float = 0.2,
    seed: int = 0,
) -> pa.Table:
    """Split the photographs into training and test images; see `stratify`.

    Parameters
    ----------
    root
        The folder that `fetch` returned.
    classes
        Names of classes, or ``"nine"``, or ``"all"`` for every class that the root holds.
    test, seed
        As for `stratify`.

    Raises
    ------
    InputError
        If a class is unknown, or the share or seed is out of range.
    DatasetError
        If the root lacks a class.
    """
    images = {}
    labels = _available_classes(root, classes)
    for label in labels:
        folder = root / label
        images_of_label = _images(folder)
        images[label] = images_of_label
    return stratify(images, test=test, seed=seed)


def _chosen_classes(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names that a choice stands for, each once."""
    match classes:
        case "all":
            return ALL_CLASSES
        case "nine":
            return NINE_CLASSES
        case str():
            names: tuple[str, ...] = (classes,)
        case _:
            names = tuple(dict.fromkeys(classes))

    if not names:
        raise InputError(
            "No class was chosen. Name at least one, or give 'nine' or 'all'."
        )
    for name in names:
        if name not in ALL_CLASSES:
            raise InputError(
                f"Caltech 101 has no class {name!r}. {_class_hint(name)} "
                "'nine' and 'all' stand for several."
            )
    return names


def _class_hint(name: str) -> str:
    by_lower_case = {known.lower(): known for known in ALL_CLASSES}
    lower_name = name.lower()
    close = difflib.get_close_matches(lower_name, by_lower_case)
    if not close:
        listed = ", ".join(ALL_CLASSES)
        return f"The classes are {listed}."
    suggestions = []
    for lower_case in close:
        known = by_lower_case[lower_case]
        quoted = repr(known)
        suggestions.append(quoted)
    choice = " or ".join(suggestions)
    return f"Did you mean {choice}?"


def _images(folder: Path) -> list[Path]:
    """Return the photographs of a class by name, or an empty list if the folder does not exist."""
    paths = []
    try:
        for path in folder.iterdir():
            if _IMAGE.fullmatch(path.name):
                paths.append(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatasetError(
            f"The class {folder} cannot be read: {error}. Check its permissions."
        ) from error
    return sorted(paths)


def _missing_classes(root: Path, wanted: Sequence[str]) -> list[str]:
    missing = []
    for name in wanted:
        folder = root / name
        if not _images(folder):
            missing.append(name)
    return missing


def _available_classes(root: Path, classes: str | Sequence[str]) -> list[str]:
    """Return the chosen classes, which the root must hold. ``"all"`` stands for those it holds."""
    wanted = _chosen_classes(classes)
    missing = _missing_classes(root, wanted)
    available = [name for name in wanted if name not in missing]
    some_suffice = classes == "all"
    if missing and not (available and some_suffice):
        names = ", ".join(missing)
        raise DatasetError(
            f"{root} lacks the photographs (image_0001.jpg and so on) of {names}. "
            "Choose other classes, or fetch them from the official archive."
        )
    return available


def _download_zip(
    folder: Path, archive: Archive, progress: Callable[[int, int | None], None] | None
) -> Path:
    return download(
        archive.url,
        folder / "caltech-101.zip",
        sha256=archive.sha256,
        size=archive.size,
        progress=progress,
    )


def _unpack(packed: Path, root: Path, wanted: Sequence[str]) -> None:
    """Move the missing classes from an archive into the root, each by one rename."""
    unfinished = root.with_name(f"{root.name}.part")
    lock_path = root.with_name(f"{root.name}.lock")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(lock_path):
            # Another process may have unpacked them while this one waited for the lock.
            missing = _missing_classes(root, wanted)
            _remove_folder(unfinished)  # left by a process that was killed
            try:
                _extract(packed, unfinished, missing)
                _move_classes(unfinished, root, missing)
            finally:
                _remove_folder(unfinished)
    except OSError as error:
        raise DatasetError(
            f"{packed} cannot be unpacked into {root}: {error}. "
            "Check the folder's free space and permissions, and run again. "
            "Existing classes are not changed."
        ) from error


def _remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _move_classes(unpacked: Path, root: Path, names: Sequence[str]) -> None:
    """Move the folders of some classes into the root, as far as the archive had them."""
    for name in names:
        folder = unpacked / name
        target = root / name
        if not folder.is_dir():
            continue
        if target.is_dir():
            # It holds no photograph. If it holds anything else, this fails and loses nothing.
            target.rmdir()
        folder.replace(target)


def _extract(packed: Path, folder: Path, wanted: Collection[str]) -> None:
    """Write the wanted photographs as ``<folder>/<class>/<name>``, in one pass over the archive.

    Any unsafe member refuses the whole archive, including members that are not extracted. That is
    stricter than the data filter of `tarfile`, which repairs absolute names and allows links.
    """
    if not wanted:
        return
    try:
        with (
            _open_inner(packed) as stream,
            gzip.open(stream) as gzipped,
            io.BufferedReader(_LimitedStream(packed, gzipped), _CHUNK) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r|") as tar,
        ):
            for member in tar:
                _check_member(packed, member)
                parts = PurePosixPath(member.name).parts
                if member.isfile() and _is_wanted(parts, wanted):
                    _, label, name = parts
                    data = cast("IO[bytes]", tar.extractfile(member))
                    _write(data, folder / label / name)
            # Read to the very end, where the checksums are.
            while unzipped.read(_CHUNK):
                pass
    except _DAMAGE_ERRORS as error:
        raise DatasetError(
            f"{packed} is damaged, or neither caltech-101.zip nor the {_INNER} in it: {error}. "
            "Replace it, or remove it so that it is downloaded."
        ) from error


class _LimitedStream(io.RawIOBase):
    """A stream that fails once it unpacks to far more than the official archive."""

    def __init__(self, packed: Path, stream: gzip.GzipFile) -> None:
        self._packed = packed
        self._stream = stream
        self._left = _MAX_UNPACKED_BYTES

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read the next bytes into a buffer, and return their number."""
        count = self._stream.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise DatasetError(
                f"{self._packed} is refused: it unpacks to more than "
                f"{_MAX_UNPACKED_BYTES:,} bytes, far more than the official archive. "
                "Remove the file and get it from the official address."
            )
        return count


@contextmanager
def _open_inner(packed: Path) -> Iterator[IO[bytes]]:
    """Open the tar.gz: the file itself, or the one in a zip."""
    if not zipfile.is_zipfile(packed):
        with packed.open("rb") as file:
            yield file
        return

    with zipfile.ZipFile(packed) as zipped:
        inner = None
        for info in zipped.infolist():
            name = info.filename
            _check_name(packed, name)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in _PLAIN_KINDS:
                raise _unsafe_member(packed, name, "is a link or a device")
            if inner is None and _is_inner(name):
                inner = info
        if inner is None:
            raise DatasetError(
                f"{packed} holds no {_INNER}, as caltech-101.zip does. Replace it with that zip."
            )
        with zipped.open(inner) as stream:
            yield stream


def _is_inner(name: str) -> bool:
    path = PurePosixPath(name)
    if path.name != _INNER:
        return False
    # macOS adds a folder of resource forks with the same names.
    return path.parts[0] != "__MACOSX"


def _is_wanted(parts: tuple[str, ...], wanted: Collection[str]) -> bool:
    if len(parts) != 3:
        return False
    root, label, name = parts
    if root != _ROOT or label not in wanted:
        return False
    match = _IMAGE.fullmatch(name)
    return match is not None


def _check_member(packed: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    _check_name(packed, name)
    is_plain = member.isfile() or member.isdir()
    if is_plain:
        return
    raise _unsafe_member(packed, name, "is a link or a device")


def _check_name(packed: Path, name: str) -> None:
    posix_name = name.replace("\\", "/")
    path = PurePosixPath(posix_name)
    has_drive = re.match("[A-Za-z]:", name) is not None
    leads_out = path.is_absolute() or ".." in path.parts
    if leads_out or has_drive:
        raise _unsafe_member(packed, name, "leads out of the folder")


def _unsafe_member(packed: Path, name: str, problem: str) -> DatasetError:
    return DatasetError(
        f"{packed} is refused: its member {name!r} {problem}, unlike any in the official archive. "
        "Remove the file and get it from the official address."
    )


def _write(data: IO[bytes], path: Path) -> None:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(data, file, _CHUNK)
