"""What happens to the file of one copy: the removal, the way back, and the order after a kill.

A kill leaves a file under its old name, its new one, or both. `settle` looks at the names and
brings the copy back into one of the two states, removed or untouched.
"""

from __future__ import annotations

import errno
from pathlib import Path

from lookalike.duplicates.journal import Entry, State
from lookalike.io.file_moves import (
    FileStamp,
    copy_file,
    copy_to_name,
    hash_regular_file,
    is_placeholder,
    make_folders,
    move_file,
    remove_file,
    replace_by_link,
    take_back,
)
from lookalike.io.reasons import system_reason
from lookalike.sources import local_file

__all__ = ["StepError", "bring_back", "is_back", "remove_copy", "settle"]


# Errors that say that there is no file of this name.
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}


class StepError(Exception):
    """The file of a copy stays as it is; the message is the reason."""


# ---- the removal --------------------------------------------------------------------------------


def remove_copy(entry: Entry, keeper: Path, keeper_stamp: FileStamp) -> None:
    """Remove a copy whose journal line is written.

    Parameters
    ----------
    entry
        The copy, which was just verified.
    keeper, keeper_stamp
        The file that is kept, and its stamp when it was verified.

    Raises
    ------
    StepError
        If the copy stays, because a file changed meanwhile or the system refuses the step.
    """
    try:
        make_folders(entry.target.parent)
        if entry.action == "hardlink":
            _link(entry, keeper, keeper_stamp)
        else:
            _move_to_target(entry, keeper, keeper_stamp)
    except OSError as error:
        raise StepError(_failure_reason(error)) from error


def _failure_reason(error: OSError) -> str:
    """Return the reason of an error in the user's words."""
    if error.errno == errno.EXDEV:
        return "the files are on different disks"
    if error.errno == errno.EEXIST:
        return "another file has its name"
    return system_reason(error)


