"""Image columns of Parquet files as sources: columns, labels, empty cells, and damaged files."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from container_files import png, write_parquet
from lookalike.errors import SourceError
from lookalike.sources import (
    FolderState,
    display_name,
    open_source,
    open_uri,
    parquet_columns,
    read_uri,
    uri_exists,
)
from source_files import as_ordinary_user, failures_of


@pytest.fixture
def pets(tmp_path):
    """Ten images in the form of Hugging Face, without the fourth, in groups of three rows."""
    images = [png(row) for row in range(10)]
    images[4] = None
    return write_parquet(
        tmp_path / "pets.parquet",
        images,
        labels=[0, 1, 0, 1, 0, -1, 0, None, 0, 7],
        names=["cat", "dog"],
        row_group_size=3,
    )


def test_rows_are_images_with_the_names_of_their_classes(pets):
    source = open_source([pets])
    items = list(source)
    rows = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [display_name(item.uri) for item in items] == [
        f"pets.parquet row {row}" for row in rows
    ]
    assert [item.read() for item in items] == [png(row) for row in rows]
    assert [item.label for item in items] == [
        *["cat", "dog", "cat", "dog", None, "cat", None, "cat", None]
    ]
    assert source.count() == 9
    assert source.completed() == {str(pets): 9}
    assert source.skipped().null_images == 1
    assert {item.label for item in open_source([pets], labels="none")} == {None}


def test_a_cell_is_read_by_its_uri_and_in_another_process(pets):
    items = list(open_source([pets]))
    random.Random(0).shuffle(items)
    for item in items:
        assert read_uri(item.uri) == item.read()
        with open_uri(item.uri) as file:
            assert file.read() == item.read()
        assert pickle.loads(pickle.dumps(item)).read() == item.read()


def test_a_uri_exists_as_long_as_its_cell_holds_an_image(pets):
    start = f"parquet://{pets}!/"
    assert uri_exists(f"{start}image/9")
    assert uri_exists(start)
    for name in ("image/10", "image/4", "label/1", "other/1", "image/x"):
        assert not uri_exists(start + name)
        with pytest.raises(FileNotFoundError):
            read_uri(start + name)
    pets.unlink()
    assert not uri_exists(f"{start}image/9")


def test_bytes_of_any_kind_and_labels_of_text_are_read(tmp_path):
    for kind in (pa.binary(), pa.large_binary()):
        table = pa.table(
            {
                "photo": pa.array([png(1), png(2)], kind),
                "label": pa.array(["a", "b"]).dictionary_encode(),
            }
        )
        pq.write_table(table, tmp_path / "a.parquet")
        items = list(open_source([tmp_path / "a.parquet"]))
        assert [(item.read(), item.label) for item in items] == [
            (png(1), "a"),
            (png(2), "b"),
        ]


def test_a_column_is_named_after_a_number_sign(tmp_path):
    table = pa.table({"left": [png(1)], "a/b%.c": [png(2)], "text": ["x"]})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    with pytest.raises(SourceError, match=r"several columns of images: left, a/b%\.c"):
        open_source([path])
    with pytest.raises(
        SourceError, match="no column of images 'text'; its columns are left"
    ):
        open_source([f"{path}#text"])
    for column, data in (("left", png(1)), ("a/b%.c", png(2))):
        (item,) = open_source([f"{path}#{column}"])
        assert item.read() == data
        assert read_uri(item.uri) == data
    both = open_source([f"{path}#left", f"{path}#a/b%.c"])
    assert len(list(both)) == 2
    pq.write_table(table.select(["text"]), path)
    with pytest.raises(SourceError, match="no column of images; its columns are text"):
        open_source([path])


def test_a_folder_of_files_needs_a_column(tmp_path):
    folder = tmp_path / "shards"
    write_parquet(folder / "b" / "1.parquet", [png(3)])
    write_parquet(folder / "a.parquet", [png(1), png(2)])
    write_parquet(folder / ".tmp" / "x.parquet", [png(9)])
    source = open_source([f"{folder}#image"])
    assert [item.read() for item in source] == [png(1), png(2), png(3)]
    assert source.completed() == {f"{folder}#image": 3}
    last = list(source)[-1].uri
    file, root = source.folders_of(last)
    assert source.folder_state(file) == FolderState.FILLED
    (folder / "b" / "1.parquet").unlink()
    assert source.folder_state(file) == FolderState.MISSING
    (folder / "a.parquet").unlink()
    assert source.folder_state(root) == FolderState.EMPTY
    # A folder without a column is one of image files.
    with pytest.raises(SourceError, match="shards#image"):
        open_source([f"{folder}#"])


def test_a_column_that_two_paths_name_is_read_once(pets):
    paths = [pets, f"{pets}#image", f"{pets.parent}#image"]
    source = open_source(paths)
    uris = [item.uri for item in source]
    assert len(uris) == len(set(uris)) == source.count() == 9
    pets.write_bytes(pets.read_bytes()[:-20])
    assert len(list(source)) == source.count() == 1
    # None of the roots was read to its end.
    assert source.completed() == {}


def test_an_unreadable_folder_of_files_is_a_failure(tmp_path):
    folder = tmp_path / "shards"
    write_parquet(folder / "a.parquet", [png(1)])
    write_parquet(folder / "locked" / "b.parquet", [png(2)])
    code = """if True:
        import sys
        from lookalike import errors, sources
        source = sources.open_source([f"{sys.argv[1]}#image"])
        for item in source:
            try: item.read(); print(item.uri)
            except errors.ImageError as error: print(item.uri, error)
        print(source.completed(), source.count())"""
    command = [sys.executable, "-c", code, str(folder)]
    (folder / "locked").chmod(0)
    try:
        done = subprocess.run(
            as_ordinary_user(command), capture_output=True, text=True, check=True
        )
    finally:
        (folder / "locked").chmod(0o700)
    assert done.stdout.splitlines() == [
        f"parquet://{folder}/a.parquet!/image/0",
        f"parquet://{folder}/locked/ the folder cannot be read: Permission denied",
        "{} 2",
    ]


def test_a_large_row_group_is_read_in_small_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_columns, "_RECENT_BYTES", 1 << 18)
    images = [random.Random(row).randbytes(20_000) for row in range(300)]
    path = write_parquet(tmp_path / "a.parquet", images, compression="none")
    items = list(open_source([path]))
    rows = [*range(300), 5, 250, 249, 7]
    assert all(items[row].read() == images[row] for row in rows)
    cursor = parquet_columns._cursor(
        items[0].read.address, items[0].read.stamp, "image"
    )
    assert cursor._recent_bytes <= (1 << 18) + 32 * 20_100


def test_a_damaged_page_fails_its_rows_alone(tmp_path):
    images = [random.Random(row).randbytes(5_000) for row in range(40)]
    path = write_parquet(
        tmp_path / "a.parquet", images, row_group_size=20, compression="gzip"
    )
    content = bytearray(path.read_bytes())
    end = pq.ParquetFile(path).metadata.row_group(0).column(0).total_compressed_size
    content[end // 2 : end // 2 + 100] = bytes(100)
    path.write_bytes(content)
    source = open_source([path])
    reasons = failures_of(source)
    assert reasons
    assert all("row group 0" in reason for reason in reasons.values())
    assert len(list(source)) == 40
    assert failures_of(source).keys() == reasons.keys()
    assert {f"image/{row}" for row in range(20, 40)}.isdisjoint(reasons)


def test_a_file_that_is_cut_short_is_a_failure_of_its_own(pets, tmp_path):
    pets.write_bytes(pets.read_bytes()[:-20])
    source = open_source([pets])
    assert list(failures_of(source)) == [""]
    assert source.completed() == {}
    assert source.count() == 1
    whole = write_parquet(tmp_path / "b.parquet", [png(1)])
    both = open_source([pets, whole])
    assert len(list(both)) == 2
    assert both.completed() == {str(whole): 1}


def test_a_table_that_expands_too_much_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("lookalike.sources.containers._ALWAYS_ALLOWED", 1 << 16)
    path = write_parquet(
        tmp_path / "a.parquet", [bytes(1 << 20)] * 3, compression="zstd"
    )
    reasons = failures_of(open_source([path]))
    assert len(reasons) == 3
    assert all("200 times" in reason for reason in reasons.values())


def test_random_damage_is_never_an_unexpected_error(pets, monkeypatch):
    monkeypatch.setattr(
        "lookalike.sources.containers.wait_for_next_time", lambda _: None
    )
    content = pets.read_bytes()
    # pyarrow may end the process over a damaged footer; docs/sources.md says so.
    footer = int.from_bytes(content[-8:-4], "little")
    end = len(content) - 8 - footer
    chance = random.Random(3)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 3, 30])):
            damaged[chance.randrange(end)] = chance.randrange(256)
        pets.write_bytes(damaged)
        parquet_columns.image_column.cache_clear()
        parquet_columns._cursor.cache_clear()
        try:
            source = open_source([pets])
        except SourceError:
            continue
        failures_of(source)
