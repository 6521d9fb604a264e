"""Optimize: large Spaces are searched approximately with the stated recall; answers stay valid."""

from __future__ import annotations

import os
import shutil
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

import lookalike
from forked import start_python
from lookalike.collection import Collection
from lookalike.errors import InputError, SpaceError
from lookalike.indexing.run import IndexSettings, index
from lookalike.maintenance import optimize as optimizing
from lookalike.maintenance.optimize import optimize
from lookalike.store import ann, tuning
from lookalike.store.table import Table
from made import SPACE, add_rows, drawn, in_two_parts, make_collection

ROWS = 1500


@pytest.fixture
def collection(tmp_path):
    return in_two_parts(tmp_path / "c", ROWS)


@pytest.fixture(scope="module")
def optimized_numbers(tmp_path_factory):
    """The collection of `collection`, optimized, and the report."""
    table = in_two_parts(tmp_path_factory.mktemp("numbers") / "c", ROWS)
    return table.path, optimize(table, min_rows=1000)


@pytest.fixture
def optimized(optimized_numbers, tmp_path):
    """A copy of it that a test may change."""
    path, _ = optimized_numbers
    return Table.open(shutil.copytree(path, tmp_path / "c"))


@pytest.fixture(scope="module")
def optimized_images(sample, tmp_path_factory):
    """The drawn sample in pixel space, with many mixtures of two of its images; optimized."""
    path = tmp_path_factory.mktemp("optimized") / "c"
    lookalike.index(sample, path, models=["pixels"])
    table = Table.open(path)
    _, matrix = table.vectors("pixels")
    random = np.random.default_rng(0)
    one, two = random.integers(0, len(matrix), (2, ROWS))
    share = random.uniform(0.1, 0.9, (ROWS, 1))
    vectors = (
        matrix[one] * share
        + matrix[two] * (1 - share)
        + random.normal(0, 0.01, (ROWS, matrix.shape[1]))
    )
    columns = {
        "uri": [f"/made/{number}.jpg" for number in range(ROWS)],
        "sha256": [number.to_bytes(32, "big") for number in range(ROWS)],
        "label": ["made"] * ROWS,
        "spaces": [["pixels"]] * ROWS,
        "pixels": vectors.astype(np.float32),
    }
    table.upsert(columns, replace=True)
    report = lookalike.optimize(path, min_rows=1000)
    return path, report


@pytest.fixture
def query(sample):
    return sample / "butterfly" / "butterfly_0002.jpg"


@pytest.mark.slow
def test_search_after_optimize_is_approximate_and_states_its_recall(
    optimized_images, query
):
    path, report = optimized_images
    matches = lookalike.search(path, query, k=10)
    assert (matches.exact, matches.recall) == (False, report.spaces[0].recall)
    assert matches.recall >= 0.99
    assert matches.to_dict()["recall"] == matches.recall
    assert matches.uris[0] == str(query)


@pytest.mark.slow
def test_exact_overrides_and_both_agree(optimized_images, sample):
    path, _ = optimized_images
    table = Table.open(path)
    hits = 0
    for file in sorted(sample.rglob("*.jpg")):
        near, exact = (
            Collection(table).search(file, k=10, exact=exact) for exact in (False, True)
        )
        assert (exact.exact, exact.recall) == (True, None)
        shared = np.intersect1d(near.ids, exact.ids)
        hits += len(shared)
        message = [
            dict(zip(found.ids.tolist(), found.distances.tolist(), strict=True))
            for found in (near, exact)
        ]
        assert all(message[0][row] == message[1][row] for row in shared.tolist())
    assert hits / (10 * len(list(sample.rglob("*.jpg")))) >= 0.98


def test_the_query_itself_is_left_out(optimized_images, query):
    path, _ = optimized_images
    matches = lookalike.search(path, query, k=10, exclude_self=True)
    assert len(matches) == 10
    assert str(query) not in matches.uris
    assert not matches.exact


def test_an_approximate_search_does_not_load_the_matrix(optimized_images, query):
    path, _ = optimized_images
    whole = 4 * 3072 * ROWS
    for exact, most in ((False, whole / 4), (True, None)):
        table = Table.open(path)
        # Load the embedder, which is loaded only once.
        Collection(table).search(query, k=1, exact=exact)
        table = Table.open(path)
        tracemalloc.start()
        Collection(table).search(query, k=10, exact=exact)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most if most else peak > whole


def test_small_spaces_get_no_index(collection):
    report = optimize(collection)
    assert [(done.did, done.recall) for done in report.spaces] == [("none", None)]
    assert ann.nearest(collection, SPACE, drawn(1)[0], 10) is None


