"""Failures of a disk: full, read-only, without permission, or unmounted during a command."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
import made
from command import lookalike as run
from command import lookalike_forked, lookalike_in_one_process
from file_limit import file_limit
from forked import start_python
from hub_server import hub_server
from lookalike import imaging
from lookalike.errors import CollectionError, ReadOnlyError
from lookalike.indexing.run import IndexSettings
from lookalike.maintenance.backup import backup
from lookalike.maintenance.check import check
from lookalike.maintenance.optimize import optimize
from lookalike.projection.map import make_map
from lookalike.store.table import Table

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

MB = 1 << 20


class Disk:
    """A small disk for one test."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def mount(self, options: str) -> None:
        subprocess.run(
            ["mount", "-o", options, "-t", "tmpfs", "none", self.place],
            check=True,
            capture_output=True,
        )

    def remount(self, options: str) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,{options}", self.place],
            check=True,
            capture_output=True,
        )

    def fill(self, *, but: int = 0) -> None:
        """Fill the disk until `but` bytes are free."""
        state = os.statvfs(self.place)
        with (self.place / "ballast").open("ab") as file:
            file.write(bytes(max(0, state.f_bavail * state.f_bsize - but)))

    def free(self) -> None:
        (self.place / "ballast").unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", self.place], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    disk = Disk(place)
    try:
        disk.mount("size=8m")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs permission to mount a small disk: {error}")
    yield disk
    disk.unmount()


@pytest.fixture(scope="module")
def images(sample) -> Path:
    """45 images."""
    return sample


@pytest.fixture
def query(images) -> Path:
    return images / "teapot" / "teapot_0001.jpg"


def refused(*arguments: object) -> str:
    """Run a command that must fail; return its message of one paragraph."""
    return refusal(run(*arguments, status=2))


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a command that had to fail."""
    assert done.returncode == 2
    message = done.stderr.strip()
    assert message.startswith("Error: ")
    assert "\n" not in message
    assert "rust" not in message
    return message.removeprefix("Error: ")


def noise(count: int) -> list[bytes]:
    """Return thumbnails that cannot be compressed."""
    values = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    return [imaging.thumbnail(Image.fromarray(pixels)) for pixels in values]


def indexed(path: Path) -> int:
    report = lookalike.check(path)
    assert report.sound, report.faults
    return report.images


@pytest.fixture
def by() -> list[str]:
    """A prefix that runs a command without root's right to ignore file permissions."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, because root may read and write every file")
    caps = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}"]


@pytest.fixture
def locked(tmp_path, whole) -> Iterator[Path]:
    """A collection of 45 images without write permission."""
    path = shutil.copytree(whole, tmp_path / "locked" / "collection")
    restrict(path.parent, 0o555, 0o444)
    yield path
    restrict(path.parent, 0o755, 0o644)


