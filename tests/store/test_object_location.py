"""Collections in object storage: the same promises as in a folder, without locks and renames."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pytest

import lookalike
import made
from command import lookalike as command
from forked import start_python
from interruption import interrupt_at
from lookalike.errors import BusyError, CollectionError, InputError, ReadOnlyError
from lookalike.indexing.run import IndexSettings
from lookalike.maintenance import backup as backups
from lookalike.maintenance.backup import backup, restore
from lookalike.models.registry import resolve
from lookalike.store import maps, tuning, upkeep
from lookalike.store.object_location import ObjectLocation
from lookalike.store.places import locate
from lookalike.store.table import Table
from objects_server import StoreFault, one_in

VECTORS = made.drawn(20, dim=16)
MAP = maps.StoredMap(
    ids=np.array([0, 3], np.int64),
    xy=np.array([[0, 1], [2, 3]], np.float32),
    fitted=np.array([True, False]),
    digests=np.array([1, 2], np.uint64),
    facts={"old": 1},
)


@pytest.fixture
def place(object_store) -> str:
    """The address of a collection that does not exist yet."""
    return object_store.uri("team/pets")


@pytest.fixture
def table(place) -> Table:
    return made.make_collection(place, VECTORS)


def content(path) -> dict[str, tuple]:
    """Return the label and the vector of each uri of a collection."""
    table = Table.open(path)
    ids, matrix = table.vectors(made.SPACE)
    rows = table.take(ids, ["uri", "label"])
    uris, labels = rows["uri"].to_pylist(), rows["label"].to_pylist()
    vectors = [tuple(vector) for vector in matrix.tolist()]
    return dict(zip(uris, zip(labels, vectors, strict=True), strict=True))


def at_once(*functions) -> list[BaseException]:
    """Run functions in threads that start together; return what they raised."""
    barrier = threading.Barrier(len(functions))
    errors = []

    def run(function):
        barrier.wait()
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run, args=[one]) for one in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


# Rows


def test_a_collection_holds_the_same_rows_as_in_a_folder(table, place, tmp_path):
    made.make_collection(tmp_path / "local", VECTORS)
    assert content(place) == content(tmp_path / "local")
    assert content(place + "/") == content(place)


def test_an_address_in_use_is_not_overwritten(table, place, object_store):
    with pytest.raises(CollectionError, match="is not empty"):
        Table.create(place, list(table.models.values()))
    object_store.put("files/letter.txt", b"mine")
    with pytest.raises(CollectionError, match="is not empty"):
        made.make_collection(object_store.uri("files"), VECTORS)
    with pytest.raises(CollectionError, match="without a collection"):
        Table.open(object_store.uri("files"))


def test_of_two_processes_that_create_a_collection_one_succeeds(place):
    def create() -> None:
        Table.create(place, [resolve("pixels")])

    (error,) = at_once(create, create)
    assert isinstance(error, CollectionError)
    assert Table.open(place).count() == 0


# The requests of a creation, up to the one that writes the first manifest.
@pytest.mark.parametrize("moment", range(6))
def test_a_collection_made_during_another_creation_keeps_its_rows(
    moment, place, faulty_store
):
    def make_another(_request, number):
        if number == moment:
            made.make_collection(place, VECTORS)

    faulty_store.fail = make_another
    with pytest.raises(CollectionError, match=r"is not empty|has just made one"):
        Table.create(place, [resolve("pixels")])
    assert len(content(place)) == 20


def test_a_creation_that_was_killed_before_its_manifest_runs_again(place, object_store):
    object_store.put("team/pets/images.lance/_transactions/0-aa.txn", b"unfinished")
    made.make_collection(place, VECTORS)
    assert len(content(place)) == 20


def test_files_of_a_table_without_manifests_are_not_taken_for_leftovers(
    place, object_store
):
    object_store.put("team/pets/images.lance/data/aa.lance", b"rows")
    with pytest.raises(CollectionError, match="is not empty"):
        made.make_collection(place, VECTORS)


def test_a_table_whose_making_was_cut_short_gets_its_index(
    place, monkeypatch, tmp_path
):
    def killed(*_, **__):
        raise KeyboardInterrupt

    model = resolve("pixels")
    with monkeypatch.context() as patch:
        patch.setattr(lance.LanceDataset, "create_scalar_index", killed)
        with pytest.raises(KeyboardInterrupt):
            Table.create(place, [model])
    made_folder = tmp_path / "in"
    made_folder.mkdir()
    (made_folder / "one.jpg").write_bytes(made.picture((9, 9, 9)))
    lookalike.index(made_folder, place)
    indices = Table.open(place).lance_dataset.describe_indices()
    assert [index.field_names for index in indices] == [["uri"]]


# Several processes


def test_a_step_that_another_process_overtakes_runs_again(table, place):
    """Each of two writers reads a number, adds one, and writes it; none is lost."""
    uri = "/pictures/000003.jpg"
    table.update({"uri": [uri], "label": ["0"]})

    def add_one(own: Table) -> None:
        (row,) = own.existing_rows([uri]).values()
        own.update({"uri": [uri], "label": [str(int(row.label) + 1)]})

    def count_to_five() -> None:
        own = Table.open(place)
        for _ in range(5):
            own.transaction(lambda: add_one(own))

    assert at_once(count_to_five, count_to_five) == []
    assert content(place)[uri][0] == "10"


def test_a_later_commit_of_a_step_sees_what_was_changed_before_it(table, place):
    """A step with two commits does not overwrite what came between them."""
    first, second = "/pictures/000001.jpg", "/pictures/000002.jpg"
    other = Table.open(place)
    seen = []

    def step() -> None:
        (row,) = table.existing_rows([second]).values()
        seen.append(row.label)
        if len(seen) == 1:
            other.update({"uri": [second], "label": ["other"]})
        table.update({"uri": [first], "label": ["mine"]})
        table.update({"uri": [second], "label": [f"after {row.label}"]})

    table.transaction(step)
    assert seen == [None, "other"]
    assert content(place)[second][0] == "after other"


def test_conflicts_without_end_are_reported(table, place, monkeypatch):
    monkeypatch.setattr("lookalike.store.conflicts._ATTEMPTS", 3)
    uri = "/pictures/000003.jpg"
    other = Table.open(place)

    def step() -> None:
        (row,) = table.existing_rows([uri]).values()
        other.update({"uri": [uri], "label": ["theirs"]})
        table.update({"uri": [uri], "label": [f"not {row.label}"]})

    with pytest.raises(BusyError, match="changed it at the same time"):
        table.transaction(step)
    assert content(place)[uri][0] == "theirs"


def test_two_processes_index_the_same_images_once_each(place, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(24):
        color = (number * 10, 255 - number * 10, number)
        (folder / f"{number}.jpg").write_bytes(made.picture(color))
    (folder / "broken.jpg").write_bytes(b"no image")
    words = ["-m", "lookalike", "index", folder, "-c", place, "--model", "pixels"]
    command = [*map(str, words)]
    processes = [start_python(command, env=os.environ) for _ in range(2)]
    for process in processes:
        with process:
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    table = Table.open(place)
    uris = table.lance_dataset.to_table(columns=["uri"])["uri"].to_pylist()
    assert sorted(uris) == sorted(str(path) for path in folder.iterdir())
    assert table.count("pixels") == 24
    assert table.failures().num_rows == 1
    assert lookalike.check(place).sound


def test_two_processes_maintain_a_collection_at_once(table, place):
    for number in range(3):
        made.add_rows(table, made.drawn(5, dim=16, seed=number + 1))
    table.remove(["/pictures/000003.jpg"])

    def maintain() -> None:
        own = Table.open(place)
        upkeep.compact(own)
        upkeep.update_scalar_indices(own, make=True)
        tuning.build_index(own, made.SPACE)
        upkeep.remove_old_versions(own, timedelta(days=1), orphans=True)
        own.trash.compact()

    def write() -> None:
        own = Table.open(place)
        for number in range(3):
            vectors = made.drawn(2, dim=16, seed=number + 10)
            uris = [f"/more/{number}-{row}.jpg" for row in range(2)]
            made.add_rows(own, vectors, uris=uris)

    assert at_once(maintain, maintain, write) == []
    assert Table.open(place).count() == 20 + 15 - 1 + 6
    assert lookalike.check(place).sound


def test_files_of_killed_writers_are_removed_at_once_where_nobody_writes(
    table, place, object_store
):
    table.remove(["/pictures/000003.jpg"])
    before = content(place)
    unfinished = {
        object_store.put(f"team/pets/{name}", bytes(1000)).removeprefix(f"{place}/")
        for name in (
            "images.lance/data/aa.lance",
            "images.lance/_deletions/1-2-3.arrow",
            "images.lance/_indices/aa/b.idx",
            "trash.lance/data/aa.lance",
            "trash.lance/_transactions/3-aa.txn",
            ".images.aa/images.lance/data/aa.lance",
        )
    }

    def remaining() -> set[str]:
        return unfinished & {file.name for file in locate(place).files()}

    # A commit in progress may own them.
    command("optimize", "-c", place)
    assert remaining() == unfinished
    report = command("optimize", "-c", place, "--remove-unfinished", "--json")
    assert remaining() == set()
    assert json.loads(report.stdout)["freed"] >= 1000 * len(unfinished)
    assert content(place) == before
    assert table.trash.restore().restored == 1
    assert lookalike.check(place).sound


# The trash, maps, copies


def test_removed_rows_come_back_from_the_trash(table, place):
    before = content(place)
    uris = ["/pictures/000001.jpg", "/pictures/000002.jpg"]
    assert table.remove(uris) == 2
    assert table.trash.rows()["uri"].to_pylist() == uris
    assert table.trash.restore(uris[:1]).restored == 1
    assert content(place).keys() == before.keys() - {uris[1]}
    assert table.trash.empty() == 1
    assert table.trash.count() == 0
    # The trash without rows takes new ones.
    table.remove(uris[:1])
    table.trash.restore()
    assert content(place).keys() == before.keys() - {uris[1]}


def test_rows_that_two_processes_remove_are_all_in_the_trash(table, place):
    def remove(number: int) -> None:
        Table.open(place).remove([f"/pictures/{number:06}.jpg"])

    assert at_once(lambda: remove(1), lambda: remove(2)) == []
    trashed = Table.open(place).trash.rows()["uri"].to_pylist()
    assert trashed == ["/pictures/000001.jpg", "/pictures/000002.jpg"]


@pytest.mark.parametrize("moment", range(8))
def test_rows_removed_while_another_process_makes_the_trash_stay_in_it(
    moment, table, place, faulty_store
):
    removed = []
    seen = []

    def remove_another(request, _number):
        if "trash.lance" not in request.path + request.query or removed:
            return
        seen.append(request)
        if len(seen) == moment + 1:
            removed.append("/pictures/000001.jpg")
            Table.open(place).remove(removed)

    faulty_store.fail = remove_another
    Table.open(place).remove(["/pictures/000002.jpg"])
    trashed = Table.open(place).trash.rows()["uri"].to_pylist()
    assert sorted(trashed) == [*removed, "/pictures/000002.jpg"]
    assert removed


def test_a_map_is_kept_beside_the_table(table, place):
    assert maps.list_maps(place) == []
    maps.write(place, made.SPACE, "pca", MAP)
    maps.write(place, made.SPACE, "pca", dataclasses.replace(MAP, facts={"new": 1}))
    assert maps.list_maps(place) == [(made.SPACE, "pca")]
    stored = maps.read(place, made.SPACE, "pca")
    assert np.array_equal(stored.xy, MAP.xy)
    assert stored.facts == {"new": 1}
    assert maps.read(place, made.SPACE, "umap") is None


@pytest.mark.parametrize(
    ("first", "second"), [("s3", "local"), ("local", "s3"), ("s3", "s3")]
)
def test_backups_go_from_and_to_folders_and_object_storage(
    first, second, object_store, tmp_path
):
    def address(kind: str, name: str) -> str:
        return object_store.uri(name) if kind == "s3" else str(tmp_path / name)

    source, target = address(first, "source"), address(second, "target")
    table = made.make_collection(source, VECTORS)
    maps.write(source, made.SPACE, "pca", MAP)
    table.remove(["/pictures/000004.jpg"])
    assert backup(table, target).copied > 0
    assert content(target) == content(source)

    # An update copies what is new, and removes what is no longer there.
    made.add_rows(table, made.drawn(3, dim=16, seed=5))
    table.trash.restore()
    report = backup(table, target)
    assert report.kept > 0
    assert content(target) == content(source)
    assert lookalike.check(target).sound
    files = {file.name for file in locate(target).files()}
    assert not any(name.startswith(".images.") for name in files)

    restored = address(first, "restored")
    restore(target, restored)
    assert content(restored) == content(source)
    assert maps.list_maps(restored) == [(made.SPACE, "pca")]


def before(owner, name, step, monkeypatch) -> None:
    """Run a step before a method or function runs."""
    method = getattr(owner, name)

    def run_later(*arguments):
        step()
        return method(*arguments)

    monkeypatch.setattr(owner, name, run_later)


@pytest.mark.parametrize("is_optimized", [False, True])
def test_a_collection_made_while_another_is_staged_stays(
    is_optimized, table, object_store, monkeypatch
):
    target = object_store.uri("restored")

    def make_another():
        another = made.make_collection(target, VECTORS[:3])
        if is_optimized:
            upkeep.remove_old_versions(another, timedelta(0), orphans=False)
            assert 1 not in [
                version["version"] for version in another.lance_dataset.versions()
            ]

    before(backups, "check_rows", make_another, monkeypatch)
    with pytest.raises(CollectionError, match="another process has made a collection"):
        restore(table.path, target)
    assert len(content(target)) == 3
    assert lookalike.check(target).sound


def test_no_other_process_makes_a_collection_while_a_copy_is_published(
    table, object_store, monkeypatch
):
    target = object_store.uri("restored")

    def make_another():
        with pytest.raises(CollectionError, match="is not empty"):
            made.make_collection(target, VECTORS[:3])
        with pytest.raises(CollectionError, match="is incomplete: another process"):
            Table.open(target)
        location = locate(target)
        with (
            pytest.raises(CollectionError, match="has made a collection"),
            location.claim(),
        ):
            pass

    before(ObjectLocation, "publish_maps", make_another, monkeypatch)
    restore(table.path, target)
    assert content(target) == content(table.path)
    assert len(Table.open(target).lance_dataset.versions()) == 1


def test_a_copy_that_cannot_be_published_leaves_nothing(
    table, object_store, monkeypatch
):
    target = object_store.uri("restored")

    def fail():
        raise OSError("the store does not answer")

    with monkeypatch.context() as patch:
        before(ObjectLocation, "publish_table", fail, patch)
        with pytest.raises(CollectionError, match="does not answer"):
            restore(table.path, target)
    assert list(locate(target).files()) == []
    restore(table.path, target)
    assert content(target) == content(table.path)


@pytest.mark.parametrize(
    ("method", "part"), [("GET", "/data/"), ("PUT", ".images."), ("GET", "list-type")]
)
def test_ctrl_c_stops_a_copy_that_waits_for_the_store(
    method, part, table, object_store, faulty_store
):
    target = object_store.uri("restored")

    def is_held(request):
        return request.method == method and part in request.path + request.query

    interrupt_at(faulty_store, is_held, "restore", table.path, "-c", target)
    assert locate(target).is_free()
    restore(table.path, target)
    assert content(target) == content(table.path)


def test_rows_that_are_added_to_a_backup_while_it_is_updated_stay(
    table, object_store, monkeypatch
):
    target = object_store.uri("backup")
    backup(table, target)
    made.add_rows(table, made.drawn(3, dim=16, seed=5))

    def add_rows():
        made.add_rows(Table.open(target), made.drawn(2, dim=16, seed=6))

    before(backups, "check_rows", add_rows, monkeypatch)
    with pytest.raises(
        CollectionError, match="another process has changed it meanwhile"
    ):
        backup(table, target)
    assert len(content(target)) == len(VECTORS) + 2


def test_a_damaged_backup_is_found_and_not_restored(table, object_store, tmp_path):
    target = object_store.uri("target")
    backup(table, target)
    name = next(file.name for file in locate(target).files("images.lance/data"))
    damaged = bytearray(locate(target).read(name))
    damaged[len(damaged) // 2] ^= 1
    locate(target).write(name, bytes(damaged))
    assert not lookalike.check(target).sound
    with pytest.raises(CollectionError, match=r"damaged|faults"):
        restore(target, tmp_path / "restored")


# Errors


def test_a_store_that_fails_now_and_then_changes_nothing(faulty_store, place, tmp_path):
    faulty_store.fail = one_in(10, StoreFault(status=503))
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        color = (number * 30, 0, 9)
        (folder / f"{number}.jpg").write_bytes(made.picture(color))
    settings = IndexSettings(commit_rows=3)
    lookalike.index(folder, place, models=["pixels"], settings=settings)
    assert lookalike.check(place).sound
    assert Table.open(place).count("pixels") == 8


def test_a_missing_bucket_is_named(object_store):
    with pytest.raises(CollectionError, match=r"no bucket 'nobody-has-this'"):
        Table.open("s3://nobody-has-this/pets")
    with pytest.raises(CollectionError, match=r"no bucket 'nobody-has-this'"):
        made.make_collection("s3://nobody-has-this/pets", VECTORS)


def test_an_endpoint_that_does_not_answer_is_named(place, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(CollectionError, match=r"127.0.0.1:9 does not answer.*ENDPOINT"):
        Table.open(place)


def test_an_endpoint_without_encryption_needs_consent(table, place, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(CollectionError, match="AWS_ALLOW_HTTP=true"):
        Table.open(place)


def test_missing_credentials_are_reported(place, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CollectionError, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
        Table.open(place)


def test_denied_access_is_reported(table, place, faulty_store):
    faulty_store.fail = lambda _request, _number: StoreFault(status=403)
    with pytest.raises(CollectionError, match="may not read it"):
        Table.open(place)


def test_a_read_only_collection_is_searched_and_not_changed(table, place, faulty_store):
    def refuse_writes(request, _number):
        return StoreFault(status=403) if request.method in {"PUT", "POST"} else None

    faulty_store.fail = refuse_writes
    read_only = Table.open(place)
    assert read_only.count() == 20
    with pytest.raises(ReadOnlyError, match=r"may not write there\. You can still"):
        read_only.remove(["/pictures/000001.jpg"])
    with pytest.raises(ReadOnlyError, match="may not write there"):
        made.make_collection(place + "-new", VECTORS)


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(InputError, match="names no bucket"):
        Table.open("s3://")


def test_another_scheme_is_refused():
    with pytest.raises(CollectionError, match="s3://, gs:// or az://"):
        Table.open("ftp://server/pets")


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "lookalike.store.object_location", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(CollectionError, match=r"pip install 'lookalike\[cloud\]'"):
        Table.open("s3://bucket/pets")


def test_local_work_does_not_load_the_package(tmp_path):
    image = tmp_path / "in" / "one.jpg"
    image.parent.mkdir()
    image.write_bytes(made.picture((1, 2, 3)))
    program = (
        "import sys, lookalike\n"
        f"lookalike.index({str(image.parent)!r}, {str(tmp_path / 'c')!r}, models=['pixels'])\n"
        f"lookalike.search({str(tmp_path / 'c')!r}, {str(image)!r})\n"
        "print('obstore' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    assert Path(tmp_path, "c").is_dir()
