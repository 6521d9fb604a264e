"""Verdicts of people on pairs of images."""

from __future__ import annotations

import pytest

import lookalike
from lookalike.collection import Collection
from lookalike.duplicates.verdicts import (
    content_pair,
    contents_of,
    dismiss,
    forget,
    read_verdicts,
    verdicts,
    without_dismissed,
)
from lookalike.errors import CollectionError, InputError
from lookalike.store.table import Table


@pytest.fixture
def pair(table, root):
    """The contents of two images that are not duplicates, in either order."""
    return contents_of(table, [str(root / "kept/b.png"), str(root / "kept/a.png")])


def test_a_verdict_is_about_contents_in_any_order(table, root, pair, found):
    first, second = pair
    assert dismiss(table, [content_pair(first, second)]) == 1
    assert dismiss(table, [content_pair(second, first)]) == 0
    assert read_verdicts(table.reopen()) == {tuple(sorted(pair))}

    # Every file with that content is named, wherever it lies.
    [verdict] = verdicts(table)
    names = sorted(uri for uris in verdict.uris for uri in uris)
    folders = ("copies", "kept")
    assert names == [
        str(root / at / name) for at in folders for name in ("a.png", "b.png")
    ]

    assert len(without_dismissed(found, frozenset({content_pair(*pair)}))) == 2
    assert forget(table, [content_pair(first, second)]) == 1
    assert verdicts(table) == []


def test_a_backup_has_the_verdicts(table, pair, tmp_path):
    opened = Collection(table)
    dismiss(table, [content_pair(*pair)])
    opened.backup(tmp_path / "backup")
    assert len(read_verdicts(Table.open(tmp_path / "backup"))) == 1
    restored = lookalike.restore(tmp_path / "backup", tmp_path / "new")
    assert restored is not None
    assert len(read_verdicts(Table.open(tmp_path / "new"))) == 1

    forget(table, [content_pair(*pair)])
    opened.backup(tmp_path / "backup")
    assert read_verdicts(Table.open(tmp_path / "backup")) == frozenset()


def test_the_same_content_cannot_be_told_apart(pair):
    with pytest.raises(InputError, match="same content"):
        content_pair(pair[0], pair[0])


def test_an_image_that_is_missing_has_no_verdict(table, root):
    with pytest.raises(InputError, match=r"has no image '.*missing\.png'"):
        contents_of(table, [str(root / "missing.png")])


def test_damaged_verdicts_are_reported_and_never_overwritten(table, pair):
    table.location.write("verdicts.json", b"{")
    with pytest.raises(CollectionError, match="damaged"):
        dismiss(table, [content_pair(*pair)])
    assert table.location.read("verdicts.json") == b"{"
