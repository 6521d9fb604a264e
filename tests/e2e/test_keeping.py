"""Check, backup and restore, by the real command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from command import lookalike, lookalike_json


@pytest.fixture(scope="module")
def whole(sample, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("keeping") / "collection"
    lookalike("index", sample, "-c", path, "--model", "pixels")
    return path


def test_a_sound_collection_is_told_with_what_it_holds(whole, sample):
    told = lookalike("check", "--files", "-c", whole).stdout
    assert f"Sound: version 3 of {whole}: 45 images, 0 failures, 45 vectors in pixels." in told
    assert "The pictures: 45 same, 0 missing, 0 changed, 0 unreadable." in told
    assert lookalike_json("check", "-c", whole)["sound"] is True


def test_faults_are_told_and_the_status_is_1(whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "collection")
    file = max((path / "images.lance" / "data").iterdir(), key=lambda file: file.stat().st_size)
    file.write_bytes(file.read_bytes()[:1_000])
    told = lookalike("check", "-c", path, status=1).stdout
    assert told.startswith("Fault: uri, size, mtime_ns, label, sha256")
    assert "thumbnail, error, spaces, pixels of 45 rows (ids 0 to 44) cannot be read" in told
    assert f"cannot be read from data/{file.name}" in told
    assert f"remove the folder {path} and index again" in told
    assert "1 fault: version 3" in told
    report = lookalike_json("check", "-c", path, status=1)
    assert (report["sound"], report["found"], len(report["faults"])) == (False, 1, 1)


@pytest.mark.parametrize("command", [["check", "-c"], ["restore"], ["backup", "backup", "-c"]])
def test_what_is_no_collection_cannot_be_opened(tmp_path, command):
    done = lookalike(*command, tmp_path / "nowhere", status=2, cwd=tmp_path)
    assert done.stderr.startswith(f"Error: The collection {tmp_path / 'nowhere'} does not exist")


def test_pictures_that_are_gone_are_told_and_no_fault(sample, tmp_path):
    pictures = shutil.copytree(sample, tmp_path / "pictures")
    lookalike("index", pictures, "-c", tmp_path / "collection", "--model", "pixels")
    gone = pictures / "cat" / "cat_0001.jpg"
    gone.unlink()
    told = lookalike("check", "--files", "-c", tmp_path / "collection").stdout
    assert "44 same, 1 missing" in told
    assert f"  missing: {gone}" in told


def test_a_backup_is_searched_brought_up_to_date_and_restored(whole, sample, tmp_path):
    path = shutil.copytree(whole, tmp_path / "collection")
    query = sample / "teapot" / "teapot_0001.jpg"
    told = lookalike("backup", tmp_path / "backup", "-c", path).stdout
    assert (
        f"45 images in {tmp_path / 'backup'}: a backup of version 3, which can be searched with -c."
        in told
    )
    assert str(query) in lookalike("search", query, "-c", tmp_path / "backup", "-k", 1).stdout
    lookalike("remove", query, "-c", path)
    again = lookalike_json("backup", tmp_path / "backup", "-c", path)
    assert (again["images"], again["version"]) == (44, 4)
    assert again["kept"] > again["copied"]
    told = lookalike("restore", tmp_path / "backup", "-c", tmp_path / "restored").stdout
    assert f"44 images in {tmp_path / 'restored'}: restored from {tmp_path / 'backup'}." in told
    assert "1 added, 44 unchanged" in lookalike("index", sample, "-c", tmp_path / "restored").stdout
    done = lookalike("restore", tmp_path / "backup", "-c", tmp_path / "restored", status=2)
    assert "already holds something" in done.stderr
