from __future__ import annotations

import numpy as np
import pytest
from sklearn import manifold, neighbors

from lookalike.projection.quality import measure_fidelity
from lookalike.vectors import k_nearest


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(400, 24)).astype(np.float16)
    return vectors, (
        vectors @ generator.normal(size=(24, 2)) + generator.normal(0, 3, (400, 2))
    ).astype(np.float32)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_trustworthiness_equals_that_of_scikit_learn(rows, k):
    vectors, xy = rows
    expected = manifold.trustworthiness(vectors.astype(np.float64), xy, n_neighbors=k)
    assert measure_fidelity(vectors, xy, k=k)["trustworthiness"] == pytest.approx(
        expected, abs=1e-6
    )


def test_preservation_is_the_share_of_neighbors_kept(rows):
    vectors, xy = rows
    graphs = [
        neighbors.kneighbors_graph(x.astype(np.float64), 10).toarray()
        for x in (vectors, xy)
    ]
    expected = (graphs[0] * graphs[1]).sum() / (400 * 10)
    assert measure_fidelity(vectors, xy)["preservation"] == pytest.approx(
        expected, abs=1e-6
    )


def test_a_map_equal_to_its_space_is_perfect(rows):
    _, xy = rows
    measured = measure_fidelity(xy, xy)
    assert (measured["trustworthiness"], measured["preservation"]) == (1, 1)


def test_equal_rows_are_not_penalized():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    xy = np.repeat(np.array([[0, 0], [0, 9], [9, 0]], np.float32), 20, axis=0)
    xy += np.random.default_rng(0).normal(0, 0.01, xy.shape).astype(np.float32)
    measured = measure_fidelity(vectors, xy)
    assert (measured["trustworthiness"], measured["preservation"]) == (1, 1)


def test_a_sample_of_queries_is_reported_and_close(rows):
    whole, some = measure_fidelity(*rows), measure_fidelity(*rows, max_queries=150)
    assert (whole["queries"], some["queries"], some["rows"]) == (400, 150, 400)
    assert some["trustworthiness"] == pytest.approx(whole["trustworthiness"], abs=0.02)
    assert some["preservation"] == pytest.approx(whole["preservation"], abs=0.03)
    assert measure_fidelity(*rows, max_queries=150) == some
    assert measure_fidelity(*rows, max_queries=150, seed=1) != some


@pytest.mark.parametrize(
    ("n", "k"), [(1, 0), (2, 0), (3, 1), (10, 4), (21, 10), (30, 10)]
)
def test_a_neighborhood_is_less_than_half_of_the_rows(rows, n, k):
    vectors, xy = (x[:n] for x in rows)
    measured = measure_fidelity(vectors, xy)
    assert measured["k"] == k
    assert (measured["trustworthiness"] is None) == (n < 3)


def test_neighbours_are_the_nearest_without_oneself(rows):
    vectors = rows[0].astype(np.float64)
    distances, expected = (
        neighbors.NearestNeighbors(n_neighbors=7).fit(vectors).kneighbors()
    )
    found, away = k_nearest(vectors, vectors, 7, own=np.arange(400))
    assert (found == expected).all()
    np.testing.assert_allclose(away, distances, atol=1e-9)


def test_all_of_a_gallery_can_be_asked_for(rows):
    found, _ = k_nearest(rows[0][:2], rows[0][:5], 5)
    assert np.sort(found, axis=1).tolist() == [[0, 1, 2, 3, 4]] * 2
    assert found[:, 0].tolist() == [0, 1]
