"""Approximate search reaches its stated recall, whatever has happened to the rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest

from lookalike.store import ann, tuning, upkeep
from lookalike.store.table import Table
from lookalike.vectors.exact import ExactIndex
from made import SPACE, add_rows, clusters, make_collection

ROWS, DIM = 3000, 32


def drawn(count, *, seed=0, dim=DIM, length=None):
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return (
        found
        if length is None
        else found * (length / np.linalg.norm(found, axis=1, keepdims=True))
    )


def to_float16(query):
    return query.astype(np.float16)


def exactly(collection, query, k, *, among=None):
    ids, matrix = collection.vectors(SPACE)
    if among is not None:
        is_among = np.isin(ids, among)
        ids, matrix = ids[is_among], matrix[is_among]
    return ExactIndex(ids, matrix).search(query, k)


def recall(collection, queries, k, *, where=None, among=None):
    """Return the share of the true neighbors that are found."""
    hits = 0
    for query in queries:
        found = ann.nearest(collection, SPACE, query, k, where=where)
        hits += len(
            np.intersect1d(found.ids, exactly(collection, query, k, among=among)[0])
        )
    return hits / (len(queries) * k)


def draw_sample(collection):
    """Draw fewer rows than `lookalike optimize` does: the time of tuning is that of its sample."""
    return tuning.draw_sample(collection, SPACE, 24)


def index(collection, target=0.99):
    return tuning.tune(
        collection,
        SPACE,
        tuning.build_index(collection, SPACE),
        target,
        draw_sample(collection),
    )


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory):
    """A collection with an index of several partitions, to copy."""
    path = tmp_path_factory.mktemp("partitioned") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PARTITION_ROWS", 400)
        index(make_collection(path, drawn(ROWS, length=1)))
    return path


@pytest.fixture
def fresh(partitioned, tmp_path, monkeypatch):
    """A copy of it that a test may change."""
    monkeypatch.setattr(tuning, "_PARTITION_ROWS", 400)
    path = shutil.copytree(partitioned, tmp_path / "c")
    return Table.open(path)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """The same, read-only; half of the rows have the label ``even``."""
    path = tmp_path_factory.mktemp("indexed") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_PARTITION_ROWS", 400)
        collection = make_collection(path, drawn(1, length=1))
        add_rows(
            collection,
            drawn(ROWS, seed=1, length=1),
            labels=["even", "odd"] * (ROWS // 2),
        )
        index(collection)
    return collection


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 10, 11, 100])
def test_new_queries_reach_the_tuned_recall(indexed, k):
    queries = to_float16(drawn(60, seed=7, length=1))
    assert recall(indexed, queries, k) >= 0.98


def test_distances_and_order_equal_those_of_exact_search(indexed):
    for query in to_float16(drawn(20, seed=3, length=1)):
        found = ann.nearest(indexed, SPACE, query, 10)
        ids, distances = exactly(indexed, query, 10)
        assert found.recall == ann.current_tuning(indexed, SPACE).plain[0].recall
        shared = np.isin(found.ids, ids)
        assert shared.sum() >= 8
        np.testing.assert_array_equal(
            found.distances[shared], distances[np.isin(ids, found.ids)]
        )
        assert (np.diff(found.distances) >= 0).all()


@pytest.mark.slow
def test_ties_are_ordered_by_id(tmp_path):
    collection = make_collection(tmp_path / "c", drawn(800, length=1))
    copies = np.repeat(drawn(1, seed=5, length=1), 12, axis=0)
    add_rows(collection, copies)
    index(collection)
    found = ann.nearest(collection, SPACE, to_float16(copies[0]), 5)
    assert (
        found.ids.tolist() == exactly(collection, to_float16(copies[0]), 5)[0].tolist()
    )
    assert len(set(found.distances)) == 1


@pytest.mark.slow
def test_the_reported_recall_is_the_measured_one(indexed):
    record, sample = (ann.current_tuning(indexed, SPACE), draw_sample(indexed))
    for filtered, settings in ((False, record.plain), (True, record.filtered)):
        assert [setting.k for setting in settings] == [10, 100]
        for setting in settings:
            found, error = tuning.measure_recall(
                indexed, SPACE, setting, sample, filtered=filtered
            )
            assert setting.recall == round(found, 4)
            assert found - error >= 0.99


@pytest.mark.slow
def test_the_cheapest_setting_that_reaches_the_target_is_stored(indexed):
    sample = draw_sample(indexed)
    for setting in ann.current_tuning(indexed, SPACE).plain:
        for cheaper in tuning.candidate_settings(setting.k, 8):
            if (cheaper.probes, cheaper.candidates) == (
                setting.probes,
                setting.candidates,
            ):
                break
            found, error = tuning.measure_recall(
                indexed, SPACE, cheaper, sample, filtered=False
            )
            # Sure to reach it is a setting that does by two standard errors.
            assert found - 2 * error < 0.99


@pytest.mark.slow
def test_the_stored_setting_reaches_the_target_by_two_standard_errors(
    fresh, monkeypatch
):
    """Computed from the recall of each row. A few rows may rule out a setting by two errors."""
    monkeypatch.setattr(tuning, "_KS", (10,))
    monkeypatch.setattr(tuning, "_FIRST_ROWS", 10)
    record, sample = (
        ann.current_tuning(fresh, SPACE),
        tuning.draw_sample(fresh, SPACE, 16),
    )
    alone = [
        tuning.Sample(*(getattr(sample, part.name)[[row]] for part in fields(sample)))
        for row in range(16)
    ]
    for filtered, at in ((False, 2), (True, 0)):
        ladder = tuning.candidate_settings(10, record.partitions, filtered=filtered)[
            : at + 4
        ]
        shares = np.array(
            [
                [
                    tuning.measure_recall(fresh, SPACE, one, row, filtered=filtered)[0]
                    for row in alone
                ]
                for one in ladder
            ]
        )
        assert ((shares >= 0) & (shares <= 1)).all()
        means, errors = shares.mean(1), shares.std(1) / np.sqrt(16)
        first, rough = shares[:, :10].mean(1), shares[:, :10].std(1) / np.sqrt(10)
        for below in (1.5, 2.1):
            target = means[at] - below * errors[at]
            fit = (first + 2 * rough >= target) & (means - 2 * errors >= target)
            expected = ladder[int(np.argmax(fit))]
            found = tuning.tune(fresh, SPACE, record, target, sample).setting(
                10, filtered=filtered
            )
            assert fit.any()
            assert (found.probes, found.candidates) == (
                expected.probes,
                expected.candidates,
            )


@pytest.mark.slow
def test_a_perfect_recall_is_reached_where_possible(tmp_path):
    collection = make_collection(tmp_path / "c", drawn(150, length=1))
    assert [setting.recall for setting in index(collection, 1.0).plain] == [1, 1]


def test_a_selection_holds_the_rows_nearest_to_another_row(tmp_path):
    collection = make_collection(tmp_path / "c", drawn(900))
    sample = tuning.draw_sample(collection, SPACE, 50)
    ids, matrix = collection.vectors(SPACE)
    place = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    for row, selection in enumerate(sample.selections):
        differences = matrix.astype(np.float32) - sample.queries[row - 1].astype(
            np.float32
        )
        distances = np.einsum("nd,nd->n", differences, differences)
        distances[place[sample.ids[row - 1]]] = np.inf
        assert len(set(selection.tolist())) == 500
        near = distances[[place[one] for one in selection.tolist()]]
        np.testing.assert_allclose(np.sort(near), np.sort(distances)[:500], rtol=1e-4)


def test_candidate_settings_grow_to_all_partitions():
    probes = [setting.probes for setting in tuning.candidate_settings(10, 6)]
    assert (probes[0], probes[-1], set(probes)) == (1, 6, {1, 2, 4, 6})
    assert {
        setting.probes for setting in tuning.candidate_settings(10, 6, filtered=True)
    } == {6}
    assert [setting.candidates for setting in tuning.candidate_settings(10, 1)] == [
        20,
        50,
        100,
        200,
    ]


@pytest.mark.slow
def test_a_lower_target_is_reached_more_cheaply(fresh):
    dear = ann.current_tuning(fresh, SPACE)
    cheap = tuning.tune(fresh, SPACE, dear, 0.6, draw_sample(fresh))
    assert cheap.plain[0].probes < dear.plain[0].probes
    assert 0.6 <= cheap.plain[0].recall < dear.plain[0].recall
    assert (
        ann.nearest(fresh, SPACE, to_float16(drawn(1, length=1))[0], 10).recall
        == cheap.plain[0].recall
    )


def test_the_same_seed_draws_the_same_sample(indexed):
    one, two, other = (
        tuning.draw_sample(indexed, SPACE, 20, seed) for seed in (0, 0, 1)
    )
    assert one.ids.tolist() == two.ids.tolist() != other.ids.tolist()
    assert len(one.ids) == 20
    row = dict(zip(*indexed.vectors(SPACE), strict=True))
    for own, query, distances in zip(one.ids, one.queries, one.plain, strict=True):
        assert (row[own] == query).all()
        np.testing.assert_array_equal(distances, exactly(indexed, query, 101)[1][1:])


def test_more_neighbors_than_were_measured_are_searched_exactly(indexed):
    query = to_float16(drawn(1, length=1))[0]
    assert ann.nearest(indexed, SPACE, query, 100) is not None
    assert ann.nearest(indexed, SPACE, query, 101) is None


def test_a_row_that_is_left_out_is_replaced_by_another(indexed):
    query = to_float16(drawn(1, seed=3, length=1))[0]
    whole = ann.nearest(indexed, SPACE, query, 11)
    rest = ann.nearest(indexed, SPACE, query, 10, leave_out=whole.ids[:1])
    assert rest.ids.tolist() == whole.ids[1:].tolist()


def test_leaving_out_many_rows_still_finds_k_neighbors(indexed):
    query = to_float16(drawn(1, seed=3, length=1))[0]
    nearest, _ = exactly(indexed, query, 250)
    found = ann.nearest(indexed, SPACE, query, 10, leave_out=nearest)
    assert len(found.ids) == 10
    assert not np.isin(found.ids, nearest).any()


@pytest.mark.slow
def test_new_changed_and_deleted_rows_are_seen_before_the_index_is_updated(fresh):
    new, changed = drawn(5, seed=11, length=1), drawn(2, seed=12, length=1)
    before = {
        uri: row.id
        for uri, row in fresh.existing_rows(
            f"/pictures/{n:06}.jpg" for n in (7, 8, 9)
        ).items()
    }
    old = dict(zip(*fresh.vectors(SPACE), strict=True))
    add_rows(fresh, new)
    add_rows(fresh, changed[:1], uris=["/pictures/000007.jpg"])
    columns = {"uri": ["/pictures/000008.jpg"], "error": [None], SPACE: changed[1:]}
    fresh.upsert(columns, replace=False)
    fresh.upsert(
        {"uri": [f"/bad/{n}" for n in range(40)], "error": ["cut short"] * 40},
        replace=True,
    )
    fresh.remove(["/pictures/000009.jpg"])

    def check():
        for vector in new:
            assert ann.nearest(fresh, SPACE, to_float16(vector), 10).distances[0] == 0
        for number, vector in zip((7, 8), changed, strict=True):
            row = before[f"/pictures/{number:06}.jpg"]
            found = ann.nearest(fresh, SPACE, to_float16(vector), 10)
            assert (found.ids[0], found.distances[0]) == (row, 0)
            assert len(set(found.ids)) == 10
            there = ann.nearest(fresh, SPACE, old[row], 10)
            assert there.distances[0] > 0.1
        removed = before["/pictures/000009.jpg"]
        assert removed not in ann.nearest(fresh, SPACE, old[removed], 10).ids

    check()
    assert tuning.count_unindexed(fresh, SPACE) == 5 + 2 + 40
    record = tuning.update_index(fresh, SPACE, ann.current_tuning(fresh, SPACE))
    assert (tuning.count_unindexed(fresh, SPACE), len(record.segments)) == (0, 1)
    assert ann.current_tuning(fresh, SPACE) is None
    tuning.tune(fresh, SPACE, record, 0.99, draw_sample(fresh))
    check()


@pytest.mark.parametrize("where", ["label = 'even'", "uri < '/pictures/000300.jpg'"])
def test_a_filtered_search_finds_the_nearest_matching_rows(indexed, where):
    among = np.concatenate(
        [batch["_rowid"].to_numpy() for batch in indexed.scan([], where)]
    ).astype(np.int64)
    queries = to_float16(drawn(40, seed=13, length=1))
    assert recall(indexed, queries, 10, where=where, among=among) >= 0.98
    found = ann.nearest(indexed, SPACE, queries[0], 100, where=where)
    assert np.isin(found.ids, among).all()
    assert found.recall == ann.current_tuning(indexed, SPACE).filtered[1].recall


@pytest.mark.slow
def test_a_filter_that_matches_only_distant_rows_loses_none(tmp_path, monkeypatch):
    """The nearest partitions hold no matching row."""
    monkeypatch.setattr(tuning, "_PARTITION_ROWS", 400)
    of = clusters(8, 400, dim=DIM)
    collection = make_collection(tmp_path / "c", of[0][:1])
    add_rows(collection, of[0][1:], labels=[str(cluster) for cluster in of[1][1:]])
    index(collection)
    among = np.concatenate(
        [batch["_rowid"].to_numpy() for batch in collection.scan([], "label = '5'")]
    )
    assert (
        recall(
            collection,
            to_float16(of[0][1:400:20]),
            10,
            where="label = '5'",
            among=among,
        )
        >= 0.98
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: None,
        lambda text: text[: len(text) // 2],
        lambda text: "null",
        lambda text: json.dumps({**json.loads(text), "segments": ["another"]}),
        lambda text: json.dumps({**json.loads(text), "unknown": 1}),
    ],
    ids=["missing", "torn", "empty", "of another index", "of another format"],
)
def test_without_a_valid_tuning_there_is_no_approximate_search(fresh, spoil):
    query = to_float16(drawn(1, length=1))[0]
    assert ann.nearest(fresh, SPACE, query, 10) is not None
    text = fresh.lance_dataset.config()[ann.config_key(SPACE)]
    fresh.lance_dataset.update_config({ann.config_key(SPACE): spoil(text)})
    for collection in (fresh, Table.open(fresh.path)):
        collection.refresh()
        assert ann.nearest(collection, SPACE, query, 10) is None


@pytest.mark.slow
def test_a_rebuilt_index_is_not_searched_before_it_is_tuned(fresh):
    query = to_float16(drawn(1, length=1))[0]
    untuned = tuning.build_index(fresh, SPACE)
    assert ann.nearest(fresh, SPACE, query, 10) is None
    tuning.tune(fresh, SPACE, untuned, 0.99, draw_sample(fresh))
    assert ann.nearest(fresh, SPACE, query, 10) is not None


@pytest.mark.slow
def test_vectors_of_any_dimension_are_searched(tmp_path):
    """Pixels, for example: 0 to 255, and far from unit length."""
    pixels = np.random.default_rng(0).integers(0, 256, (800, 48)).astype(np.float32)
    collection = make_collection(tmp_path / "c", pixels)
    index(collection)
    queries = np.random.default_rng(1).integers(0, 256, (40, 48)).astype(np.float16)
    assert recall(collection, queries, 10) >= 0.98
    assert ann.nearest(
        collection, SPACE, pixels[3].astype(np.float16), 1
    ).distances.tolist() == [0]


def test_compaction_leaves_the_tuning_valid(fresh, monkeypatch):
    monkeypatch.setattr(upkeep, "_MANY_FRAGMENTS", 2)
    for seed in (20, 21, 22):
        add_rows(fresh, drawn(10, seed=seed, length=1))
    query = to_float16(drawn(10, seed=22, length=1))[3]
    upkeep.tidy(fresh)
    assert len(fresh.lance_dataset.get_fragments()) == 2
    assert ann.nearest(fresh, SPACE, query, 10).distances[0] == 0


def test_a_filter_uses_the_current_label_of_a_row(fresh):
    upkeep.update_scalar_indices(fresh, make=True)
    (row,) = fresh.existing_rows(["/pictures/000012.jpg"]).values()
    query = dict(zip(*fresh.vectors(SPACE), strict=True))[row.id]
    for label in ("one", "two"):
        fresh.upsert(
            {"uri": ["/pictures/000012.jpg"], "error": [None], "label": [label]},
            replace=False,
        )
        assert ann.nearest(
            fresh, SPACE, query, 10, where=f"label = '{label}'"
        ).ids.tolist() == [row.id]
        upkeep.update_scalar_indices(fresh)
        assert ann.nearest(
            fresh, SPACE, query, 10, where=f"label = '{label}'"
        ).ids.tolist() == [row.id]
    assert len(ann.nearest(fresh, SPACE, query, 10, where="label = 'one'").ids) == 0
