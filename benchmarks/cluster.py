"""Index on a Ray cluster: its rate beside threads, the driver's limit, and the cost of each kill.

With ``--table s3`` the tables lie in a server of objects, and the photographs too.

The nodes are raylets of this machine with one core each. They share its cores with the driver.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster

import lookalike
from cluster_kills import KILLS, NODE_MEMORY, add_node, measure_kills
from cluster_table import measure_table
from lookalike.cluster import RayExecutor
from lookalike.cluster.connection import silence_events
from lookalike.indexing.executor import ThreadExecutor
from lookalike.indexing.run import IndexSettings
from lookalike.indexing.worker import New, Result, Task, Worker
from lookalike.models.registry import resolve
from lookalike.sources import LocalSource
from lookalike.store.diff import ContentIndex
from lookalike.types import Item
from measuring import Report, parser
from servers import object_server
from vectors_made import PHOTOGRAPHS, add_source, sample_images

THUMBNAIL_BYTES = 5_000
_PARTS = ("rates", "driver", "kills", "table")


def main() -> int:
    arguments = _arguments()
    parts = _PARTS if arguments.parts is None else arguments.parts
    report = Report("cluster", arguments, ["ray", "lance-ray", "pylance"])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = sample_images(arguments.data, arguments.images, place, arguments.seed)
        server, tables = None, str(place)
        if arguments.table == "s3":
            server = stack.enter_context(object_server(place))
            # Before the nodes start: their workers have the same environment.
            os.environ.update(server.environment)
            server.client().create_bucket(Bucket="tables")
            tables = "s3://tables"
        cluster = _start_cluster(arguments.workers)
        stack.callback(cluster.shutdown)
        stack.callback(ray.shutdown)
        if "rates" in parts:
            _measure_rates(report, arguments, folder, place)
        if "driver" in parts:
            _measure_driver(report, arguments, place)
        if "kills" in parts:
            measure_kills(report, arguments, cluster, folder, place, tables)
        if "table" in parts and server is not None:
            measure_table(report, arguments, cluster, server, folder, place, tables)
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
    options.add_argument(
        "--kill-kinds",
        nargs="+",
        choices=KILLS,
        default=KILLS,
        help="what is killed in turn (default: all)",
    )
    options.add_argument(
        "--commit-rows",
        type=int,
        default=64,
        help="rows of a commit of a run that is disturbed (default: 64)",
    )
    options.add_argument(
        "--table",
        choices=["folder", "s3"],
        default="folder",
        help="where tables lie; s3 is a server of objects on this machine (default: folder)",
    )
    options.add_argument(
        "--parts",
        nargs="+",
        choices=_PARTS,
        help="what to measure (default: all; table needs --table s3)",
    )
    return options.parse_args()


def _start_cluster(nodes: int) -> Cluster:
    """Start a head without cores, and nodes with one core each."""
    cluster = Cluster()
    cluster.add_node(
        num_cpus=0, object_store_memory=NODE_MEMORY, include_dashboard=False
    )
    for _ in range(nodes):
        add_node(cluster)
    cluster.wait_for_nodes()
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    silence_events()
    return cluster


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
            executor=executor, commit_rows=100_000, commit_seconds=1e6, min_rows=10**9
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


if __name__ == "__main__":
    raise SystemExit(main())
