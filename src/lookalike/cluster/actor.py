"""The part of a cluster run that runs on the nodes: a Worker in a process of its own.

Tasks and results cross the network as bytes. As objects, the arrays of a result would stay in Ray's
shared memory until the driver commits it.
"""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Sequence
from typing import NamedTuple

import ray
from ray import cloudpickle

import lookalike
from lookalike.errors import LookalikeError
from lookalike.indexing.worker import Result, Task, Worker

__all__ = ["BatchOutcome", "ImageActor", "NodeFacts", "pack", "unpack_results"]


class NodeFacts(NamedTuple):
    """Where an actor runs: Ray's id of the node, the machine's name, Lookalike's version there."""

    id: str
    host: str
    version: str


class BatchOutcome(NamedTuple):
    """The results of a batch.

    Attributes
    ----------
    packed
        The list of results, pickled.
    seconds
        The time that the batch took.
    error
        The error that ends the run, such as missing weights, or None.
    """

    packed: bytes
    seconds: float
    error: LookalikeError | None = None


class ImageActor:
    """Runs batches of tasks by one Worker, whose models are loaded once with one thread each.

    Parameters
    ----------
    worker
        The Worker. Its arrays lie in the shared memory of the node, once for all actors there.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def describe(self) -> NodeFacts:
        """Return where the actor runs."""
        context = ray.get_runtime_context()
        return NodeFacts(
            context.get_node_id(), socket.gethostname(), lookalike.__version__
        )

    def run(self, packed_tasks: bytes) -> BatchOutcome:
        """Run a batch. An error that is not the fault of one image is returned."""
        start = time.perf_counter()
        tasks = pickle.loads(packed_tasks)  # noqa: S301 (from the driver)
        results: list[Result] = []
        problem = None
        try:
            results = self._worker(tasks)
        except LookalikeError as error:
            problem = error
        packed = pack(results)
        seconds = time.perf_counter() - start
        return BatchOutcome(packed, seconds, problem)


def pack(objects: Sequence[Task] | Sequence[Result]) -> bytes:
    """Return tasks or results as bytes, which `pickle` reads.

    Raises
    ------
    TypeError, ValueError, pickle.PicklingError
        If the `read` of an Item cannot be sent to another process.
    """
    as_list = list(objects)
    try:
        packed = pickle.dumps(as_list, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError):
        packed = b"__main__"
    # The main module is another one there, and a function of a function has no name. Their code is
    # sent along, which takes several times as long.
    if b"__main__" in packed:
        packed = cloudpickle.dumps(as_list)  # type: ignore[no-untyped-call]
    return packed


def unpack_results(batch: BatchOutcome) -> list[Result]:
    """Return the results of a batch."""
    results: list[Result] = pickle.loads(batch.packed)  # noqa: S301 (from an actor)
    return results
