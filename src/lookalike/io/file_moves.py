"""Move and link files so that no moment, and no power failure, loses one.

Nothing is ever written over another file. Each function makes its work last on the disk before it
returns.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "FileStamp",
    "copy_file",
    "copy_to_name",
    "hash_regular_file",
    "is_placeholder",
    "make_folders",
    "move_file",
    "remove_file",
    "replace_by_link",
    "sync_folder",
    "take_back",
]

# Errors of a file system without hard links, or that forbids one to this file.
_NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
}
_PLACEHOLDER = b"Lookalike is moving an image to this name.\n"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """The identity of a file's content: another stamp means that it may have changed.

    Attributes
    ----------
    device, inode
        The file itself, whatever its name.
    size, mtime_ns
        Its size in bytes, and the time of its last change.
    mode
        Its permissions.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    mode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Return the stamp of a file's status."""
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            mode=status.st_mode,
        )

    @classmethod
    def at(cls, path: Path) -> FileStamp:
        """Return the stamp of the file at a path, links not followed, or raise OSError."""
        status = path.lstat()
        return cls.of(status)

    def is_same_file(self, other: FileStamp) -> bool:
        """Return whether both are names of one file."""
        is_same_device = self.device == other.device
        is_same_inode = self.inode == other.inode
        return is_same_device and is_same_inode


