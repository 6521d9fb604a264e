"""A real Ray cluster: the rows of a local run, each image once whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import lookalike
from cluster_reads import ChangedSource, held, only_in, slow
from command import lookalike as run_command
from command import lookalike_json
from lookalike.cluster import RayEngine, RayExecutor
from lookalike.errors import ClusterError
from lookalike.indexing.run import IndexSettings
from lookalike.store import ann, tuning
from lookalike.store.table import Table
from made import SPACE, add_rows, drawn, make_collection

pytestmark = pytest.mark.slow

COUNT = 24


def on_ray(**options) -> IndexSettings:
    executor = RayExecutor(
        workers=options.pop("workers", 0), batch=options.pop("batch", 16)
    )
    return IndexSettings(executor=executor, **options)


def rows(path: Path) -> dict[str, dict]:
    """Return all columns of each uri, without ids."""
    table = Table.open(path)
    names = [
        "uri",
        "sha256",
        "label",
        "error",
        "spaces",
        "width",
        "thumbnail",
        *table.models,
    ]
    found = table.lance_dataset.to_table(columns=names).to_pylist()
    return {row["uri"]: row for row in found}


def assert_same_rows(path: Path, expected: Path) -> None:
    found = rows(path)
    wanted = rows(expected)
    assert found.keys() == wanted.keys()
    for uri, row in wanted.items():
        assert found[uri] == row


def assert_each_image_once(path: Path) -> None:
    uris = Table.open(path).lance_dataset.to_table(columns=["uri"])["uri"].to_pylist()
    assert len(uris) == len(set(uris)) == COUNT


@pytest.fixture(scope="module")
def local(images, tmp_path_factory) -> Path:
    """The images indexed without a cluster."""
    path = tmp_path_factory.mktemp("local") / "c"
    lookalike.index(images, path, models=["pixels"])
    return path


def test_rows_are_those_of_a_local_run(cluster, images, local, tmp_path):
    counts = lookalike_json(
        "index", images, "-c", tmp_path / "c", "--model", "pixels", "--on", "ray"
    )
    assert_same_rows(tmp_path / "c", local)
    assert counts["added"] == COUNT - 1
    assert counts["failed"] == 1
    work = counts["cluster"]
    assert sum(node["images"] for node in work["nodes"]) == COUNT
    assert {node["workers"] for node in work["nodes"]} == {1}
    assert (work["restarts"], work["repeated"]) == (0, 0)

    again = run_command("index", images, "-c", tmp_path / "c", "--on", "ray")
    assert "23 unchanged" in again.stdout


def test_a_new_space_is_filled_on_the_cluster(cluster, images, tmp_path):
    model = tmp_path / "half.toml"
    model.write_text(
        'name = "half"\ntitle = "Half"\narchitecture = "pixels"\nsize = [16, 16]\ndim = 768\n'
    )
    for path in ("here", "c"):
        lookalike.index(images, tmp_path / path, models=["pixels"])
    lookalike.index(images, tmp_path / "here", models=[model])
    done = run_command(
        *("index", images, "-c", tmp_path / "c", "--model", model),
        *("--on", "ray", "--workers", "1"),
    )
    assert "23 updated" in done.stdout
    assert "1 worker, 23 images" in done.stdout
    assert_same_rows(tmp_path / "c", tmp_path / "here")


_DEADLY_RUN = """
import json, sys
from functools import partial
from pathlib import Path
import lookalike
from cluster_reads import ChangedSource, deadly
from lookalike.cluster import RayExecutor
from lookalike.indexing.run import IndexSettings

