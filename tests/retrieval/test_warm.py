"""A process that searches often searches along a graph in memory, with its measured recall."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.retrieval import warm
from lookalike.retrieval.query import VectorQuery, as_queries
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store.table import Table
from lookalike.vectors import graph_search
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.row_graph import RowGraph
from made import SPACE, add_rows, clusters, make_collection

DIM = 32


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cache, empty; small Spaces have a graph, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(warm, "LEAST_GRAPH_ROWS", 100)
    return tmp_path / "cache" / "lookalike" / "rankings"


@pytest.fixture
def built(monkeypatch):
    """The numbers of rows of each graph that is made."""
    counts = []
    build = RowGraph.build

    def count(rows, is_stopped):
        counts.append(len(rows))
        return build(rows, is_stopped)

    monkeypatch.setattr(RowGraph, "build", count)
    return counts


def rows_of(count, seed=0):
    found, _ = clusters(20, -(-count // 20), dim=DIM, seed=seed)
    return found[:count].astype(np.float16)


QUERIES = rows_of(40, seed=9)


def searcher_of(table, *, prepare=True):
    """Return the Searcher of another process, and prepare its graph."""
    table = Table.open(table.path)
    searcher = Searcher(table, embedder=SimpleNamespace(model=table.models[SPACE]))
    if prepare:
        searcher.candidates.warm.prepare()
    return searcher


def find(searcher, query, **options):
    return searcher.find(SearchRequest(as_queries(VectorQuery(query)), **options))


def shared(found, expected):
    return len(np.intersect1d(found.ids, expected.ids)) / len(expected.ids)


def mean_recall(searcher, k):
    shares = []
    for query in QUERIES:
        found = find(searcher, query, k=k)
        assert found.recall >= warm.GRAPH_RECALL
        shares.append(shared(found, find(searcher, query, k=k, exact=True)))
    return np.mean(shares)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_answers_state_a_recall_that_holds(tmp_path, k):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(800)))
    assert mean_recall(searcher, k) >= warm.GRAPH_RECALL - 0.01


def test_distances_are_those_of_an_exact_search(tmp_path):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(800)))
    for query in QUERIES:
        found = find(searcher, query)
        exact = find(searcher, query, exact=True)
        distances = dict(zip(exact.ids.tolist(), exact.distances, strict=True))
        for row_id, distance in zip(found.ids.tolist(), found.distances, strict=True):
            assert distance == distances.get(row_id, distance)
        assert exact.recall is None


def test_the_graph_is_prepared_after_some_searches(tmp_path, monkeypatch):
    monkeypatch.setattr(warm, "SEARCHES_BEFORE_GRAPH", 3)
    table = make_collection(tmp_path / "c", rows_of(300))
    searcher = searcher_of(table, prepare=False)
    recalls = [find(searcher, QUERIES[0]).recall for _ in range(4)]
    assert recalls[:3] == [None] * 3
    for thread in list(warm._preparations):
        thread.join()
    assert find(searcher, QUERIES[0]).recall >= warm.GRAPH_RECALL


def test_a_small_space_has_no_graph(tmp_path, cache):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(99)))
    assert find(searcher, QUERIES[0]).recall is None
    assert not cache.exists()


def test_vectors_that_do_not_fit_in_memory_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(warm, "free_memory", lambda: 1000)
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(300)))
    assert find(searcher, QUERIES[0]).recall is None


def test_a_graph_with_too_low_a_recall_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_search, "WIDTHS", (11,))
    table = make_collection(tmp_path / "c", rows_of(800))
    searcher = searcher_of(table, prepare=False)
    assert not searcher.candidates.warm.prepare()
    found = find(searcher, QUERIES[0])
    assert found.recall is None
    assert shared(found, find(searcher, QUERIES[0], exact=True)) == 1


def test_removed_rows_are_never_found_and_new_ones_are(tmp_path, built):
    table = make_collection(tmp_path / "c", rows_of(800))
    searcher = searcher_of(table)
    ids, vectors = table.vectors(SPACE)
    removed = ids[::8]
    table.delete(removed)
    new = rows_of(100, seed=7)
    add_rows(table, new, uris=[f"/new/{number}.jpg" for number in range(100)])
    # A row keeps its id when its vector changes.
    moved = rows_of(1, seed=11)
    add_rows(table, moved, uris=["/pictures/000001.jpg"])

    running = searcher.candidates._view
    running.refresh()
    stale = find(searcher, vectors[0])
    assert stale.recall is None
    for current in (searcher, searcher_of(table)):
        assert current.candidates.warm.prepare()
        for vector in vectors[::8]:
            assert not np.isin(find(current, vector).ids, removed).any()
        for vector in [*new, *moved]:
            assert find(current, vector, k=1).distances[0] == 0
        assert find(current, vectors[1], k=1).distances[0] > 0
        assert mean_recall(current, 10) >= warm.GRAPH_RECALL - 0.01
    assert built == [800]


def test_most_rows_that_change_make_a_new_graph(tmp_path, built):
    table = make_collection(tmp_path / "c", rows_of(300))
    searcher_of(table)
    ids, _ = table.vectors(SPACE)
    table.delete(ids[:200])
    add_rows(table, rows_of(60, seed=3), uris=[f"/new/{n}.jpg" for n in range(60)])
    assert find(searcher_of(table), QUERIES[0]).recall is not None
    assert built == [300, 160]


def test_another_process_reads_the_kept_graph(tmp_path, built, monkeypatch):
    table = make_collection(tmp_path / "c", rows_of(300))
    first = searcher_of(table)
    # Neither is it measured again.
    monkeypatch.delattr(graph_search.GraphSearch, "measure")
    second = searcher_of(table)
    for query in QUERIES:
        found = [find(searcher, query, k=100) for searcher in (first, second)]
        assert found[0].ids.tolist() == found[1].ids.tolist()
        assert found[0].recall == found[1].recall >= warm.GRAPH_RECALL
    assert built == [300]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_file_is_made_again(tmp_path, cache, built, damage):
    table = make_collection(tmp_path / "c", rows_of(300))
    searcher_of(table)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-1000] ^= 1
    if damage == "foreign":
        other = make_collection(tmp_path / "other", rows_of(300, seed=5))
        searcher_of(other)
        (foreign,) = set(cache.iterdir()) - {file}
        content = foreign.read_bytes()
        built.remove(300)
    file.write_bytes(content[: {"empty": 0, "cut": 500}.get(damage, len(content))])
    assert mean_recall(searcher_of(table), 10) >= warm.GRAPH_RECALL - 0.01
    assert mean_recall(searcher_of(table), 10) >= warm.GRAPH_RECALL - 0.01
    assert built == [300, 300]


def test_excluded_rows_are_left_out(tmp_path):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(800)))
    for query in QUERIES[:10]:
        candidates = searcher.candidates
        nearest = candidates.find(query, 15).ids
        found = candidates.find(query, 10, excluded=nearest[:5])
        assert found.ids.tolist() == nearest[5:].tolist()
        assert found.recall is not None
        # More than the graph was measured for.
        many = candidates.find(query, 100, excluded=nearest)
        assert many.recall is None
        assert not np.isin(many.ids, nearest).any()


def test_a_filter_does_not_use_the_graph(tmp_path):
    table = make_collection(tmp_path / "c", rows_of(300))
    labels = ["a", "b"] * 50
    add_rows(table, rows_of(100, seed=4), labels=labels)
    searcher = searcher_of(table)
    where = "label = 'a'"
    found = find(searcher, QUERIES[0], k=50, where=where)
    assert found.recall is None
    assert set(found.ids) == set(table.select(where))


def test_pages_hold_each_row_once(tmp_path):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(800)))
    for query in QUERIES[:10]:
        first = find(searcher, query, k=10)
        second = find(searcher, query, k=20, first_page=10)
        last = find(searcher, query, k=300, first_page=10)
        assert second.ids[:10].tolist() == first.ids.tolist()
        assert last.ids[:20].tolist() == second.ids.tolist()
        assert len(np.unique(last.ids)) == 300
        assert last.recall is not None


def test_threads_find_the_same_while_it_is_updated():
    vectors = rows_of(2000)
    before = ExactIndex(np.arange(1500), vectors[:1500])
    after = ExactIndex(np.arange(300, 2000), vectors[300:])
    graph = RowGraph.build(before, lambda: False)
    expected = [graph.near(query, 60).tolist() for query in QUERIES]
    differing = []

    def search_all():
        for _ in range(20):
            for query, ids in zip(QUERIES, expected, strict=True):
                if graph.near(query, 60).tolist() != ids:
                    differing.append(ids)

    threads = [threading.Thread(target=search_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    updated = graph.update(after, lambda: False)
    for thread in threads:
        thread.join()
    assert differing == []
    for query in QUERIES:
        assert updated.near(query, 60).min() >= 300


def test_a_process_that_ends_does_not_wait_for_the_graph():
    script = """
import numpy as np, time
from lookalike.retrieval import warm
from lookalike.vectors.exact import ExactIndex
from lookalike.vectors.row_graph import RowGraph

rows = np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float16)
index = ExactIndex(np.arange(len(rows)), rows)

def build():
    print("begun", flush=True)
    RowGraph.build(index, warm._stopping.is_set)
    print("made", flush=True)

warm._run_in_background(build)
time.sleep(0.5)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "begun\n"


def test_the_libraries_of_graphs_and_of_products_live_together():
    script = """
import numpy as np
from lookalike.vectors import products, row_graph

row_graph._usearch_index()
rows = np.ones((2, 8), np.float16)
print(products.products_of_part(rows[0], rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[8. 8.]\n"


def test_a_walk_that_finds_too_few_rows_is_no_answer(tmp_path, monkeypatch):
    searcher = searcher_of(make_collection(tmp_path / "c", rows_of(300)))
    expected = find(searcher, QUERIES[0], exact=True)
    near = RowGraph.near
    monkeypatch.setattr(RowGraph, "near", lambda *args: near(*args)[:3])
    found = find(searcher, QUERIES[0])
    assert found.recall is None
    assert found.ids.tolist() == expected.ids.tolist()
