"""Tar and zip archives as sources: names, labels, limits, and damaged archives."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import struct
import tarfile
import threading
import zipfile

import pytest

from container_files import add_to_tar, png, write_tar, write_zip
from lookalike.errors import SourceError
from lookalike.sources import (
    archive_index,
    display_name,
    open_source,
    open_uri,
    read_uri,
    resolve_uri,
    uri_exists,
    uri_prefixes,
)
from lookalike.sources.archives import ArchiveSource
from source_files import failures_of

PETS = {
    "cat/1.png": png(1),
    "cat/2.png": png(2),
    "dog/3.png": png(3),
    "readme.md": b"#",
}


@pytest.fixture(params=["photos.tar", "photos.tar.gz", "photos.tgz", "photos.zip"])
def archive(request, tmp_path):
    """An archive of each kind with three images."""
    path = tmp_path / request.param
    if path.suffix == ".zip":
        return write_zip(path, PETS)
    return write_tar(path, PETS, "w" if path.suffix == ".tar" else "w:gz")


def names_of(source) -> list[str]:
    return [item.uri.partition("!/")[2] for item in source]


def test_members_are_images_with_the_label_of_their_folder(archive):
    source = open_source([archive])
    items = {display_name(item.uri): item for item in source}
    assert {name: item.label for name, item in items.items()} == {
        "1.png": "cat",
        "2.png": "cat",
        "3.png": "dog",
    }
    assert items["3.png"].read() == png(3)
    assert items["3.png"].size == len(png(3))
    assert source.count() == 3
    assert source.completed() == {str(archive): 3}
    assert source.skipped().other_kinds == {"md": 1}


def test_a_member_is_read_by_its_uri_and_in_another_process(archive):
    for item in open_source([archive]):
        assert read_uri(item.uri) == item.read()
        with open_uri(item.uri) as file:
            file.seek(4)
            assert file.read() == item.read()[4:]
        assert pickle.loads(pickle.dumps(item)).read() == item.read()
        assert resolve_uri(item.uri) == item.uri


def test_a_uri_exists_as_long_as_the_archive_has_the_member(archive):
    item = next(iter(open_source([archive])))
    folder, _, _ = item.uri.rpartition("/")
    assert uri_exists(item.uri)
    assert uri_exists(folder)
    assert not uri_exists(f"{folder}/9.png")
    assert item.uri.startswith(tuple(uri_prefixes(archive)))
    with pytest.raises(FileNotFoundError):
        read_uri(f"{folder}/9.png")
    archive.unlink()
    assert not uri_exists(item.uri)
    with pytest.raises(FileNotFoundError):
        read_uri(item.uri)


def test_threads_read_members_of_one_archive_in_any_order(tmp_path, monkeypatch):
    # Many restart points, and most of them dropped again.
    monkeypatch.setattr("lookalike.sources.gzip_ranges._FIRST_SPACING", 1 << 12)
    monkeypatch.setattr("lookalike.sources.gzip_ranges._MAX_RESTART_POINTS", 20)
    monkeypatch.setattr("lookalike.sources.gzip_ranges._OUTPUT_BYTES", 1 << 12)
    blobs = {f"{n}.png": random.Random(n).randbytes(9_000) for n in range(100)}
    for path in (
        write_tar(tmp_path / "a.tar.gz", blobs, "w:gz"),
        write_zip(tmp_path / "a.zip", blobs),
    ):
        items = list(open_source([path]))
        random.Random(1).shuffle(items)
        wrong = []

        def read(part, wrong=wrong):
            for item in part:
                if item.read() != blobs[display_name(item.uri)]:
                    wrong.append(item.uri)

        threads = [threading.Thread(target=read, args=(items[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_options_leave_out_members(tmp_path):
    members = {
        "a/1.png": b"1",
        ".hidden/2.png": b"2",
        "drafts/3.png": b"3",
        "__MACOSX/a/._1.png": b"4",
    }
    path = write_zip(tmp_path / "a.zip", members)
    source = open_source([path], exclude=["drafts/"])
    assert names_of(source) == ["a/1.png"]
    assert source.skipped().excluded_files == 1
    assert "__MACOSX/a/._1.png" not in names_of(open_source([path], hidden=True))
    assert ".hidden/2.png" in names_of(open_source([path], hidden=True))
    assert {item.label for item in open_source([path], labels="none")} == {None}


def test_samples_of_a_webdataset_have_the_label_of_their_cls_or_json(tmp_path):
    members = {
        "train/0001.jpg": b"1",
        "train/0001.cls": b"7\n",
        "train/0001.json": b'{"label": "not this"}',
        "train/0002.txt": b"a caption",
        "train/0002.left.png": b"2",
        "train/0002.right.png": b"2",
        "train/0002.json": json.dumps({"label": "tabby", "width": 3}).encode(),
        "train/0003.jpg": b"3",
        "train/0003.json": b"[" * 100_000,
    }
    source = open_source([write_tar(tmp_path / "shard-0.tar", members)])
    labels = {display_name(item.uri): item.label for item in source}
    assert labels == {
        "0001.jpg": "7",
        "0002.left.png": "tabby",
        "0002.right.png": "tabby",
        "0003.jpg": "train",
    }
    assert source.skipped().other_kinds == {"cls": 1, "json": 3, "txt": 1}


def test_names_are_never_paths(tmp_path):
    names = [
        "../../etc/1.png",
        "/etc/2.png",
        "100%.png",
        "a!/b.png",
        "nul\n.png",
        "./c.png",
    ]
    names.append(b"\xff.png".decode(errors="surrogateescape"))
    folder = tmp_path / "50%!"
    folder.mkdir()
    path = folder / "a.tar"
    with tarfile.open(path, "w", encoding="utf-8", errors="surrogateescape") as archive:
        for number, name in enumerate(names):
            add_to_tar(archive, name, png(number))
    items = list(open_source([path]))
    for number, item in enumerate(items):
        assert read_uri(item.uri) == png(number)
        item.uri.encode()
    shown = [display_name(item.uri) for item in items]
    assert shown == [
        "1.png",
        "2.png",
        "100%.png",
        "b.png",
        "nul\n.png",
        "c.png",
        "?.png",
    ]


def test_the_last_of_several_members_with_a_name_counts(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.png": b"old", "2.png": b"2"})
    write_tar(path, {"1.png": b"new"}, "a")
    source = open_source([path])
    assert [item.read() for item in source] == [b"new", b"2"]
    assert source.skipped().other_kinds == {"replaced": 1}


def test_links_and_devices_are_counted_and_never_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_to_tar(archive, "1.png", b"1")
        add_to_tar(archive, "2.png", type=tarfile.SYMTYPE, linkname=str(secret))
        add_to_tar(archive, "3.png", type=tarfile.LNKTYPE, linkname="1.png")
        add_to_tar(archive, "4.png", type=tarfile.CHRTYPE)
        add_to_tar(archive, "inner.zip", b"PK")
    source = open_source([tmp_path / "a.tar"])
    assert names_of(source) == ["1.png"]
    assert source.skipped().other_kinds == {"link": 2, "device": 1, "zip": 1}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("2.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, str(secret))
    source = open_source([tmp_path / "a.zip"])
    assert names_of(source) == []
    assert source.skipped().other_kinds == {"link": 1}


@pytest.mark.parametrize("cut", [1024, 3072, 3500, 3584, 7000])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_tar_archive_that_is_cut_short_gives_all_that_is_there(tmp_path, name, cut):
    blobs = {f"{number}.png": bytes([number]) * 1000 for number in range(20)}
    content = write_tar(tmp_path / "whole.tar", blobs).read_bytes()[:cut]
    path = tmp_path / name
    path.write_bytes(content)
    if path.suffix == ".gz":
        with gzip.open(path, "wb") as file:
            file.write(content)
    source = open_source([path])
    reasons = failures_of(source)
    assert "cannot be read to its end" in reasons.pop("")
    # A member takes a header of 512 bytes and two blocks.
    complete = [name for name in names_of(source) if name and name not in reasons]
    assert len(complete) == (cut + 24) // 1536
    assert source.completed() == {}
    assert source.count() == len(names_of(source))


def test_a_gzip_file_that_is_cut_short_or_damaged_is_not_complete(tmp_path):
    blobs = {f"{n}.png": random.Random(n).randbytes(100_000) for n in range(10)}
    path = write_tar(tmp_path / "a.tar.gz", blobs, "w:gz")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = open_source([path])
    reasons = failures_of(source)
    assert "cut short" in reasons[""]
    assert 4 <= len(names_of(source)) - len(reasons) <= 5
    assert source.completed() == {}
    damaged = bytearray(content)
    damaged[-6] ^= 1  # the checksum at the end
    path.write_bytes(damaged)
    source = open_source([path])
    assert "damaged" in failures_of(source)[""]
    assert source.completed() == {}


def test_gzip_files_in_a_row_are_one_archive(tmp_path):
    plain = write_tar(tmp_path / "plain.tar", PETS).read_bytes()
    path = tmp_path / "a.tgz"
    path.write_bytes(
        gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(512)
    )
    assert len(list(open_source([path]))) == 3
    assert open_source([path]).count() == 3


def test_a_damaged_member_of_a_zip_archive_fails_alone(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.png": b"one" * 99, "2.png": b"two" * 99})
    content = bytearray(path.read_bytes())
    content[content.index(b"1.png") + 8] ^= 0xFF
    path.write_bytes(content)
    source = open_source([path])
    assert list(failures_of(source)) == ["1.png"]
    assert source.completed() == {str(path): 2}


def test_an_encrypted_member_is_a_failure(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.png": b"one"})
    _change_headers(path, local_offset=6, bits=1)
    assert "encrypted" in failures_of(open_source([path]))["1.png"]


def test_a_member_of_an_unknown_compression_is_a_failure(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"1.png": b"one"})
    _change_headers(path, local_offset=8, bits=96)
    reasons = failures_of(open_source([path]))
    assert list(reasons) == ["1.png"]
    assert "compression" in reasons["1.png"]


def _change_headers(path, *, local_offset, bits):
    """Set bits in both headers of the only member; the central one has two bytes more."""
    content = bytearray(path.read_bytes())
    for mark, offset in (
        (b"PK\x03\x04", local_offset),
        (b"PK\x01\x02", local_offset + 2),
    ):
        content[content.index(mark) + offset] |= bits
    path.write_bytes(content)


def test_a_zip_archive_that_is_cut_short_is_a_failure_of_its_own(tmp_path):
    path = write_zip(tmp_path / "a.zip", PETS)
    path.write_bytes(path.read_bytes()[:-30])
    source = open_source([path])
    assert list(failures_of(source)) == [""]
    assert source.completed() == {}
    assert display_name(next(iter(source)).uri) == "a.zip"


def test_an_archive_that_expands_too_much_stops_before_it_fills_the_memory(
    tmp_path, monkeypatch
):
    limit = 1 << 20
    monkeypatch.setattr("lookalike.sources.containers._ALWAYS_ALLOWED", limit)
    zeros = {f"{number}.png": bytes(1 << 19) for number in range(20)}
    packed = write_tar(tmp_path / "a.tar.gz", zeros, "w:gz")
    source = open_source([packed])
    assert "200 times" in failures_of(source)[""]
    assert source.completed() == {}
    path = write_zip(tmp_path / "a.zip", zeros)
    reasons = failures_of(open_source([path]))
    assert reasons
    assert all("200 times" in reason for reason in reasons.values())


def test_a_size_beyond_any_image_is_a_failure_before_a_byte_is_read(tmp_path):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("huge.png")
    info.size = 3 << 30
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.truncate(512 + info.size + 1024)
    assert "more than any image" in failures_of(open_source([path]))["huge.png"]


def test_an_archive_that_changes_while_it_is_read_mixes_nothing(archive):
    items = list(open_source([archive]))
    archive.write_bytes(archive.read_bytes() + bytes(10))
    for item in items:
        with pytest.raises(OSError, match="changed while it was read"):
            item.read()


def test_zip_members_keep_their_stamp_when_others_are_added(tmp_path):
    path = write_zip(tmp_path / "a.zip", PETS)
    before = {item.uri: (item.size, item.mtime_ns) for item in open_source([path])}
    write_zip(path, {"dog/4.png": png(4)}, "a")
    after = {item.uri: (item.size, item.mtime_ns) for item in open_source([path])}
    assert len(after) == 4
    assert before.items() <= after.items()


def test_tar_members_have_another_stamp_when_the_archive_was_written_again(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"1.png": b"one"})
    before = next(iter(open_source([path]))).mtime_ns
    write_tar(path, {"1.png": b"two"})
    assert next(iter(open_source([path]))).mtime_ns != before


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_random_damage_is_never_an_unexpected_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(
        "lookalike.sources.containers.wait_for_next_time", lambda _: None
    )
    path = tmp_path / name
    members = {f"{number}.png": png(number) for number in range(4)}
    members["long" * 60 + ".png"] = png(5)
    members["0.json"] = b'{"label": "x"}'
    if path.suffix == ".zip":
        write_zip(path, members)
    else:
        write_tar(path, members, "w:gz" if path.suffix == ".gz" else "w")
    content = path.read_bytes()
    chance = random.Random(3)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        end = chance.choice([len(damaged), chance.randrange(len(damaged))])
        path.write_bytes(damaged[:end])
        # Without the wait, two of these files may have the same time.
        for cache in (archive_index._cached_index, archive_index._open_zip):
            cache.cache_clear()
        archive_index._gzip_ranges.cache_clear()
        failures_of(open_source([path]))


def test_headers_that_lead_in_circles_end(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_to_tar(archive, "1.png", b"1")
    content = bytearray((tmp_path / "a.tar").read_bytes())
    # A negative size in base 256.
    content[124:136] = b"\xff" * 4 + struct.pack(">q", -1024)
    header = bytes(content[:148]) + b" " * 8 + bytes(content[156:512])
    content[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(content)
    source = open_source([tmp_path / "a.tar"])
    assert "" in failures_of(source)


def test_a_missing_archive_or_another_kind_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match=r"no file or folder '.*none\.zip'"):
        open_source([tmp_path / "none.zip"])
    (tmp_path / "a.7z").write_bytes(b"7z")
    with pytest.raises(SourceError, match=r"a\.7z.*expected \.tar"):
        open_source([tmp_path / "a.7z"])
    with pytest.raises(SourceError, match="labels = 'x'"):
        ArchiveSource([write_zip(tmp_path / "a.zip", PETS)], labels="x")


def test_a_folder_named_like_an_archive_is_a_folder(tmp_path):
    folder = tmp_path / "photos.zip"
    folder.mkdir()
    (folder / "1.png").write_bytes(png(1))
    assert [item.uri for item in open_source([folder])] == [str(folder / "1.png")]
