"""Images in object storage are indexed as those of a folder, and lost by no fault of the store."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
import time

import pytest

import lookalike
from command import lookalike as run
from interruption import interrupt_at
from lookalike.errors import SourceError
from lookalike.indexing.run import IndexSettings
from lookalike.server.originals import open_original
from lookalike.server.problems import Problem
from lookalike.sources import open_source, open_uri, read_uri, stores, uri_exists
from lookalike.sources.objects import ObjectSource
from lookalike.store.table import Table
from made import picture
from objects_server import PAGE_SIZE, StoreFault, one_in

KEYS = [
    "photos/cat/1.jpg",
    "photos/cat/2.jpg",
    "photos/dog/b c#1?%20é+&=.jpg",
    "photos/top.jpg",
]


@pytest.fixture
def bucket(object_store):
    """A bucket with four images in ``photos``, and other objects."""
    for number, key in enumerate(KEYS):
        object_store.put(key, picture((40 * number, 90, 200 - 40 * number)))
    object_store.put("photos/cat/.hidden.jpg", b"hidden")
    object_store.put("photos/cat/notes.txt", b"text")
    object_store.put("photos/drafts/1.jpg", picture((1, 2, 3)))
    object_store.put("photos/empty/", b"")
    object_store.put("photos_old/1.jpg", picture((200, 200, 200)))
    return object_store


@pytest.fixture
def fast_retries(monkeypatch):
    """Give up after one retry and without pauses."""
    monkeypatch.setattr(stores, "_MAX_RETRIES", 1)
    monkeypatch.setattr(stores, "_PAGE_PAUSES_S", (0.0, 0.0))
    stores._cached_store.cache_clear()
    yield
    stores._cached_store.cache_clear()


def fail_lists(fault, *, first=0):
    """Return a `fail` function that fails all list requests from a number on."""
    seen = []

    def fail(request, _number):
        if not request.is_list:
            return None
        seen.append(request)
        return fault if len(seen) > first else None

    return fail


def index(path, *sources, **options):
    """Index in pixel space, and return the report."""
    return lookalike.index(sources, path, models=["pixels"], **options)


def rows(path):
    """Return label and content of each image by its uri."""
    table = Table.open(path)
    stored = table.take(table.ids_under([""]), ["uri", "label", "sha256"]).to_pylist()
    return {row["uri"]: (row["label"], row["sha256"]) for row in stored}


def test_a_prefix_is_indexed_as_a_folder(bucket, faulty_store, tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    local = tmp_path / "photos/cat/1.jpg"
    local.write_bytes(read_uri(bucket.uri(KEYS[0])))
    index(tmp_path / "local", tmp_path / "photos")
    of_local = rows(tmp_path / "local")[str(local)]

    root = bucket.uri("photos")
    report = index(tmp_path / "c", root, exclude=["drafts/"])
    assert report.added == 4
    assert report.skipped.other_kinds == {"txt": 1}
    assert report.skipped.excluded_folders == 1
    stored = rows(tmp_path / "c")
    assert set(stored) == {bucket.uri(key) for key in KEYS}
    labels = [stored[bucket.uri(key)][0] for key in KEYS]
    assert labels == ["cat", "cat", "dog", "photos"]
    assert stored[bucket.uri(KEYS[0])] == of_local

    # A second run reads no object, and one that wrote the same size within a second reads one.
    faulty_store.requests.clear()
    assert index(tmp_path / "c", f"{root}/", exclude=["drafts/"]).unchanged == 4
    assert faulty_store.reads == []
    changed = bytearray(read_uri(bucket.uri(KEYS[0])))
    changed[-3] ^= 1
    bucket.put(KEYS[0], bytes(changed))
    faulty_store.requests.clear()
    assert index(tmp_path / "c", root, exclude=["drafts/"]).updated == 1
    assert len(faulty_store.reads) == 1


def test_deleted_objects_are_removed_and_left_out_ones_stay(
    bucket, faulty_store, tmp_path
):
    index(tmp_path / "c", bucket.uri("photos"))
    bucket.delete(KEYS[0])
    faulty_store.requests.clear()
    report = index(tmp_path / "c", bucket.uri("photos"), exclude=["drafts/"])
    assert (report.removed, report.unchanged) == (1, 3)
    assert bucket.uri("photos/drafts/1.jpg") in rows(tmp_path / "c")
    # Only the object that the rules leave out was looked up; the other is that of the command.
    heads = [
        request.path for request in faulty_store.requests if request.method == "HEAD"
    ]
    assert [path.rpartition("/")[2] for path in heads] == ["photos", "1.jpg"]


def test_two_writes_within_a_second_leave_two_stamps(object_store):
    times = set()
    for color in range(3):
        uri = object_store.put("1.jpg", picture((color, color, color)))
        (by_list,) = open_source([object_store.uri()])
        (by_name,) = open_source([uri])
        assert by_list.mtime_ns == by_name.mtime_ns
        assert abs(by_list.mtime_ns / 1e9 - time.time()) < 5
        times.add(by_list.mtime_ns)
    assert len(times) == 3


def test_paths_of_a_bucket(bucket):
    whole = open_source([bucket.uri()])
    assert whole.roots == [f"s3://{bucket.bucket}"]
    labels = {item.uri.rpartition("/")[2]: item.label for item in whole}
    assert labels["top.jpg"] == "photos"
    assert whole.count() == 6

    # An inner prefix is part of the outer one, and so is a single object. Schemes have any case.
    outer = f"S3://{bucket.bucket}/photos"
    names = [bucket.uri("photos/cat/"), outer, bucket.uri(KEYS[0])]
    several = open_source(names, labels="none", hidden=True)
    assert isinstance(several, ObjectSource)
    assert several.roots == [bucket.uri("photos")]
    uris = [item.uri for item in several]
    assert len(uris) == len(set(uris)) == several.count() == 6
    assert uris[0] == bucket.uri(KEYS[0])
    assert {item.label for item in several} == {None}
    assert several.completed() == {bucket.uri("photos"): 6}

    # An Item can be sent to another process.
    item = pickle.loads(pickle.dumps(next(iter(several))))
    assert item.read() == read_uri(item.uri)


def test_single_objects(bucket, tmp_path):
    uri = bucket.uri(KEYS[0])
    source = open_source([uri])
    bucket.delete(KEYS[0])
    (item,) = source
    with pytest.raises(Exception, match="no such file"):
        item.read()

    assert not uri_exists(uri)
    assert uri_exists(bucket.uri("photos/cat"))
    assert not uri_exists(bucket.uri("photos/ca"))
    with pytest.raises(SourceError, match="no images under"):
        index(tmp_path / "c", uri)
    with pytest.raises(FileNotFoundError, match="no such object"):
        read_uri(uri)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (StoreFault(status=503), "503"),
        (StoreFault(status=403), "403"),
        (StoreFault(is_cut=True), "body"),
    ],
)
@pytest.mark.usefixtures("fast_retries")
def test_a_listing_that_breaks_off_removes_nothing(
    object_store, faulty_store, tmp_path, monkeypatch, fault, reason
):
    # Items of the first page are worked on before the second one fails.
    monkeypatch.setattr(stores, "_PAGE_SIZE", PAGE_SIZE)
    for number in range(PAGE_SIZE + 5):
        object_store.put(f"p/{number:02}.jpg", picture((number, 0, 0)))
    root = object_store.uri("p")
    index(tmp_path / "c", root)
    object_store.delete("p/01.jpg")
    object_store.delete("p/23.jpg")
    object_store.put("p/02b.jpg", picture((0, 99, 0)))

    # The first list request looks whether the store answers.
    faulty_store.fail = fail_lists(fault, first=2)
    done = run("index", root, "-c", tmp_path / "c", "--json", status=1)
    counts = json.loads(done.stdout)
    assert counts["incomplete"] == [root]
    assert (counts["added"], counts["removed"], counts["failed"]) == (1, 0, 1)
    failures = run("info", "--failures", "-c", tmp_path / "c").stdout
    assert "the listing broke off after image 20" in failures
    assert reason in failures
    assert len(rows(tmp_path / "c")) == PAGE_SIZE + 7  # with the failure

    faulty_store.fail = one_in(10**9, StoreFault())
    report = index(tmp_path / "c", root)
    assert (report.removed, report.failed, report.incomplete) == (2, 0, [])
    assert len(rows(tmp_path / "c")) == PAGE_SIZE + 4


def test_a_listing_that_is_cut_is_continued(object_store, faulty_store, monkeypatch):
    monkeypatch.setattr(stores, "_PAGE_SIZE", PAGE_SIZE)
    keys = [f"p/{number:02}.jpg" for number in range(2 * PAGE_SIZE + 1)]
    for key in keys:
        object_store.put(key, b"x")
    source = open_source([object_store.uri("p")])
    faulty_store.fail = one_in(2, StoreFault(is_cut=True))
    uris = [item.uri for item in source]
    assert uris == [object_store.uri(key) for key in keys]
    assert source.completed() == {object_store.uri("p"): len(keys)}


def test_a_prefix_that_vanished_removes_nothing(bucket, tmp_path):
    root = bucket.uri("photos/cat")
    index(tmp_path / "c", root)
    for key in ("1.jpg", "2.jpg", ".hidden.jpg", "notes.txt"):
        bucket.delete(f"photos/cat/{key}")
    done = run("index", root, "-c", tmp_path / "c", status=1)
    assert "Kept, although their files are missing: 2 images" in done.stdout
    assert len(rows(tmp_path / "c")) == 2
    run("index", root, "-c", tmp_path / "c", "--prune")
    assert rows(tmp_path / "c") == {}


def test_faults_of_reads_are_retried(object_store, faulty_store, tmp_path):
    for number in range(40):
        object_store.put(f"p/{number}.jpg", picture((5 * number, 0, 99)))
    kinds = [StoreFault(status=503), StoreFault(is_cut=True)]

    def fail(_request, number):
        return kinds[number // 5 % 2] if number % 5 == 0 else None

    faulty_store.fail = fail
    report = index(tmp_path / "c", object_store.uri("p"))
    assert (report.added, report.failed) == (40, 0)


@pytest.mark.usefixtures("fast_retries")
def test_an_object_that_cannot_be_read_is_a_failure(bucket, faulty_store, tmp_path):
    def fail(request, _number):
        is_denied = request.is_read and request.path.endswith("cat/1.jpg")
        return StoreFault(status=403) if is_denied else None

    faulty_store.fail = fail
    report = index(tmp_path / "c", bucket.uri("photos"))
    uri = bucket.uri("photos/cat/1.jpg")
    assert report.failures == [(uri, "cannot be read: the store answers 403 Forbidden")]
    assert report.added == 4
    faulty_store.fail = one_in(10**9, StoreFault())
    assert index(tmp_path / "c", bucket.uri("photos")).failed == 0


def test_reads_overlap(object_store, faulty_store, tmp_path):
    for number in range(40):
        object_store.put(f"p/{number}.jpg", picture((number, 0, 0)))
    faulty_store.latency_s = 0.05
    settings = IndexSettings(threads=1)
    index(tmp_path / "c", object_store.uri("p"), settings=settings)
    assert faulty_store.most_at_once >= 8


def test_queries_and_originals(bucket, tmp_path):
    collection = tmp_path / "c"
    index(collection, bucket.uri("photos"))
    uri = bucket.uri(KEYS[1])
    done = run("search", uri, "-c", collection, "--json")
    matches = json.loads(done.stdout)["matches"]
    assert matches[0]["uri"] == uri
    assert matches[0]["distance"] == pytest.approx(0, abs=1e-3)
    with open_uri(uri) as file:
        assert file.read() == read_uri(uri)

    # The server sends the original of a row.
    content = read_uri(uri)
    row = {"id": 1, "uri": uri, "name": "2.jpg", "size": len(content)}
    row["content"] = hashlib.sha256(content).hexdigest()
    original = open_original(row)
    with original.file as file:
        assert file.read() == content
    bucket.put(KEYS[1], picture((9, 9, 9)))
    with pytest.raises(Problem):
        open_original(row)


@pytest.mark.usefixtures("fast_retries")
def test_errors_say_what_to_do(object_store, monkeypatch, tmp_path):
    def error_of(path):
        done = run("index", path, "-c", tmp_path / "c", status=2)
        assert not (tmp_path / "c").exists()
        return done.stderr

    assert "404 Not Found (NoSuchBucket)" in error_of("s3://no-such-bucket/photos")
    assert "names no bucket" in error_of("s3:///photos")
    assert "no images under" in error_of(object_store.uri("nothing"))
    object_store.put("p//double.jpg", b"x")
    assert "a key is not a path" in error_of(object_store.uri("p"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "cannot be reached" in error_of(object_store.uri("p"))
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    assert "Account must be specified" in error_of("az://container/p")


def test_http_endpoints_need_no_further_variable(object_store, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    object_store.put("1.jpg", b"x")
    assert open_source([object_store.uri()]).count() == 1


@pytest.mark.slow
def test_local_images_do_not_load_obstore(root, tmp_path):
    (root / "1.jpg").write_bytes(picture((1, 2, 3)))
    code = (
        "import sys\n"
        "import lookalike\n"
        "folder, path = sys.argv[1:]\n"
        "lookalike.index(folder, path, models=['pixels'])\n"
        "lookalike.search(path, folder + '/1.jpg')\n"
        "assert 'obstore' not in sys.modules\n"
        "sys.modules['obstore'] = None\n"
        "lookalike.index('s3://bucket/photos', path)\n"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pip install 'lookalike[cloud]'" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("held", ["is_read", "is_list"])
def test_ctrl_c_does_not_wait_for_an_answer(bucket, faulty_store, tmp_path, held):
    path = tmp_path / "c"
    index(path, bucket.uri("photos/cat"))

    def is_held(request):
        is_last = request.path.endswith("top.jpg") or request.is_list
        return getattr(request, held) and is_last

    interrupt_at(faulty_store, is_held, "index", bucket.uri("photos"), "-c", path)
    assert Table.open(path).failures().num_rows == 0
    assert index(path, bucket.uri("photos")).failed == 0
    assert len(rows(path)) == 5


# The package loads its modules and then its functions; the second step waits for an event.
PAUSED_IMPORT = """
import importlib.machinery
import sys
import threading

half, rest = threading.Event(), threading.Event()

class PausedLoader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        source = self.get_data(self.path).decode()
        step = "from ._obstore import *"
        assert step in source
        paused = source.replace(step, "pause(); " + step)
        return compile(paused, self.path, "exec")

    def exec_module(self, module):
        module.pause = pause
        super().exec_module(module)

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        spec = super().find_spec(name, path, target)
        if name == "obstore":
            spec.loader = PausedLoader(name, spec.loader.path)
        return spec

def pause():
    half.set()
    assert rest.wait(60)

def read(uri):
    print(read_uri(uri))

sys.meta_path.insert(0, Finder)
from lookalike.sources import read_uri

first, second = (threading.Thread(target=read, args=(uri,)) for uri in sys.argv[1:])
first.start()
assert half.wait(60)
second.start()
# One that does not wait for the first one ends in this time.
second.join(1)
rest.set()
first.join()
second.join()
"""


def test_the_first_reads_may_be_at_once(object_store):
    uris = [object_store.put(name, name.encode()) for name in ("1.jpg", "2.jpg")]
    command = [sys.executable, "-c", PAUSED_IMPORT, *uris]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.splitlines()) == ["b'1.jpg'", "b'2.jpg'"], done.stderr