def restrict(folder: Path, folders: int, files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(folders if path.is_dir() else files)


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "collection"
    lookalike.index(images, path, models=["pixels"])
    return path


# A full disk


def test_a_full_disk_stops_an_index_run_and_loses_nothing_that_was_committed(
    disk, images, query
):
    collection = disk.place / "collection"
    run("index", images / "teapot", "-c", collection, "--model", "pixels")
    disk.fill(but=MB // 8)
    message = refused("index", images, "-c", collection)
    assert message == (
        f"The collection {collection} could not be written: no space is left on its disk. "
        "Everything that was committed is safe. Free some space, then run the command again."
    )
    assert indexed(collection) == 5
    assert str(query) in run("search", query, "-c", collection, "-k", 1).stdout
    disk.fill()
    assert "no space is left" in refused("remove", images / "teapot", "-c", collection)
    disk.free()
    assert "40 added, 5 unchanged" in run("index", images, "-c", collection).stdout
    assert indexed(collection) == 45


def test_every_kind_of_full_disk_leaves_an_intact_collection(disk, tmp_path):
    vectors, _ = made.clusters(4, 25)
    made.make_collection(tmp_path / "collection", vectors)
    for free in range(0, 60_000, 8_192):
        place = disk.place / "collection"
        shutil.copytree(tmp_path / "collection", place)
        disk.fill(but=free)
        collection = Table.open(place)
        done, message = 0, "no space is left"
        try:
            for _ in range(4):
                made.add_rows(
                    collection,
                    vectors[:20],
                    uris=[f"/new/{done}/{row}" for row in range(20)],
                )
                done += 1
            optimize(collection)
        except CollectionError as error:
            message = str(error)
        assert "no space is left" in message
        disk.free()
        assert indexed(place) == 100 + 20 * done
        lookalike.optimize(place, keep_days=0)
        made.add_rows(Table.open(place), vectors[:1], uris=["/new/last"])
        assert indexed(place) == 101 + 20 * done
        shutil.rmtree(place)


def test_creating_a_collection_on_a_full_disk_leaves_nothing(disk, images):
    disk.fill()
    message = refused("index", images, "-c", disk.place / "new", "--model", "pixels")
    assert "could not be created: no space is left on its disk" in message
    assert "name a folder on another disk with -c." in message
    assert [
        path.name
        for path in disk.place.rglob("*")
        if path.is_file() and path.stat().st_size
    ] == ["ballast"]
    disk.free()
    run("index", images, "-c", disk.place / "new", "--model", "pixels")


def test_a_map_on_a_full_disk_leaves_the_collection_unchanged(disk, tmp_path):
    collection = made.make_collection(
        disk.place / "collection", made.clusters(4, 10)[0]
    )
    disk.fill()
    with pytest.raises(
        CollectionError,
        match=r"The map .* could not be written: no space is left on its disk",
    ):
        make_map(collection, method="pca")
    disk.free()
    assert check(collection).maps == []
    assert make_map(collection, method="pca").kept
    assert len(check(collection).maps) == 1
    disk.fill()
    with pytest.raises(CollectionError, match="no space is left"):
        make_map(collection, method="pca", rebuild=True, seed=1)
    disk.free()
    assert make_map(collection, method="pca").seed == 0


@pytest.mark.parametrize("output", ["figure.png", "map.html"])
def test_a_figure_or_page_on_a_full_disk_leaves_the_previous_one(
    disk, whole, query, tmp_path, output
):
    collection = shutil.copytree(whole, tmp_path / "collection")
    target = disk.place / output
    words = (
        ["search", query, "--save"]
        if output == "figure.png"
        else ["map", "--method", "pca", "--output"]
    )
    target.write_bytes(b"before")
    disk.fill()
    assert refused(*words, target, "-c", collection) == (
        f"{target} could not be written: no space is left on its disk. Any earlier file is "
        "unchanged. Free some space there, or choose a path on another disk."
    )
    assert {path.name for path in disk.place.iterdir()} == {output, "ballast"}
    assert target.read_bytes() == b"before"
    disk.remount("ro")
    assert f"{target}: Read-only file system. Name a file" in refused(
        *words, target, "-c", collection
    )


@pytest.mark.parametrize("earlier", [False, True])
def test_a_backup_on_a_full_disk_leaves_the_previous_one(disk, tmp_path, earlier):
    vectors, _ = made.clusters(4, 25)
    collection = made.make_collection(tmp_path / "collection", vectors)
    target = disk.place / "backup"
    if earlier:
        backup(collection, target)
    made.add_rows(collection, vectors, thumbnails=noise(100))
    disk.fill(but=20_000)
    with pytest.raises(
        CollectionError,
        match=r"copy of .* could not be written to .*: no space is left there"
        r".* Free some space there",
    ):
        backup(collection, target)
    assert not list(disk.place.rglob(".images*"))
    if earlier:
        assert indexed(target) == 100
    else:
        assert not target.exists()
    disk.free()
    assert backup(collection, target).images == 200


def test_an_unwritable_cache_stops_nothing(disk, images, query, tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(disk.place / "cache")}
    collection = tmp_path / "collection"
    disk.fill()
    lookalike_forked("index", images / "teapot", "-c", collection, env=environment)
    assert [
        path.name
        for path in disk.place.rglob("*")
        if path.is_file() and path.stat().st_size
    ] == ["ballast"]
    disk.remount("ro")
    words = ["search", query, "-c", collection, "-k", 1]
    done = lookalike_forked(*words, env=environment)
    assert str(query) in done.stdout
    assert done.stderr == ""


def test_only_graphs_are_written_to_the_cache(images, tmp_path):
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path / "home"),
    }
    collection = tmp_path / "collection"
    lookalike_forked("index", images / "teapot", "-c", collection, env=environment)
    written = [
        path.relative_to(tmp_path).parts
        for path in tmp_path.rglob("*")
        if path.is_file()
    ]
    assert {parts[:3] for parts in written if parts[0] != "collection"} == {
        ("cache", "lookalike", "graphs")
    }


