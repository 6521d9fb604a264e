"""What the store and the system say, made into what a user is told: which collection, what failed, what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from lookalike.errors import CollectionError, ReadOnlyError
from lookalike.store.failures import guard


def of_the_system(number):
    return OSError(number, os.strerror(number))


def of_lance(number):
    """Return the same in Lance's words, which hold the number, as another kind of error."""
    return RuntimeError(
        f"LanceError(IO): Generic file error: {os.strerror(number)} (os error {number}), /src/a.rs:9:1"
    )


@pytest.fixture
def path(tmp_path):
    """Make a folder that looks like a collection."""
    (tmp_path / "c" / "images.lance" / "_versions").mkdir(parents=True)
    return str(tmp_path / "c")


@pytest.mark.parametrize("of", [of_the_system, of_lance])
@pytest.mark.parametrize(
    ("done", "number", "kind", "told"),
    [
        (
            "written",
            errno.ENOSPC,
            CollectionError,
            r"no space is left on its disk\..* then run the same again\.",
        ),
        (
            "created",
            errno.ENOSPC,
            CollectionError,
            r"no space is left on its disk\..* or name a folder on another",
        ),
        ("read", errno.EACCES, CollectionError, r"you may not read all of it\."),
        ("written", errno.EACCES, ReadOnlyError, r"you may not write into its folder\."),
        ("written", errno.EROFS, ReadOnlyError, r"its disk can only be read\."),
        ("created", errno.EROFS, ReadOnlyError, r"you may not write there\. Name another folder"),
        (
            "read",
            errno.EIO,
            CollectionError,
            r"its disk failed \(.*Input/output error.*\)\. Look after the disk",
        ),
        (
            "read",
            errno.EBADF,
            CollectionError,
            r".*Bad file descriptor.*\. Find out what is damaged",
        ),
        ("read", errno.ENOENT, CollectionError, r".*No such file.*\. Find out what is damaged"),
    ],
)
def test_what_the_system_refuses_is_told_with_a_remedy(path, of, done, number, kind, told):
    with (
        pytest.raises(kind, match=f"The collection {path} could not be {done}: {told}") as raised,
        guard(path, done),
    ):
        raise of(number)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("done", "error", "told"),
    [
        ("opened", ValueError("Dataset was not found"), "its folder is no longer there"),
        ("opened", of_lance(errno.ENOENT), "its folder is no longer there"),
        ("opened", of_the_system(errno.EIO), "its disk failed"),
        ("read", pa.ArrowInvalid("torn"), "its folder is no longer there"),
        (
            "created",
            of_the_system(errno.ENOENT),
            r".*No such file.*\. Name another folder with -c or LOOKALIKE_COLL",
        ),
        ("created", of_lance(errno.ENOSPC), "no space is left on its disk"),
    ],
)
def test_where_there_is_no_folder_any_more_that_is_told(tmp_path, done, error, told):
    with (
        pytest.raises(CollectionError, match=f"gone could not be {done}: {told}"),
        guard(str(tmp_path / "gone"), done),
    ):
        raise error


@pytest.mark.skipif(os.name == "nt", reason="rights are others there")
def test_a_folder_that_may_not_be_looked_into_is_not_taken_for_gone(path):
    user = os.geteuid()
    Path(path).chmod(0)
    if user == 0:  # who may look everywhere
        os.seteuid(65534)
    try:
        with (
            pytest.raises(CollectionError, match="you may not read all of it"),
            guard(path, "read"),
        ):
            raise of_lance(errno.EACCES)
    finally:
        if user == 0:
            os.seteuid(user)
        Path(path).chmod(0o755)


def test_nothing_is_begun_in_a_folder_that_is_gone(tmp_path):
    begun = []
    with (
        pytest.raises(CollectionError, match="its folder is no longer there"),
        guard(str(tmp_path / "c"), "written"),
    ):
        begun.append(True)
    assert begun == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "LanceError(IO): External error: Object at a was torn., /src/io.rs:99:12",
            "Object at a was torn",
        ),
        ("The file is torn.\nBacktrace: none", "The file is torn"),
        ("", "RuntimeError"),
    ],
)
def test_the_stores_reason_is_told_without_where_in_its_source(path, said, told):
    with (
        pytest.raises(CollectionError, match=f"could not be read: {told}. Find out what"),
        guard(path, "read"),
    ):
        raise RuntimeError(said)
