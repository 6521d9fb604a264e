"""Search engines built from the same vectors: Lookalike and the engines to compare it with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import lance
import numpy as np
from sklearn.neighbors import NearestNeighbors

from lookalike.maintenance.optimize import optimize
from lookalike.store.table import Table
from lookalike.vectors import exact as held
from lookalike.vectors import k_nearest
from lookalike.vectors.graph_search import GraphSearch
from lookalike.vectors.row_graph import RowGraph
from vectors_made import RARE, VectorSearcher, numbers

# Recall that approximate engines must reach. Each gets the least effort that reaches it on
# separate queries.
RECALL = 0.99
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
# Links per row and build effort of all graphs (Malkov and Yashunin, 2016, arXiv:1603.09320).
LINKS, BUILD_EFFORT = 16, 128
# A searcher has prepared its steps and has the uris and labels in memory after this many.
WARM_SEARCHES = 40

Found = np.ndarray
# From queries, one ``[dim]`` or many ``[m, dim]``, and k to rows ``[k]`` or ``[m, k]``.
Search = Callable[[np.ndarray, int], Found]


@dataclass(frozen=True)
class Queries:
    """Queries, float32 ``[m, dim]``, with the exact distance of each to its k-th nearest row."""

    gallery: np.ndarray
    vectors: np.ndarray
    k: int
    kth: np.ndarray

    @classmethod
    def of(cls, gallery: np.ndarray, queries: np.ndarray, k: int) -> Queries:
        _, distances = k_nearest(queries, gallery, k)
        return cls(gallery, queries.astype(np.float32), k, distances[:, -1])

    def recall(self, found: list[Found]) -> float:
        """Return the share of the k nearest found. Rows at the k-th distance count too."""
        shares = []
        for query, kth, rows in zip(self.vectors, self.kth, found, strict=True):
            differences = self.gallery[np.unique(rows)].astype(np.float64) - query
            shares.append(
                np.mean(np.linalg.norm(differences, axis=1) <= kth * (1 + 1e-6))
                * len(differences)
                / self.k
            )
        return float(np.mean(shares))


class Gallery(NamedTuple):
    """The vectors that engines are built from.

    Attributes
    ----------
    matrix
        float32 ``[n, dim]``, shared by all engines that can use it directly.
    halves
        The same vectors as float16.
    collection
        A collection of the same vectors, in the order of the rows.
    tuning
        Queries for choosing the effort.
    removed
        float16 ``[m, dim]``. Engines that can be updated are built from these and all rows but the
        last m; then these are removed, and the last m added.
    """

    matrix: np.ndarray
    halves: np.ndarray
    collection: Table | None
    tuning: Queries
    removed: np.ndarray

    @property
    def removed_ids(self) -> np.ndarray:
        """The ids of the rows that were removed, which follow those of all rows."""
        return np.arange(len(self.removed)) + len(self.matrix)

    @property
    def added_ids(self) -> np.ndarray:
        """The ids of the rows that were added."""
        return np.arange(len(self.matrix))[len(self.matrix) - len(self.removed) :]

    def before(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids and vectors before, where `rows` are those now in a type of number."""
        if not len(self.removed):
            return np.arange(len(rows)), rows
        stayed = len(rows) - len(self.removed)
        ids = np.concatenate([np.arange(stayed), self.removed_ids])
        return ids, np.concatenate([rows[:stayed], self.removed.astype(rows.dtype)])


@dataclass(frozen=True)
class Engine:
    """An engine ready to search, its setting, and the bytes of the gallery that it uses."""

    search: Search
    setting: str = ""
    uses: int = 0


def lookalike_nearest(gallery: Gallery) -> Engine:
    ours = held.ExactIndex(np.arange(len(gallery.halves)), gallery.halves)
    # As a process does by itself after some searches.
    has_steps = ours.prepare_steps()
    return Engine(
        lambda q, k: ours.search(q.astype(np.float16), k)[0],
        "float16, in steps" if has_steps else "float16, int8",
        gallery.halves.nbytes,
    )