def test_weights_on_a_full_disk_leave_nothing_and_are_fetched_later(disk, tmp_path):
    body = os.urandom(3 * MB)
    sha256 = hashlib.sha256(body).hexdigest()
    path = "/somebody/small/resolve/v1/net.safetensors"
    (tmp_path / "small.toml").write_text(
        'architecture = "inception-v3"\nsize = [75, 75]\ndim = 2048\n[weights]\n'
        'file = "net.safetensors"\n'
        f'sha256 = "{sha256}"\nhub = "somebody/small@v1"\n'
    )
    program = (
        "import sys\nfrom lookalike.errors import WeightsError\n"
        "from lookalike.models import registry, weights\n"
        "try:\n    print(weights.find(registry.resolve(sys.argv[1])))\n"
        "except WeightsError as error:\n"
        "    print(error)\n"
    )
    outside = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy")
    }
    disk.fill(but=MB)
    with hub_server(path, body) as hub:
        own = {"HF_HOME": str(disk.place / "hub"), "HF_ENDPOINT": hub.url}

        def find_weights() -> str:
            words = ["-c", program, str(tmp_path / "small.toml")]
            with start_python(words, env={**outside, **own}) as process:
                stdout, stderr = process.communicate()
            assert process.returncode == 0, stderr
            return stdout.strip()

        message = find_weights()
        assert (
            "cannot be downloaded: No space left on device. Free some space, or name a writable"
            in message
        )
        assert not [
            path
            for path in disk.place.rglob("*")
            if path.stat().st_size > MB and path.name != "ballast"
        ]
        disk.free()
        assert Path(find_weights()).read_bytes() == body


# A read-only disk or folder


def test_a_collection_on_a_read_only_disk_is_searched_and_not_called_damaged(
    disk, whole, images, query, tmp_path
):
    path = shutil.copytree(whole, disk.place / "collection")
    disk.remount("ro")
    collection = Table.open(path)
    assert lookalike.search(path, query, k=1).uris == [str(query)]
    assert indexed(path) == 45
    assert lookalike.index(images, path).unchanged == 45
    assert not make_map(collection, method="pca").kept
    for write in (
        lambda: lookalike.index(shutil.copytree(images, tmp_path / "more"), path),
        lambda: collection.remove([str(query)]),
        lambda: optimize(collection, min_rows=10),
    ):
        with pytest.raises(
            ReadOnlyError,
            match=r"its disk is read-only. You can still search it.*restore",
        ):
            write()
    with pytest.raises(
        ReadOnlyError,
        match=r"could not be created: the disk is read-only. Name another folder",
    ):
        lookalike.index(images, disk.place / "new", models=["pixels"])
    lookalike.restore(path, tmp_path / "copy")
    assert lookalike.index(tmp_path / "more", tmp_path / "copy").added == 45


