"""The rows of ``context`` are kept, and follow the collection without a full computation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.retrieval import context_fit, loaded
from lookalike.retrieval.context_fit import ContextFit
from lookalike.retrieval.query import VectorQuery, as_queries
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.store.table import Table
from lookalike.vectors import neighbors
from lookalike.vectors.centering import Center
from lookalike.vectors.exact import ExactIndex
from made import SPACE, add_rows, clusters, make_collection

DIM = 24
# A step of float16 below 1.
STEP = 2**-11


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the cache, empty; small Spaces are kept, too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(loaded, "_LEAST_KEPT_ROWS", 1)
    return tmp_path / "cache" / "lookalike" / "rankings"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(neighbors, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(context_fit, "_MOVED_AT_A_TIME", 50)


def rows_of(count, seed=0):
    found, _ = clusters(6, -(-count // 6), dim=DIM, seed=seed)
    found = found[:count] + np.float32(0.4)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def defined(rows, center):
    """Return the rows by their definition, around a center."""
    rows = rows.astype(np.float64) - center.mean
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :10]
    weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0)
    towards = np.einsum("nk,nkd->nd", weights, rows[nearest])
    moved = rows + towards / np.linalg.norm(towards, axis=1, keepdims=True)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def computed(stored, center, monkeypatch):
    """Return a full computation around a center."""
    with monkeypatch.context() as patch:
        patch.setattr(Center, "of", lambda rows: center)
        return ContextFit.compute(stored)


@pytest.mark.parametrize("seed", range(4))
def test_an_update_equals_a_full_computation(seed, small_blocks, monkeypatch):
    """Rows come, are removed, and change their vectors, in any order."""
    monkeypatch.setattr(context_fit, "_MOST_SHIFT", 10)
    random = np.random.default_rng(seed)
    pool = rows_of(600, seed=seed)
    ids = np.sort(random.choice(600, int(random.integers(2, 250)), replace=False))
    vectors = {int(row_id): pool[row_id] for row_id in ids}
    fit = ContextFit.compute(ExactIndex(ids, pool[ids]))
    for _ in range(12):
        new = random.choice(600, int(random.integers(0, 40)), replace=False)
        vectors |= {int(row_id): pool[(row_id + 7) % 600] for row_id in new}
        leaving = random.permutation(list(vectors))[: int(random.integers(0, 30))]
        vectors = {key: vectors[key] for key in vectors if key not in leaving}
        if not vectors:
            continue
        ids = np.array(sorted(vectors))
        stored = ExactIndex(ids, np.array([vectors[key] for key in ids]))

        fit = fit.update(stored)
        full = computed(stored, fit.center, monkeypatch)
        assert fit.ids.tolist() == ids.tolist()
        np.testing.assert_allclose(fit.moved, full.moved, atol=STEP)
        np.testing.assert_allclose(fit.graph.cosines, full.graph.cosines, atol=1e-6)
        np.testing.assert_array_equal(fit.digests, full.digests)
        if len(ids) > 11:
            expected = defined(stored.matrix, fit.center)
            np.testing.assert_allclose(fit.moved, expected, atol=2 * STEP)


def test_an_update_computes_what_differs(monkeypatch):
    pool = rows_of(2000)
    fit = ContextFit.compute(ExactIndex(np.arange(1990), pool[:1990]))
    moved = []
    move = context_fit._smooth_rows

    def count_moved(target, places, *others):
        moved.extend(places)
        move(target, places, *others)

    def compare_all(*_, **__):
        raise AssertionError("all rows were compared with each other")

    monkeypatch.setattr(context_fit, "_smooth_rows", count_moved)
    monkeypatch.setattr(neighbors, "neighbor_graph", compare_all)
    monkeypatch.setattr(context_fit, "neighbor_graph", compare_all)
    ids = np.delete(np.arange(2000), [5, 700, 1300])
    fit = fit.update(ExactIndex(ids, pool[ids]))
    assert fit.changed_rows == 13
    assert set(range(1987, 1997)) < set(moved)
    assert len(moved) < 400
    moved.clear()
    same = fit.update(ExactIndex(ids, pool[ids]))
    assert (same.changed_rows, moved) == (0, [])


def test_another_mean_begins_again():
    """The center is the mean at the last full computation, until the rows lie elsewhere."""
    pool = rows_of(400)
    corner = pool[np.arange(0, 400, 6)]
    fit = ContextFit.compute(ExactIndex(np.arange(300), pool[:300]))
    few = np.concatenate([pool[:300], corner[:1]])
    near = fit.update(ExactIndex(np.arange(301), few))
    assert near.center is fit.center
    many = np.concatenate([pool[:300], corner])
    far = near.update(ExactIndex(np.arange(len(many)), many))
    np.testing.assert_allclose(far.center.mean, many.mean(axis=0, dtype=float), 1e-5)


def search(path, searcher=None, k=300):
    """Return the answer of another process, or of a Searcher."""
    if searcher is None:
        table = Table.open(path)
        searcher = Searcher(table, embedder=SimpleNamespace(model=table.models[SPACE]))
    query = VectorQuery(rows_of(7, seed=9)[6])
    request = SearchRequest(as_queries(query), k=k, ranking="context")
    found = searcher.search(request)
    return list(zip(found.ids.tolist(), found.distances.tolist(), strict=True))


@pytest.fixture
def comparisons(monkeypatch):
    """The numbers of rows in each full computation."""
    counts = []
    full = context_fit.neighbor_graph

    def count(rows, *arguments, **options):
        counts.append(len(rows))
        return full(rows, *arguments, **options)

    monkeypatch.setattr(context_fit, "neighbor_graph", count)
    return counts


def test_another_process_compares_nothing_again(tmp_path, comparisons):
    table = make_collection(tmp_path / "c", rows_of(200))
    first = search(table.path)
    assert search(table.path) == first
    assert comparisons == [200]


def test_processes_follow_the_collection_alike(tmp_path, comparisons):
    """A server that runs all the time, and a command for each version."""
    table = make_collection(tmp_path / "c", rows_of(260)[:200])
    model = SimpleNamespace(model=table.models[SPACE])
    server = Searcher(table, embedder=model)
    search(table.path, server)
    ids, _ = table.vectors(SPACE)
    changes = [
        lambda: add_rows(table, rows_of(260)[200:201]),
        lambda: table.delete(ids[:3]),
        lambda: add_rows(table, rows_of(260)[201:204]),
    ]
    for change in changes:
        change()
        answer = search(table.path, server)
        assert len(answer) == table.count()
        assert search(table.path) == answer
    assert comparisons == [200]


def test_another_collection_at_the_path_has_its_own(tmp_path, comparisons):
    path = tmp_path / "c"
    make_collection(path, rows_of(100))
    search(path)
    path.rename(tmp_path / "old")
    make_collection(path, rows_of(100, seed=5))
    remade = search(path)
    path.rename(tmp_path / "elsewhere")
    assert search(tmp_path / "elsewhere") == remade
    assert comparisons == [100, 100, 100]


@pytest.mark.parametrize("content", [b"", b"\x00" * 300, None])
def test_a_damaged_file_is_computed_again(tmp_path, cache, content, comparisons):
    table = make_collection(tmp_path / "c", rows_of(100))
    expected = search(table.path)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:500] if content is None else content)
    assert search(table.path) == expected
    assert search(table.path) == expected
    assert comparisons == [100, 100]


def test_a_cache_that_cannot_be_written_changes_no_answer(tmp_path, cache, comparisons):
    table = make_collection(tmp_path / "c", rows_of(100))
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"a file where the folder belongs")
    assert search(table.path) == search(table.path)
    assert comparisons == [100, 100]


def test_an_interrupted_fit_leaves_nothing(tmp_path, cache, small_blocks):
    table = make_collection(tmp_path / "c", rows_of(200))
    model = SimpleNamespace(model=table.models[SPACE])
    searcher = Searcher(table, embedder=model)
    reports = []

    def interrupt(done, total):
        reports.append((done, total))
        if done == 4:
            raise KeyboardInterrupt

    searcher.report_fit(interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(table.path, searcher)
    assert reports == [(1, 10), (2, 10), (3, 10), (4, 10)]
    assert not cache.exists()
    searcher.report_fit(None)
    assert search(table.path, searcher) == search(table.path)
