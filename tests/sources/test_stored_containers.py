"""Archives and Parquet files in object storage and on a hub are read in place, in few requests."""

from __future__ import annotations

import pickle
import sys

import pytest

import lookalike
from command import lookalike as run
from container_files import png, write_parquet, write_tar, write_zip
from hub_repository import ROOT
from lookalike.errors import SourceError
from lookalike.indexing.run import IndexSettings
from lookalike.sources import (
    archive_index,
    open_source,
    open_uri,
    parquet_columns,
    read_uri,
    stores,
    uri_exists,
)
from lookalike.store.table import Table
from objects_server import StoreFault, one_in

IMAGES = [png(number) for number in range(4)]


@pytest.fixture
def written(tmp_path):
    """Four containers with four images each, in a folder."""
    folder = tmp_path / "shards"
    folder.mkdir()
    members = {f"cat/{n}.png": data for n, data in enumerate(IMAGES)}
    shard = {}
    for number, data in enumerate(IMAGES):
        shard[f"{number}.png"] = data
        shard[f"{number}.cls"] = b"tabby" if number % 2 else b"siamese"
    write_zip(folder / "photos.zip", members)
    write_tar(folder / "shard 0.tar", shard)
    write_tar(folder / "photos.tar.gz", members, "w:gz")
    names = ["cat", "dog"]
    labels = [0, 1, 0, 1]
    write_parquet(folder / "pets.parquet", IMAGES, labels=labels, names=names)
    return folder


CONTAINERS = ["photos.zip", "shard 0.tar", "photos.tar.gz", "pets.parquet"]


@pytest.fixture(params=CONTAINERS)
def name(request):
    return request.param


@pytest.fixture
def bucket(object_store, written):
    object_store.put_folder(written, "shards/")
    return object_store


@pytest.fixture
def index(tmp_path):
    """Return a function that indexes sources in pixel space."""

    def index(*sources, **options):
        return lookalike.index(
            list(sources), tmp_path / "c", models=["pixels"], **options
        )

    return index


def rows(folder):
    """Return label and content of each image by its uri."""
    table = Table.open(folder)
    stored = table.take(table.ids_under([""]), ["uri", "label", "sha256"]).to_pylist()
    return {row["uri"]: (row["label"], row["sha256"]) for row in stored}


def kinds(requests):
    """Return the numbers of HEAD, GET and LIST requests."""
    heads = sum(request.method == "HEAD" for request in requests)
    reads = sum(request.is_read for request in requests)
    lists = sum(request.is_list for request in requests)
    return heads, reads, lists


def test_members_equal_those_of_local_containers(
    bucket, written, faulty_store, tmp_path, index
):
    local = [str(written / name) for name in CONTAINERS]
    lookalike.index(local, tmp_path / "local", models=["pixels"])
    expected = {}
    for uri, row in rows(tmp_path / "local").items():
        kind, _, place = uri.partition("://")
        stored = place.replace(str(written), f"{bucket.bucket}/shards")
        expected[f"{kind}+s3://{stored}"] = row

    addresses = [bucket.uri(f"shards/{name}") for name in CONTAINERS]
    report = index(*addresses)
    assert (report.added, report.failed, report.incomplete) == (16, 0, [])
    assert rows(tmp_path / "c") == expected
    # Members are originals of their rows.
    for uri in expected:
        assert uri_exists(uri)
        assert read_uri(uri) in IMAGES
    with open_uri(next(iter(expected))) as file:
        assert file.read() in IMAGES


# HEAD, GET and LIST requests of a first run, and of a second one in another process. A new image of
# an archive is one GET; headers and row groups are one for each 4 MiB.
REQUESTS = {
    "photos.zip": [(3, 1 + 4, 0), (2, 1, 0)],
    "shard 0.tar": [(3, 1 + 4, 0), (2, 1, 0)],
    "photos.tar.gz": [(3, 2, 0), (2, 2, 0)],
    "pets.parquet": [(4, 1 + 2 + 1, 0), (3, 1 + 1, 0)],
}