def test_a_collection_without_write_permission_is_searched(
    locked, images, query, tmp_path, by
):
    new = locked.parent / "new"
    drawing = ["--method", "pca", "--output", tmp_path / "map.png"]
    searched, checked, mapped, removed, copied = lookalike_in_one_process(
        ["search", query, "-c", locked, "-k", 1],
        ["check", "--files", "-c", locked],
        ["map", "-c", locked, *drawing],
        ["remove", query, "-c", locked],
        ["backup", new, "-c", locked],
        by=by,
    )
    assert str(query) in searched.stdout
    assert "Sound" in checked.stdout
    assert "Not stored: the collection is read-only." in mapped.stdout
    assert refusal(removed) == (
        f"The collection {locked} could not be written: you do not have permission to write "
        "into its folder. You can still search it. To change it, get write access, or work on "
        "a copy made with: "
        f"lookalike restore {locked} -c NEW"
    )
    message = refusal(copied)
    assert "could not be written to" in message
    assert "Permission denied" in message
    assert indexed(locked) == 45


@pytest.mark.parametrize("lost", [".", "images.lance/data", "images.lance/_versions"])
def test_a_collection_without_read_permission_is_not_called_damaged(
    locked, query, tmp_path, lost, by
):
    (locked / lost).chmod(0)
    commands = (["search", query], ["backup", tmp_path / "backup"], ["check"])
    words = [[*command, "-c", locked] for command in commands]
    for done in lookalike_in_one_process(*words, by=by):
        assert (
            "you do not have permission to read all of it. Ask its owner for read access to the "
            "folder" in refusal(done)
        )
    (locked / lost).chmod(0o555)
    assert indexed(locked) == 45


# A folder that disappears


def test_a_collection_that_disappears_during_indexing_is_not_created_again(
    images, tmp_path
):
    """It is moved away before the first commit, when Lance would create it again, or after it."""
    for moment in (0, 1):
        place, away = tmp_path / f"collection{moment}", tmp_path / f"away{moment}"
        moved = []

        def move(
            count: int, place=place, away=away, moment=moment, moved=moved
        ) -> None:
            if (
                Table.exists(place)
                and not moved
                and Table.open(place).count() >= moment
            ):
                place.rename(away)
                moved.append(count)

        with pytest.raises(
            CollectionError,
            match=r"its folder no longer exists. Mount its disk again or move",
        ):
            lookalike.index(
                images,
                place,
                models=["pixels"],
                settings=IndexSettings(commit_rows=4, batch=2, threads=1),
                progress=move,
            )
        assert not place.exists()
        committed = indexed(away)
        assert committed >= moment
        away.rename(place)
        assert lookalike.index(images, place).added == 45 - committed


def test_a_collection_that_disappears_during_reading_is_named(
    whole, images, query, tmp_path
):
    path = shutil.copytree(whole, tmp_path / "collection")
    collection = Table.open(path)
    searched = lookalike.Collection(collection)
    searched.search(query)
    shutil.rmtree(path)
    for use in (
        lambda: sum(map(len, collection.scan(["thumbnail"]))),
        lambda: searched.search(query),
        lambda: lookalike.search(path, query),
        lambda: check(collection),
        lambda: backup(collection, tmp_path / "backup"),
        lambda: optimize(collection),
        lambda: make_map(collection, method="pca"),
        lambda: collection.remove([str(query)]),
    ):
        with pytest.raises(CollectionError, match=r"no longer exists|does not exist"):
            use()
    assert not (tmp_path / "collection").exists()
    assert not (tmp_path / "backup").exists()


def test_an_interrupted_file_write_leaves_no_file(whole, query, tmp_path):
    """A disk may accept the beginning of a file, and fail only when more is written."""
    for words in (
        ["dataset", "sample", "--to", tmp_path / "drawn"],
        ["search", query, "-c", whole, "--save", tmp_path / "a.png"],
    ):
        with file_limit(2048):
            message = refused(*words)
        assert "could not be written: no space is left on its disk." in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
