"""The table: rows are stored once for each uri, with their vectors; misuse is refused."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.collection import default_path
from lookalike.errors import CollectionError, InputError, SpaceError
from lookalike.models.registry import resolve
from lookalike.store import upkeep
from lookalike.store.diff import ContentIndex
from lookalike.store.schema import column
from lookalike.store.table import Table
from lookalike.types import Item, Model

TINY = Model(
    name="tiny",
    title="Tiny",
    architecture="pixels",
    size=(1, 2),
    dim=6,
    unit_length=False,
)
OTHER = replace(TINY, name="other")


def rows(uris, *, value=0.0, spaces=("tiny",)):
    count = len(uris)
    return {
        "uri": list(uris),
        "size": [10] * count,
        "mtime_ns": [20] * count,
        "label": ["a"] * count,
        "sha256": [
            uri.encode("utf-8", "replace").ljust(32, b"\0")[:32] for uri in uris
        ],
        "width": [3] * count,
        "height": [4] * count,
        "thumbnail": [b"jpeg"] * count,
        "spaces": [list(spaces)] * count,
        **{space: np.full((count, 6), value, np.float32) for space in spaces},
    }


def item(uri, *, size=10, mtime_ns=20, label="a"):
    return Item(uri, size, mtime_ns, label, bytes)


@pytest.fixture
def table(tmp_path):
    return Table.create(tmp_path / "c", [TINY])


def test_an_empty_collection_is_created_and_opened(table):
    again = Table.open(table.path)
    assert again.count() == 0
    assert again.models == {"tiny": TINY}
    assert len(again.failures()) == 0


def test_parent_folders_are_created(tmp_path):
    assert Table.create(tmp_path / "one" / "two" / "c", [TINY]).count() == 0


def test_written_rows_are_read_back(table):
    table.upsert(rows(["/a", "/b"], value=1.5), replace=True)
    ids, matrix = Table.open(table.path).vectors("tiny")
    assert matrix.dtype == np.float16
    np.testing.assert_array_equal(matrix, np.full((2, 6), 1.5))
    taken = table.take(ids[::-1], ["uri", "label", "width"])
    assert taken.to_pydict() == {
        "uri": ["/b", "/a"],
        "label": ["a", "a"],
        "width": [3, 3],
        "id": ids[::-1].tolist(),
    }


def test_a_uri_has_one_row_and_keeps_its_id(table):
    table.upsert(rows(["/a", "/b"]), replace=True)
    before = table.existing_rows(["/a"])["/a"]
    table.upsert(rows(["/a"], value=2.0), replace=True)
    assert table.count() == 2
    assert table.existing_rows(["/a"])["/a"].id == before.id
    assert table.vectors("tiny")[1][table.vectors("tiny")[0] == before.id].tolist() == [
        [2.0] * 6
    ]


def test_columns_not_given_are_kept_or_cleared(table):
    table.upsert(rows(["/a", "/b"], value=1.0), replace=True)
    table.upsert({"uri": ["/a"], "label": ["z"]}, replace=False)
    table.upsert({"uri": ["/b"], "error": ["bad"]}, replace=True)
    known = table.existing_rows(["/a", "/b"])
    assert (known["/a"].label, known["/a"].size, known["/a"].failed) == ("z", 10, False)
    assert (known["/b"].label, known["/b"].sha256, known["/b"].failed) == (
        None,
        None,
        True,
    )
    assert len(table.vectors("tiny")[0]) == table.count() == 1
    assert table.failures().to_pylist() == [{"uri": "/b", "error": "bad"}]


AWKWARD = [
    "/it's",
    '/"quoted"',
    "/back\\slash",
    "/new\nline",
    "/ü\u0308",
    "/😀",
    "/%like_",
    "/'); DROP",
]
AWKWARD.append("/" + "x" * 4000)


def test_awkward_names_are_found_again(table):
    table.upsert(rows(AWKWARD), replace=True)
    assert set(table.existing_rows(AWKWARD)) == set(AWKWARD)
    for name in AWKWARD:
        assert table.remove([name]) == 1
    assert table.count() == 0


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
        min_size=1,
        unique=True,
    )
)
def test_any_text_is_a_name(tmp_path_factory, names):
    table = Table.create(tmp_path_factory.mktemp("any") / "c", [TINY])
    uris = ["/" + name for name in names]
    table.upsert(rows(uris), replace=True)
    assert set(table.existing_rows(uris)) == set(uris)
    assert table.existing_rows(["/" + names[0] + "!"]).keys() <= set(uris)


@pytest.mark.parametrize(
    ("changed", "needs_work"),
    [
        (item("/a"), False),
        (item("/a", size=11), True),
        (item("/a", mtime_ns=21), True),
        (item("/a", label=None), True),
        (item("/new"), True),
        (item("/bad"), False),
        (item("/bad", size=11), True),
        (item("/lacking"), True),
        (item("/a", size=-1, mtime_ns=-1), True),
        (item("/empty", size=0), False),
        (item("/unread", size=-1, mtime_ns=-1), True),
    ],
)
def test_diff_lists_new_and_changed_files(table, changed, needs_work):
    table.upsert(rows(["/a"]), replace=True)
    table.upsert({**rows(["/lacking"]), "spaces": [[]], "tiny": None}, replace=True)
    bad = {
        "uri": ["/bad", "/empty", "/unread"],
        "size": [10, 0, -1],
        "mtime_ns": [20, 20, -1],
        "label": ["a"] * 3,
    }
    table.upsert({**bad, "error": ["damaged"] * 3}, replace=True)
    missing = table.diff([changed])
    assert [work[0].uri for work in missing.work] == (
        [changed.uri] if needs_work else []
    )
    assert missing.unchanged == (not needs_work and changed.uri == "/a")
    assert missing.failed == (not needs_work and changed.uri in {"/bad", "/empty"})
    assert len(missing.seen_ids) == (changed.uri != "/new")


def test_diff_retries_failures_on_request(table):
    table.upsert(
        {
            "uri": ["/bad"],
            "size": [10],
            "mtime_ns": [20],
            "label": ["a"],
            "error": ["x"],
        },
        replace=True,
    )
    assert table.diff([item("/bad")]).work == []
    assert len(table.diff([item("/bad")], retry_failures=True).work) == 1


def test_diff_considers_only_the_named_spaces(table):
    table.upsert(rows(["/a"]), replace=True)
    table.add_space(OTHER)
    assert len(table.diff([item("/a")]).work) == 1
    assert table.diff([item("/a")], spaces=["tiny"]).work == []


def test_a_row_with_vectors_whose_file_could_not_be_read_is_indexed_again(table):
    table.upsert(rows(["/a"]), replace=True)
    table.upsert({"uri": ["/a"], "error": ["cannot be read"]}, replace=False)
    assert table.count() == len(table.vectors("tiny")[0]) == 1
    assert len(table.diff([item("/a")]).work) == 1


def test_ids_under_a_prefix(table):
    table.upsert(rows(["/p/a", "/p/q/b", "/pq/c", "/P/d"]), replace=True)
    found = table.take(table.ids_under(["/p/"]), ["uri"])["uri"].to_pylist()
    assert sorted(found) == ["/p/a", "/p/q/b"]


def test_contents_are_found_by_their_whole_hash(table):
    table.upsert(rows(["/a", "/b"]), replace=True)
    contents = table.content_index()
    sha256 = b"/b".ljust(32, b"\0")
    assert contents.find(sha256) == table.existing_rows(["/b"])["/b"].id
    assert contents.find(sha256[:31] + b"\1") is None
    assert contents.find(b"\xff" * 32) is None
    assert table.ids_with_content(sha256).tolist() == [
        table.existing_rows(["/b"])["/b"].id
    ]


def test_contents_leave_out_rows_that_lack_a_space(table):
    table.upsert(rows(["/a"]), replace=True)
    table.add_space(OTHER)
    assert table.content_index().find(b"/a".ljust(32, b"\0")) is None


def test_contents_of_equal_rows_give_the_first_id():
    hashes = np.array([[5, 1, 1, 1], [5, 2, 2, 2], [5, 1, 1, 1]], "<u8")
    contents = ContentIndex(hashes, np.array([9, 4, 7]))
    assert contents.find(hashes[0].tobytes()) == 7
    assert contents.find(hashes[1].tobytes()) == 4


def test_a_space_is_added_and_filled_later(table):
    table.upsert(rows(["/a", "/b"], value=1.0), replace=True)
    table.add_space(OTHER)
    assert list(table.models) == ["tiny", "other"]
    assert (table.count("tiny"), table.count("other")) == (2, 0)
    table.upsert(
        {"uri": ["/b"], "spaces": [["tiny", "other"]], "other": np.full((1, 6), 3.0)},
        replace=False,
    )
    assert table.count("other") == 1
    assert table.vectors("other")[1].tolist() == [[3.0] * 6]
    assert table.vectors("tiny")[1].tolist() == [[1.0] * 6] * 2


def test_another_model_under_the_same_name_is_refused(table):
    table.add_space(TINY)
    with pytest.raises(SpaceError, match=r"'tiny'.*Tiny.*Changed.*\.toml"):
        table.add_space(replace(TINY, title="Changed", mean=(1.0, 2.0, 3.0)))
    table.add_space(replace(TINY, title="Only renamed"))


def test_a_space_cannot_take_a_columns_name(table):
    with pytest.raises(SpaceError, match="'label'"):
        table.add_space(replace(TINY, name="label"))


def test_an_unknown_space_is_refused_with_a_list_of_the_spaces(table):
    table.add_space(OTHER)
    assert table.space(None) == "tiny"
    with pytest.raises(SpaceError, match=r"no Space 'nope'; it has tiny, other\."):
        table.space("nope")


def test_remove_by_name_or_folder_is_all_or_nothing(table):
    table.upsert(rows(["/p/a", "/p/b", "/q"]), replace=True)
    with pytest.raises(InputError, match="'/nope'"):
        table.remove(["/q", "/nope"])
    assert table.count() == 3
    assert table.remove(["/p", "/p/a", "/q"]) == 3


def test_an_unknown_id_is_refused(table):
    table.upsert(rows(["/a"]), replace=True)
    known = table.existing_rows(["/a"])["/a"].id
    with pytest.raises(CollectionError, match="no row with the id 77"):
        table.take([known, 77, 78], ["uri"])


def test_ids_outlive_deletion_and_compaction(table, monkeypatch):
    monkeypatch.setattr(upkeep, "_MANY_FRAGMENTS", 2)
    for start in range(0, 30, 5):
        table.upsert(rows([f"/{n}" for n in range(start, start + 5)]), replace=True)
    before = {
        uri: known.id
        for uri, known in table.existing_rows([f"/{n}" for n in range(30)]).items()
    }
    table.remove(["/3", "/17"])
    upkeep.tidy(table)
    assert len(table.lance_dataset.get_fragments()) == 1
    after = {
        uri: known.id
        for uri, known in Table.open(table.path).existing_rows(list(before)).items()
    }
    assert after == {
        uri: row_id for uri, row_id in before.items() if uri not in {"/3", "/17"}
    }
    table.upsert(rows(["/3"]), replace=True)
    assert table.existing_rows(["/3"])["/3"].id not in before.values()


def test_two_writers_at_once_leave_every_row_once(table):
    def write():
        own = Table.open(table.path)
        for start in range(0, 40, 10):
            own.upsert(rows([f"/{n}" for n in range(start, start + 10)]), replace=True)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    table.refresh()
    uris = [uri for batch in table.scan(["uri"]) for uri in batch["uri"].to_pylist()]
    assert sorted(uris) == sorted({f"/{n}" for n in range(40)})


def test_a_reader_stays_at_its_version_until_it_refreshes(table):
    reader = Table.open(table.path)
    table.upsert(rows(["/a"]), replace=True)
    assert (reader.count(), table.count()) == (0, 1)
    assert reader.version < table.version
    reader.refresh()
    assert reader.count() == 1


def test_scan_narrows_by_a_clause(table):
    table.upsert(rows(["/a", "/b"]), replace=True)
    found = [
        row for batch in table.scan(["uri"], "uri = '/b'") for row in batch.to_pylist()
    ]
    assert found == [{"uri": "/b", "_rowid": table.existing_rows(["/b"])["/b"].id}]


def test_a_path_without_a_collection_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").touch()
    for path, words in [
        ("nowhere", "does not exist"),
        ("folder", "is a folder without a collection"),
    ]:
        with pytest.raises(CollectionError, match=words):
            Table.open(tmp_path / path)
    for path in ("folder", "folder/photo.jpg"):
        with pytest.raises(CollectionError, match="is not empty"):
            Table.create(tmp_path / path, [TINY])


def test_a_damaged_table_is_refused_with_a_remedy(table, tmp_path):
    table.upsert(rows(["/a"]), replace=True)
    for manifest in (tmp_path / "c" / "images.lance" / "_versions").iterdir():
        manifest.write_bytes(b"garbage")
    with pytest.raises(CollectionError, match=r"could not be opened.*restore a backup"):
        Table.open(tmp_path / "c")


def test_another_format_is_refused(tmp_path, monkeypatch):
    from lookalike.store import schema

    newer = schema.BASE.with_metadata({b"lookalike.format": b"99"})
    monkeypatch.setattr("lookalike.store.table.BASE", newer)
    with pytest.raises(CollectionError, match="format 99; this Lookalike reads 1"):
        Table.create(tmp_path / "c", [TINY])


def test_damage_during_reading_is_distinguished_from_a_newer_version(table, tmp_path):
    table.upsert(rows(["/a"]), replace=True)
    reader = Table.open(table.path)
    for folder, content in (("data", b""), ("_versions", b"garbage")):
        for file in (tmp_path / "c" / "images.lance" / folder).iterdir():
            file.write_bytes(content)
        with pytest.raises(
            CollectionError, match=r"could not be read: .*List the damage with"
        ):
            reader.vectors("tiny")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda field: field.with_name("another"), "another"),
        (lambda field: field.with_type(pa.list_(pa.float16(), 5)), "tiny"),
    ],
    ids=["another name", "another length"],
)
def test_a_column_that_does_not_match_its_model_is_refused(
    tmp_path, monkeypatch, wrong, named
):
    monkeypatch.setattr(
        "lookalike.store.table.column", lambda model: wrong(column(model))
    )
    with pytest.raises(
        CollectionError,
        match=f"could not be opened: the column '{named}' does not hold the vectors",
    ):
        Table.create(tmp_path / "c", [TINY])


def test_default_path_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOKALIKE_COLLECTION", str(tmp_path / "mine"))
    assert default_path() == str(tmp_path / "mine")
    monkeypatch.delenv("LOOKALIKE_COLLECTION")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == str(tmp_path / "lookalike" / "default")


def test_the_table_stores_the_complete_model(tmp_path):
    models = [resolve("efficientnet-lite0"), resolve("pixels")]
    stored_models = Table.create(tmp_path / "c", models).models
    assert list(stored_models.values()) == models
    assert stored_models["efficientnet-lite0"].weights.sha256.startswith("57934424")
