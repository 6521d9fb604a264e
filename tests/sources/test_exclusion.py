"""What a walk leaves out, and the times of any file."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lookalike.errors import ImageError, SourceError
from lookalike.sources import LocalSource


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    return root


def make_files(root: Path, *files: str) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")


def names(source: LocalSource) -> list[str]:
    """Return the images of a source by path below its root, in alphabetical order."""
    (root,) = source.roots
    return sorted(Path(item.uri).relative_to(root).as_posix() for item in source)


def test_folders_of_the_system_are_left_out(root):
    folders = [
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "$Recycle.Bin",
        ".Trash-1000",
        "lost+found",
        "System Volume Information",
        "__MACOSX",
    ]
    make_files(root, "a.jpg", "._a.jpg", "recycle/b.jpg", "eaDir/c.jpg")
    make_files(root, *(f"d/{folder}/x.jpg" for folder in folders))
    source = LocalSource([root], hidden=True)
    assert names(source) == ["a.jpg", "eaDir/c.jpg", "recycle/b.jpg"]
    assert source.skipped().excluded_folders == len(folders)
    assert source.skipped().excluded_files == 1
    # The same folder is searched when the user names it.
    assert names(LocalSource([root / "d" / "@eaDir"])) == ["x.jpg"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*.gif"], ["a.jpg", "d/b.jpg", "d/e/c.jpg"]),
        (["d/"], ["a.jpg", "f.gif"]),
        (["e"], ["a.jpg", "d/b.jpg", "d/g.gif", "f.gif"]),
        (["/*.jpg"], ["d/b.jpg", "d/e/c.jpg", "d/g.gif", "f.gif"]),
        (["*.jpg", "!b.jpg"], ["d/b.jpg", "d/g.gif", "f.gif"]),
        (["# comment", "", "d/**/c.jpg"], ["a.jpg", "d/b.jpg", "d/g.gif", "f.gif"]),
    ],
)
def test_patterns_leave_out_files_and_folders(root, patterns, left):
    make_files(root, "a.jpg", "d/b.jpg", "d/e/c.jpg", "d/g.gif", "f.gif")
    source = LocalSource([root], exclude=patterns)
    assert names(source) == left
    assert source.count() == len(left)
    assert source.completed() == {str(root): len(left)}


def test_ignore_files_hold_below_their_folder_and_the_nearest_decides(root):
    make_files(root, "a.gif", "d/b.gif", "d/c.jpg", "d/e/f.gif", "g/c.jpg")
    (root / ".lookalikeignore").write_text("*.gif\n")
    (root / "d" / ".lookalikeignore").write_text("!b.gif\n/c.jpg\n")
    assert names(LocalSource([root])) == ["d/b.gif", "g/c.jpg"]
    source = LocalSource([root], exclude=["b.gif"])
    assert [Path(item.uri).name for item in source] == ["c.jpg"]


def test_an_image_named_by_itself_is_never_left_out(root):
    make_files(root, "a.gif", "b.jpg")
    source = LocalSource([root, root / "a.gif"], exclude=["*.gif"])
    assert [Path(item.uri).name for item in source] == ["a.gif", "b.jpg"]
    assert source.count() == 2


@pytest.mark.parametrize("content", [b"caf\xe9\n", b"[z-a]\n", b"!\n"])
def test_an_ignore_file_that_cannot_be_used_makes_one_bad_folder(root, content):
    make_files(root, "a.jpg", "d/b.jpg")
    (root / "d" / ".lookalikeignore").write_bytes(content)
    source = LocalSource([root])
    image, folder = source
    assert Path(image.uri).name == "a.jpg"
    with pytest.raises(ImageError, match=r"\.lookalikeignore"):
        folder.read()
    assert source.completed() == {}


def test_an_invalid_pattern_is_an_error(root):
    make_files(root, "a.jpg")
    with pytest.raises(SourceError, match=r"--exclude .*gitignore syntax"):
        LocalSource([root], exclude=["[z-a]"])


def test_files_of_other_kinds_are_counted_by_extension(root):
    make_files(root, "a.jpg", "b.XCF", "d/c.xcf", "d/notes.txt", "README", "x.y z" * 5)
    (root / ".lookalikeignore").write_text("notes.*\n")
    source = LocalSource([root])
    assert names(source) == ["a.jpg"]
    assert source.skipped().other_kinds == {"xcf": 2, "": 2}


# File times


@pytest.mark.parametrize("year", [1601, 1676, 1677, 1901, 1970, 2038, 2262, 2263, 9999])
def test_a_file_time_of_any_year_can_be_stored(year, tmp_path):
    folder = Path("/dev/shm")  # keeps any time; many file systems cut it
    if not os.access(folder, os.W_OK):
        pytest.skip("no tmpfs at /dev/shm, whose files may have any time")
    start = datetime(1970, 1, 1, tzinfo=UTC)
    time_ns = int((datetime(year, 3, 1, tzinfo=UTC) - start).total_seconds()) * 10**9
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        make_files(root, "a.jpg")
        stamps = []
        for later in (0, 1, 60 * 10**9):
            os.utime(root / "a.jpg", ns=(time_ns + later, time_ns + later))
            (item,) = LocalSource([root])
            stamps.append(item.mtime_ns)
    assert len(set(stamps)) == 3
    assert all(-(2**63) <= stamp < 2**63 for stamp in stamps)
    if 1678 <= year <= 2261:
        assert stamps[0] == time_ns
