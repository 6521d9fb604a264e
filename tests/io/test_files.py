"""A file written by `atomic_write` is complete or absent, and replaces the old one at the end."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.io.files import atomic_write


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a" / "b"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(path: Path, text: str, error: BaseException) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)
        raise error


@pytest.mark.parametrize("before", [None, "old"])
def test_new_file_replaces_the_old_one_at_the_end(folder, before):
    path = folder / "file.txt"
    if before is not None:
        folder.mkdir(parents=True)
        path.write_text(before)
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert (path.read_text() if path.exists() else None) == before
    assert path.read_text() == "new"
    assert names(folder) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_error_keeps_the_old_file(folder, error):
    folder.mkdir(parents=True)
    path = folder / "file.txt"
    path.write_text("old")
    with pytest.raises(error):
        write(path, "half of the ne", error())
    assert path.read_text() == "old"
    assert names(folder) == ["file.txt"]


def test_error_without_an_old_file_leaves_nothing(folder):
    with pytest.raises(RuntimeError):
        write(folder / "file.txt", "half", RuntimeError())
    assert names(folder) == []


def test_temporary_file_is_hidden_beside_the_target(folder):
    with (
        atomic_write(folder / "file.onnx") as one,
        atomic_write(folder / "file.onnx") as two,
    ):
        assert one != two
        assert one.parent == two.parent == folder
        assert one.suffix == ".onnx"
        assert one.name.startswith(".")
        assert one.stat().st_size == 0


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)]
)
def test_permissions_are_the_default_ones(folder, umask, mode):
    old = os.umask(umask)
    try:
        with atomic_write(folder / "file.txt") as temporary:
            temporary.write_text("x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "file.txt").stat().st_mode) == mode


def test_folder_at_the_path_is_an_error(folder):
    (folder / "file.txt").mkdir(parents=True)
    with pytest.raises(OSError), atomic_write(folder / "file.txt") as temporary:  # noqa: PT011 (any of its kinds)
        temporary.write_text("x")
    assert names(folder) == ["file.txt"]
    assert (folder / "file.txt").is_dir()


def test_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError), atomic_write(tmp_path / "a" / "file.txt"):  # noqa: PT011 (any of its kinds)
        pytest.fail("the block must not begin")


KILLED = """
import os, signal, sys
from pathlib import Path
from lookalike.io.files import atomic_write
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of the ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_only_files_of_killed_writers_are_removed(folder):
    path = folder / "file.txt"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = names(folder)
    (folder / ".mine").write_text("x")
    with atomic_write(folder / "other.txt") as other:
        assert left not in names(folder)
        with atomic_write(path) as temporary:
            temporary.write_text("new")
        assert other.exists()
    assert names(folder) == [".mine", "file.txt", "other.txt"]


def test_new_folder_has_the_default_permissions(folder):
    with atomic_write(folder / "file.txt"):
        pass
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~current_umask()


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
