"""Matches have the uris and labels of the table, also when these are read from memory."""

from __future__ import annotations

import pytest

from lookalike.errors import CollectionError
from lookalike.retrieval import match_rows
from lookalike.retrieval.match_rows import MatchRows
from lookalike.server.row_cache import RowCache
from lookalike.store.row_columns import load_columns, loaded_columns
from lookalike.store.table import Table
from made import add_rows, drawn, make_collection

NAMES = ("uri", "label")


@pytest.fixture
def table(tmp_path) -> Table:
    return make_collection(tmp_path / "c", drawn(30))


def ids_of(table):
    """Return the ids of all rows, the last first."""
    return table.select("uri is not null")[::-1]


def stored(table, ids):
    rows = table.take(ids, NAMES)
    return rows["uri"].to_pylist(), rows["label"].to_pylist()


def warm(table):
    """Return rows that were read often enough to be in memory."""
    rows = MatchRows(table)
    ids = ids_of(table)
    for _ in range(match_rows._LEAST_READS + 1):
        assert rows.read(ids) == stored(table, ids)
    assert loaded_columns(table, NAMES) is not None
    return rows


def test_a_few_searches_load_no_columns(table):
    rows = MatchRows(table)
    for _ in range(match_rows._LEAST_READS):
        rows.read(ids_of(table))
    assert loaded_columns(table, NAMES) is None


def test_rows_in_memory_are_not_read_from_the_table(table, monkeypatch):
    rows = warm(table)
    ids = ids_of(table)
    expected = stored(table, ids)
    monkeypatch.setattr(table, "take", None)
    assert rows.read(ids) == expected
    assert rows.read(ids[:0]) == ([], [])


def test_rows_follow_a_table_that_moves_on(table):
    rows = warm(table)
    other = Table.open(table.path)
    uris = [f"/pictures/{number:06}.jpg" for number in range(3)]
    add_rows(other, drawn(3), uris=uris, labels=["cat", "dog", None])
    other.remove(["/pictures/000009.jpg"])
    add_rows(other, drawn(4, seed=1), labels=["new"] * 4)

    # Until it is refreshed, the collection stays as it was.
    before = ids_of(table)
    assert len(before) == 30
    assert rows.read(before) == stored(table, before)
    table.refresh()
    after = ids_of(table)
    uris, labels = rows.read(after)
    assert (uris, labels) == stored(other, after)
    assert sorted(filter(None, labels)) == ["cat", "dog"] + ["new"] * 4
    assert "/pictures/000009.jpg" not in uris
    # It is loaded again after as many reads as the first time.
    assert loaded_columns(table, NAMES) is None
    assert warm(table).read(after) == (uris, labels)


def test_columns_that_were_read_while_the_table_moved_are_dropped(table, monkeypatch):
    other = Table.open(table.path)
    add_rows(other, drawn(1, seed=2), labels=["late"])
    scan = table.scan

    def scan_and_move(names):
        yield from scan(names)
        table.refresh()

    monkeypatch.setattr(table, "scan", scan_and_move)
    columns = load_columns(table, NAMES)
    assert columns.version == table.version == other.version
    assert columns.ids.tolist() == sorted(ids_of(other))


def test_large_tables_are_loaded_late_or_never(table, monkeypatch):
    monkeypatch.setattr(match_rows, "_ROWS_PER_READ", 5)
    rows = MatchRows(table)
    ids = ids_of(table)
    for _ in range(5):
        rows.read(ids)
    assert loaded_columns(table, NAMES) is None
    rows.read(ids)
    assert loaded_columns(table, NAMES) is not None
    table.row_columns = None
    monkeypatch.setattr(match_rows, "_MOST_LOADED_ROWS", 29)
    assert rows.read(ids) == stored(table, ids)
    assert loaded_columns(table, NAMES) is None


def test_an_unknown_row_is_reported(table):
    rows = warm(table)
    ids = ids_of(table)
    with pytest.raises(CollectionError, match="no row with the id"):
        rows.read(ids + 1000)


def test_a_server_shares_its_rows_with_searches(table):
    cache = RowCache(table)
    loaded = loaded_columns(table, NAMES)
    assert loaded is not None
    ids = ids_of(table)
    assert MatchRows(table).read(ids) == stored(table, ids)
    assert [row["uri"] for row in cache.rows(ids)] == stored(table, ids)[0]
    assert table.row_columns is loaded