folder, path, marks, address = sys.argv[1:]
source = ChangedSource(folder, partial(deadly, kills={"05": 100, "10": 1}, marks=Path(marks)))
settings = IndexSettings(executor=RayExecutor(address))
report = lookalike.index(source, path, models=["pixels"], settings=settings)
print(json.dumps([report.to_dict(), report.failures]))
"""


def test_images_of_dead_actors_are_done_by_others(cluster, images, local, tmp_path):
    """One image kills each actor that reads it, another only the first."""
    marks = tmp_path / "marks"
    marks.mkdir()
    paths = map(str, (images, tmp_path / "c", marks))
    command = [sys.executable, "-c", _DEADLY_RUN, *paths, cluster.address]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    # Nothing else is printed there.
    counts, failures = json.loads(done.stdout)
    deaths = Counter(mark.name.partition("-")[0] for mark in marks.iterdir())
    # A death may be blamed on the batch before, whose results were still on their way.
    assert 3 <= deaths["05"] <= 5
    assert deaths["10"] == 1
    assert counts["cluster"]["restarts"] == deaths.total()
    assert_each_image_once(tmp_path / "c")
    reasons = {Path(uri).name: reason for uri, reason in failures}
    assert reasons.keys() == {"02.png", "05.png"}
    assert "worker process died 3 times" in reasons["05.png"]
    # The next run tries it again.
    report = lookalike.index(images, tmp_path / "c")
    assert report.added == 1
    assert_same_rows(tmp_path / "c", local)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_the_images_of_a_lost_node_are_done_by_others(cluster, images, local, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    gate = tmp_path / "gate"
    removed = []

    def remove_node() -> None:
        # Every node holds images then, and none is done.
        deadline = time.monotonic() + 60
        while len(list(marks.iterdir())) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        [node, *_] = [
            node for node in cluster.worker_nodes if (marks / node.node_id).exists()
        ]
        cluster.remove_node(node, allow_graceful=False)
        removed.append(node)
        part = tmp_path / "gate.part"
        part.write_text(node.node_id)
        part.rename(gate)

    remover = threading.Thread(target=remove_node)
    remover.start()
    report = lookalike.index(
        ChangedSource(images, partial(held, marks=marks, gate=gate)),
        tmp_path / "c",
        models=["pixels"],
        settings=on_ray(batch=2),
    )
    remover.join()
    cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    assert removed
    assert report.cluster.restarts == 1
    assert 1 <= report.cluster.repeated < COUNT
    assert_same_rows(tmp_path / "c", local)


_DRIVER = """
import sys
import lookalike
from cluster_reads import ChangedSource, slow
from lookalike.cluster import RayExecutor
from lookalike.indexing.run import IndexSettings