def test_an_unchanged_container_costs_its_headers(
    bucket, name, faulty_store, index, monkeypatch
):
    address = bucket.uri(f"shards/{name}")
    index(address)
    first = kinds(faulty_store.requests)
    faulty_store.requests.clear()
    forget()
    monkeypatch.setattr(
        "lookalike.indexing.worker.Worker.load", lambda *_: pytest.fail("read")
    )
    assert index(address).unchanged == 4
    assert [first, kinds(faulty_store.requests)] == REQUESTS[name]


def test_headers_of_a_large_archive_share_requests(
    object_store, faulty_store, tmp_path
):
    members = {f"{number}.png": bytes(20_000) for number in range(300)}
    content = write_tar(tmp_path / "a.tar", members).read_bytes()
    address = object_store.put("a.tar", content)
    source = open_source([address])
    faulty_store.requests.clear()
    items = list(source)
    assert len(items) == 300
    assert len(faulty_store.reads) == 2
    # Items can be sent to another process.
    item = pickle.loads(pickle.dumps(items[7]))
    assert item.read() == bytes(20_000)
    assert len(faulty_store.reads) == 3


def test_missing_members_are_removed_without_a_request_each(
    object_store, faulty_store, tmp_path, index
):
    members = {f"cat/{n}.png": png(n) for n in range(12)}
    path = write_zip(tmp_path / "a.zip", members)
    address = object_store.put("a.zip", path)
    index(address)
    object_store.put("a.zip", write_zip(path, {"cat/0.png": png(0)}))
    faulty_store.requests.clear()
    report = index(address)
    assert (report.removed, report.unchanged) == (11, 1)
    assert kinds(faulty_store.requests) == (2, 1, 0)

    # `remove` takes the address of an archive.
    done = run("remove", address, "-c", tmp_path / "c")
    assert "1" in done.stdout
    assert rows(tmp_path / "c") == {}


def test_a_container_that_vanished_keeps_its_rows(bucket, name, index, tmp_path):
    address = bucket.uri(f"shards/{name}")
    index(address)
    bucket.delete(f"shards/{name}")
    report = index(address)
    assert [(held.folder, held.missing) for held in report.withheld] == [(address, 4)]
    assert len(rows(tmp_path / "c")) == 4
    assert run("index", address, "-c", tmp_path / "c", status=1)
    assert index(address, settings=IndexSettings(prune=True)).removed == 4
    with pytest.raises(SourceError, match="no images in"):
        index(address)


def test_a_container_that_changes_while_it_is_read_mixes_nothing(bucket, name):
    items = list(open_source([bucket.uri(f"shards/{name}")]))
    forget()
    bucket.put(f"shards/{name}", b"x" * 100_000)
    for item in items:
        with pytest.raises(OSError, match="changed while it was read"):
            item.read()


def test_broken_members_are_failures(object_store, tmp_path, index):
    members = {"1.png": png(1), "2.png": b"no image", "3.png": png(3)}
    zipped = bytearray(write_zip(tmp_path / "a.zip", members).read_bytes())
    # The data of the first member, behind its header of 35 bytes.
    zipped[50] ^= 0xFF
    packed = write_tar(tmp_path / "a.tar", members).read_bytes()
    addresses = [
        object_store.put("a.zip", bytes(zipped)),
        object_store.put("a.tar", packed[:-11_000]),
    ]
    report = index(*addresses)
    failed = {uri.rpartition("/")[2] for uri, _ in report.failures}
    assert failed == {"1.png", "2.png", ""}
    assert report.incomplete == [addresses[1]]


@pytest.mark.parametrize("fault", [StoreFault(503), StoreFault(is_cut=True)])
def test_faults_of_the_store_are_retried(bucket, faulty_store, index, fault):
    faulty_store.fail = one_in(4, fault)
    addresses = [bucket.uri(f"shards/{name}") for name in CONTAINERS]
    report = index(*addresses)
    assert (report.added, report.failed, report.incomplete) == (16, 0, [])


def test_paths_that_are_no_containers_stay_prefixes(object_store, index):
    object_store.put("photos.zip/1.png", png(1))
    object_store.put("b#1.png", png(2))
    report = index(object_store.uri("photos.zip/"), object_store.uri("b#1.png"))
    assert report.added == 2