def _move_to_target(entry: Entry, keeper: Path, keeper_stamp: FileStamp) -> None:
    try:
        move_file(entry.path, entry.target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_to_other_disk(entry)
    else:
        if not _has_stamp(entry.target, entry.stamp):
            move_file(entry.target, entry.path)
            raise StepError("the file changed meanwhile")
    # Both were verified by their names. If one name led to the other file, or a file was replaced
    # since, it shows now, and nothing is lost yet.
    if not _has_stamp(keeper, keeper_stamp):
        _move_back(entry)
        raise StepError("the image to keep changed meanwhile")


def _move_to_other_disk(entry: Entry) -> None:
    sha256 = copy_file(entry.path, entry.target, _partial(entry.target, entry))
    is_unchanged = _has_stamp(entry.path, entry.stamp) and sha256 == entry.sha256
    if not is_unchanged:
        remove_file(entry.target)
        raise StepError("the file changed meanwhile")
    remove_file(entry.path)


def _link(entry: Entry, keeper: Path, keeper_stamp: FileStamp) -> None:
    if not _has_stamp(keeper, keeper_stamp):
        raise StepError("the image to keep changed meanwhile")
    spare = entry.target
    new_link = _new_link(entry)
    replace_by_link(entry.path, keeper, keeper_stamp, spare=spare, new_link=new_link)
    # Nobody can write to the former file by its own name now; the spare name shows who did before.
    if not _has_stamp(spare, entry.stamp):
        # Nothing is taken from a file that somebody has put there since.
        if _has_same_file(entry.path, keeper_stamp):
            take_back(spare, entry.path)
        raise StepError("the file changed meanwhile")
    remove_file(spare)


def _has_stamp(path: Path, stamp: FileStamp) -> bool:
    """Return whether a path leads to a file with this stamp."""
    try:
        return FileStamp.at(path) == stamp
    except OSError:
        return False


def _has_same_file(path: Path, stamp: FileStamp) -> bool:
    """Return whether a path leads to the file of a stamp, whatever was written to it."""
    try:
        here = FileStamp.at(path)
    except OSError:
        return False
    return here.is_same_file(stamp)


def _partial(path: Path, entry: Entry) -> Path:
    """Return the name of an incomplete copy beside a path, which no other run uses."""
    name = f".lookalike-partial-{entry.run}-{entry.number}"
    return path.with_name(name)


def _new_link(entry: Entry) -> Path:
    """Return the name of a link before it takes the place of a copy."""
    number = entry.number
    name = f".link-{number}"
    target = entry.target
    return target.with_name(name)


# ---- after a kill or an error -------------------------------------------------------------------


def settle(entry: Entry, *, is_killed: bool = True) -> State:
    """Return whether a removal that was cut short is done or failed.

    It stays begun if that cannot be seen for now, such as in a folder without permission.

    Names that it left beside the file are removed. Nothing else is, so that each content stays
    under one name at least.

    Parameters
    ----------
    entry
        The copy.
    is_killed
        Whether its process was killed, so that a small file may still reserve a name. After an
        error none does, and an empty file is one of the user.
    """
    try:
        if entry.action == "hardlink":
            return _settle_link(entry)
        return _settle_move(entry, is_killed=is_killed)
    except OSError:
        return State.BEGUN


def _settle_move(entry: Entry, *, is_killed: bool) -> State:
    _discard(_partial(entry.target, entry))
    _discard(_partial(entry.path, entry))
    here = _stamp_or_none(entry.path)
    there = _stamp_or_none(entry.target)
    if there is None:
        is_disk_missing = here is None and not entry.target.parent.is_dir()
        return State.BEGUN if is_disk_missing else State.FAILED
    if here is None:
        return State.DONE
    if here.is_same_file(there):
        remove_file(entry.target)
        return State.FAILED
    reserved = _settle_reservation(entry) if is_killed else None
    return reserved or _settle_files(entry)


def _settle_reservation(entry: Entry) -> State | None:
    """Settle a file and one that reserves its name; return None if neither does."""
    if is_placeholder(entry.target):
        remove_file(entry.target)
        return State.FAILED
    if is_placeholder(entry.path):
        remove_file(entry.path)
        return State.DONE
    return None


def _settle_files(entry: Entry) -> State:
    """Settle two files: a copy under both names, or a copy and the file of somebody else."""
    if _has_content(entry.path, entry) and _has_content(entry.target, entry):
        remove_file(entry.target)
        return State.FAILED
    # Another file has taken the name of the copy since.
    return State.DONE if _has_content(entry.target, entry) else State.FAILED


def _settle_link(entry: Entry) -> State:
    _discard(_new_link(entry))
    _discard(_partial(entry.path, entry))
    here = _stamp_or_none(entry.path)
    spare = _stamp_or_none(entry.target)
    if spare is None:
        is_former_file = here is not None and here.is_same_file(entry.stamp)
        return State.FAILED if is_former_file else State.DONE
    if here is None:
        move_file(entry.target, entry.path)
        return State.FAILED
    if here.is_same_file(spare):
        remove_file(entry.target)
        return State.FAILED
    if _has_content(entry.target, entry) and _has_content(entry.path, entry):
        remove_file(entry.target)
        return State.DONE
    if _is_link_to_keeper(entry):
        # Somebody wrote to one of the files meanwhile. The image to keep has its own name.
        take_back(entry.target, entry.path)
        return State.FAILED
    # Somebody put another file in its place: both stay.
    return State.DONE


def _is_link_to_keeper(entry: Entry) -> bool:
    """Return whether the name of a copy leads to the file of the image to keep."""
    keeper = local_file(entry.keeper)
    if keeper is None:
        return False
    keeper_stamp = _stamp_or_none(keeper)
    if keeper_stamp is None:
        return False
    return _has_same_file(entry.path, keeper_stamp)


def _discard(path: Path) -> None:
    """Remove what a killed process may have left."""
    # A read-only disk refuses to remove even a file that is missing.
    if _stamp_or_none(path) is not None:
        remove_file(path)


def _stamp_or_none(path: Path) -> FileStamp | None:
    try:
        return FileStamp.at(path)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise


def _has_content(path: Path, entry: Entry) -> bool:
    """Return whether a file has the content of a copy."""
    try:
        sha256, _ = hash_regular_file(path)
    except OSError:
        return False
    return sha256 == entry.sha256


# ---- the way back -------------------------------------------------------------------------------


def bring_back(entry: Entry, keeper: Path | None) -> None:
    """Undo the removal of a copy.

    Parameters
    ----------
    entry
        The copy.
    keeper
        The file that was kept, whose content replaces a link that no longer exists.

    Raises
    ------
    StepError
        If another file has the name, the file is no longer there, or the system refuses the step.
    """
    try:
        if entry.action == "hardlink":
            _unlink(entry, keeper)
        else:
            _move_back(entry)
    except OSError as error:
        raise StepError(_failure_reason(error)) from error


def _move_back(entry: Entry) -> None:
    if _stamp_or_none(entry.target) is None:
        raise StepError(f"its file is no longer at {entry.target}")
    make_folders(entry.path.parent)
    try:
        move_file(entry.target, entry.path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_back_from_other_disk(entry)


def _move_back_from_other_disk(entry: Entry) -> None:
    # In a folder of the user the file may have another content by now, which comes back.
    content, stamp = hash_regular_file(entry.target)
    copied = copy_file(entry.target, entry.path, _partial(entry.path, entry))
    is_unchanged = _has_stamp(entry.target, stamp) and copied == content
    if not is_unchanged:
        remove_file(entry.path)
        raise StepError("the file changed meanwhile")
    remove_file(entry.target)


def is_back(entry: Entry) -> bool:
    """Return whether there is a file with the content of a copy at its place."""
    path = entry.path
    return _has_content(path, entry)


def _unlink(entry: Entry, keeper: Path | None) -> None:
    """Make the copy a file of its own again, with its former permissions and time."""
    here = _stamp_or_none(entry.path)
    if here == entry.stamp:
        return
    source = keeper if here is None else entry.path
    if source is None or not _has_content(source, entry):
        raise StepError("its content changed since")
    make_folders(entry.path.parent)
    copy_to_name(
        source,
        entry.path,
        _partial(entry.path, entry),
        sha256=entry.sha256,
        stamp=entry.stamp,
    )