folder, path, address = sys.argv[1:]
settings = IndexSettings(executor=RayExecutor(address, 2, batch=2), commit_rows=4)
lookalike.index(ChangedSource(folder, slow), path, models=["pixels"], settings=settings)
"""


def test_a_run_continues_where_its_driver_was_killed(cluster, images, local, tmp_path):
    path = tmp_path / "c"
    command = [sys.executable, "-c", _DRIVER, str(images), str(path), cluster.address]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and driver.poll() is None:
            if Table.exists(path) and Table.open(path).count():
                break
            time.sleep(0.05)
        driver.send_signal(signal.SIGKILL)
    before = len(rows(path))
    assert 0 < before < COUNT
    # A function without a name can be sent too.
    source = ChangedSource(images, lambda uri, read: read())
    report = lookalike.index(source, path, settings=on_ray(workers=1))
    nodes = report.cluster.nodes
    assert sum(node.images for node in nodes) == COUNT - before
    assert_each_image_once(path)
    assert_same_rows(path, local)


def test_an_interrupt_keeps_what_was_finished(cluster, images, local, tmp_path):
    def progress(count):
        if count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lookalike.index(
            ChangedSource(images, slow),
            tmp_path / "c",
            models=["pixels"],
            settings=on_ray(batch=2, workers=1),
            progress=progress,
        )
    assert 0 < len(rows(tmp_path / "c")) < COUNT
    lookalike.index(images, tmp_path / "c")
    assert_same_rows(tmp_path / "c", local)


def test_a_node_without_the_files_is_named(cluster, images, tmp_path):
    source = ChangedSource(images, partial(only_in, process=os.getpid()))
    with pytest.raises(ClusterError, match=r"The node .* cannot read .*png.*mount"):
        lookalike.index(
            source, tmp_path / "c", models=["pixels"], settings=on_ray(workers=1)
        )
    assert Table.open(tmp_path / "c").count() == 0


def test_the_error_of_a_model_names_the_node(cluster, images, tmp_path):
    """The vectors of this model are too large for a collection."""
    model = tmp_path / "dark.toml"
    model.write_text(
        'name = "dark"\ntitle = "Dark"\narchitecture = "pixels"\nsize = [8, 8]\ndim = 192\n'
        "std = [0.001, 0.001, 0.001]\nunit_length = false\n"
    )
    with pytest.raises(lookalike.errors.ModelError, match=r"^On .*not finite"):
        lookalike.index(
            images, tmp_path / "c", models=[model], settings=on_ray(workers=1)
        )


def test_another_version_on_a_node_is_refused(cluster, images, tmp_path, monkeypatch):
    monkeypatch.setattr(lookalike, "__version__", "99.0")
    with pytest.raises(ClusterError, match=r"this machine 99\.0\. Install the same"):
        lookalike.index(
            images, tmp_path / "c", models=["pixels"], settings=on_ray(workers=1)
        )


def test_an_item_that_cannot_be_sent_is_an_error(cluster, images, tmp_path):
    lock = threading.Lock()
    source = ChangedSource(images, lambda uri, read: lock and read())
    with pytest.raises(ClusterError, match="must be picklable"):
        lookalike.index(
            source, tmp_path / "c", models=["pixels"], settings=on_ray(workers=1)
        )


def test_images_and_table_in_an_object_store(
    cluster, images, local, tmp_path, object_store
):
    """The workers find the store by their environment, as the driver does."""
    object_store.put_folder(images, "in/")
    variables = {"env_vars": object_store.environment()}
    executor = RayExecutor(workers=1, options={"runtime_env": variables})
    path = object_store.uri("collection")
    report = lookalike.index(
        object_store.uri("in/"),
        path,
        models=["pixels"],
        settings=IndexSettings(executor=executor),
    )
    assert (report.added, report.failed) == (COUNT - 1, 1)
    names = ["uri", "sha256", "pixels"]
    rows_there = Table.open(path).lance_dataset.to_table(columns=names).to_pylist()
    rows_here = Table.open(local).lance_dataset.to_table(columns=names).to_pylist()
    assert len(rows_there) == COUNT
    vectors = {row["sha256"]: row["pixels"] for row in rows_here}
    for row in rows_there:
        assert row["uri"].startswith(object_store.uri("in/"))
        assert row["pixels"] == vectors[row["sha256"]]


def test_an_index_in_segments_is_tuned_and_updated(cluster, tmp_path):
    """Two workers build a segment each. Its recall is measured, and an update merges both."""
    table = make_collection(tmp_path / "c", drawn(900))
    add_rows(table, drawn(900, seed=1))
    built = tuning.build_index(table, SPACE, RayEngine(workers=2))
    assert len(built.segments) == 2
    assert ann.index_segments(table, SPACE) == built.segments
    sample = tuning.draw_sample(table, SPACE, 16)
    tuned = tuning.tune(table, SPACE, built, 0.9, sample)
    assert tuned.setting(10, filtered=False).recall >= 0.9
    assert tuned.setting(10, filtered=True).recall >= 0.9

    add_rows(table, drawn(100, seed=2))
    assert tuning.count_unindexed(table, SPACE) == 100
    updated = tuning.update_index(table, SPACE, tuned)
    assert len(updated.segments) == 1
    assert tuning.count_unindexed(table, SPACE) == 0


def test_optimize_merges_and_indexes_on_the_cluster(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "SAMPLE_ROWS", 16)
    table = make_collection(tmp_path / "c", drawn(900))
    add_rows(table, drawn(900, seed=1))
    report = lookalike_json(
        *("optimize", "-c", tmp_path / "c", "--on", "ray", "--workers", 1),
        *("--min-rows", 1000, "--recall", 0.9),
    )
    assert (report["fragments_before"], report["fragments"]) == (2, 1)
    (index,) = report["spaces"]
    assert (index["did"], index["rows"]) == ("built", 1800)
    assert index["recall"] >= 0.9
    table.refresh()
    found = ann.nearest(table, SPACE, drawn(1)[0].astype(np.float16), 10)
    assert found.distances[0] < 1e-3


def test_chunks_are_read_only_when_there_is_room(cluster, images):
    """The reader of the results is slow: the source waits for it."""
    from lookalike.indexing.worker import Task, Worker
    from lookalike.models.registry import resolve
    from lookalike.sources import LocalSource
    from lookalike.store.diff import ContentIndex

    tasks = [Task(item) for item in LocalSource([images])]
    read = []

    def chunks():
        for number in range(50):
            read.append(number)
            yield tasks[:4]

    none = ContentIndex(np.empty((0, 4), np.uint64), np.empty(0, np.int64))
    worker = Worker({"pixels": resolve("pixels")}, none, 10**8)
    executor = RayExecutor(workers=1, batch=4)
    results = executor.run(worker, chunks())
    next(results)
    assert len(read) <= 2 + 2
    executor.stop()