def test_a_column_follows_a_number_sign(bucket):
    address = bucket.uri("shards/pets.parquet")
    source = open_source([f"{address.replace('s3:', 'S3:')}#image"])
    assert source.roots == [f"{address}#image"]
    assert len(list(source)) == source.count() == 4
    with pytest.raises(SourceError, match="no column of images 'photo'"):
        open_source([f"{address}#photo"])


def test_errors_say_what_to_do(object_store, monkeypatch):
    with pytest.raises(SourceError, match="NoSuchBucket"):
        open_source(["s3://no-such-bucket/a.tar"])
    monkeypatch.setitem(sys.modules, "obstore", None)
    stores._cached_store.cache_clear()
    with pytest.raises(SourceError, match=r"pip install 'lookalike\[cloud\]'"):
        open_source([object_store.uri("a.parquet")])


# On a hub


@pytest.fixture
def repository(hub_repository, written):
    """The four containers in a repository on a hub."""
    for name in CONTAINERS:
        hub_repository.files[f"shards/{name}"] = (written / name).read_bytes()
    return hub_repository


def test_members_on_a_hub_equal_those_of_local_containers(
    repository, written, tmp_path, index
):
    lookalike.index(
        [str(written / name) for name in CONTAINERS],
        tmp_path / "local",
        models=["pixels"],
    )
    expected = {}
    for uri, row in rows(tmp_path / "local").items():
        kind, _, place = uri.partition("://")
        path = place.replace(str(written), f"{ROOT}/shards").removeprefix("hf://")
        expected[f"{kind}+hf://{path}"] = row

    addresses = [f"{ROOT}/shards/{name}" for name in CONTAINERS]
    report = index(*addresses)
    assert (report.added, report.failed, report.incomplete) == (16, 0, [])
    assert rows(tmp_path / "c") == expected
    for uri in expected:
        assert uri_exists(uri)
        assert read_uri(uri) in IMAGES

    # A commit that leaves the containers as they are changes nothing.
    repository.files["README.md"] = b"pets"
    forget()
    assert index(*addresses).unchanged == 16


def test_a_container_on_a_hub_is_read_at_one_commit(repository, name):
    items = list(open_source([f"{ROOT}/shards/{name}"]))
    forget()
    repository.files[f"shards/{name}"] = b"x" * 100_000
    assert [item.read() for item in items] == IMAGES


def test_a_container_that_a_hub_no_longer_has_keeps_its_rows(
    repository, name, index, tmp_path
):
    address = f"{ROOT}@main/shards/{name}"
    index(address)
    del repository.files[f"shards/{name}"]
    assert [held.missing for held in index(address).withheld] == [4]
    assert len(rows(tmp_path / "c")) == 4


def test_faults_of_a_hub_and_broken_members(repository, tmp_path, index):
    members = {"1.png": png(1), "2.png": b"no image", "3.png": png(3)}
    packed = write_tar(tmp_path / "a.tar", members).read_bytes()
    # It ends in the header of the third member: one of 512 bytes precedes each image of as many.
    repository.files["a.tar"] = packed[:2100]
    repository.faults += [503, 429]
    address = f"{ROOT}/a.tar"
    report = index(address)
    failed = {uri.rpartition("/")[2] for uri, _ in report.failures}
    assert (report.added, failed) == (1, {"2.png", ""})
    assert report.incomplete == [address]

    with pytest.raises(SourceError, match=r"no repository ann/dogs"):
        open_source(["hf://datasets/ann/dogs/a.tar"])
    with pytest.raises(SourceError, match="names a repository"):
        open_source(["hf://datasets/ann/photos.tar"])


def forget():
    """Forget what the process knows of containers."""
    caches = [
        archive_index._cached_index,
        archive_index._open_zip,
        archive_index._gzip_ranges,
        parquet_columns._footer,
        parquet_columns._cursor,
        parquet_columns.image_column,
    ]
    for cache in caches:
        cache.cache_clear()
