"""Kill a worker, a node or the driver of a run on Ray, and count what that costs.

As a command it is such a driver.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

import lookalike
from lookalike.cluster import RayExecutor
from lookalike.indexing.run import IndexSettings
from lookalike.sources import LocalSource
from lookalike.store.location import MAPS, TABLE, TRASH, VERSIONS, LockName
from lookalike.store.places import locate
from lookalike.store.table import Table
from lookalike.types import Item
from measuring import Report
from vectors_made import files

KILLS = ("worker", "node", "driver")
NODE_MEMORY = 200_000_000


def add_node(cluster: Cluster) -> None:
    """Start a node of one core."""
    cluster.add_node(wait=False, num_cpus=1, object_store_memory=NODE_MEMORY)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that is disturbed: its cluster, its images, its collection, and a file of its reads."""

    cluster: Cluster
    listed: Path
    collection: str
    reads: Path
    commit_rows: int

    def start(self) -> subprocess.Popen[str]:
        """Start a driver."""
        command = [
            sys.executable,
            __file__,
            str(self.listed),
            self.collection,
            self.cluster.address,
            str(self.reads),
            str(self.commit_rows),
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def finish(self) -> dict[str, Any]:
        """Run a driver to its end; return its counts."""
        with self.start() as driver:
            return _counts(driver)

    def read_count(self) -> int:
        """Return how many images workers have read so far."""
        return self.reads.stat().st_size if self.reads.exists() else 0


def measure_kills(
    report: Report,
    arguments: argparse.Namespace,
    cluster: Cluster,
    folder: Path,
    place: Path,
    tables: str,
) -> None:
    """Kill a worker, a node or the driver in turn, and count rows and files after a rerun."""
    chosen = sorted(map(str, files(folder)))[: arguments.kill_images]
    listed = place / "list.txt"
    listed.write_text("\n".join(chosen) + "\n")
    commit_rows = arguments.commit_rows
    undisturbed = _Run(
        cluster, listed, f"{tables}/undisturbed", place / "reads", commit_rows
    )
    start = time.perf_counter()
    at_work = undisturbed.finish()["seconds"]
    seconds = time.perf_counter() - start

    generator = random.Random(arguments.seed)
    rows = []
    for number in range(arguments.kills):
        kind = arguments.kill_kinds[number % len(arguments.kill_kinds)]
        path, reads = f"{tables}/killed{number}", place / f"reads{number}"
        run = _Run(cluster, listed, path, reads, commit_rows)
        moment = generator.uniform(0.0, at_work)
        start = time.perf_counter()
        restarts = _disturb(run, kind, moment, generator)
        cost = time.perf_counter() - start - seconds
        repeated = run.read_count() - len(chosen)

        _check_rows(run.collection, chosen)
        orphans = list(_orphans(run.collection))
        collection = lookalike.Collection.open(run.collection)
        collection.optimize(keep_days=0)
        collection.remove_unfinished()
        _check_rows(run.collection, chosen)
        left = list(_orphans(run.collection))
        assert not left, f"{run.collection}: files of no version: {left}"
        rows.append([kind, moment, restarts, repeated, cost, len(orphans), len(left)])
        print(*rows[-1], file=sys.stderr)

    report.figures["kills"] = rows
    headers = [
        "",
        "at s",
        "restarts",
        "images repeated",
        "cost s",
        "files of no version",
        "after optimize",
    ]
    report.print_table(
        f"Kills in runs of {len(chosen)} images; undisturbed {seconds:.1f} s, "
        f"{at_work:.1f} s of them at work. Every image is there once",
        headers,
        rows,
    )
    most = max((row[3] for row in rows), default=0)
    print(f"A kill cost {most} images at most, which others read again.")


def _disturb(run: _Run, kind: str, moment: float, generator: random.Random) -> int:
    """Kill something at a moment of a run, and run it again if it ended; return the restarts."""
    with run.start() as driver:
        _wait_for_actors(run.cluster, driver)
        time.sleep(moment)
        if kind == "driver":
            driver.kill()
        elif kind == "node":
            node = generator.choice(sorted(run.cluster.worker_nodes, key=id))
            run.cluster.remove_node(node, allow_graceful=False)
            add_node(run.cluster)
        elif actors := _actors(run.cluster):
            generator.choice(actors).kill()
        driver.wait()
        status = driver.returncode
        # A crash within Ray ends a driver by a signal, as a kill does.
        was_killed = status < 0
        if not was_killed:
            counts = _counts(driver)
            return int(counts["restarts"])
    if kind != "driver":
        print(f"The driver crashed by signal {-status}, too.", file=sys.stderr)
    run.finish()
    return 1


def _counts(driver: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = driver.communicate()
    assert driver.returncode == 0, f"the driver ended with {driver.returncode}"
    counts: dict[str, Any] = json.loads(output)
    return counts


def _wait_for_actors(cluster: Cluster, driver: subprocess.Popen[str]) -> None:
    while driver.poll() is None and not _actors(cluster):
        time.sleep(0.05)


def _actors(cluster: Cluster) -> list[psutil.Process]:
    """Return the processes of actors below the raylets of this cluster."""
    actors = []
    for node in cluster.list_all_nodes():
        for info in node.all_processes.get("raylet", []):
            try:
                children = psutil.Process(info.process.pid).children(recursive=True)
                actors += [
                    child
                    for child in children
                    if "ImageActor" in "".join(child.cmdline())
                ]
            except psutil.NoSuchProcess:
                continue
    return actors


def _check_rows(collection: str, expected: list[str]) -> None:
    table = Table.open(collection)
    rows = table.lance_dataset.to_table(columns=["uri"])
    uris = sorted(rows["uri"].to_pylist())
    assert uris == expected, f"{collection}: an image is lost or there twice"


def _orphans(collection: str) -> Iterator[str]:
    """Yield every file of a collection that nothing accounts for, whatever its kind."""
    table = Table.open(collection)
    known = {*LockName}
    for folder, dataset in ((TABLE, table.lance_dataset), (TRASH, table.trash.open())):
        if dataset is None:
            continue
        known.add(f"{folder}/{VERSIONS}/latest_version_hint.json")
        tracked = dataset.tracked_files().read_all()
        known.update(f"{folder}/{name}" for name in tracked["path"].to_pylist())
    for file in locate(collection).files():
        if file.name not in known and not file.name.startswith(f"{MAPS}/"):
            yield file.name


# The driver


def _slow(read: Any, reads: str) -> bytes:
    time.sleep(0.02)
    with Path(reads).open("ab") as file:
        file.write(b".")
    return read()


class SlowSource(LocalSource):
    """A list of images; each is read in 20 ms, as from a network, and noted in a file."""

    def __init__(self, listed: str, reads: str) -> None:
        super().__init__([f"@{listed}"])
        self._reads = reads

    def __iter__(self) -> Iterator[Item]:
        for item in super().__iter__():
            read = partial(_slow, item.read, self._reads)
            yield Item(item.uri, item.size, item.mtime_ns, item.label, read)


def _index_as_driver(
    listed: str, collection: str, address: str, reads: str, commit_rows: str
) -> None:
    executor = RayExecutor(address)
    settings = IndexSettings(executor=executor, commit_rows=int(commit_rows))
    done = lookalike.index(
        SlowSource(listed, reads), collection, models=["pixels"], settings=settings
    )
    work = done.cluster
    seconds = 0.0
    if work is not None and work.nodes:
        images = sum(node.images for node in work.nodes)
        seconds = images / sum(node.images_per_second for node in work.nodes)
    counts = {"restarts": work.restarts if work else 0, "seconds": seconds}
    print(json.dumps(counts))


if __name__ == "__main__":
    _index_as_driver(*sys.argv[1:])