def _warm(searcher: VectorSearcher, gallery: Gallery) -> None:
    """Search as often as a process does until all that it prepares is in memory."""
    for query in gallery.tuning.vectors[:WARM_SEARCHES]:
        searcher.search_vector(query, k=gallery.tuning.k, exact=True)
    for thread in threading.enumerate():
        if thread.name == "prepare steps":
            thread.join()


def lookalike_search(gallery: Gallery) -> Engine:
    searcher = VectorSearcher(gallery.collection)
    _warm(searcher, gallery)
    return Engine(
        lambda q, k: numbers(searcher.search_vector(q, k=k, exact=True).uris),
        "with uris and labels",
    )


def numpy_product(gallery: Gallery) -> Engine:
    squares = np.einsum("nd,nd->n", gallery.matrix, gallery.matrix)

    def search(query: np.ndarray, k: int) -> Found:
        distances = squares - 2 * (gallery.matrix @ query)
        nearest = np.argpartition(distances, k)[:k]
        return nearest[np.argsort(distances[nearest])]

    return Engine(search, "squares kept", gallery.matrix.nbytes)


def faiss_flat(gallery: Gallery) -> Engine:
    import faiss

    index = faiss.IndexFlatL2(gallery.matrix.shape[1])
    index.add(gallery.matrix)
    return Engine(lambda q, k: index.search(q[np.newaxis], k)[1][0])


def scikit_learn(gallery: Gallery) -> Engine:
    model = NearestNeighbors(algorithm="brute", n_jobs=-1).fit(gallery.matrix)
    return Engine(
        lambda q, k: model.kneighbors(q[np.newaxis], k, return_distance=False)[0],
        uses=gallery.matrix.nbytes,
    )


def usearch_exact(gallery: Gallery) -> Engine:
    from usearch.index import MetricKind, search

    return Engine(
        lambda q, k: search(
            gallery.matrix, q, k, MetricKind.L2sq, exact=True
        ).keys.astype(np.int64),
        uses=gallery.matrix.nbytes,
    )


def lance_flat(gallery: Gallery) -> Engine:
    table = lance.dataset(f"{gallery.collection.path}/images.lance")
    column = gallery.collection.space(None)

    def search(query: np.ndarray, k: int) -> Found:
        nearest = {
            "column": column,
            "q": query.astype(np.float16),
            "k": k,
            "use_index": False,
        }
        return numbers(
            table.to_table(columns=["uri", "_distance"], nearest=nearest)[
                "uri"
            ].to_pylist()
        )

    return Engine(search, "from disk, float16")


def lookalike_approximate(gallery: Gallery) -> Engine:
    optimize(gallery.collection, recall=RECALL, min_rows=0)
    gallery.collection.refresh()
    searcher = VectorSearcher(gallery.collection)
    return Engine(
        lambda q, k: numbers(searcher.search_vector(q, k=k, exact=False).uris),
        "with uris and labels",
    )


def lookalike_graph(gallery: Gallery) -> Engine:
    """Return what a warm process searches by: a graph of codes, and the vectors as float16."""
    rows = held.ExactIndex(*gallery.before(gallery.halves))
    graph = RowGraph.build(rows, _never)
    rows = held.ExactIndex(np.arange(len(gallery.halves)), gallery.halves)
    graph = graph.update(rows, _never)
    walks = GraphSearch.measure(graph, rows, RECALL, _never)

    def search(query: np.ndarray, k: int) -> Found:
        answer = walks.search(rows, query.astype(np.float16), k)
        return rows.search(query, k)[0] if answer is None else answer[0]

    walk = walks.widths[0]
    setting = f"width {walk.width}, states {walk.recall:.4f}"
    return Engine(search, setting, gallery.halves.nbytes)


def _never() -> bool:
    return False


def faiss_hnsw(gallery: Gallery) -> Engine:
    import faiss

    index = faiss.IndexHNSWFlat(gallery.matrix.shape[1], LINKS)
    index.hnsw.efConstruction = BUILD_EFFORT
    # It cannot remove rows.
    index.add(gallery.matrix)

    def effort(ef: int) -> None:
        index.hnsw.efSearch = ef

    return _tuned(gallery, effort, lambda q, k: index.search(q[np.newaxis], k)[1][0])


