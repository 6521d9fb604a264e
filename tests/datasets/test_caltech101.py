"""Fetching Caltech 101: from the web or from a copy, unpacked or refused."""

from __future__ import annotations

import hashlib
import io
import stat
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # for local_server

from local_server import Fault, local_server
from lookalike.datasets import caltech101
from lookalike.datasets.caltech101 import (
    ALL_CLASSES,
    NINE_CLASSES,
    OFFICIAL,
    Archive,
    fetch,
)
from lookalike.errors import DatasetError, DownloadError, InputError

TAR = "101_ObjectCategories.tar.gz"
INNER = f"caltech-101/{TAR}"
SMALL = (*NINE_CLASSES, "ant", "yin_yang")


def photograph(name: str, nth: int) -> bytes:
    return hashlib.sha256(f"{name} {nth}".encode()).digest() * 100


def tar_of(
    *extra: tarfile.TarInfo, classes=(*SMALL, "BACKGROUND_Google"), images=3
) -> bytes:
    """Pack an archive of the official layout, with the leftovers of macOS and of the authors."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in classes:
            files = {
                f"image_{nth:04}.jpg": photograph(name, nth)
                for nth in range(1, images + 1)
            }
            files |= {"._image_0001.jpg": b"a fork", "tmp": b"left over"}
            for file, content in files.items():
                info = tarfile.TarInfo(f"101_ObjectCategories/{name}/{file}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return packed.getvalue()


def zip_of(inner: bytes | None, *, extra: dict[str, bytes] | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr(f"__MACOSX/caltech-101/{TAR}", b"a fork")
        zipped.writestr("caltech-101/show_annotation.m", b"% nothing")
        if inner is not None:
            zipped.writestr(INNER, inner)
        for name, content in (extra or {}).items():
            zipped.writestr(name, content)
    return packed.getvalue()


GOOD_TAR = tar_of()
GOOD = zip_of(GOOD_TAR)


@pytest.fixture
def server():
    with local_server() as server:
        yield server


@pytest.fixture
def good(server):
    return Archive(
        server.serve("/caltech.zip", GOOD), hashlib.sha256(GOOD).hexdigest(), len(GOOD)
    )


def write_source(folder: Path, content: bytes) -> Path:
    path = folder / "source"
    path.write_bytes(content)
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def expected_tree(classes, images=3) -> dict[str, bytes]:
    return {
        f"{name}/image_{nth:04}.jpg": photograph(name, nth)
        for name in classes
        for nth in range(1, images + 1)
    }


# Names


def test_the_official_archive_has_101_classes():
    assert OFFICIAL.url.startswith("https://data.caltech.edu/")
    assert len(OFFICIAL.sha256) == 64
    assert len(set(ALL_CLASSES)) == len(ALL_CLASSES) == 101
    assert "BACKGROUND_Google" not in ALL_CLASSES
    assert len(NINE_CLASSES) == 9
    assert set(NINE_CLASSES) <= set(ALL_CLASSES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brian", "Did you mean 'brain'"),
        ("faces", "'Faces'"),
        ("BACKGROUND_Google", "no class"),
        ("zzz", "accordion"),
    ],
)
def test_an_unknown_class_is_an_error_before_any_download(
    server, good, tmp_path, name, message
):
    with pytest.raises(InputError) as caught:
        fetch(tmp_path / "data", classes=["brain", name], archive=good)
    assert message in str(caught.value)
    assert server.asked == []
    assert not (tmp_path / "data").exists()


def test_an_empty_choice_is_an_error(tmp_path):
    with pytest.raises(InputError, match="No class was chosen"):
        fetch(tmp_path, classes=[])


# Downloads


def test_nine_classes_are_downloaded_and_unpacked(good, tmp_path):
    seen: list[int] = []
    root = fetch(
        tmp_path / "data", archive=good, progress=lambda done, _total: seen.append(done)
    )
    assert root == tmp_path / "data" / "101_ObjectCategories"
    assert tree(root) == expected_tree(NINE_CLASSES)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "101_ObjectCategories",
        "caltech-101.zip",
    ]
    assert seen[-1] == len(GOOD)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("all", SMALL),
        (["ant"], ["ant"]),
        ("ant", ["ant"]),
        (("ant", "brain", "ant"), ["ant", "brain"]),
    ],
)
def test_only_the_chosen_classes_are_unpacked(good, tmp_path, classes, expected):
    assert tree(fetch(tmp_path, archive=good, classes=classes)) == expected_tree(
        expected
    )


def test_existing_files_are_neither_downloaded_nor_written_again(
    server, good, tmp_path
):
    mine = fetch(tmp_path, archive=good, classes=["ant"]) / "ant" / "image_0001.jpg"
    mine.write_bytes(b"mine")
    zipped = (tmp_path / "caltech-101.zip").rename(tmp_path / "elsewhere.zip")
    fetch(tmp_path, archive=good, classes=["ant"])
    assert len(server.asked) == 1
    zipped.rename(tmp_path / "caltech-101.zip")
    root = fetch(tmp_path, archive=good, classes=["ant", "brain"])
    assert tree(root) == expected_tree(["ant", "brain"]) | {
        "ant/image_0001.jpg": b"mine"
    }
    assert len(server.asked) == 1


def test_a_broken_download_is_resumed(server, good, tmp_path):
    server.files["/caltech.zip"].faults.append(Fault(cut=1000))
    assert tree(fetch(tmp_path, archive=good)) == expected_tree(NINE_CLASSES)
    assert server.asked[1].headers["Range"] == "bytes=1000-"


@pytest.mark.parametrize("wrong", [zip_of(tar_of(images=1)), GOOD[:-1] + b"!"])
def test_an_archive_with_another_checksum_is_refused(server, good, tmp_path, wrong):
    server.serve("/caltech.zip", wrong)
    with pytest.raises(DownloadError, match="not the promised file"):
        fetch(tmp_path, archive=good)
    assert list(tmp_path.iterdir()) == []


def test_a_zip_in_the_folder_is_used_offline(server, good, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        fetch(tmp_path, archive=good)
    place = tmp_path / "caltech-101.zip"
    assert str(place) in str(caught.value)
    place.write_bytes(GOOD)
    assert tree(fetch(tmp_path, archive=good)) == expected_tree(NINE_CLASSES)
    assert server.asked == []


def test_concurrent_fetches_agree(good, tmp_path, monkeypatch):
    write = caltech101._write
    monkeypatch.setattr(
        caltech101,
        "_write",
        lambda *photograph: (time.sleep(0.003), write(*photograph)),
    )
    choices = [["ant"], ["ant", "brain"], "nine", "all"]
    roots: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda classes=classes: roots.append(
                fetch(tmp_path, archive=good, classes=classes)
            )
        )
        for classes in choices
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 4
    assert tree(roots[0]) == expected_tree(SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "101_ObjectCategories",
        "caltech-101.zip",
    ]


# Sources


@pytest.mark.parametrize("content", [GOOD, GOOD_TAR], ids=["zip", "tar.gz"])
def test_a_source_archive_is_unpacked(tmp_path, content):
    root = fetch(tmp_path / "data", source=write_source(tmp_path, content))
    assert root == tmp_path / "data" / "101_ObjectCategories"
    assert tree(root) == expected_tree(NINE_CLASSES)


@pytest.mark.parametrize("inner", ["", "101_ObjectCategories"])
def test_a_source_folder_is_used_in_place(tmp_path, inner):
    root = fetch(tmp_path / "data", source=write_source(tmp_path, GOOD), classes="all")
    assert fetch(tmp_path / "other", source=(root if inner else root.parent)) == root
    assert fetch(tmp_path / "other", source=root, classes="all") == root
    assert not (tmp_path / "other").exists()


def test_a_source_folder_must_hold_the_classes(tmp_path):
    root = fetch(
        tmp_path / "data", source=write_source(tmp_path, GOOD), classes=["ant"]
    )
    with pytest.raises(DatasetError, match=r"lacks the photographs .* of brain, chair"):
        fetch(tmp_path, source=root, classes=["ant", "brain", "chair"])
    with pytest.raises(DatasetError, match="lacks"):
        fetch(
            tmp_path,
            source=tmp_path / "data" / "101_ObjectCategories" / "ant",
            classes="all",
        )


def test_a_class_missing_from_the_archive_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"lacks the photographs .* of chair"):
        fetch(tmp_path, source=write_source(tmp_path, GOOD), classes=["brain", "chair"])


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        fetch(tmp_path, source=tmp_path / "none.zip")


# Unsafe, damaged and interrupted archives


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside.jpg"),
        member("101_ObjectCategories/ant/../../../outside.jpg"),
        member("/tmp/outside.jpg"),
        member("..\\outside.jpg"),
        member("C:\\outside.jpg"),
        member(
            "101_ObjectCategories/ant/image_0009.jpg", tarfile.SYMTYPE, "/etc/passwd"
        ),
        member(
            "101_ObjectCategories/ant/image_0008.jpg",
            tarfile.LNKTYPE,
            "101_ObjectCategories/ant/image_0001.jpg",
        ),
        member("101_ObjectCategories/linked", tarfile.SYMTYPE, ".."),
        member("101_ObjectCategories/ant/image_0007.jpg", tarfile.FIFOTYPE),
        member("101_ObjectCategories/ant/image_0006.jpg", tarfile.CHRTYPE),
    ],
    ids=lambda info: info.name,
)
@pytest.mark.parametrize("pack", [zip_of, bytes], ids=["zip", "tar.gz"])
def test_an_unsafe_member_of_the_tar_is_refused_by_name(tmp_path, bad, pack):
    source = write_source(tmp_path, pack(tar_of(bad, classes=["ant"])))
    with pytest.raises(DatasetError, match="is refused") as caught:
        fetch(tmp_path / "data", source=source, classes=["ant"])
    assert repr(bad.name) in str(caught.value)
    assert tree(tmp_path) == {"source": source.read_bytes()}


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "a/../../outside",
        "/outside",
        "C:/outside",
        "__MACOSX/../../outside",
    ],
)
def test_an_unsafe_name_in_the_zip_is_refused(tmp_path, name):
    source = write_source(tmp_path, zip_of(GOOD_TAR, extra={name: b"x"}))
    with pytest.raises(DatasetError, match="is refused") as caught:
        fetch(tmp_path / "data", source=source)
    assert repr(name) in str(caught.value)
    assert tree(tmp_path) == {"source": source.read_bytes()}


def test_a_link_in_the_zip_is_refused(tmp_path):
    source = write_source(tmp_path, GOOD)
    link = zipfile.ZipInfo("caltech-101/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(source, "a") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(DatasetError, match="'caltech-101/link' is a link"):
        fetch(tmp_path / "data", source=source)


def test_a_zip_without_the_tar_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=f"holds no {TAR}"):
        fetch(tmp_path / "data", source=write_source(tmp_path, zip_of(None)))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


DAMAGED = {
    "empty": b"",
    "text": b"<html>Not found</html>",
    "zip cut": GOOD[:-100],
    "zip half": GOOD[: len(GOOD) // 2],
    "zip flipped": flipped(GOOD, GOOD.index(GOOD_TAR) + len(GOOD_TAR) // 2),
    "zip of a flipped tar": zip_of(flipped(GOOD_TAR, len(GOOD_TAR) // 2)),
    "zip of a tar with another checksum": zip_of(flipped(GOOD_TAR, len(GOOD_TAR) - 6)),
    "zip of half a tar": zip_of(GOOD_TAR[: len(GOOD_TAR) // 2]),
    "tar cut": GOOD_TAR[:-1],
    "tar half": GOOD_TAR[: len(GOOD_TAR) // 2],
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_archive_leaves_nothing_and_can_be_replaced(tmp_path, content):
    source = write_source(tmp_path, content)
    with pytest.raises(DatasetError, match="is damaged, or neither") as caught:
        fetch(tmp_path / "data", source=source)
    assert str(source) in str(caught.value)
    assert tree(tmp_path / "data") == {}
    source.write_bytes(GOOD)
    assert tree(fetch(tmp_path / "data", source=source)) == expected_tree(NINE_CLASSES)


def test_an_interrupted_extraction_is_completed_by_the_next_run(tmp_path, monkeypatch):
    source = write_source(tmp_path, GOOD)
    write, written = caltech101._write, []

    def interrupted(data, path: Path) -> None:
        written.append(path)
        if len(written) == 8:
            raise KeyboardInterrupt
        write(data, path)

    fetch(tmp_path / "data", source=source, classes=["brain"])
    monkeypatch.setattr(caltech101, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path / "data", source=source)
    monkeypatch.undo()
    assert tree(tmp_path / "data" / "101_ObjectCategories") == expected_tree(["brain"])
    assert tree(fetch(tmp_path / "data", source=source)) == expected_tree(NINE_CLASSES)


def test_remains_of_a_killed_run_are_removed(tmp_path):
    left = tmp_path / "101_ObjectCategories.part" / "brain" / "image_0099.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    (tmp_path / "101_ObjectCategories" / "brain").mkdir(parents=True)
    root = fetch(tmp_path, source=write_source(tmp_path, GOOD))
    assert tree(root) == expected_tree(NINE_CLASSES)
    assert not left.exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "101_ObjectCategories").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"cannot be unpacked.*run again"):
        fetch(tmp_path, source=write_source(tmp_path, GOOD))
