"""A LocalSource yields every image once, in one order, under one name, and says what it could not read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import ImageError, SourceError
from lookalike.sources import EXTENSIONS, LocalSource, to_uri, uri_prefixes
from lookalike.sources.uris import local_path

# Bytes that may stand in a file's name.
names = st.binary(min_size=1, max_size=40).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in (b".", b"..")
)


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    return root


def make(root: Path, *files: str) -> None:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode(errors="surrogateescape"))


def met(root: Path, *paths: Path | str, **options) -> list[str]:
    """What a scan gives, as paths in the root."""
    source = LocalSource(paths or [root], **options)
    items = [str(local_path(item.uri).relative_to(root)) for item in source]
    assert source.count() == len(items)
    return items


# What is met


def test_folders_are_searched_to_any_depth_for_images_only(root):
    make(root, "a.jpg", "b/c/d/e.PNG", "b/f.JpEg", "notes.txt", "b/g.jpg.part", "jpg", "b/h.tar.gz")
    assert met(root) == ["a.jpg", "b/f.JpEg", "b/c/d/e.PNG"]


def test_every_extension_of_an_image_is_known(root):
    make(root, *(f"x{extension}" for extension in EXTENSIONS))
    assert len(met(root)) == len(EXTENSIONS) == 18


def test_the_order_is_that_of_the_names_whenever_they_were_made(root, tmp_path):
    files = ["b.jpg", "a.jpg", "Z.jpg", "d/a.jpg", "c/z.jpg", "c/a.jpg", "é.jpg", "10.jpg", "9.jpg"]
    make(root, *files)
    other = tmp_path / "other"
    make(other, *reversed(files))
    expected = [
        "10.jpg",
        "9.jpg",
        "Z.jpg",
        "a.jpg",
        "b.jpg",
        "é.jpg",
        "c/a.jpg",
        "c/z.jpg",
        "d/a.jpg",
    ]
    assert met(root) == met(other) == expected


def test_hidden_files_and_folders_are_asked_for(root):
    make(root, "a.jpg", ".b.jpg", ".c/d.jpg", "e/.f/g.jpg")
    assert met(root) == ["a.jpg"]
    assert met(root, hidden=True) == [".b.jpg", "a.jpg", ".c/d.jpg", "e/.f/g.jpg"]


def test_a_hidden_root_is_searched(root):
    make(root, ".hidden/a.jpg")
    assert met(root, root / ".hidden") == [".hidden/a.jpg"]


def test_a_folder_named_like_an_image_is_a_folder(root):
    make(root, "x.jpg/y.jpg")
    assert met(root) == ["x.jpg/y.jpg"]


def test_links_to_folders_are_followed_once_and_loops_end(root, tmp_path):
    make(root, "b/c/x.jpg")
    make(tmp_path / "elsewhere", "y.jpg")
    (root / "a").symlink_to(root / "b")
    (root / "b" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    assert met(root) == ["b/c/x.jpg", "out/y.jpg"]


def test_a_linked_file_is_a_picture_of_its_own_name(root, tmp_path):
    make(root, "x.jpg")
    (root / "y.jpg").symlink_to(root / "x.jpg")
    (root / "z").symlink_to(root / "x.jpg")
    assert met(root) == ["x.jpg", "y.jpg"]


def test_what_is_no_file_is_met_and_cannot_be_read(root):
    make(root, "a.jpg")
    (root / "broken.jpg").symlink_to(root / "gone")
    os.mkfifo(root / "pipe.jpg")
    items = {Path(item.uri).name: item for item in LocalSource([root])}
    assert list(items) == ["a.jpg", "broken.jpg", "pipe.jpg"]
    with pytest.raises(FileNotFoundError):
        items["broken.jpg"].read()
    with pytest.raises(ImageError, match="not a regular file"):
        items["pipe.jpg"].read()


def test_an_item_carries_its_stamp_and_its_bytes(root):
    make(root, "a.jpg")
    os.utime(root / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    (item,) = LocalSource([root])
    assert (item.uri, item.size, item.mtime_ns) == (
        str(root / "a.jpg"),
        5,
        1_234_567_890_123_456_789,
    )
    assert item.read() == b"a.jpg"


def test_an_item_that_cannot_be_read_has_no_stamp(root):
    (root / "broken.jpg").symlink_to(root / "gone")
    (item,) = LocalSource([root])
    assert (item.size, item.mtime_ns) == (-1, -1)


# What is asked for


def test_single_files_are_taken_with_any_extension(root):
    make(root, "a.txt", "b", ".hidden.jpg")
    assert met(root, root / "b", root / "a.txt", root / ".hidden.jpg") == [
        "b",
        "a.txt",
        ".hidden.jpg",
    ]


def test_paths_that_overlap_give_each_image_once(root):
    make(root, "a/x.jpg", "a/b/y.jpg", "a/.z.jpg", "a/t.txt", "ab/w.jpg")
    a = root / "a"
    assert met(root, a / "b", a, a, a / "x.jpg", f"{a}/", a / "b" / ".." / "x.jpg") == [
        "a/x.jpg",
        "a/b/y.jpg",
    ]
    # What the walk would pass over is taken because it was named.
    assert met(root, a, a / ".z.jpg", a / "t.txt") == [
        "a/.z.jpg",
        "a/t.txt",
        "a/x.jpg",
        "a/b/y.jpg",
    ]
    assert met(root, a, a / ".z.jpg", hidden=True) == ["a/.z.jpg", "a/x.jpg", "a/b/y.jpg"]
    # A folder whose name begins like another's is not inside it.
    assert met(root, a, root / "ab") == ["a/x.jpg", "a/b/y.jpg", "ab/w.jpg"]


def test_found_and_paths_and_roots(root):
    make(root, "a/x.jpg", "a/b/y.jpg", "c.jpg", "empty/t.txt")
    a, empty, c = str(root / "a"), str(root / "empty"), str(root / "c.jpg")
    source = LocalSource([f"{a}/b", a, empty, c])
    assert (source.paths, source.roots) == ([f"{a}/b", a, empty, c], [a, empty])
    assert len(list(source)) == 3
    assert source.completed() == {a: 2, empty: 0}
    assert source.unreadable_roots == {}


def test_counting_leaves_what_was_found(root):
    make(root, "a.jpg", "b.jpg")
    source = LocalSource([root])
    stream = iter(source)
    next(stream)
    assert source.count() == 2
    assert len(list(stream)) == 1
    assert source.completed() == {str(root): 2}


def test_the_home_folder_and_relative_paths(root, monkeypatch):
    make(root, "a.jpg")
    monkeypatch.setenv("HOME", str(root))
    assert met(root, "~") == met(root, "~/a.jpg") == ["a.jpg"]
    monkeypatch.chdir(root)
    assert met(root, ".") == met(root, "a.jpg") == ["a.jpg"]


def test_a_path_that_is_not_there_is_named(root):
    with pytest.raises(SourceError, match=r"no file or folder '.*/hollidays'\. Check the spelling"):
        LocalSource([root, root / "hollidays"])
    with pytest.raises(SourceError, match="no file or folder ''"):
        LocalSource([""])


def test_labels(root):
    make(root, "cats/a.jpg", "b.jpg")
    assert [item.label for item in LocalSource([root])] == ["pictures", "cats"]
    assert [item.label for item in LocalSource([root / "cats" / "a.jpg"])] == ["cats"]
    assert [item.label for item in LocalSource([root], labels="none")] == [None, None]
    with pytest.raises(
        SourceError, match="labels = 'name' is not known; expected 'folder' or 'none'"
    ):
        LocalSource([root], labels="name")


def test_labels_are_unicode_whatever_the_folder_is_called(root):
    make(root, os.fsdecode(b"caf\xe9/a.jpg"), "日本/b.jpg")
    assert [item.label for item in LocalSource([root])] == ["caf\N{REPLACEMENT CHARACTER}", "日本"]


# Lists


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
def test_a_list_names_a_path_a_line(root, tmp_path, end, mark):
    make(root, "a.jpg", "my pictures/b c.jpg", "d/e.jpg", "f.dat")
    lines = [
        f"{root}/f.dat",
        "",
        "   ",
        f"{root}/my pictures/b c.jpg",
        f"{root}/d",
        f"{root}/gone.jpg",
        "",
    ]
    (tmp_path / "list.txt").write_bytes((mark + end.join(lines)).encode())
    listed = ["f.dat", "my pictures/b c.jpg", "gone.jpg", "d/e.jpg"]
    assert met(root, f"@{tmp_path}/list.txt") == listed
    assert met(root, root / "a.jpg", f"@{tmp_path}/list.txt") == ["a.jpg", *listed]


def test_what_a_list_names_and_is_gone_cannot_be_read(root, tmp_path):
    (tmp_path / "list.txt").write_text(f"{root}/gone.jpg\n")
    (item,) = LocalSource([f"@{tmp_path}/list.txt"])
    assert item.uri == f"{root}/gone.jpg"
    with pytest.raises(FileNotFoundError):
        item.read()


def test_a_list_is_relative_to_where_it_is_used(root, tmp_path, monkeypatch):
    make(root, "a.jpg", "d/b.jpg")
    (tmp_path / "list.txt").write_text("d/b.jpg\n./a.jpg\n")
    monkeypatch.chdir(root)
    assert met(root, "@../list.txt") == ["d/b.jpg", "a.jpg"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9.jpg\n", "not UTF-8"),
        (b"a.jpg\0b.jpg\0", "NUL"),
        ("a.jpg\n".encode("utf-16-le"), "NUL"),
    ],
)
def test_a_list_that_is_no_text_is_refused(tmp_path, content, reason):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=rf"list\.txt .*{reason}.*one path a line"):
        LocalSource([f"@{tmp_path}/list.txt"])


def test_a_list_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"The list .*lost\.txt cannot be read: No such file"):
        LocalSource([f"@{tmp_path}/lost.txt"])


# Folders that cannot be read


def test_a_folder_that_cannot_be_read_is_one_bad_item_and_the_rest_is_met(root):
    make(root, "a.jpg", "locked/b.jpg", "z/c.jpg")
    code = """if True:
        import sys
        from lookalike import errors, sources
        source = sources.LocalSource([sys.argv[1]])
        for item in source:
            try: item.read(); print(item.uri, item.size)
            except errors.ImageError as error: print(item.uri, item.size, error)
        print(source.completed(), source.unreadable_roots, source.count())
        import os; os.chmod(f"{sys.argv[1]}/locked", 0o700)
        print(len(list(source)), source.unreadable_roots)"""
    command = [sys.executable, "-c", code, str(root)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root reads every folder, and setpriv is not here to take that right away")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
    (root / "locked").chmod(0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        (root / "locked").chmod(0o700)
    assert done.stdout.splitlines() == [
        f"{root}/a.jpg 5",
        f"{root}/locked -1 the folder cannot be read: Permission denied",
        f"{root}/z/c.jpg 7",
        f"{{}} {{'{root}': '{root}/locked: Permission denied'}} 3",
        "3 {}",
    ]


# Names


@pytest.mark.parametrize(
    "name",
    ["new\nline.jpg", "quo'te\".jpg", "😀 猫.jpg", "%41.jpg", "#a?b;c.jpg", "file:.jpg", "\\.jpg"],
)
def test_odd_names_are_plain_paths(root, name):
    make(root, name)
    (item,) = LocalSource([root])
    assert item.uri == f"{root}/{name}"
    assert item.read() == name.encode()


def test_a_name_that_is_no_unicode_becomes_a_uri_that_can_be_kept_and_read(root):
    make(root, os.fsdecode(b"caf\xe9.jpg"))
    (item,) = LocalSource([root])
    assert item.uri == f"file://{root}/caf%E9.jpg"
    assert item.uri.encode()
    assert local_path(item.uri).read_bytes() == item.read() == b"caf\xe9.jpg"


@given(st.lists(names, min_size=1, max_size=3))
def test_uris_name_one_path_and_are_unicode(parts):
    path = "/" + "/".join(map(os.fsdecode, parts))
    uri = to_uri(path)
    assert uri.encode()
    assert str(local_path(uri)) == path


def test_uris_are_absolute_and_do_not_follow_links(root, monkeypatch):
    make(root, "a/x.jpg")
    (root / "b").symlink_to(root / "a")
    monkeypatch.chdir(root)
    assert (
        to_uri("b/x.jpg")
        == to_uri(Path("b/./x.jpg"))
        == to_uri("a/../b/x.jpg")
        == f"{root}/b/x.jpg"
    )


@given(st.lists(names, min_size=1, max_size=2), names)
def test_prefixes_are_those_of_the_files_in_a_folder_and_no_other(parts, name):
    folder = "/" + "/".join(map(os.fsdecode, parts))
    starts = tuple(uri_prefixes(folder))
    assert to_uri(f"{folder}/{os.fsdecode(name)}").startswith(starts)
    assert to_uri(f"/{os.fsdecode(name)}").startswith(tuple(uri_prefixes("/")))
    assert not to_uri(folder).startswith(starts)
    assert not to_uri(f"{folder}2/x.jpg").startswith(starts)