def hash_regular_file(path: Path) -> tuple[str, FileStamp]:
    """Return the sha256 of a file as hexadecimal digits, and its stamp.

    Raises
    ------
    OSError
        If it is no regular file, cannot be read, or changes meanwhile. A link is no regular file.
    """
    before = path.lstat()
    # A pipe would wait for a writer.
    if not stat.S_ISREG(before.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with path.open("rb") as file:
        opened = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
        after = os.fstat(file.fileno())
    stamp = FileStamp.of(after)
    is_stable = FileStamp.of(before) == FileStamp.of(opened) == stamp
    if not is_stable:
        raise OSError(errno.EBUSY, "the file changes while it is read", str(path))
    return digest.hexdigest(), stamp


def make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing."""
    missing = []
    current = folder
    while not current.is_dir():
        missing.append(current)
        current = current.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    """Make changes of a folder's entries last, where the system allows it."""
    if sys.platform == "win32":
        return
    # A folder that may be written but not read, or a file system that cannot do it.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def move_file(source: Path, target: Path) -> None:
    """Give a file another name on the same file system, unless a file has that name.

    A kill at any moment leaves the file under one of the names or under both. On a file system
    without hard links it may leave a small file under the new one; see `is_placeholder`.

    Raises
    ------
    FileExistsError
        If there is something at the target.
    OSError
        If the system refuses it.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _move_over_placeholder(source, target)
    else:
        try:
            source.unlink()
        except OSError:
            # The source may not be removed: it keeps its one name.
            target.unlink()
            raise
    sync_folder(target.parent)
    sync_folder(source.parent)


def is_placeholder(path: Path) -> bool:
    """Return whether a file only reserves its name, for a move that a kill cut short.

    The kill may have left a part of its text, or none: a file without any bytes is one as well.
    """
    status = path.lstat()
    mode = status.st_mode
    is_file = stat.S_ISREG(mode)
    most_bytes = len(_PLACEHOLDER)
    is_longer = status.st_size > most_bytes
    if is_longer or not is_file:
        return False
    content = path.read_bytes()
    return _PLACEHOLDER.startswith(content)


def _move_over_placeholder(source: Path, target: Path) -> None:
    """Move a file without a second link: a file of our own reserves the name."""
    _reserve(target)
    try:
        source.replace(target)
    except OSError:
        target.unlink()
        raise


def _reserve(target: Path) -> None:
    """Give a name to a file of our own, unless a file has it."""
    target.touch(exist_ok=False)
    try:
        target.write_bytes(_PLACEHOLDER)
    except OSError:
        # The disk is full.
        target.unlink()
        raise


def copy_file(source: Path, target: Path, temporary: Path) -> str:
    """Copy a file with its permissions and times, unless a file has the target's name.

    Parameters
    ----------
    source, target
        The file, and the name of its copy.
    temporary
        A free name for the copy while it is incomplete, in the folder of the target. A process that
        is killed leaves it.

    Returns
    -------
    sha256
        That of the bytes of the copy.

    Raises
    ------
    FileExistsError
        If there is something at the target, or at the temporary name.
    OSError
        If a file cannot be read or written.
    """
    with _removed_at_the_end(temporary):
        sha256 = _copy_content(source, temporary)
        shutil.copystat(source, temporary)
        move_file(temporary, target)
    return sha256


@contextmanager
def _removed_at_the_end(temporary: Path) -> Iterator[None]:
    """Make an empty file, and remove it at the end of the block if it still has its name."""
    # A file of another process is neither written to nor removed.
    temporary.touch(exist_ok=False)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _copy_content(source: Path, temporary: Path) -> str:
    """Write the bytes of a file into another one, and return the sha256 of what is there then."""
    with source.open("rb") as reader, temporary.open("wb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())
    sha256, _ = hash_regular_file(temporary)
    return sha256


def remove_file(path: Path) -> None:
    """Remove a file."""
    path.unlink()
    sync_folder(path.parent)


def replace_by_link(
    path: Path, original: Path, stamp: FileStamp, *, spare: Path, new_link: Path
) -> None:
    """Let a file's name lead to another file with the same content; readers always find one.

    Parameters
    ----------
    path
        The name that will lead to the other file.
    original, stamp
        The other file, on the same file system, and its stamp when its content was compared.
    spare
        A free name for the file that was at `path` before. The caller removes it once it has seen
        that nobody wrote to that file meanwhile.
    new_link
        A free name for the link before it takes the place of the file. A process that is killed
        may leave it.

    Raises
    ------
    OSError
        If the file system has no hard links, the file at `path` was replaced meanwhile, or the
        other file has another stamp now.
    """
    os.link(path, spare, follow_symlinks=False)
    try:
        os.link(original, new_link, follow_symlinks=False)
        # The name of the other file may lead elsewhere by now. Nobody else knows the new link.
        _check_stamp(new_link, stamp, "the image to keep")
        _check_same_file(path, spare)
        new_link.replace(path)
    except OSError:
        with suppress(OSError):
            new_link.unlink()
        with suppress(OSError):
            spare.unlink()
        raise
    sync_folder(path.parent)


def _check_stamp(path: Path, stamp: FileStamp, subject: str) -> None:
    if FileStamp.at(path) != stamp:
        raise OSError(errno.EBUSY, f"{subject} changed meanwhile", str(path))


def _check_same_file(path: Path, other: Path) -> None:
    here = FileStamp.at(path)
    there = FileStamp.at(other)
    if not here.is_same_file(there):
        name = str(path)
        raise OSError(errno.EBUSY, "the file was replaced", name)


def take_back(spare: Path, path: Path) -> None:
    """Undo `replace_by_link`: the name leads to its former file again; readers always find one.

    The name must be a link to the other file still, which keeps its own name.
    """
    spare.replace(path)
    sync_folder(path.parent)
    sync_folder(spare.parent)


def copy_to_name(
    source: Path, path: Path, temporary: Path, *, sha256: str, stamp: FileStamp
) -> None:
    """Let a name lead to a new copy of a file; readers always find a complete file.

    Parameters
    ----------
    source
        The file to copy. It has the name already, or nothing has it.
    path
        The name.
    temporary
        A free name in the folder of `path` for the copy while it is incomplete.
    sha256
        The content of the file, as hexadecimal digits.
    stamp
        The permissions and the time of the copy.

    Raises
    ------
    FileExistsError
        If another file has the name, or there is something at the temporary name.
    OSError
        If a file cannot be read or written, or has another content.
    """
    with _removed_at_the_end(temporary):
        before = FileStamp.at(source)
        copied = _copy_content(source, temporary)
        if copied != sha256:
            problem = "the file changes while it is read"
            shown_source = str(source)
            raise OSError(errno.EBUSY, problem, shown_source)
        permissions = stat.S_IMODE(stamp.mode)
        temporary.chmod(permissions)
        modified_ns = stamp.mtime_ns
        times_ns = (modified_ns, modified_ns)
        os.utime(temporary, ns=times_ns)
        is_in_place = source == path
        if is_in_place:
            _check_stamp(path, before, "the file")
            temporary.replace(path)
            folder = path.parent
            sync_folder(folder)
        else:
            move_file(temporary, path)
