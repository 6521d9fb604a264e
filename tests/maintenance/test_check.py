"""A check passes an intact collection, and names each kind of damage."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

import lookalike
import made
from lookalike.errors import CollectionError
from lookalike.maintenance.check import check
from lookalike.maintenance.optimize import optimize
from lookalike.models import registry
from lookalike.projection.map import make_map
from lookalike.store import calibrations, maps
from lookalike.store.table import Table
from lookalike.types import Model, Weights
from made import SPACE

ROWS = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A collection with changed and failed rows, deletions, all kinds of index, and a map."""
    vectors, _ = made.clusters(4, 15)
    path = tmp_path_factory.mktemp("whole") / "collection"
    collection = made.make_collection(path, vectors)
    made.add_rows(
        collection,
        vectors[:3],
        uris=["/pictures/000001.jpg", "/new/1.jpg", "/new/2.jpg"],
        labels=["a"] * 3,
    )
    collection.upsert(
        {"uri": ["/pictures/bad.jpg"], "error": ["damaged"]}, replace=True
    )
    collection.delete(collection.ids_under(["/new/2"]))
    optimize(collection, min_rows=10)
    made.add_rows(collection, vectors[3:5], uris=["/late/1.jpg", "/late/2.jpg"])
    collection.delete(collection.ids_under(["/late/2"]))
    make_map(collection, method="pca")
    return path


@pytest.fixture
def place(whole, tmp_path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(whole, tmp_path / "collection")


def images_of(place: Path) -> Path:
    return place / "images.lance"


def largest(folder: Path) -> Path:
    return max(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )


def fault_text(place: Path, **options: bool) -> str:
    """Return the faults of a damaged collection, one a line."""
    report = lookalike.check(place, **options)
    assert not report.sound
    assert report.found == len(report.faults)
    assert all(
        fault.remedy or "Delete the file" in fault.what for fault in report.faults
    )
    return "\n".join(map(str, report.faults))


def rewrite(place: Path, uri: str, **columns: object) -> int:
    """Change a row directly through Lance; return its id."""
    table = lance.dataset(str(images_of(place)))
    schema = table.schema
    values = {"uri": [uri], **columns}
    rows = pa.table(
        [pa.array(value, schema.field(name).type) for name, value in values.items()],
        schema=pa.schema([schema.field(name) for name in values]),
    )
    table.merge_insert("uri").when_matched_update_all().execute(rows)
    return next(iter(Table.open(place).existing_rows([uri]).values())).id


@pytest.mark.slow
def test_a_sound_collection_passes(place):
    done = []
    report = lookalike.check(place, progress=lambda *now: done.append(now))
    assert report.sound
    assert report.faults == []
    assert (report.rows, report.images, report.failures) == (ROWS + 3, ROWS + 2, 1)
    assert report.spaces == {SPACE: ROWS + 2}
    assert report.maps == [
        {"space": SPACE, "method": "pca", "rows": ROWS + 2, "gone": 0}
    ]
    assert done[-1] == (ROWS + 3, ROWS + 3)
    assert {"uri", "label", SPACE} <= {
        index.field_names[0]
        for index in Table.open(place).lance_dataset.describe_indices()
    }
    assert report.to_dict()["sound"] is True


def test_an_empty_collection_passes(tmp_path):
    Table.create(tmp_path / "empty", [Model(SPACE, "numbers", "pixels", (1, 1), 4)])
    assert lookalike.check(tmp_path / "empty").sound


def test_a_map_with_removed_rows_is_not_a_fault(place):
    collection = Table.open(place)
    collection.remove(["/late/1.jpg"])
    report = lookalike.check(place)
    assert report.sound
    assert report.maps[0]["gone"] == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "overwritten"])
