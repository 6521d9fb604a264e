"""The thread pool and the batcher: bounded, in order, and each request gets its own result."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike.server.batching import Batcher
from lookalike.server.limits import BoundedPool
from lookalike.server.problems import Problem


class Work:
    """Doubles numbers once `go` is set, and records the batches; fails for 13, and breaks at 99."""

    def __init__(self):
        self.batches = []
        self.go = threading.Event()

    def __call__(self, numbers):
        self.batches.append(list(numbers))
        assert self.go.wait(120)
        if 99 in numbers:
            raise RuntimeError("broken")
        return [
            ValueError("unlucky") if number == 13 else str(2 * number)
            for number in numbers
        ]

    async def started(self, batches=1):
        while len(self.batches) < batches:
            await asyncio.sleep(0.001)


@pytest.fixture
def work():
    return Work()


def run_in_thread(coroutine):
    """Run a coroutine in a thread that has no event loop yet."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, asyncio.wait_for(coroutine, 60)).result()


def start(batcher, numbers):
    return [asyncio.create_task(batcher.run(number)) for number in numbers]


async def results(tasks):
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_free_thread_takes_its_share_of_the_waiting_requests(work):
    async def scenario():
        pool = BoundedPool("work", 2, 20)
        batcher = Batcher(pool, work, workers=2, max_batch=3)
        tasks = start(batcher, range(7))
        await work.started(2)
        assert (pool.in_progress, work.batches) == (7, [[0], [1]])
        work.go.set()
        return await results(tasks), pool.in_progress

    assert run_in_thread(scenario()) == ([str(2 * number) for number in range(7)], 0)
    # Five requests waited for two threads, and then two requests for the other thread.
    assert work.batches == [[0], [1], [2, 3, 4], [5], [6]]


def test_a_failed_or_cancelled_request_does_not_affect_its_batch(work):
    async def scenario():
        batcher = Batcher(BoundedPool("work", 1, 20), work, workers=1, max_batch=9)
        tasks = start(batcher, [0, 1, 13, 3, 4])
        await work.started()
        tasks[3].cancel()
        work.go.set()
        return await results(tasks)

    zero, one, thirteen, cancelled, four = run_in_thread(scenario())
    assert (zero, one, four) == ("0", "2", "8")
    assert str(thirteen) == "unlucky"
    assert isinstance(cancelled, asyncio.CancelledError)
    assert work.batches == [[0], [1, 13, 4]]


def test_an_exception_fails_its_whole_batch_and_no_other(work):
    work.go.set()

    async def scenario():
        batcher = Batcher(BoundedPool("work", 1, 20), work, workers=1, max_batch=2)
        return await results(start(batcher, [0, 1, 99, 3]))

    zero, *failed, three = run_in_thread(scenario())
    assert (zero, three) == ("0", "6")
    assert [str(error) for error in failed] == ["broken"] * 2


def test_requests_beyond_the_queue_are_refused_until_there_is_room(work):
    async def scenario():
        pool = BoundedPool("work", 1, 1)
        batcher = Batcher(pool, work, workers=1, max_batch=2)
        tasks = start(batcher, range(4))
        await work.started()
        others = await results([pool.run(print)])
        work.go.set()
        return await results(tasks), others, await batcher.run(5)

    (zero, one, *refused), others, later = run_in_thread(scenario())
    assert (zero, one, later) == ("0", "2", "10")
    assert [(type(error), error.status) for error in refused + others] == [
        (Problem, 503)
    ] * 3


def test_closing_the_pool_ends_all_waiting_requests(work):
    async def scenario():
        pool = BoundedPool("work", 1, 20)
        batcher = Batcher(pool, work, workers=1, max_batch=2)
        running = asyncio.create_task(pool.run(work.go.wait, 20))
        await asyncio.sleep(0.01)
        tasks = start(batcher, range(2))
        await asyncio.sleep(0.01)
        pool.close()
        work.go.set()
        return await asyncio.wait_for(results(tasks), 20), await running

    waiting, finished = run_in_thread(scenario())
    assert finished
    assert all(
        isinstance(one, asyncio.CancelledError | RuntimeError) for one in waiting
    )
    assert work.batches == []