def test_vectors_that_the_index_cannot_take_are_searched_exactly(tmp_path):
    collection = make_collection(tmp_path / "c", drawn(300, dim=6))
    assert optimize(collection, min_rows=1).spaces[0].did == "none"


def indices(collection):
    collection.refresh()
    return {
        name
        for index in collection.lance_dataset.describe_indices()
        for name in index.field_names
    }


@pytest.mark.slow
@pytest.mark.parametrize("run", [optimize, optimizing.maintain])
def test_an_index_is_built_from_the_requested_number_of_rows(collection, run):
    run(collection, min_rows=ROWS + 21)
    assert indices(collection) == {"uri"}
    run(collection, min_rows=ROWS + 20)
    assert indices(collection) == {"uri", "label", SPACE}


@pytest.mark.slow
def test_the_report_describes_the_current_search(collection, monkeypatch):
    monkeypatch.setattr(tuning, "_PARTITION_ROWS", 800)
    optimize(collection, min_rows=1000)
    plain = ann.Setting(10, 1, 50, 0.993), ann.Setting(100, 2, 500, 0.994)
    filtered = ann.Setting(10, 2, 20, 0.995), ann.Setting(100, 2, 200, 0.996)
    record = replace(
        ann.current_tuning(collection, SPACE), plain=plain, filtered=filtered
    )
    collection.lance_dataset.update_config({ann.config_key(SPACE): record.to_json()})
    report = optimize(collection)
    [done] = report.spaces
    assert (done.did, done.index) == ("kept", "IVF_RQ, 2 partitions, 5 bits a number")
    assert (done.recall, done.probes, done.candidates, done.filtered_recall) == (
        0.993,
        1,
        50,
        0.995,
    )
    assert 0 < report.seconds < 300
    message = report.to_dict()
    assert (message["fragments"], message["spaces"][0]["recall"]) == (1, 0.993)
    assert message["seconds"] == round(report.seconds, 3)


@pytest.mark.slow
def test_an_index_run_tolerates_few_unindexed_rows_and_keeps_the_recall(collection):
    optimize(collection, min_rows=1000, recall=0.9)
    add_rows(collection, drawn(80, seed=2))
    optimizing.maintain(collection, min_rows=1000)
    assert tuning.count_unindexed(collection, SPACE) == 80  # 5 % of the rows
    add_rows(collection, drawn(1, seed=3))
    optimizing.maintain(collection, min_rows=1000)
    assert tuning.count_unindexed(collection, SPACE) == 0
    assert ann.current_tuning(collection, SPACE).target == 0.9


@pytest.mark.slow
def test_a_second_run_changes_nothing(optimized_numbers, optimized):
    _, first = optimized_numbers
    version = optimized.version
    second = optimize(optimized, min_rows=1000)
    assert [report.spaces[0].did for report in (first, second)] == ["built", "kept"]
    assert first.spaces[0].recall == second.spaces[0].recall
    assert first.spaces[0].index == "IVF_RQ, 1 partition, 5 bits a number"
    assert Table.open(optimized.path).version == version


@pytest.mark.slow
def test_new_rows_update_the_index_and_many_rebuild_it(optimized):
    collection = optimized
    add_rows(collection, drawn(200, seed=2))
    report = optimize(collection)
    assert (report.spaces[0].did, report.spaces[0].rows) == ("updated", ROWS + 220)
    assert tuning.count_unindexed(collection, SPACE) == 0
    add_rows(collection, drawn(2 * (ROWS + 20) - collection.count(), seed=3))
    assert optimize(collection).spaces[0].did == "built"
    assert tuning.count_unindexed(collection, SPACE) == 0


@pytest.mark.slow
def test_removed_rows_cause_a_new_measurement(optimized):
    optimized.remove(["/pictures/000003.jpg"])
    assert optimize(optimized).spaces[0].did == "tuned"


@pytest.mark.slow
def test_another_target_recall_causes_a_new_tuning(collection):
    optimize(collection, min_rows=1000, recall=0.999)
    done = optimize(collection, recall=0.5).spaces[0]
    assert (done.did, done.target) == ("tuned", 0.5)
    assert done.recall >= 0.5


@pytest.mark.slow
def test_a_recall_that_no_setting_reaches_means_exact_search(tmp_path, monkeypatch):
    """Vectors that lie so close together that a few bits cannot distinguish them."""

    def fewest_candidates(k, partitions, *, filtered=False):
        """The cheapest setting alone: more candidates might find all of the true neighbors."""
        return [tuning.Setting(k, partitions, candidates=k, recall=0.0)]

    monkeypatch.setattr(tuning, "BITS", 1)
    monkeypatch.setattr(tuning, "candidate_settings", fewest_candidates)
    far = (100 + np.random.default_rng(0).normal(0, 0.2, (2500, 8))).astype(np.float32)
    collection = make_collection(tmp_path / "c", far)
    done = optimize(collection, min_rows=1000, recall=1.0).spaces[0]
    assert (done.did, done.recall) == ("built", None)
    assert ann.nearest(collection, SPACE, far[0], 10) is None
    assert optimize(collection, recall=1.0).spaces[0].did == "kept"
    # It is rebuilt only if its rows are not those that it was built for.
    assert optimize(collection, recall=0.9999).spaces[0].did == "tuned"
    collection.remove(["/pictures/000003.jpg"])
    assert optimize(collection, recall=0.9999).spaces[0].did == "built"