def test_a_damaged_data_file_is_named_with_its_rows(place, damage):
    file = largest(images_of(place) / "data")
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(
            data[: len(data) // 2] if damage == "cut" else bytes(len(data))
        )
    faults = fault_text(place)
    assert f"data/{file.name}" in faults
    assert "thumbnail" in faults
    assert f"{ROWS + 2:,} rows (ids 0 to" in faults
    assert "lookalike restore BACKUP" in faults
    # The other fragment is still read.
    assert lookalike.check(place).spaces == {SPACE: 1}


@pytest.mark.slow
def test_rows_around_the_damage_are_read_once_each(tmp_path):
    """The vectors of rows in the middle are unreadable; everything else is still checked."""
    vectors, _ = made.clusters(4, 750)
    place = Path(made.make_collection(tmp_path / "collection", vectors).path)
    file = largest(images_of(place) / "data")
    data = bytearray(file.read_bytes())
    at = data.index(vectors[1500].astype(np.float16).tobytes())
    data[at : at + 8192] = b"\xff" * 8192
    file.write_bytes(data)
    named = "".join(f", /pictures/{number:06}.jpg" for number in range(3))
    assert (
        f"{SPACE} of 3,000 rows (ids 0 to 2999{named}) cannot be read from data/{file.name}: "
        in fault_text(place)
    )
    report = lookalike.check(place)
    assert (report.found, report.rows, report.images, report.spaces) == (
        1,
        3000,
        3000,
        {SPACE: 1024},
    )


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["first", "second"])
def test_the_damaged_one_of_several_files_with_the_same_rows_is_named(tmp_path, lost):
    """A Space that is filled after the uri index was built lies in a file of its own."""
    vectors, _ = made.clusters(4, 15)
    collection = made.make_collection(tmp_path / "collection", vectors)
    optimize(collection, min_rows=10)
    collection.add_space(Model("more", "More", "pixels", (1, 1), 8))
    uris = [f"/pictures/{number:06}.jpg" for number in range(ROWS)]
    filled = {
        "uri": uris,
        "spaces": [[SPACE, "more"]] * ROWS,
        "more": np.eye(8, dtype=np.float32)[[0] * ROWS],
    }
    collection.upsert(filled, replace=False)
    paths = [
        file.path for file in collection.lance_dataset.get_fragments()[0].data_files()
    ]
    path = paths[lost == "second"]
    (images_of(tmp_path / "collection") / "data" / path).unlink()
    first = (
        "uri, size, mtime_ns, label, sha256, width, height, thumbnail, error, "
        f"{SPACE} of {ROWS} rows (ids 0 to 59)"
    )
    second = f"spaces, more of {ROWS} rows (ids 0 to 59, {', '.join(uris[:3])})"
    faults = fault_text(tmp_path / "collection")
    assert {"first": first, "second": second}[
        lost
    ] + f" cannot be read from data/{path}: " in faults
    assert "could not be read" not in faults  # the store's own reason alone


def test_flipped_bytes_in_a_page_are_found_where_possible(place):
    file = largest(images_of(place) / "data")
    data, thumbnail = bytearray(file.read_bytes()), made.picture((90, 120, 150))
    at = data.index(thumbnail[:20])
    data[at : at + 20] = b"\xff" * 20
    file.write_bytes(data)
    assert "Its thumbnail cannot be decoded" in fault_text(place)


