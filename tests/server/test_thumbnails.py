"""Kept thumbnails that are asked for together are read together, and each request gets its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike.models.networks import Networks
from lookalike.server.gates import Gate
from lookalike.server.holding import Snapshot
from lookalike.server.problems import Problem
from lookalike.server.thumbnails import Thumbnails
from lookalike.store.collection import Collection


@pytest.fixture
def snapshot(collection):
    return Snapshot("drawn", Collection.open(collection), Networks())


@pytest.fixture
def reads(snapshot, monkeypatch):
    """What is read of the table; the first read lasts until `go` is set."""
    took, take, go = [], snapshot.collection.take, threading.Event()

    def counted(ids, names):
        took.append(list(ids))
        assert go.wait(20)
        return take(ids, names)

    monkeypatch.setattr(snapshot.collection, "take", counted)
    return took, go


def apart(coroutine):
    """Run a coroutine to its end in a thread that has no loop yet."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def begun(took) -> None:
    while not took:
        await asyncio.sleep(0.001)


def test_what_is_asked_for_while_others_are_read_is_read_together(snapshot, reads):
    took, go = reads
    ids = snapshot.facts.ids[:20].tolist()

    async def ask():
        thumbnails = Thumbnails(Gate("reading", 2, 9))
        first = asyncio.create_task(thumbnails.of(snapshot, ids[0]))
        await begun(took)
        others = [asyncio.create_task(thumbnails.of(snapshot, row)) for row in ids[:0:-1] + ids[1:3]]
        gone = asyncio.create_task(thumbnails.of(snapshot, ids[5]))
        await asyncio.sleep(0)
        gone.cancel()
        go.set()
        return await asyncio.gather(first, *others)

    found = apart(ask())
    assert took == [ids[:1], ids[1:]]
    kept = Collection.open(snapshot.collection.path).take(ids, ["thumbnail"])["thumbnail"].to_pylist()
    assert len(set(kept)) == 20
    assert found == [kept[0], *kept[:0:-1], *kept[1:3]]


def test_where_too_much_waits_all_are_refused_and_the_next_is_not(snapshot, reads):
    took, go = reads
    ids = snapshot.facts.ids[:3].tolist()

    async def ask():
        gate = Gate("reading", 1, 0)
        full = asyncio.create_task(gate.run(go.wait, 20))
        await asyncio.sleep(0)
        thumbnails = Thumbnails(gate)
        refused = await asyncio.gather(*(thumbnails.of(snapshot, row) for row in ids), return_exceptions=True)
        assert took == []
        go.set()
        await full
        return refused, await thumbnails.of(snapshot, ids[0])

    refused, found = apart(ask())
    assert [(type(one), one.status) for one in refused] == [(Problem, 503)] * 3
    assert found.startswith(b"\xff\xd8")
