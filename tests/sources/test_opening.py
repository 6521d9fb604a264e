"""Paths of several kinds are opened as one source."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

import lookalike
from container_files import png, write_parquet, write_zip
from lookalike.errors import SourceError
from lookalike.sources import LocalSource, open_source
from lookalike.sources.base import FolderState
from lookalike.sources.opening import SOURCE_KINDS, SourceKind


def open_boxed(paths, **options):
    folders = [path.removeprefix("boxed:") for path in paths]
    return LocalSource(folders, **options)


@pytest.fixture
def _boxed(monkeypatch):
    """A kind of source for paths such as ``boxed:FOLDER``, which has the images of the folder."""
    module = ModuleType("boxed")
    module.open_paths = open_boxed
    monkeypatch.setitem(sys.modules, "boxed", module)
    kind = SourceKind(prefixes=("boxed:",), suffixes=(), module="boxed")
    SOURCE_KINDS.insert(0, kind)
    yield
    SOURCE_KINDS.remove(kind)


@pytest.fixture
def folders(tmp_path):
    """Two folders with an image each, and one without."""
    names = ("one", "two", "empty")
    for name in names:
        (tmp_path / name).mkdir()
    for name in names[:2]:
        (tmp_path / name / "image.jpg").write_bytes(b"not decoded here")
    (tmp_path / "one" / "notes.txt").touch()
    (tmp_path / "two" / "notes.txt").touch()
    return [tmp_path / name for name in names]


@pytest.mark.usefixtures("_boxed")
def test_two_kinds_are_one_source(folders):
    one, two, empty = folders
    source = open_source([one, f"boxed:{two}"], labels="none")
    items = list(source)
    uris = [str(one / "image.jpg"), str(two / "image.jpg")]
    assert [item.uri for item in items] == uris
    assert [item.label for item in items] == [None, None]
    assert source.count() == 2
    assert source.roots == [str(one), str(two)]
    assert source.completed() == {str(one): 1, str(two): 1}
    assert source.unreachable() == []
    assert source.skipped().other_kinds == {"txt": 2}
    assert set(source.devices()) == {str(one), str(two)}

    for folder, uri in zip([one, two], uris, strict=True):
        assert uri.startswith(tuple(source.prefixes(str(folder))))
        assert source.exists(uri)
        assert source.folders_of(uri) == [str(folder)]
        assert source.folder_state(str(folder)) == FolderState.FILLED
    (two / "image.jpg").unlink()
    assert not source.exists(uris[1])
    # Folders below a root have the same source as the root.
    below = str(two / "link")
    assert f"{below}/1.jpg".startswith(tuple(source.prefixes(below)))
    with pytest.raises(ValueError, match="not a root"):
        source.prefixes(str(empty))


def test_a_broken_link_in_a_folder_beside_an_archive_keeps_its_rows(folders, tmp_path):
    one, two, _ = folders
    (one / "image.jpg").unlink()
    (two / "image.jpg").write_bytes(png(1))
    (one / "link").symlink_to(two)
    archive = write_zip(tmp_path / "a.zip", {"2.png": png(2)})
    paths = [one, archive]
    lookalike.index(paths, tmp_path / "c", models=["pixels"])
    two.rename(tmp_path / "elsewhere")
    report = lookalike.index(paths, tmp_path / "c", models=["pixels"])
    assert (report.removed, report.unchanged) == (0, 1)
    assert len(lookalike.Collection.open(tmp_path / "c")) == 2


def test_the_file_of_a_cell_is_a_folder_of_its_source(folders, tmp_path):
    table = write_parquet(tmp_path / "a.parquet", [png(1)])
    source = open_source([folders[0], table])
    *_, cell = source
    for folder in source.folders_of(cell.uri):
        assert source.folder_state(folder) == FolderState.FILLED


@pytest.mark.usefixtures("_boxed")
def test_empty_sources_name_all_that_was_searched(folders):
    *_, empty = folders
    other = empty / "below"
    other.mkdir()
    source = open_source([empty, f"boxed:{other}"])
    assert list(source) == []
    message = str(source.empty_error())
    assert str(empty) in message
    assert str(other) in message


def test_local_paths_alone_stay_a_local_source(folders):
    assert isinstance(open_source(folders), LocalSource)
    with pytest.raises(SourceError, match="no file or folder"):
        open_source(["boxed:nowhere"])
