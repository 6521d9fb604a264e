"""Manifests, written and read back, and tables that are not manifests."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.datasets.manifest import SCHEMA, read_manifest, write_manifest
from lookalike.errors import InputError

ROWS = [
    ("/data/brain/image_0001.jpg", "brain", "test"),
    ('/data/a, b/“c” and "d".jpg', "näher, dran", "train"),
    ("/data/line\nbreak\r\n/x.jpg", "字", "train"),
]


def manifest(rows) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    return pa.table(
        [pa.array(column, pa.string()) for column in columns], schema=SCHEMA
    )


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_a_written_manifest_is_read_back(tmp_path, rows):
    table = manifest(rows)
    csv, parquet = write_manifest(table, tmp_path / "new" / "folder")
    assert read_manifest(csv).equals(table)
    assert read_manifest(parquet).equals(table)
    assert sorted(path.name for path in csv.parent.iterdir()) == [
        "manifest.csv",
        "manifest.parquet",
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(texts, texts, st.sampled_from(["train", "test"])),
        unique_by=lambda row: row[0],
        max_size=5,
    )
)
def test_any_text_is_read_back(tmp_path_factory, rows):
    for path in write_manifest(manifest(rows), tmp_path_factory.mktemp("any")):
        assert read_manifest(path).equals(manifest(rows))


def test_the_name_becomes_the_name_of_the_files(tmp_path):
    paths = write_manifest(manifest(ROWS), tmp_path, name="faces")
    assert [path.name for path in paths] == ["faces.csv", "faces.parquet"]


def test_an_existing_manifest_is_replaced(tmp_path):
    write_manifest(manifest(ROWS), tmp_path)
    for path in write_manifest(manifest(ROWS[:1]), tmp_path):
        assert read_manifest(path).num_rows == 1


def test_other_columns_are_left_out_and_other_text_types_are_read(tmp_path):
    table = pa.table(
        {
            "note": [1],
            "split": ["test"],
            "label": pa.array(["brain"]).dictionary_encode(),
            "uri": ["/a"],
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text(
        "\ufeffsplit,note,label,uri\ntest,1,brain,/a\n\n", "utf-8"
    )
    for name in ("m.parquet", "m.csv"):
        assert read_manifest(tmp_path / name).equals(
            manifest([("/a", "brain", "test")])
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'uri'"),
        ("uri,label\n/a,b\n", "'split'"),
        ("uri,label,split,split\n/a,b,test,test\n", "'split'"),
        (
            "uri,label,split\n/a,b,test\n/b,c,val\n",
            "line 3: the column 'split' holds 'val'",
        ),
        ('uri,label,split\n"/a\n",b,test\n/b,c,val\n', "line 4: the column 'split'"),
        ("uri,label,split\n/a,,test\n", "line 2: the column 'label' is empty"),
        (",label,split\n", "'uri'"),
        ("uri,label,split\n/a,b,test\n/c,d,test,\n", "line 3: 4 values"),
        (
            "uri,label,split\n/a,b,test\n/a,b,train\n",
            "line 3: the column 'uri' lists '/a' a second time",
        ),
        ('uri,label,split\n"/a,b,test\n', "cannot be read as a table"),
    ],
)
def test_a_wrong_csv_is_refused_by_line_and_column(tmp_path, text, message):
    path = tmp_path / "m.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"uri": ["/a"], "label": ["b"]}, "'split'"),
        (
            {"uri": ["/a"], "label": ["b"], "split": ["Test"]},
            "row 1: the column 'split' holds 'Test'",
        ),
        (
            {"uri": ["/a", None], "label": ["b", "b"], "split": ["test", "test"]},
            "row 2: the column 'uri' is empty",
        ),
        ({"uri": ["/a"], "label": [["b"]], "split": ["test"]}, "not text"),
    ],
)
def test_a_wrong_table_is_refused_by_row_and_column(tmp_path, columns, message):
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    with pytest.raises(InputError) as caught:
        write_manifest(pa.table(columns), tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["none.csv", "none.parquet", "latin.csv", "text.parquet", "m.txt"]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "latin.csv").write_bytes(
        "uri,label,split\n/ä,b,test\n".encode("latin-1")
    )
    (tmp_path / "text.parquet").write_bytes(b"uri,label,split\n")
    with pytest.raises(InputError, match=name):
        read_manifest(tmp_path / name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        write_manifest(manifest(ROWS), file)
