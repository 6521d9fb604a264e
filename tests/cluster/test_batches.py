"""Batches for the actors of a cluster: read when they are needed, small towards the end."""

from __future__ import annotations

from lookalike.cluster.batches import Batch, BatchQueue


def sizes(queue: BatchQueue, window: int) -> list[int]:
    found = []
    while (batch := queue.take(window)) is not None:
        found.append(len(batch.tasks))
    return found


def test_full_batches_until_the_last_chunk_which_all_actors_share():
    queue = BatchQueue(iter([range(100), range(20)]), size=16)
    assert sizes(queue, window=4) == [*[16] * 6, 4, 5, 3, 3, 2, *[1] * 7]


def test_a_small_run_is_spread_over_many_actors():
    assert sizes(BatchQueue([range(10)], size=16), window=200) == [1] * 10
    assert sizes(BatchQueue([], size=16), window=4) == []


def test_chunks_are_read_one_ahead():
    read = []

    def chunks():
        for number in range(5):
            read.append(number)
            yield range(32)

    queue = BatchQueue(chunks(), size=16)
    for expected in ([0, 1], [0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2, 3]):
        queue.take(4)
        assert read == expected


def test_the_batches_of_a_dead_actor_come_first_one_image_at_a_time():
    queue = BatchQueue([range(4)], size=2)
    first = queue.take(1)
    first.deaths.append("node")
    queue.put_back(first.singles())
    taken = [queue.take(1) for _ in range(3)]
    assert [list(batch.tasks) for batch in taken] == [[0], [1], [2, 3]]
    assert [batch.deaths for batch in taken] == [["node"], ["node"], []]


def test_a_batch_is_not_shared_between_its_singles():
    singles = Batch([1, 2], ["node"]).singles()
    singles[0].deaths.append("other")
    assert singles[1].deaths == ["node"]