@pytest.mark.slow
def test_only_the_named_spaces_are_tuned(collection):
    from lookalike.types import Model

    collection.add_space(Model("more", "More", "pixels", (1, 1), 32))
    report = optimize(collection, spaces=[SPACE, SPACE], min_rows=1000)
    assert [done.space for done in report.spaces] == [SPACE]
    with pytest.raises(SpaceError, match="no Space 'nope'"):
        optimize(collection, spaces=["nope"])


KILLED = """
import os, sys, threading, lookalike
from lookalike.store import tuning
tuning.SAMPLE_ROWS = 16
path, step, delay = sys.argv[1], sys.argv[2], float(sys.argv[3])
def message(what):
    if what.startswith(step):
        threading.Timer(delay, os._exit, [9]).start()
        if not delay:
            os._exit(9)
lookalike.optimize(path, min_rows=1000, keep_days=0, progress=message)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "delay"),
    [
        ("Compacting", 0),
        ("Building", 0.02),
        ("Building", 0.1),
        ("Measuring", 0),
        ("Measuring", 0.2),
        ("Removing", 0),
    ],
)
def test_a_kill_at_any_step_leaves_a_collection_that_answers(collection, step, delay):
    ids, matrix = collection.vectors(SPACE)
    query = drawn(1, seed=9)[0].astype(np.float16)
    words = ["-c", KILLED, str(collection.path), step, str(delay)]
    with start_python(words, env=os.environ) as process:
        assert process.wait(300) == 9
    again = Table.open(collection.path)
    np.testing.assert_array_equal(again.vectors(SPACE)[0], ids)
    np.testing.assert_array_equal(again.vectors(SPACE)[1], matrix)
    assert (ann.nearest(again, SPACE, query, 10) is None) == (step != "Removing")
    assert optimize(again, min_rows=1000).spaces[0].recall >= 0.99
    assert ann.nearest(again, SPACE, query, 10) is not None


@pytest.mark.slow
def test_a_concurrent_writer_loses_nothing(collection):
    def write():
        own = Table.open(collection.path)
        for number in range(10):
            add_rows(
                own,
                drawn(5, seed=number),
                uris=[f"/more/{number}/{row}" for row in range(5)],
            )

    writer = threading.Thread(target=write)
    writer.start()
    optimize(Table.open(collection.path), min_rows=1000, keep_days=0)
    writer.join()
    collection.refresh()
    assert collection.count(SPACE) == ROWS + 20 + 50


@pytest.mark.slow
def test_an_index_run_builds_and_updates_the_index_from_enough_rows(
    sample, tmp_path, query
):
    settings = IndexSettings(min_rows=20)
    lookalike.index(
        sample / "butterfly", tmp_path / "c", models=["pixels"], settings=settings
    )
    assert lookalike.search(tmp_path / "c", query).exact
    lookalike.index(sample, tmp_path / "c", settings=settings)
    matches = lookalike.search(tmp_path / "c", query)
    assert not matches.exact
    assert matches.uris == lookalike.search(tmp_path / "c", query, exact=True).uris
    table = Table.open(tmp_path / "c")
    table.remove([str(sample / "cat")])
    index(sample, table, settings=settings)
    table.refresh()
    assert tuning.count_unindexed(table, "pixels") == 0


def test_recent_versions_stay_and_orphans_are_removed(tmp_path):
    collection = make_collection(tmp_path / "c", drawn(40))
    before = {version["version"] for version in collection.lance_dataset.versions()}
    stray = tmp_path / "c" / "images.lance" / "data" / ".tmp_half_written"
    stray.write_bytes(b"half")
    report = optimize(collection, recall=1.0)
    assert before <= {
        version["version"] for version in collection.lance_dataset.versions()
    }
    assert not stray.exists()
    assert report.freed == 4
    assert 0 < report.seconds < 3600


def test_invalid_arguments_are_refused(collection):
    for recall in (0, 1.01, float("nan")):
        with pytest.raises(
            InputError, match=r"Expected a share above 0 and at most 1, such as 0\.99"
        ):
            optimize(collection, recall=recall)
    with pytest.raises(InputError, match="keep_days = -1"):
        optimize(collection, keep_days=-1)