def test_a_missing_list_of_deleted_rows_is_named(place):
    for file in (images_of(place) / "_deletions").iterdir():
        file.unlink()
    assert "_deletions" in fault_text(place)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({SPACE: [[0.5] * 16]}, "has the length 2; expected 1"),
        ({SPACE: [[float("nan")] * 16]}, "has numbers that are not finite"),
        ({SPACE: [None]}, f"claims a vector in {SPACE} and has none"),
        ({"spaces": [[]]}, f"has a vector in {SPACE} and does not claim it"),
        (
            {"spaces": [[SPACE, "gone"]]},
            "claims vectors in gone, which the collection lacks",
        ),
        ({"sha256": [None]}, "neither an image nor a failure"),
        (
            {"thumbnail": [b"not an image"]},
            "thumbnail cannot be decoded: not an image of a known format",
        ),
        ({"thumbnail": [None]}, "thumbnail cannot be decoded: it is missing"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_a_bad_row_is_named(place, columns, what):
    row_id = rewrite(place, "/pictures/000007.jpg", **columns)
    faults = fault_text(place)
    assert f"/pictures/000007.jpg (id {row_id}): " in faults
    assert what in faults
    assert "\n" not in faults
    collection = Table.open(place)
    collection.remove(["/pictures/000007.jpg"])
    assert lookalike.check(place).sound


def test_vectors_without_unit_length_may_have_any_length(tmp_path):
    model = Model(SPACE, "numbers", "pixels", (1, 1), 4, unit_length=False)
    made.add_rows(
        Table.create(tmp_path / "long", [model]), np.full((2, 4), 7, np.float32)
    )
    assert lookalike.check(tmp_path / "long").sound


def test_a_vector_of_zeros_is_valid(place):
    rewrite(place, "/pictures/000007.jpg", **{SPACE: [[0.0] * 16]})
    assert lookalike.check(place).sound


def test_a_uri_of_two_rows_is_named_and_can_be_repaired(place):
    table = lance.dataset(str(images_of(place)))
    row = table.to_table(filter="uri = '/pictures/000007.jpg'")
    lance.write_dataset(row, table.uri, mode="append")
    assert "/pictures/000007.jpg (id 7): 2 rows have this uri." in fault_text(place)
    Table.open(place).remove(["/pictures/000007.jpg"])
    assert lookalike.check(place).sound


@pytest.mark.parametrize("column", ["uri", "label", SPACE])
def test_a_damaged_index_is_named(place, column):
    index = next(
        i
        for i in Table.open(place).lance_dataset.describe_indices()
        if i.field_names == [column]
    )
    for segment in index.segments:
        for file in (images_of(place) / "_indices" / str(segment.uuid)).iterdir():
            file.write_bytes(b"no index")
    assert f"The index of {column} cannot be used" in fault_text(place)


@pytest.mark.slow
def test_an_index_that_no_longer_finds_a_vector_is_named(tmp_path):
    """A vector has changed on the disk, and the index still has it at its old place."""
    vectors, _ = made.clusters(4, 300)
    place = Path(made.make_collection(tmp_path / "collection", vectors).path)
    lookalike.optimize(place, min_rows=10)
    file = largest(images_of(place) / "data")
    before, after = (
        vector.astype(np.float16).tobytes() for vector in (vectors[0], np.eye(16)[1])
    )
    file.write_bytes(file.read_bytes().replace(before, after))
    assert fault_text(place).startswith(
        f"The index of {SPACE} cannot be used: it does not find a vector that is in the table."
    )


@pytest.mark.slow
def test_an_unreadable_older_version_is_reported_and_not_copied(place):
    older = sorted((images_of(place) / "_versions").glob("*.manifest"))[1]
    older.write_bytes(b"torn")
    assert older.name in fault_text(place)
    with pytest.raises(CollectionError):
        lookalike.optimize(place, keep_days=0)
    lookalike.restore(place, place.with_name("copy"))
    assert lookalike.check(place.with_name("copy")).rows == ROWS + 3
    lookalike.optimize(place.with_name("copy"), keep_days=0)


def test_an_unreadable_newest_version_cannot_be_opened(place):
    newest = min((images_of(place) / "_versions").glob("*.manifest"))
    newest.write_bytes(newest.read_bytes()[:40])
    with pytest.raises(
        CollectionError, match=r"could not be opened.*lookalike restore"
    ):
        lookalike.check(place)


def test_a_damaged_map_is_named(place):
    Path(maps.map_path(str(place), SPACE, "pca")).write_bytes(b"no map")
    assert f"{SPACE}-pca.arrow could not be read" in fault_text(place)


def test_a_map_of_a_missing_space_is_named(place):
    file = Path(maps.map_path(str(place), SPACE, "pca"))
    file.rename(file.with_name("other-pca.arrow"))
    assert "other-pca.arrow is invalid" in fault_text(place)


@pytest.mark.parametrize("damage", ["", "{}", "null", "cut"])
def test_a_damaged_calibration_is_named_and_can_be_measured_again(place, damage):
    table = Table.open(place)
    lookalike.Collection(table).calibrate()
    text = calibrations.read_text(table, SPACE, "image")
    assert check(table).sound
    cut = text.replace(text[60:90], "")
    calibrations.write_text(table, SPACE, "image", cut if damage == "cut" else damage)
    report = check(table)
    assert "The calibration of the Space 'numbers' is damaged" in report.faults[0].what
    assert "lookalike calibrate -c" in report.faults[0].remedy
    lookalike.Collection(table).calibrate()
    assert check(table).sound


def test_a_model_without_local_weights_is_not_checked(tmp_path):
    model = replace(
        registry.resolve("efficientnet-lite0"),
        weights=Weights("gone.pth", sha256="0" * 64),
    )
    Table.create(tmp_path / "collection", [model])
    report = lookalike.check(tmp_path / "collection")
    assert report.sound
    assert report.unchecked == [
        "the model of efficientnet-lite0: its weights are not on this computer (not here)"
    ]


def test_a_model_that_did_not_fill_its_space_is_a_fault(tmp_path):
    model = replace(registry.resolve("efficientnet-lite0"), graph="0" * 64)
    Table.create(tmp_path / "collection", [model])
    assert "but 000000000000 filled its Space" in fault_text(tmp_path / "collection")


def test_files_are_compared_by_their_content(sample, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    names = sorted(sample.rglob("*.jpg"))[:4]
    for index, name in enumerate(names):
        (images / f"{index}.jpg").write_bytes(name.read_bytes())
    (images / "bad.jpg").write_bytes(b"bad")
    lookalike.index(images, tmp_path / "collection", models=["pixels"])
    assert lookalike.check(tmp_path / "collection", files=True).files["same"] == 4
    (images / "0.jpg").unlink()
    stamp = (images / "1.jpg").stat()
    data = bytearray((images / "1.jpg").read_bytes())
    data[-1] ^= 1
    (images / "1.jpg").write_bytes(data)
    os.utime(images / "1.jpg", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.utime(images / "2.jpg")
    report = lookalike.check(tmp_path / "collection", files=True)
    assert report.sound
    assert report.files == {"same": 2, "missing": 1, "changed": 1, "unreadable": 0}
    assert dict(report.differing) == {
        str(images / "0.jpg"): "missing",
        str(images / "1.jpg"): "changed",
    }
    assert lookalike.check(tmp_path / "collection").files is None


def test_only_the_first_thousand_faults_are_listed(tmp_path):
    made.make_collection(tmp_path / "collection", np.full((1_010, 2), 2, np.float32))
    report = lookalike.check(tmp_path / "collection")
    assert (report.found, len(report.faults)) == (1_010, 1_000)


def test_a_check_reads_the_newest_version_and_changes_nothing(place):
    collection = Table.open(place)
    made.add_rows(
        Table.open(place),
        np.eye(16, dtype=np.float32)[:1],
        uris=["/pictures/newest.jpg"],
    )
    before = sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*"))
    report = check(collection)
    assert report.rows == ROWS + 4
    assert (
        sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) == before
    )
    collection.lance_dataset.cleanup_old_versions(older_than=timedelta(0))
    assert check(collection).sound
