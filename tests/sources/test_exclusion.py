"""The files and folders that a walk leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.errors import ImageError, SourceError
from lookalike.sources import LocalSource
from source_files import make_files


def relative_paths(source: LocalSource) -> list[str]:
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
    assert relative_paths(source) == ["a.jpg", "eaDir/c.jpg", "recycle/b.jpg"]
    assert source.skipped().excluded_folders == len(folders)
    assert source.skipped().excluded_files == 1
    # The same folder is searched when the user names it.
    assert relative_paths(LocalSource([root / "d" / "@eaDir"])) == ["x.jpg"]


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
    assert relative_paths(source) == left
    assert source.count() == len(left)
    assert source.completed() == {str(root): len(left)}


def test_ignore_files_hold_below_their_folder_and_the_nearest_decides(root):
    make_files(root, "a.gif", "d/b.gif", "d/c.jpg", "d/e/f.gif", "g/c.jpg")
    (root / ".lookalikeignore").write_text("*.gif\n")
    (root / "d" / ".lookalikeignore").write_text("!b.gif\n/c.jpg\n")
    assert relative_paths(LocalSource([root])) == ["d/b.gif", "g/c.jpg"]
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
    assert relative_paths(source) == ["a.jpg"]
    assert source.skipped().other_kinds == {"xcf": 2, "": 2}
