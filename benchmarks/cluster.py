"""Index on a Ray cluster: its rate beside threads, the driver's limit, and the cost of each kill.

The nodes are raylets of this machine with one core each. They share its cores with the driver.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster

import lookalike
from lookalike.cluster import RayExecutor
from lookalike.cluster.connection import silence_events
from lookalike.indexing.executor import ThreadExecutor
from lookalike.indexing.run import IndexSettings
from lookalike.indexing.worker import New, Result, Task, Worker
from lookalike.models.registry import resolve
from lookalike.sources import LocalSource
from lookalike.store.diff import ContentIndex
from lookalike.store.table import Table
from lookalike.types import Item
from measuring import Report, parser
from vectors_made import PHOTOGRAPHS, add_source, files, sample_images

NODE_MEMORY = 200_000_000
THUMBNAIL_BYTES = 5_000
KILLS = ("worker", "node", "driver")


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        _index_as_driver(*arguments.child)
        return 0
    report = Report("cluster", arguments, ["ray", "lance-ray", "pylance"])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as place:
        folder = sample_images(
            arguments.data, arguments.images, Path(place), arguments.seed
        )
        cluster = _start_cluster(arguments.workers)
        try:
            _measure_rates(report, arguments, folder, Path(place))
            _measure_driver(report, arguments, Path(place))
            _measure_kills(report, arguments, cluster, folder, Path(place))
        finally:
            ray.shutdown()
            cluster.shutdown()
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("cluster", "Index on a Ray cluster of this machine's cores.")
    add_source(options)
    options.add_argument(
        "--images", type=int, default=PHOTOGRAPHS, help="number of images"
    )
    options.add_argument(
        "--workers", type=int, default=2, help="the most workers (default: 2)"
    )
    options.add_argument(
        "--rows", type=int, default=100_000, help="made results for the driver's rate"
    )
    options.add_argument(
        "--kills", type=int, default=30, help="kills at random moments (default: 30)"
    )
    options.add_argument(
        "--kill-images", type=int, default=300, help="images of a run that is disturbed"
    )
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return options.parse_args()


def _start_cluster(nodes: int) -> Cluster:
    """Start a head without cores, and nodes with one core each."""
    cluster = Cluster()
    cluster.add_node(
        num_cpus=0, object_store_memory=NODE_MEMORY, include_dashboard=False
    )
    for _ in range(nodes):
        _add_node(cluster)
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    silence_events()
    return cluster


def _add_node(cluster: Cluster) -> None:
    cluster.add_node(wait=False, num_cpus=1, object_store_memory=NODE_MEMORY)


# The rate of a run


def _measure_rates(
    report: Report, arguments: argparse.Namespace, folder: Path, place: Path
) -> None:
    rows = []
    rates: dict[str, float] = {}
    for count in range(1, arguments.workers + 1):
        for kind in ("threads", "Ray workers"):
            name = f"{count} {kind}"
            executor = _executor(kind, count)
            settings = IndexSettings(executor=executor)
            path = place / name
            done = lookalike.index(folder, path, settings=settings)
            working = done.seconds
            if done.cluster is not None:
                # Without the start of the processes.
                total = sum(node.images_per_second for node in done.cluster.nodes)
                working = done.added / total
            rates[name] = done.added / working
            rows.append([name, done.seconds, working, rates[name]])
    added = resolve("pixels")
    settings = IndexSettings(executor=RayExecutor(workers=arguments.workers))
    done = lookalike.index(folder, path, models=[added], settings=settings)
    nodes = done.cluster.nodes if done.cluster is not None else []
    rate = sum(node.images_per_second for node in nodes)
    rows.append(["a second Space on Ray", done.seconds, done.updated / rate, rate])
    rates["a second Space on Ray"] = rate
    report.figures["images_per_second"] = rates
    report.print_table(
        "Indexing", ["", "whole run s", "at work s", "images per second"], rows
    )


def _executor(kind: str, count: int) -> Any:
    if kind == "threads":
        return ThreadExecutor(count)
    return RayExecutor(workers=count)


# The driver's limit


class MadeWorker:
    """Returns made results, so that only their transport takes time."""

    def __init__(self, dim: int) -> None:
        random_numbers = np.random.default_rng(0)
        self._vectors = random_numbers.normal(size=(64, dim)).astype(np.float32)
        self._thumbnail = bytes(THUMBNAIL_BYTES)

    def __call__(self, tasks: Sequence[Task], *_: object) -> list[Result]:
        results: list[Result] = []
        for number, task in enumerate(tasks):
            vector = self._vectors[number % 64]
            sha256 = task.item.uri.encode()[-32:].rjust(32, b"0")
            result = New(
                task.item,
                task.existing,
                sha256,
                (640, 480),
                self._thumbnail,
                {"efficientnet-lite0-int8": vector},
            )
            results.append(result)
        return results


class MadeSource(LocalSource):
    """Items of no file."""

    def __init__(self, count: int) -> None:
        super().__init__([Path(__file__).parent])
        self._count = count

    def __iter__(self) -> Iterator[Item]:
        for number in range(self._count):
            yield Item(f"/made/{number:032}.jpg", 1, 1, "made", bytes)

    def completed(self) -> dict[str, int]:
        return {}


class MadeExecutor:
    """Runs a MadeWorker in this process, whatever the Worker is."""

    def __init__(self, worker: MadeWorker, executor: RayExecutor | None = None) -> None:
        self._worker = worker
        self._executor = executor

    def run(
        self,
        worker: Worker,  # noqa: ARG002
        chunks: Iterable[Sequence[Task]],
    ) -> Iterator[list[Result]]:
        if self._executor is not None:
            yield from self._executor.run(self._worker, chunks)  # type: ignore[arg-type]
            return
        for chunk in chunks:
            yield self._worker(chunk)

    def stop(self) -> list[Result]:
        return [] if self._executor is None else self._executor.stop()


def _measure_driver(report: Report, arguments: argparse.Namespace, place: Path) -> None:
    """Measure the processor time of the driver for each row, and its memory."""
    worker = MadeWorker(resolve("efficientnet-lite0-int8").dim)
    rows = []
    figures: dict[str, Any] = {}
    for name, executor in (
        ("plan and commit", MadeExecutor(worker)),
        ("with Ray's transport", MadeExecutor(worker, RayExecutor())),
    ):
        settings = IndexSettings(
            executor=executor,
            commit_rows=100_000,
            commit_seconds=1e6,
            min_rows=10**9,
        )
        start = time.perf_counter()
        processor = time.process_time()
        lookalike.index(
            MadeSource(arguments.rows),
            place / name,
            models=["efficientnet-lite0-int8"],
            settings=settings,
        )
        seconds = time.perf_counter() - start
        used = time.process_time() - processor
        peak = psutil.Process().memory_info().rss / 2**20
        figures[name] = {
            "rows_per_second": arguments.rows / seconds,
            "rows_per_processor_second": arguments.rows / used,
            "resident_mib": peak,
        }
        rows.append([name, *figures[name].values()])
    figures["bytes_per_content"] = _bytes_per_content()
    report.figures["driver"] = figures
    report.print_table(
        f"The driver, {arguments.rows:,} made results",
        ["", "rows per second", "per processor second", "resident MiB"],
        rows,
    )
    print(f"Known contents: {figures['bytes_per_content']:.1f} bytes a row and node.")


def _bytes_per_content(rows: int = 1_000_000) -> float:
    """Return the bytes that a node holds for each content that the table has."""
    hashes = np.random.default_rng(0).integers(0, 2**63, (rows, 4)).astype(np.uint64)
    contents = ContentIndex(hashes, np.arange(rows))
    worker = Worker({}, contents, 1)
    return len(pickle.dumps(worker, pickle.HIGHEST_PROTOCOL)) / rows


# Kills


def _measure_kills(
    report: Report,
    arguments: argparse.Namespace,
    cluster: Cluster,
    folder: Path,
    place: Path,
) -> None:
    """Kill a worker, a node or the driver in turn, and count the rows after a rerun."""
    chosen = sorted(files(folder))[: arguments.kill_images]
    listed = place / "list.txt"
    listed.write_text("\n".join(map(str, chosen)) + "\n")
    start = time.perf_counter()
    at_work = _run_driver(cluster, listed, place / "undisturbed")["seconds"]
    undisturbed = time.perf_counter() - start
    generator = random.Random(arguments.seed)
    rows = []
    for number in range(arguments.kills):
        kind = KILLS[number % len(KILLS)]
        path = place / f"killed{number}"
        moment = generator.uniform(0.0, at_work)
        start = time.perf_counter()
        counts = _killed_run(cluster, listed, path, kind, moment, generator)
        lost = sorted(map(str, chosen)) != _uris(path)
        seconds = time.perf_counter() - start
        rows.append(
            [
                kind,
                moment,
                counts["restarts"],
                counts["repeated"],
                seconds - undisturbed,
                "lost or twice" if lost else "each once",
            ]
        )
        print(*rows[-1], file=sys.stderr)
        assert not lost, f"{path}: an image is lost or there twice"
        assert Table.open(path).count() == len(chosen)
    report.figures["kills"] = rows
    title = f"Kills in runs of {len(chosen)} images; undisturbed {undisturbed:.1f} s"
    report.print_table(
        f"{title}, {at_work:.1f} s of them at work",
        ["", "at s", "restarts", "images repeated", "cost s", "images"],
        rows,
    )


def _killed_run(
    cluster: Cluster,
    listed: Path,
    path: Path,
    kind: str,
    moment: float,
    generator: random.Random,
) -> dict[str, Any]:
    with _driver(cluster, listed, path) as driver:
        _wait_for_actors(cluster, driver)
        time.sleep(moment)
        if kind == "driver":
            driver.kill()
        elif kind == "node":
            node = generator.choice(sorted(cluster.worker_nodes, key=id))
            cluster.remove_node(node, allow_graceful=False)
            _add_node(cluster)
        else:
            actors = _actors(cluster)
            if actors:
                generator.choice(actors).kill()
        output, _ = driver.communicate()
    if kind != "driver" or driver.returncode == 0:
        assert driver.returncode == 0, f"the driver ended with {driver.returncode}"
        return json.loads(output)
    counts = _run_driver(cluster, listed, path)
    # What the driver had, and had not committed, is not known.
    counts["repeated"] = None
    return counts


def _driver(cluster: Cluster, listed: Path, path: Path) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, __file__),
        *("--child", str(listed), str(path), cluster.address),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _run_driver(cluster: Cluster, listed: Path, path: Path) -> dict[str, Any]:
    with _driver(cluster, listed, path) as driver:
        output, _ = driver.communicate()
    assert driver.returncode == 0
    return json.loads(output)


def _slow(read: Any) -> bytes:
    time.sleep(0.02)
    return read()


class SlowSource(LocalSource):
    """A list of images; each is read in 20 ms, as from a network."""

    def __iter__(self) -> Iterator[Item]:
        for item in super().__iter__():
            read = partial(_slow, item.read)
            yield Item(item.uri, item.size, item.mtime_ns, item.label, read)


def _index_as_driver(listed: str, path: str, address: str) -> None:
    executor = RayExecutor(address)
    settings = IndexSettings(executor=executor, commit_rows=64)
    done = lookalike.index(
        SlowSource([f"@{listed}"]), path, models=["pixels"], settings=settings
    )
    work = done.cluster
    images = sum(node.images for node in work.nodes) if work else 0
    seconds = 0.0
    if work is not None and images:
        seconds = images / sum(node.images_per_second for node in work.nodes)
    counts = {
        "images": images,
        "restarts": work.restarts if work else 0,
        "repeated": work.repeated if work else 0,
        "seconds": seconds,
    }
    print(json.dumps(counts))


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


def _uris(path: Path) -> list[str]:
    if not Table.exists(path):
        return []
    table = Table.open(path)
    rows = table.lance_dataset.to_table(columns=["uri"])
    return sorted(rows["uri"].to_pylist())


if __name__ == "__main__":
    raise SystemExit(main())
