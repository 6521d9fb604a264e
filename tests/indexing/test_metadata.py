"""Metadata: columns of a file are joined to images, survive changes, and are checked."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import lookalike
from lookalike.errors import InputError, SpaceError
from lookalike.indexing.metadata import join_metadata
from lookalike.indexing.run import index
from lookalike.models.registry import resolve
from lookalike.store.table import Table


def make_image(path, seed, size=(12, 8)):
    """Write a small image with a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(
        0, 256, (size[1], size[0], 3), np.uint8
    )
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        make_image(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


@pytest.fixture
def table(folder, tmp_path):
    lookalike.index(folder, tmp_path / "c", models=["pixels"])
    return Table.open(tmp_path / "c")


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a CSV beside the folder of images."""

    def write(text, name="facts.csv"):
        (tmp_path / name).write_text(text, "utf-8")
        return tmp_path / name

    return write


def values(table, *columns):
    """Return {file name: value or values} of every image at the newest version."""
    rows = [
        row
        for batch in Table.open(table.path).scan(["uri", *columns])
        for row in batch.to_pylist()
    ]
    by_name = {}
    for row in rows:
        name = Path(row["uri"]).name
        by_name[name] = tuple(row[column] for column in columns)
    if len(columns) == 1:
        return {name: value for name, (value,) in by_name.items()}
    return by_name


def test_csv_columns_get_the_narrowest_fitting_kind(table, write):
    file = write(
        "uri,whole,number,yes,when,text,code,big,empty\n"
        "in/0.png,+1,2,true,2024-05-31,a b,007,12345678901234567890,\n"
        "in/1.png, -5,1e3,False,2024-05-31T02:00:00+02:00,'it''s',11,1,\n"
        'in/2.png,,,,,"naïve, 字",,,\n'
    )
    report = join_metadata(table, file)
    assert (report.images, report.changed, report.unmatched) == (3, 3, [])
    assert report.columns == ["whole", "number", "yes", "when", "text", "code", "big"]
    assert Table.open(table.path).metadata == {
        "whole": "int64",
        "number": "float64",
        "yes": "bool",
        "when": "timestamp",
        "text": "string",
        "code": "string",
        "big": "string",
    }
    midnight = datetime(2024, 5, 31, tzinfo=UTC)
    found = values(table, "whole", "number", "yes", "when", "text", "code", "big")
    assert found["0.png"] == (
        1,
        2.0,
        True,
        midnight,
        "a b",
        "007",
        "12345678901234567890",
    )
    assert found["1.png"] == (-5, 1000.0, False, midnight, "'it''s'", "11", "1")
    assert found["2.png"] == (None, None, None, None, "naïve, 字", None, None)
    assert found["3.png"] == (None,) * 7


def test_parquet_columns_keep_their_types(table, tmp_path):
    columns = {
        "path": [str(tmp_path / "in" / f"{number}.png") for number in range(2)],
        "whole": pa.array([7, None], pa.uint8()),
        "number": pa.array([float("nan"), -0.0], pa.float32()),
        "price": [Decimal("1.50"), None],
        "day": [date(2024, 5, 31), None],
        "when": pa.array([1_999, None], pa.timestamp("ns", "Europe/Berlin")),
        "kind": pa.array(["a", ""]).dictionary_encode(),
        "digits": ["7", "8"],
        "nothing": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "facts.parquet")
    join_metadata(table, tmp_path / "facts.parquet")
    assert list(Table.open(table.path).metadata.values()) == [
        "int64",
        "float64",
        "float64",
        "timestamp",
        "timestamp",
        "string",
        "string",
    ]
    found = values(table, "whole", "number", "price", "day", "when", "kind", "digits")
    instant = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    assert found["0.png"] == (
        7,
        None,
        1.5,
        datetime(2024, 5, 31, tzinfo=UTC),
        instant,
        "a",
        "7",
    )
    assert found["1.png"] == (None, 0.0, None, None, None, None, "8")
    assert table.select("number = 0").tolist() == table.select("digits = '8'").tolist()


@pytest.mark.parametrize("key", ["uri", "path", "file", "Filename"])
def test_images_are_named_by_relative_paths_absolute_paths_or_uris(
    table, write, folder, key
):
    uri = (folder / "3.png").as_uri()
    report = join_metadata(
        table,
        write(
            f"n,{key}\n0,in/0.png\n1,./in/../in/1.png\n2,{folder / '2.png'}\n3,{uri}\n"
        ),
    )
    assert values(table, "n") == {"0.png": 0, "1.png": 1, "2.png": 2, "3.png": 3}
    assert report.unmatched == []


def test_the_first_key_column_counts_and_the_others_are_metadata(table, write):
    join_metadata(table, write("filename,uri\nfirst.tif,in/0.png\n"))
    assert values(table, "filename")["0.png"] == "first.tif"


@pytest.mark.parametrize(
    "key", ["uri", "path", "image_path", "file", "filename", "file_name", "File_Name"]
)
def test_the_column_that_names_the_images_has_one_of_several_names(table, write, key):
    report = join_metadata(table, write(f"n,{key}\n7,in/0.png\n"))
    assert (report.images, report.columns) == (1, ["n"])
    assert values(table, "n")["0.png"] == 7


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_index_of_a_pandas_frame_is_passed_over(table, tmp_path, suffix):
    """Also one that was written, read and written again, and one with gaps."""
    frame = pd.DataFrame({"uri": ["in/0.png", "in/1.png", "in/2.png"], "n": [5, 6, 7]})
    frame.index = pd.Index([4, 1, 9])
    path = tmp_path / f"facts{suffix}"
    if suffix == ".csv":
        frame.to_csv(path)
        pd.read_csv(path).to_csv(path)
        assert path.read_text().startswith(",Unnamed: 0,uri,n\n")
    else:
        frame.to_parquet(path)
        assert "__index_level_0__" in pq.read_schema(path).names
    report = join_metadata(table, path)
    assert (report.images, report.columns) == (3, ["n"])
    assert values(table, "n")["2.png"] == 7


def test_an_unnamed_column_with_text_is_not_passed_over(table, write):
    with pytest.raises(InputError, match="cannot be a column's name"):
        join_metadata(table, write(",uri,n\nred,in/0.png,1\n"))


def test_unmatched_rows_are_reported_and_add_no_column(table, write, tmp_path):
    report = join_metadata(table, write("uri,n\n0.png,1\n"))
    assert (report.images, report.columns, report.unmatched) == (
        0,
        [],
        [str(tmp_path / "0.png")],
    )
    assert Table.open(table.path).metadata == {}
    report = join_metadata(table, write("uri,n\nin/0.png,1\ns3://bucket/x.png,2\n"))
    assert (report.images, report.unmatched) == (1, ["s3://bucket/x.png"])


def test_joining_again_writes_only_differences(table, write, tmp_path):
    join_metadata(
        table, write("uri,n,note\nin/0.png,1,a\nin/1.png,2,b\nin/2.png,3,c\n")
    )
    before, ids = table.version, table.existing_rows([str(tmp_path / "in" / "1.png")])
    assert join_metadata(table, tmp_path / "facts.csv").changed == 0
    assert table.version == before
    report = join_metadata(table, write("uri,n\nin/1.png,\nin/0.png,1\nin/2.png,30\n"))
    assert (report.images, report.changed) == (3, 2)
    assert table.version == before + 1
    assert values(table, "n", "note") == {
        "0.png": (1, "a"),
        "1.png": (None, "b"),
        "2.png": (30, "c"),
        "3.png": (None, None),
    }
    assert table.existing_rows([str(tmp_path / "in" / "1.png")]) == ids
    assert len(table.vectors("pixels")[0]) == 4


def test_later_columns_and_integers_for_a_float_column(table, write):
    join_metadata(table, write("uri,score\nin/0.png,0.5\n"))
    join_metadata(table, write("uri,score,extra\nin/1.png,2,x\n"))
    assert values(table, "score", "extra")["1.png"] == (2.0, "x")
    join_metadata(table, write("uri,extra\nin/0.png,5\nin/2.png,6\n"))
    assert values(table, "extra") == {
        "0.png": "5",
        "1.png": "x",
        "2.png": "6",
        "3.png": None,
    }


def test_an_emptied_column_becomes_null(table, write):
    join_metadata(table, write("uri,n\nin/0.png,1\n"))
    assert join_metadata(table, write("uri,n\nin/0.png,\n")).changed == 1
    assert values(table, "n")["0.png"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no column that names the images: it has none"]),
        (
            "uri;n\nin/0.png;1\n",
            ["it has uri;n", "filename or file_name", "Commas separate"],
        ),
        ("uri\nin/0.png\n", ["no column besides 'uri'"]),
        ("uri,n,n\nin/0.png,1,2\n", ["the column 'n' more than once"]),
        ("uri,n\nin/0.png,1,2\n", ["line 2: 3 values"]),
        ("uri,n\nin/0.png,1\n,2\n", ["line 3: the column 'uri' is empty"]),
        (
            "uri,n\nin/0.png,1\nin/./0.png,2\n",
            ["line 3", "'in/./0.png', which line 2 names too"],
        ),
        ("uri,label\nin/0.png,cat\n", ["a column 'label'", "--labels", "another name"]),
        ("uri,Width\nin/0.png,1\n", ["'Width'", "collection's own 'width'"]),
        ("uri,mtime\nin/0.png,1\n", ["collection's own 'mtime'"]),
        ("uri,id\nin/0.png,1\n", ["collection's own 'id'"]),
        ("uri,pixels\nin/0.png,1\n", ["collection's own 'pixels'"]),
        ("uri,Held\nin/0.png,1\n", ["collection's own 'held'"]),
        ("uri,a.b\nin/0.png,1\n", ["'a.b'", "cannot be a column's name"]),
        ("uri,`a\nin/0.png,1\n", ["cannot be a column's name"]),
        ("uri,\nin/0.png,1\n", ["no column besides 'uri'"]),
        (f"uri,{'x' * 65}\nin/0.png,1\n", ["at most 63"]),
        (
            "uri,held\nin/0.png,1\nin/1.png,two\n",
            ["line 3: the column 'held' holds 'two'", "has whole numbers"],
        ),
        ("uri,held\nin/0.png,1.5\n", ["line 2: the column 'held' holds '1.5'"]),
    ],
)
def test_an_invalid_csv_is_refused_before_any_write(table, write, folder, text, words):
    join_metadata(table, write("uri,held\nin/0.png,1\n"))
    make_image(folder / "new.png", 9)
    before = table.version
    with pytest.raises(InputError) as caught:
        index(folder, table, metadata=write(text))
    for word in ["facts.csv", *words]:
        assert word in str(caught.value)
    table.refresh()
    assert table.version == before


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"uri": ["in/0.png"], "n": [[1]]}, ["'n' is list<", "Expected text, numbers"]),
        (
            {"uri": ["in/0.png"], "n": pa.array([2**64 - 1], pa.uint64())},
            ["'n' has a value that cannot be stored"],
        ),
        (
            {"uri": ["in/0.png"], "n": pa.array([2**62], pa.timestamp("us", "UTC"))},
            ["'n' has a value that cannot be stored", "outside the years 1 to 9999"],
        ),
        (
            {"uri": ["in/0.png"], "n": pa.array([-(10**12)], pa.timestamp("s"))},
            ["'n' has a value that cannot be stored", "outside the years 1 to 9999"],
        ),
        ({"uri": [1], "n": [1]}, ["'uri' is int64. Expected text"]),
        (
            {"uri": ["in/0.png"], "held": ["1"]},
            ["'held' holds text, but the collection has whole numbers"],
        ),
        (
            {"uri": ["in/0.png", "in/0.png"], "n": [1, 2]},
            ["row 2", "which row 1 names too"],
        ),
        (
            pa.table([["in/0.png"], [1], [2]], names=["uri", "n", "n"]),
            ["'n' more than once"],
        ),
    ],
)
def test_an_invalid_parquet_is_refused(table, write, tmp_path, columns, words):
    join_metadata(table, write("uri,held\nin/0.png,1\n"))
    data = pa.table(columns) if isinstance(columns, dict) else columns
    pq.write_table(data, tmp_path / "facts.parquet")
    with pytest.raises(InputError) as caught:
        join_metadata(table, tmp_path / "facts.parquet")
    for word in ["facts.parquet", *words]:
        assert word in str(caught.value)


def test_an_invalid_file_creates_no_collection(folder, write, tmp_path):
    for file in (
        write("uri,efficientnet-lite0-int8\nin/0.png,1\n"),
        tmp_path / "none.csv",
        write("x", "facts.txt"),
    ):
        with pytest.raises(InputError, match=file.name):
            lookalike.index(folder, tmp_path / "new", metadata=file)
        assert not (tmp_path / "new").exists()


def test_a_space_cannot_take_the_name_of_a_column(table, write, folder):
    join_metadata(table, write("uri,efficientnet-lite0\nin/0.png,1\n"))
    with pytest.raises(
        SpaceError, match="'efficientnet-lite0' because the collection has a column"
    ):
        table.add_space(resolve("efficientnet-lite0"))


def test_index_joins_after_it_has_indexed(folder, write, tmp_path):
    file = write("uri,n\nin/0.png,1\nin/new.png,2\n")
    report = lookalike.index(folder, tmp_path / "c", models=["pixels"], metadata=file)
    assert (report.added, report.metadata.images, len(report.metadata.unmatched)) == (
        4,
        1,
        1,
    )
    assert report.to_dict()["metadata"] == {
        "file": str(file),
        "columns": ["n"],
        "images": 1,
        "changed": 1,
        "unmatched": 1,
        "first_unmatched": [str(folder / "new.png")],
    }
    table = Table.open(tmp_path / "c")
    make_image(folder / "new.png", 9)
    assert index(folder, table).metadata is None
    assert values(table, "n")["new.png"] is None
    assert index(folder, table, metadata=str(file)).metadata.changed == 1
    assert values(table, "n")["new.png"] == 2


def test_a_changed_image_keeps_its_metadata(table, write, folder):
    join_metadata(
        table, write("uri,n\nin/0.png,0\nin/1.png,1\nin/2.png,2\nin/3.png,3\n")
    )
    make_image(folder / "0.png", 100, size=(20, 10))
    (folder / "1.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "2.png").write_text("not an image")
    make_image(folder / "new.png", 9)
    report = index(folder, table)
    assert (report.added, report.updated, report.failed) == (1, 2, 1)
    assert values(table, "n", "width") == {
        "0.png": (0, 20),
        "1.png": (1, 12),
        "3.png": (3, 12),
        "new.png": (None, 12),
    }
    make_image(folder / "2.png", 200)
    index(folder, table)
    assert values(table, "n")["2.png"] == 2


def test_a_moved_image_keeps_its_metadata(table, write, folder):
    join_metadata(table, write("uri,n,note\nin/0.png,0,zero\nin/1.png,1,one\n"))
    (folder / "0.png").rename(folder / "moved.png")
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    report = index(folder, table)
    assert (report.moved, report.added) == (1, 1)
    assert values(table, "n", "note") == {
        "1.png": (1, "one"),
        "2.png": (None, None),
        "3.png": (None, None),
        "copy.png": (1, "one"),
        "moved.png": (0, "zero"),
    }


def test_other_changes_leave_metadata_alone(table, write, folder):
    join_metadata(table, write("uri,n\nin/0.png,0\n"))
    index(folder, table, labels="none", models=["efficientnet-lite0"])
    assert values(table, "n")["0.png"] == 0
    assert table.count("efficientnet-lite0") == 4


def test_a_collection_without_images_takes_no_metadata(table, write, folder):
    file = write("uri,n\nin/0.png,0\n")
    join_metadata(table, file)
    table.remove([str(folder)])
    assert (join_metadata(table, file).images, len(table.select("n is null"))) == (0, 0)


def test_failed_files_take_no_metadata(table, write, folder):
    (folder / "bad.png").write_text("not an image")
    report = index(folder, table, metadata=write("uri,n\nin/bad.png,1\nin/0.png,1\n"))
    assert (report.metadata.images, report.metadata.unmatched) == (
        1,
        [str(folder / "bad.png")],
    )
