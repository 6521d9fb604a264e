"""Check, backup and restore on the command line."""

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


def test_check_describes_a_sound_collection(whole, sample):
    printed = lookalike("check", "--files", "-c", whole).stdout
    assert (
        f"Sound: version 4 of {whole}: 45 images, 0 failures, 45 vectors in pixels."
        in printed
    )
    assert "Image files: 45 same, 0 missing, 0 changed, 0 unreadable." in printed
    assert lookalike_json("check", "-c", whole)["sound"] is True


def test_check_reports_faults_with_status_1(whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "collection")
    file = max(
        (path / "images.lance" / "data").iterdir(), key=lambda file: file.stat().st_size
    )
    file.write_bytes(file.read_bytes()[:1_000])
    printed = lookalike("check", "-c", path, status=1).stdout
    assert printed.startswith("Fault: uri, size, mtime_ns, label, sha256")
    assert (
        "thumbnail, error, spaces, pixels of 45 rows (ids 0 to 44) cannot be read"
        in printed
    )
    assert f"cannot be read from data/{file.name}" in printed
    assert f"remove the folder {path} and index again" in printed
    assert "1 fault: version 4" in printed
    report = lookalike_json("check", "-c", path, status=1)
    assert (report["sound"], report["found"], len(report["faults"])) == (False, 1, 1)


@pytest.mark.parametrize(
    "command", [["check", "-c"], ["restore"], ["backup", "backup", "-c"]]
)
def test_a_missing_collection_cannot_be_opened(tmp_path, command):
    done = lookalike(*command, tmp_path / "nowhere", status=2, cwd=tmp_path)
    assert done.stderr.startswith(
        f"Error: The collection {tmp_path / 'nowhere'} does not exist"
    )


def test_missing_image_files_are_reported_but_are_not_faults(sample, tmp_path):
    images = shutil.copytree(sample, tmp_path / "images")
    lookalike("index", images, "-c", tmp_path / "collection", "--model", "pixels")
    gone = images / "cat" / "cat_0001.jpg"
    gone.unlink()
    printed = lookalike("check", "--files", "-c", tmp_path / "collection").stdout
    assert "44 same, 1 missing" in printed
    assert f"  missing: {gone}" in printed


def test_a_backup_is_searched_updated_and_restored(whole, sample, tmp_path):
    path = shutil.copytree(whole, tmp_path / "collection")
    query = sample / "teapot" / "teapot_0001.jpg"
    printed = lookalike("backup", tmp_path / "backup", "-c", path).stdout
    assert (
        f"45 images in {tmp_path / 'backup'}: a backup of version 4. Search it with -c."
        in printed
    )
    assert (
        str(query)
        in lookalike("search", query, "-c", tmp_path / "backup", "-k", 1).stdout
    )
    lookalike("remove", query, "-c", path)
    again = lookalike_json("backup", tmp_path / "backup", "-c", path)
    assert (again["images"], again["version"]) == (44, 5)
    assert again["kept"] > again["copied"]
    printed = lookalike(
        "restore", tmp_path / "backup", "-c", tmp_path / "restored"
    ).stdout
    assert (
        f"44 images in {tmp_path / 'restored'}: restored from {tmp_path / 'backup'}."
        in printed
    )
    assert (
        "1 restored, 44 unchanged"
        in lookalike("index", sample, "-c", tmp_path / "restored").stdout
    )
    done = lookalike(
        "restore", tmp_path / "backup", "-c", tmp_path / "restored", status=2
    )
    assert "is not empty" in done.stderr
