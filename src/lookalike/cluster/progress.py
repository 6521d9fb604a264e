"""Count the work of the nodes of a cluster run."""

from __future__ import annotations

import statistics
import time
from collections import deque
from dataclasses import dataclass

from lookalike.indexing.executor import ClusterReport, NodeReport

__all__ = ["RunProgress"]

# A batch is slow if each of its images takes this many times the median, and it takes this long.
_SLOW_TIMES = 10
_SLOW_SECONDS = 10.0
# Batches that the median is taken of.
_MEDIAN_BATCHES = 1000


@dataclass(slots=True)
class _Node:
    name: str
    workers: int = 0
    most_workers: int = 0
    images: int = 0
    slow_batches: int = 0
    busy_seconds: float = 0.0


class RunProgress:
    """Counts the images of each node, the deaths of workers, and slow batches."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._start: float | None = None
        self._end = 0.0
        self._restarts = 0
        self._repeated = 0
        self._image_seconds: deque[float] = deque(maxlen=_MEDIAN_BATCHES)

    def add_worker(self, node_id: str, name: str) -> None:
        """Count a worker that has started on a node."""
        if self._start is None:
            self._start = time.perf_counter()
        node = self._nodes.setdefault(node_id, _Node(name))
        node.workers += 1
        node.most_workers = max(node.most_workers, node.workers)

    def remove_worker(self, node_id: str) -> None:
        """Count a worker that has died."""
        self._nodes[node_id].workers -= 1

    def add_death(self, images: int) -> None:
        """Count the death of a worker, and the images that are done again by others."""
        self._restarts += 1
        self._repeated += images

    def add_batch(self, node_id: str, images: int, seconds: float) -> None:
        """Count a finished batch."""
        self._end = time.perf_counter()
        node = self._nodes[node_id]
        node.images += images
        node.busy_seconds += seconds
        each = seconds / images
        if self._image_seconds and seconds >= _SLOW_SECONDS:
            usual = statistics.median(self._image_seconds)
            node.slow_batches += each > _SLOW_TIMES * usual
        self._image_seconds.append(each)

    def report(self) -> ClusterReport:
        """Return the counts."""
        seconds = 0.0
        if self._start is not None:
            seconds = max(0.0, self._end - self._start)
        nodes = []
        for node in self._nodes.values():
            rate = node.images / seconds if seconds else 0.0
            worker_seconds = seconds * node.most_workers
            busy = node.busy_seconds / worker_seconds if seconds else 0.0
            report = NodeReport(
                node.name,
                node.most_workers,
                node.images,
                rate,
                min(busy, 1.0),
                node.slow_batches,
            )
            nodes.append(report)
        nodes.sort(key=lambda report: report.node)
        return ClusterReport(nodes, self._restarts, self._repeated)
