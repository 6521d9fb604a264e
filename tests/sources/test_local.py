"""LocalSource: each image once, in a fixed order, under one uri, and what it could not read."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.errors import ImageError, SourceError
from lookalike.sources import EXTENSIONS, FolderState, LocalSource, to_uri, uri_prefixes
from lookalike.sources.uris import local_path
from source_files import as_ordinary_user, make_files

# The bytes that file names may have.
names = st.binary(min_size=1, max_size=40).filter(
    lambda name: not set(name) & {0, ord("/")} and name not in (b".", b"..")
)


def image_paths(root: Path, *paths: Path | str, **options) -> list[str]:
    """Return the images of a source, as paths relative to the root."""
    source = LocalSource(paths or [root], **options)
    items = [str(local_path(item.uri).relative_to(root)) for item in source]
    assert source.count() == len(items)
    return items


# The walk


def test_folders_are_searched_to_any_depth_for_images_alone(root):
    make_files(
        root,
        "a.jpg",
        "b/c/d/e.PNG",
        "b/f.JpEg",
        "notes.txt",
        "b/g.jpg.part",
        "jpg",
        "b/h.tar.gz",
    )
    assert image_paths(root) == ["a.jpg", "b/f.JpEg", "b/c/d/e.PNG"]


def test_all_image_extensions_are_found(root):
    make_files(root, *(f"x{extension}" for extension in EXTENSIONS))
    assert len(image_paths(root)) == len(EXTENSIONS) >= 24


def test_the_order_follows_names_not_creation(root, tmp_path):
    files = [
        "b.jpg",
        "a.jpg",
        "Z.jpg",
        "d/a.jpg",
        "c/z.jpg",
        "c/a.jpg",
        "é.jpg",
        "10.jpg",
        "9.jpg",
    ]
    make_files(root, *files)
    other = tmp_path / "other"
    make_files(other, *reversed(files))
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
    assert image_paths(root) == image_paths(other) == expected


def test_hidden_files_are_found_only_on_request(root):
    make_files(root, "a.jpg", ".b.jpg", ".c/d.jpg", "e/.f/g.jpg")
    assert image_paths(root) == ["a.jpg"]
    assert image_paths(root, hidden=True) == [
        ".b.jpg",
        "a.jpg",
        ".c/d.jpg",
        "e/.f/g.jpg",
    ]


def test_a_hidden_root_is_searched(root):
    make_files(root, ".hidden/a.jpg")
    assert image_paths(root, root / ".hidden") == [".hidden/a.jpg"]


def test_a_folder_with_an_image_extension_is_searched(root):
    make_files(root, "x.jpg/y.jpg")
    assert image_paths(root) == ["x.jpg/y.jpg"]


def test_linked_folders_are_followed_once_and_loops_end(root, tmp_path):
    make_files(root, "b/c/x.jpg")
    make_files(tmp_path / "elsewhere", "y.jpg")
    (root / "a").symlink_to(root / "b")
    (root / "b" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "out").symlink_to(tmp_path / "elsewhere")
    assert image_paths(root) == ["b/c/x.jpg", "out/y.jpg"]


def test_a_linked_file_is_an_image_under_its_own_name(root, tmp_path):
    make_files(root, "x.jpg")
    (root / "y.jpg").symlink_to(root / "x.jpg")
    (root / "z").symlink_to(root / "x.jpg")
    assert image_paths(root) == ["x.jpg", "y.jpg"]


def test_broken_links_and_pipes_are_unreadable_items(root):
    make_files(root, "a.jpg")
    (root / "broken.jpg").symlink_to(root / "gone")
    os.mkfifo(root / "pipe.jpg")
    items = {Path(item.uri).name: item for item in LocalSource([root])}
    assert list(items) == ["a.jpg", "broken.jpg", "pipe.jpg"]
    with pytest.raises(FileNotFoundError):
        items["broken.jpg"].read()
    with pytest.raises(ImageError, match="not a regular file"):
        items["pipe.jpg"].read()


def test_an_item_has_its_stamp_and_content(root):
    make_files(root, "a.jpg")
    os.utime(root / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    (item,) = LocalSource([root])
    assert (item.uri, item.size, item.mtime_ns) == (
        str(root / "a.jpg"),
        5,
        1_234_567_890_123_456_789,
    )
    assert item.read() == b"a.jpg"


def test_an_unreadable_item_has_no_stamp(root):
    (root / "broken.jpg").symlink_to(root / "gone")
    (item,) = LocalSource([root])
    assert (item.size, item.mtime_ns) == (-1, -1)


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


# Paths and options


def test_single_files_may_have_any_extension(root):
    make_files(root, "a.txt", "b", ".hidden.jpg")
    assert image_paths(root, root / "b", root / "a.txt", root / ".hidden.jpg") == [
        "b",
        "a.txt",
        ".hidden.jpg",
    ]


def test_overlapping_paths_yield_each_image_once(root):
    make_files(root, "a/x.jpg", "a/b/y.jpg", "a/.z.jpg", "a/t.txt", "ab/w.jpg")
    a = root / "a"
    assert image_paths(
        root, a / "b", a, a, a / "x.jpg", f"{a}/", a / "b" / ".." / "x.jpg"
    ) == ["a/x.jpg", "a/b/y.jpg"]
    # Files that the walk skips are included if they are named.
    assert image_paths(root, a, a / ".z.jpg", a / "t.txt") == [
        "a/.z.jpg",
        "a/t.txt",
        "a/x.jpg",
        "a/b/y.jpg",
    ]
    assert image_paths(root, a, a / ".z.jpg", hidden=True) == [
        "a/.z.jpg",
        "a/x.jpg",
        "a/b/y.jpg",
    ]
    # A folder with the start of another's name is not inside it.
    assert image_paths(root, a, root / "ab") == ["a/x.jpg", "a/b/y.jpg", "ab/w.jpg"]


def test_paths_roots_and_completed_roots(root):
    make_files(root, "a/x.jpg", "a/b/y.jpg", "c.jpg", "empty/t.txt")
    a, empty, c = str(root / "a"), str(root / "empty"), str(root / "c.jpg")
    source = LocalSource([f"{a}/b", a, empty, c])
    assert (source.paths, source.roots) == ([f"{a}/b", a, empty, c], [a, empty])
    assert len(list(source)) == 3
    assert source.completed() == {a: 2, empty: 0}
    assert source.unreadable_roots == {}


def test_counting_does_not_disturb_an_iteration(root):
    make_files(root, "a.jpg", "b.jpg")
    source = LocalSource([root])
    stream = iter(source)
    next(stream)
    assert source.count() == 2
    assert len(list(stream)) == 1
    assert source.completed() == {str(root): 2}


def test_the_home_folder_and_relative_paths(root, monkeypatch):
    make_files(root, "a.jpg")
    monkeypatch.setenv("HOME", str(root))
    assert image_paths(root, "~") == image_paths(root, "~/a.jpg") == ["a.jpg"]
    monkeypatch.chdir(root)
    assert image_paths(root, ".") == image_paths(root, "a.jpg") == ["a.jpg"]


def test_a_missing_path_is_an_error(root):
    with pytest.raises(
        SourceError, match=r"no file or folder '.*/hollidays'\. Check the spelling"
    ):
        LocalSource([root, root / "hollidays"])
    with pytest.raises(SourceError, match="no file or folder ''"):
        LocalSource([""])


def test_labels_are_folder_names_or_none(root):
    make_files(root, "cats/a.jpg", "b.jpg")
    assert [item.label for item in LocalSource([root])] == ["pictures", "cats"]
    assert [item.label for item in LocalSource([root / "cats" / "a.jpg"])] == ["cats"]
    assert [item.label for item in LocalSource([root], labels="none")] == [None, None]
    with pytest.raises(
        SourceError, match="labels = 'name' is not known; expected 'folder' or 'none'"
    ):
        LocalSource([root], labels="name")


def test_labels_are_valid_unicode(root):
    make_files(root, os.fsdecode(b"caf\xe9/a.jpg"), "日本/b.jpg")
    assert [item.label for item in LocalSource([root])] == [
        "caf\N{REPLACEMENT CHARACTER}",
        "日本",
    ]


# Lists


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
def test_a_list_has_one_path_per_line(root, tmp_path, end, mark):
    make_files(root, "a.jpg", "my pictures/b c.jpg", "d/e.jpg", "f.dat")
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
    assert image_paths(root, f"@{tmp_path}/list.txt") == listed
    assert image_paths(root, root / "a.jpg", f"@{tmp_path}/list.txt") == [
        "a.jpg",
        *listed,
    ]


def test_a_missing_file_of_a_list_is_an_unreadable_item(root, tmp_path):
    make_files(root, "a.jpg")
    (tmp_path / "list.txt").write_text(f"{root}/a.jpg\n{root}/gone.jpg\n")
    _, item = LocalSource([f"@{tmp_path}/list.txt"])
    assert item.uri == f"{root}/gone.jpg"
    with pytest.raises(FileNotFoundError):
        item.read()


def test_a_list_of_missing_files_is_an_error(root, tmp_path):
    (tmp_path / "list.txt").write_text("a/lost.jpg\nb/lost.jpg\n")
    with pytest.raises(
        SourceError, match=r"list\.txt names no existing path; .* 'a/lost\.jpg'"
    ):
        LocalSource([f"@{tmp_path}/list.txt"])


def test_relative_paths_of_a_list_may_start_from_its_own_folder(
    root, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    make_files(elsewhere, "b.jpg")
    make_files(root, "a.jpg", "b.jpg")
    (root / "list.txt").write_text("a.jpg\r\nb.jpg\r\n")
    monkeypatch.chdir(elsewhere)
    uris = [item.uri for item in LocalSource([f"@{root}/list.txt"])]
    # The current folder comes first.
    assert uris == [f"{root}/a.jpg", f"{elsewhere}/b.jpg"]


def test_a_list_may_come_from_standard_input(root):
    make_files(root, "a.jpg", "d/b.jpg")
    code = "from lookalike.sources import LocalSource; print(*(i.uri for i in LocalSource(['@-'])))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        input="a.jpg\nd\n",
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == [f"{root}/a.jpg", f"{root}/d/b.jpg"]


def test_a_folder_may_be_named_like_a_list(root, monkeypatch):
    make_files(root, "@album/a.jpg")
    monkeypatch.chdir(root)
    assert image_paths(root, "@album") == ["@album/a.jpg"]


def test_paths_of_a_list_are_relative_to_the_current_folder(
    root, tmp_path, monkeypatch
):
    make_files(root, "a.jpg", "d/b.jpg")
    (tmp_path / "list.txt").write_text("d/b.jpg\n./a.jpg\n")
    monkeypatch.chdir(root)
    assert image_paths(root, "@../list.txt") == ["d/b.jpg", "a.jpg"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"caf\xe9.jpg\n", "not UTF-8"),
        (b"a.jpg\0b.jpg\0", "NUL"),
        ("a.jpg\n".encode("utf-16-le"), "NUL"),
    ],
)
def test_a_list_that_is_not_text_is_an_error(tmp_path, content, reason):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=rf"list\.txt .*{reason}.*one path.* a line"):
        LocalSource([f"@{tmp_path}/list.txt"])


def test_a_missing_list_is_an_error(tmp_path):
    with pytest.raises(
        SourceError, match=r"The list .*lost\.txt cannot be read: No such file"
    ):
        LocalSource([f"@{tmp_path}/lost.txt"])


# Unreadable folders


def test_an_unreadable_folder_is_one_bad_item(root):
    make_files(root, "a.jpg", "locked/b.jpg", "z/c.jpg")
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
    (root / "locked").chmod(0)
    try:
        done = subprocess.run(
            as_ordinary_user(command), capture_output=True, text=True, check=True
        )
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
    [
        "new\nline.jpg",
        "quo'te\".jpg",
        "😀 猫.jpg",
        "%41.jpg",
        "#a?b;c.jpg",
        "file:.jpg",
        "\\.jpg",
    ],
)
def test_unusual_names_are_plain_paths(root, name):
    make_files(root, name)
    (item,) = LocalSource([root])
    assert item.uri == f"{root}/{name}"
    assert item.read() == name.encode()


def test_a_name_that_is_not_unicode_becomes_a_file_uri(root):
    make_files(root, os.fsdecode(b"caf\xe9.jpg"))
    (item,) = LocalSource([root])
    assert item.uri == f"file://{root}/caf%E9.jpg"
    assert item.uri.encode()
    assert local_path(item.uri).read_bytes() == item.read() == b"caf\xe9.jpg"


@given(st.lists(names, min_size=1, max_size=3))
def test_uris_are_unicode_and_lead_back_to_the_path(parts):
    path = "/" + "/".join(map(os.fsdecode, parts))
    uri = to_uri(path)
    assert uri.encode()
    assert str(local_path(uri)) == path


def test_uris_are_absolute_and_do_not_follow_links(root, monkeypatch):
    make_files(root, "a/x.jpg")
    (root / "b").symlink_to(root / "a")
    monkeypatch.chdir(root)
    assert (
        to_uri("b/x.jpg")
        == to_uri(Path("b/./x.jpg"))
        == to_uri("a/../b/x.jpg")
        == f"{root}/b/x.jpg"
    )


@given(st.lists(names, min_size=1, max_size=2), names)
def test_prefixes_match_the_files_below_a_folder_alone(parts, name):
    folder = "/" + "/".join(map(os.fsdecode, parts))
    starts = tuple(uri_prefixes(folder))
    assert to_uri(f"{folder}/{os.fsdecode(name)}").startswith(starts)
    assert to_uri(f"/{os.fsdecode(name)}").startswith(tuple(uri_prefixes("/")))
    assert not to_uri(folder).startswith(starts)
    assert not to_uri(f"{folder}2/x.jpg").startswith(starts)


def test_folders_of_a_uri_lead_from_the_nearest_to_its_root(root):
    (root / "a" / "b").mkdir(parents=True)
    source = LocalSource([root])
    uri = to_uri(root / "a" / "b" / "1.png")
    assert source.folders_of(uri) == [str(root / "a" / "b"), str(root / "a"), str(root)]
    assert source.folders_of(str(root.with_name("elsewhere.png"))) == []


def test_a_folder_is_missing_empty_or_filled(root):
    (root / "empty" / "inner").mkdir(parents=True)
    (root / "link").symlink_to(root / "empty")
    source = LocalSource([root])

    def state(name):
        return source.folder_state(str(root / name))

    assert state("nowhere") == FolderState.MISSING
    assert state("empty") == state("link") == FolderState.EMPTY
    # The link leads to a folder of its own.
    assert state("") == FolderState.FILLED
    (root / "empty" / "inner" / ".hidden").touch()
    assert state("empty") == state("link") == FolderState.FILLED


def test_the_file_system_of_a_root_is_known_after_a_scan(root):
    (root / "a").mkdir(parents=True)
    source = LocalSource([root])
    assert source.devices() == {}
    list(source)
    assert list(source.devices()) == [str(root)]
