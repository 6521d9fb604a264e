"""Errors of Lance and the file system become messages with a next step."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from lookalike.errors import CollectionError, ReadOnlyError
from lookalike.store.failures import Operation, translate_errors


def system_error(number):
    return OSError(number, os.strerror(number))


def lance_error(number):
    """Return the same error as Lance raises it, with the number only in the text."""
    return RuntimeError(
        f"LanceError(IO): Generic file error: {os.strerror(number)} (os error {number}), "
        f"/src/a.rs:9:1"
    )


@pytest.fixture
def path(tmp_path):
    """Make a folder that looks like a collection."""
    (tmp_path / "c" / "images.lance" / "_versions").mkdir(parents=True)
    return str(tmp_path / "c")


@pytest.mark.parametrize("make_error", [system_error, lance_error])
@pytest.mark.parametrize(
    ("operation", "number", "kind", "expected"),
    [
        (
            Operation.WRITE,
            errno.ENOSPC,
            CollectionError,
            r"no space is left on its disk\..* then run the command again\.",
        ),
        (
            Operation.CREATE,
            errno.ENOSPC,
            CollectionError,
            r"no space is left on its disk\..* or name a folder on another disk",
        ),
        (
            Operation.READ,
            errno.EACCES,
            CollectionError,
            r"you do not have permission to read all of it\.",
        ),
        (
            Operation.WRITE,
            errno.EACCES,
            ReadOnlyError,
            r"you do not have permission to write into its folder\.",
        ),
        (Operation.WRITE, errno.EROFS, ReadOnlyError, r"its disk is read-only\."),
        (
            Operation.CREATE,
            errno.EACCES,
            ReadOnlyError,
            r"you do not have permission to write there\. Name another folder",
        ),
        (
            Operation.CREATE,
            errno.EROFS,
            ReadOnlyError,
            r"the disk is read-only\. Name another folder",
        ),
        (
            Operation.READ,
            errno.EIO,
            CollectionError,
            r"its disk failed \(.*Input/output error.*\)\. Check the disk first",
        ),
        (
            Operation.READ,
            errno.EBADF,
            CollectionError,
            r".*Bad file descriptor.*\. List the damage with",
        ),
        (
            Operation.READ,
            errno.ENOENT,
            CollectionError,
            r".*No such file.*\. List the damage with",
        ),
    ],
)
def test_each_system_error_has_its_own_next_step(
    path, make_error, operation, number, kind, expected
):
    message = f"The collection {path} could not be {operation}: {expected}"
    with (
        pytest.raises(kind, match=message) as raised,
        translate_errors(path, operation),
    ):
        raise make_error(number)
    assert type(raised.value) is kind


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize(
    ("operation", "advice"),
    [
        (Operation.CREATE, "Name a folder on another disk with -c"),
        (Operation.WRITE, "You can still search it. .* lookalike restore"),
    ],
)
def test_a_disk_without_hard_links_is_named(path, operation, advice, number):
    failed_link = OSError(
        "LanceError(IO): Generic LocalFileSystem error: Unable to rename file: "
        f"{os.strerror(number)} (os error {number}), /src/io.rs:9:1"
    )
    message = f"could not be {operation}: its disk has no hard links, .*{advice}"
    with pytest.raises(ReadOnlyError, match=message), translate_errors(path, operation):
        raise failed_link


@pytest.mark.parametrize(
    ("operation", "error", "expected"),
    [
        (
            Operation.OPEN,
            ValueError("Dataset was not found"),
            "its folder no longer exists",
        ),
        (Operation.OPEN, lance_error(errno.ENOENT), "its folder no longer exists"),
        (Operation.OPEN, system_error(errno.EIO), "its disk failed"),
        (Operation.READ, pa.ArrowInvalid("torn"), "its folder no longer exists"),
        (
            Operation.CREATE,
            system_error(errno.ENOENT),
            r".*No such file.*\. Name another folder with -c or LOOKALIKE_COLL",
        ),
        (Operation.CREATE, lance_error(errno.ENOSPC), "no space is left on its disk"),
    ],
)
def test_a_missing_folder_is_reported_as_missing(tmp_path, operation, error, expected):
    with (
        pytest.raises(
            CollectionError, match=f"gone could not be {operation}: {expected}"
        ),
        translate_errors(str(tmp_path / "gone"), operation),
    ):
        raise error


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_without_permission_is_not_reported_as_missing(path):
    user = os.geteuid()
    Path(path).chmod(0)
    if user == 0:  # root may read every folder
        os.seteuid(65534)
    try:
        with (
            pytest.raises(
                CollectionError, match="you do not have permission to read all of it"
            ),
            translate_errors(path, Operation.READ),
        ):
            raise lance_error(errno.EACCES)
    finally:
        if user == 0:
            os.seteuid(user)
        Path(path).chmod(0o755)


def test_no_write_starts_in_a_folder_that_no_longer_exists(tmp_path):
    started = []
    with (
        pytest.raises(CollectionError, match="its folder no longer exists"),
        translate_errors(str(tmp_path / "c"), Operation.WRITE),
    ):
        started.append(True)
    assert started == []


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (
            "LanceError(IO): External error: Object at a was torn., /src/io.rs:99:12",
            "Object at a was torn",
        ),
        ("The file is torn.\nBacktrace: none", "The file is torn"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_leaves_out_the_place_in_the_source_of_lance(path, raised, expected):
    with (
        pytest.raises(
            CollectionError, match=f"could not be read: {expected}. List the damage"
        ),
        translate_errors(path, Operation.READ),
    ):
        raise RuntimeError(raised)
