"""The actors of a run: started where there are cores, replaced when they die, each kept busy."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pickle import PicklingError
from typing import Any

import lookalike
from lookalike.cluster.actor import (
    BatchOutcome,
    ImageActor,
    NodeFacts,
    pack,
    unpack_results,
)
from lookalike.cluster.batches import Batch
from lookalike.cluster.connection import import_ray
from lookalike.cluster.progress import RunProgress
from lookalike.errors import ClusterError
from lookalike.indexing.worker import Failed, LoadedImage, Result, Stale, Worker

__all__ = ["ActorPool"]

# An image that kills this many actors becomes a failure.
_MAX_DEATHS = 3
# Actors that cannot even be started, one after the other, end the run.
_MAX_FAILED_STARTS = 3
# Batches that an actor holds, the one that it runs included.
_MIN_DEPTH = 2
_MAX_DEPTH = 64
# The work that an actor holds, in seconds, covers the driver's longest commit up to the last.
_LEAST_AHEAD = 1.0
_MOST_AHEAD = 60.0
# Seconds between two looks at the size of the cluster.
_RESIZE_INTERVAL = 10.0
# Seconds without any actor after which the run ends.
_START_TIMEOUT = 300.0
# Seconds between two looks at a pool whose actors are all idle.
_IDLE_PAUSE = 0.05
# Seconds that `stop` waits for the batches in progress.
_STOP_TIMEOUT = 60.0


@dataclass(eq=False, slots=True)
class _Member:
    """An actor, the batches that it holds in their order, and the mean seconds of a batch."""

    handle: Any
    starting: Any
    facts: NodeFacts | None = None
    running: deque[tuple[Any, Batch]] = field(default_factory=deque)
    batch_seconds: float = 0.0

    @property
    def node(self) -> str:
        """The name of the node in messages."""
        facts = self.facts
        if facts is None:
            return "a new node"
        short_id = facts.id[:8]
        return f"{facts.host} ({short_id})"

    def next_reference(self) -> Any:
        """Return what Ray has to finish next for this actor; None if it is idle."""
        if self.facts is None:
            return self.starting
        if self.running:
            reference, _ = self.running[0]
            return reference
        return None


class ActorPool:
    """The actors of a run.

    Parameters
    ----------
    worker
        What the actors run. It is sent once to each node.
    size
        The number of actors; 0 for one per core of the cluster, also of nodes that join later.
    options
        Options of Ray for each actor, such as ``num_gpus`` or ``resources``.
    progress
        Counts what the actors do.

    Attributes
    ----------
    lost
        Batches whose actor died. They must be submitted again.
    """

    def __init__(
        self,
        worker: Worker,
        size: int,
        options: Mapping[str, Any],
        progress: RunProgress,
    ) -> None:
        self.lost: list[Batch] = []
        self._ray = import_ray()
        self._size = size
        self._progress = progress
        actor_options = {"num_cpus": 1, "scheduling_strategy": "SPREAD", **options}
        # A dead actor is replaced here, not by Ray, so that its batches are counted and given to
        # others.
        actor_options |= {"max_restarts": 0, "max_task_retries": 0}
        self._actor_class = self._ray.remote(ImageActor).options(**actor_options)
        self._worker = self._ray.put(worker)
        self._members: list[_Member] = []
        self._results: list[Result] = []
        self._ahead = _LEAST_AHEAD
        self._failed_starts = 0
        self._last_ready = time.monotonic()
        self._last_resize = -math.inf
        # Nodes that have read at least one image.
        self._nodes_with_files: set[str] = set()
        self._resize()

    @property
    def window(self) -> int:
        """The number of batches that all actors hold together while a run ends."""
        members = len(self._members)
        batches = _MIN_DEPTH * members
        return max(1, batches)

    def is_working(self) -> bool:
        """Return whether an actor holds a batch."""
        return any(member.running for member in self._members)

    def has_room(self) -> bool:
        """Return whether an actor should get another batch."""
        neediest = self._neediest()
        return neediest is not None

    def can_take(self, batch: Batch) -> bool:
        """Return whether an actor should get this batch now.

        A suspect runs alone, so that a death is not blamed on a batch whose results were still on
        their way.
        """
        neediest = self._neediest()
        if neediest is None:
            return False
        return not batch.is_suspect or not neediest.running

    def submit(self, batch: Batch) -> None:
        """Give a batch to the actor that needs it most.

        Raises
        ------
        ClusterError
            If the tasks cannot be sent to another process.
        """
        member = self._neediest()
        assert member is not None  # noqa: S101 (has_room)
        try:
            packed = pack(batch.tasks)
        except (TypeError, AttributeError, ValueError, PicklingError) as error:
            uri = batch.tasks[0].item.uri
            raise ClusterError(
                f"The image {uri} cannot be sent to another process: {error}. "
                "The `read` of an Item must be picklable: it holds no lock, file or connection."
            ) from error
        reference = member.handle.run.remote(packed)
        member.running.append((reference, batch))

    def plan_ahead(self, pause: float) -> None:
        """Let actors hold enough work for a pause of the driver, in seconds."""
        longest = max(self._ahead, 1.2 * pause)
        self._ahead = min(longest, _MOST_AHEAD)

    def wait(self) -> list[Result]:
        """Wait for any actor, and return the results that are ready.

        Raises
        ------
        ClusterError
            If no actor can be started, a node has another version of Lookalike, or a node does not
            see the files.
        LookalikeError
            The error of a Worker that is not the fault of one image.
        """
        self._resize()
        for member in self._ready_members(timeout=1.0):
            if member.facts is None:
                self._finish_start(member)
            else:
                self._finish_batches(member)
        if any(member.facts is not None for member in self._members):
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > _START_TIMEOUT:
            raise ClusterError(
                f"No worker has started for {_START_TIMEOUT:.0f} seconds: the cluster has no free "
                "core. See `ray status`, add nodes, or stop other jobs. "
                "The next run continues from here."
            )
        results = self._results
        self._results = []
        return results

    def stop(self) -> list[Result]:
        """Wait for the batches in progress, end the actors, and return the results."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        heads = []
        for member in self._members:
            running = member.running
            if running:
                reference, _ = running[0]
                heads.append(reference)
        if heads:
            count = len(heads)
            self._ray.wait(heads, num_returns=count, timeout=_STOP_TIMEOUT)
        members = list(self._members)
        for member in members:
            running = member.running
            while running and time.monotonic() < deadline:
                reference, _ = running[0]
                first = [reference]
                ready, _ = self._ray.wait(first, timeout=0)
                if not ready:
                    break
                self._collect_quietly(member)
        self.close()
        results = self._results
        self._results = []
        return results

    def close(self) -> None:
        """End the actors."""
        for member in self._members:
            self._ray.kill(member.handle, no_restart=True)
        self._members.clear()

    # Actors

    def _resize(self) -> None:
        """Start actors until there are as many as wanted."""
        now = time.monotonic()
        if now - self._last_resize < _RESIZE_INTERVAL:
            return
        self._last_resize = now
        wanted = self._size or self._cluster_cores()
        while len(self._members) < wanted:
            handle = self._actor_class.remote(self._worker)
            member = _Member(handle, handle.describe.remote())
            self._members.append(member)

    def _cluster_cores(self) -> int:
        resources = self._ray.cluster_resources()
        cores = resources.get("CPU", 0)
        whole_cores = int(cores)
        return max(1, whole_cores)

    def _live_nodes(self) -> set[str]:
        live_nodes = set()
        for node in self._ray.nodes():
            if node["Alive"]:
                live_nodes.add(node["NodeID"])
        return live_nodes

    def _neediest(self) -> _Member | None:
        """Return the actor with the fewest batches among those that should get another."""
        chosen: _Member | None = None
        fewest = math.inf
        for member in self._members:
            if member.facts is None:
                continue
            running = member.running
            count = len(running)
            depth = self._depth(member)
            if count >= depth:
                continue
            has_suspect = any(batch.is_suspect for _, batch in running)
            if has_suspect:
                continue
            if count < fewest:
                chosen = member
                fewest = count
        return chosen

    def _depth(self, member: _Member) -> int:
        """Return how many batches an actor holds: enough for the driver's longest pause."""
        seconds = member.batch_seconds
        if not seconds:
            return _MIN_DEPTH
        batches_ahead = self._ahead / seconds
        batches = math.ceil(batches_ahead)
        depth = max(batches, _MIN_DEPTH)
        return min(depth, _MAX_DEPTH)

    def _ready_members(self, timeout: float) -> list[_Member]:
        """Return the actors that have finished something, after waiting for the first."""
        by_reference = {}
        for member in self._members:
            reference = member.next_reference()
            if reference is not None:
                by_reference[reference] = member
        if not by_reference:
            time.sleep(_IDLE_PAUSE)
            return []
        references = list(by_reference)
        count = len(references)
        ready, _ = self._ray.wait(references, timeout=timeout, fetch_local=False)
        if count > 1:
            # All that are ready by now.
            ready, _ = self._ray.wait(
                references, num_returns=count, timeout=0, fetch_local=False
            )
        ready_members = []
        for reference in ready:
            member = by_reference[reference]
            ready_members.append(member)
        return ready_members

    def _finish_start(self, member: _Member) -> None:
        try:
            facts = self._ray.get(member.starting)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise ClusterError(
                    f"No worker can be started: {_last_line(error)}. Install the same version of "
                    f"Lookalike ({lookalike.__version__}) and of Python on every node."
                ) from error
            self._drop(member)
            return
        self._failed_starts = 0
        member.facts = facts
        if facts.version != lookalike.__version__:
            raise ClusterError(
                f"The node {member.node} has Lookalike {facts.version}, this machine "
                f"{lookalike.__version__}. Install the same version on every node."
            )
        self._progress.add_worker(facts.id, member.node)

    def _drop(self, member: _Member) -> None:
        """End an actor that is dead or cannot be reached, and take its batches back."""
        self._ray.kill(member.handle, no_restart=True)
        self._members.remove(member)
        if member.facts is not None:
            self._progress.remove_worker(member.facts.id)
        # A new one starts at the next wait.
        self._last_resize = -math.inf

    # Batches

    def _finish_batches(self, member: _Member) -> None:
        """Take all results of an actor that are ready."""
        while member.running:
            reference, _ = member.running[0]
            ready, _ = self._ray.wait([reference], timeout=0, fetch_local=False)
            if not ready or not self._collect(member):
                return

    def _collect_quietly(self, member: _Member) -> None:
        """Take the results of a batch while the run stops; those of a dead actor are left."""
        reference, _ = member.running.popleft()
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return
        self._results += unpack_results(outcome)

    def _collect(self, member: _Member) -> bool:
        """Take the results of an actor's first batch; return whether the actor is still there."""
        reference, batch = member.running[0]
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise ClusterError(
                f"A worker on {member.node} failed: {_last_line(error)}."
            ) from error
        except self._ray.exceptions.RayError:
            self._bury(member)
            return False
        self._take(member, batch, outcome)
        return True

    def _take(self, member: _Member, batch: Batch, outcome: BatchOutcome) -> None:
        assert member.facts is not None  # noqa: S101 (it has run a batch)
        if outcome.error is not None:
            kind = type(outcome.error)
            raise kind(f"On {member.node}: {outcome.error}")
        results = unpack_results(outcome)
        self._check_files(member, results)
        # The results count as taken from here on.
        member.running.popleft()
        self._results += results
        member.batch_seconds = _moving_mean(member.batch_seconds, outcome.seconds)
        self._progress.add_batch(member.facts.id, len(batch.tasks), outcome.seconds)

    def _bury(self, member: _Member) -> None:
        """Give the batches of a dead actor back. Its first batch may have killed it."""
        facts = member.facts
        assert facts is not None  # noqa: S101 (it has run a batch)
        running = member.running
        batches = [batch for _, batch in running]
        running.clear()
        self._drop(member)
        first, *others = batches
        image_counts = [len(batch.tasks) for batch in batches]
        images = sum(image_counts)
        self._progress.add_death(images)

        deaths = first.deaths
        worker_id = facts.id
        deaths.append(worker_id)
        survivors = []
        # One image at a time, to find the one.
        for single in first.singles():
            is_deadly = self._is_deadly(single)
            if is_deadly:
                failure = _failure(single)
                self._results.append(failure)
            else:
                survivors.append(single)
        self.lost += survivors
        self.lost += others

    def _is_deadly(self, batch: Batch) -> bool:
        """Return whether a batch has killed enough actors; a node that failed does not count."""
        deaths = batch.deaths
        if len(deaths) < _MAX_DEATHS:
            return False
        live_nodes = self._live_nodes()
        counted = 0
        for node in deaths:
            if node in live_nodes:
                counted += 1
        return counted >= _MAX_DEATHS

    def _check_files(self, member: _Member, results: Iterable[Result]) -> None:
        """Raise ClusterError if a node reads none of its first images, and this machine does."""
        assert member.facts is not None  # noqa: S101 (it has run a batch)
        if member.facts.id in self._nodes_with_files:
            return
        unreadable: Failed | Stale | None = None
        for result in results:
            is_unread = isinstance(result, Stale)
            if isinstance(result, Failed):
                is_unread = not result.readable
            if not is_unread:
                self._nodes_with_files.add(member.facts.id)
                return
            unreadable = unreadable or result  # type: ignore[assignment]
        if unreadable is None or not _can_read(unreadable):
            return
        raise ClusterError(
            f"The node {member.node} cannot read {unreadable.item.uri} "
            f"({unreadable.reason}), which this machine reads. Every node must see the same files "
            "under the same paths: mount the folder on every node, or index from object storage."
        )


def _can_read(result: Failed | Stale) -> bool:
    """Return whether this process can read an image."""
    try:
        result.item.read()
    except Exception:  # noqa: BLE001 (whatever a source raises, it is not readable here either)
        return False
    return True


def _failure(batch: Batch) -> Result:
    """Return the result of an image that kills the process that works on it."""
    (task,) = batch.tasks
    deaths = len(batch.deaths)
    reason = f"its worker process died {deaths} times, perhaps out of memory"
    return LoadedImage(task, (), error=reason).result()


def _moving_mean(mean: float, value: float) -> float:
    if not mean:
        return value
    return 0.8 * mean + 0.2 * value


def _last_line(error: BaseException) -> str:
    text = str(error)
    stripped = text.strip()
    lines = stripped.splitlines()
    if not lines:
        kind = type(error)
        return kind.__name__
    last_line = lines[-1].strip()
    return last_line.rstrip(".")