def hnswlib_graph(gallery: Gallery) -> Engine:
    import hnswlib

    index = hnswlib.Index(space="l2", dim=gallery.matrix.shape[1])
    ids, rows = gallery.before(gallery.matrix)
    index.init_index(
        len(ids) + len(gallery.removed),
        M=LINKS,
        ef_construction=BUILD_EFFORT,
        random_seed=0,
    )
    index.add_items(rows, ids)
    for removed in gallery.removed_ids.tolist():
        index.mark_deleted(removed)
    index.add_items(gallery.matrix[gallery.added_ids], gallery.added_ids)
    return _tuned(
        gallery, index.set_ef, lambda q, k: index.knn_query(q, k)[0][0].astype(np.int64)
    )


def usearch_hnsw(gallery: Gallery) -> Engine:
    from usearch.index import Index

    index = Index(
        ndim=gallery.matrix.shape[1],
        metric="l2sq",
        dtype="f16",
        connectivity=LINKS,
        expansion_add=BUILD_EFFORT,
    )
    ids, rows = gallery.before(gallery.matrix)
    index.add(ids, rows)
    index.remove(gallery.removed_ids)
    index.add(gallery.added_ids, gallery.matrix[gallery.added_ids])

    def effort(ef: int) -> None:
        index.expansion_search = ef

    return _tuned(
        gallery, effort, lambda q, k: index.search(q, k).keys.astype(np.int64)
    )


def _tuned(gallery: Gallery, effort: Callable[[int], None], search: Search) -> Engine:
    """Return the engine at the least effort that reaches the recall, or at the greatest effort."""
    tuning = gallery.tuning
    for ef in EFFORTS:
        effort(ef)
        if (
            tuning.recall([search(query, tuning.k) for query in tuning.vectors])
            >= RECALL
        ):
            break
    return Engine(search, f"M {LINKS}, ef {ef}")


EXACT = {
    "Lookalike": lookalike_nearest,
    "Lookalike search": lookalike_search,
    "NumPy": numpy_product,
    "FAISS flat": faiss_flat,
    "scikit-learn": scikit_learn,
    "USearch exact": usearch_exact,
    "Lance flat scan": lance_flat,
}
APPROXIMATE = {
    "Lookalike approximate": lookalike_approximate,
    "Lookalike in memory": lookalike_graph,
    "FAISS HNSW": faiss_hnsw,
    "hnswlib": hnswlib_graph,
    "USearch HNSW": usearch_hnsw,
}
# These search a collection.
STORED = {"Lookalike search", "Lance flat scan", "Lookalike approximate"}


def many_lookalike(gallery: Gallery) -> Search:
    ours = held.ExactIndex(np.arange(len(gallery.halves)), gallery.halves)
    ours.prepare_steps()
    return lambda queries, k: ours.search_many(queries.astype(np.float16), k)[0]


def many_faiss(gallery: Gallery) -> Search:
    import faiss

    index = faiss.IndexFlatL2(gallery.matrix.shape[1])
    index.add(gallery.matrix)
    return lambda queries, k: index.search(queries, k)[1]


def many_numpy(gallery: Gallery) -> Search:
    squares = np.einsum("nd,nd->n", gallery.matrix, gallery.matrix)
    return lambda queries, k: np.argpartition(
        squares - 2 * (queries @ gallery.matrix.T), k, axis=1
    )[:, :k]


MANY = {"Lookalike": many_lookalike, "FAISS flat": many_faiss, "NumPy": many_numpy}


def filtered_lookalike(gallery: Gallery) -> Search:
    searcher = VectorSearcher(gallery.collection)
    _warm(searcher, gallery)
    where = f"label = '{RARE}'"
    return lambda q, k: numbers(searcher.search_vector(q, k=k, where=where).uris)


def filtered_numpy(gallery: Gallery, kept: np.ndarray) -> Search:
    """Return a search of the kept rows, which are gathered for each query."""

    def search(query: np.ndarray, k: int) -> Found:
        rows = np.flatnonzero(kept)
        part = gallery.matrix[rows]
        distances = np.einsum("nd,nd->n", part, part) - 2 * (part @ query)
        return rows[np.argpartition(distances, k)[:k]]

    return search
