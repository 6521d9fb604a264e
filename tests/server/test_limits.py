"""What asks while all threads are busy is done together, and each gets its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike.server.batching import Batcher
from lookalike.server.limits import BoundedPool
from lookalike.server.problems import Problem


class Work:
    """Doubles numbers, once `go` is set, and notes which came together; it cannot do 13, and ends at 99."""

    def __init__(self):
        self.came, self.go = [], threading.Event()

    def __call__(self, numbers):
        self.came.append(list(numbers))
        assert self.go.wait(20)
        if 99 in numbers:
            raise RuntimeError("it ended")
        return [
            ValueError("not that one") if number == 13 else str(2 * number) for number in numbers
        ]

    async def begun(self, times=1):
        while len(self.came) < times:
            await asyncio.sleep(0.001)


@pytest.fixture
def work():
    return Work()


def apart(coroutine):
    """Run a coroutine to its end in a thread that has no loop yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asyncio.wait_for(coroutine, 60)).result()


def begin(batcher, numbers):
    return [asyncio.create_task(batcher.run(number)) for number in numbers]


async def results(tasks):
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_what_waits_is_taken_by_who_is_free_next_a_few_at_a_time(work):
    async def ask():
        pool = BoundedPool("work", 2, 20)
        batcher = Batcher(pool, work, workers=2, max_batch=3)
        tasks = begin(batcher, range(7))
        await work.begun(2)
        assert (pool.in_progress, work.came) == (7, [[0], [1]])
        work.go.set()
        return await results(tasks), pool.in_progress

    assert apart(ask()) == ([str(2 * number) for number in range(7)], 0)
    # Five waited for two threads, then two for the other.
    assert work.came == [[0], [1], [2, 3, 4], [5], [6]]


def test_one_that_cannot_be_done_or_is_asked_for_no_more_keeps_no_other_back(work):
    async def ask():
        batcher = Batcher(BoundedPool("work", 1, 20), work, workers=1, max_batch=9)
        tasks = begin(batcher, [0, 1, 13, 3, 4])
        await work.begun()
        tasks[3].cancel()
        work.go.set()
        return await results(tasks)

    zero, one, thirteen, gone, four = apart(ask())
    assert (zero, one, four) == ("0", "2", "8")
    assert str(thirteen) == "not that one"
    assert isinstance(gone, asyncio.CancelledError)
    assert work.came == [[0], [1, 13, 4]]


def test_where_the_work_itself_ends_all_of_that_time_are_told_and_the_next_are_done(work):
    work.go.set()

    async def ask():
        batcher = Batcher(BoundedPool("work", 1, 20), work, workers=1, max_batch=2)
        return await results(begin(batcher, [0, 1, 99, 3]))

    zero, *ended, three = apart(ask())
    assert (zero, three) == ("0", "6")
    assert [str(error) for error in ended] == ["it ended"] * 2


def test_where_too_much_waits_it_is_refused_and_later_it_is_not(work):
    async def ask():
        pool = BoundedPool("work", 1, 1)
        batcher = Batcher(pool, work, workers=1, max_batch=2)
        tasks = begin(batcher, range(4))
        await work.begun()
        others = await results([pool.run(print)])
        work.go.set()
        return await results(tasks), others, await batcher.run(5)

    (zero, one, *refused), others, later = apart(ask())
    assert (zero, one, later) == ("0", "2", "10")
    assert [(type(error), error.status) for error in refused + others] == [(Problem, 503)] * 3


def test_a_gate_that_closes_lets_nobody_wait_for_ever(work):
    async def ask():
        pool = BoundedPool("work", 1, 20)
        batcher = Batcher(pool, work, workers=1, max_batch=2)
        full = asyncio.create_task(pool.run(work.go.wait, 20))
        await asyncio.sleep(0.01)
        tasks = begin(batcher, range(2))
        await asyncio.sleep(0.01)
        pool.close()
        work.go.set()
        return await asyncio.wait_for(results(tasks), 20), await full

    told, full = apart(ask())
    assert full
    assert all(isinstance(one, asyncio.CancelledError | RuntimeError) for one in told)
    assert work.came == []
