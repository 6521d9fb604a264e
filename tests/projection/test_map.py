from __future__ import annotations

import _thread
import json
import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forked import start_python
from lookalike.errors import InputError, SpaceError
from lookalike.projection import layouts
from lookalike.projection.map import REFIT_SHARE, make_map, make_placer
from lookalike.store import maps
from lookalike.store.table import Table
from lookalike.vectors import k_nearest
from made import SPACE, add_rows, clusters, make_collection

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow


@pytest.fixture
def vectors():
    return clusters(5, 40)[0]


@pytest.fixture
def collection(tmp_path, vectors):
    return make_collection(tmp_path / "collection", vectors)


@pytest.fixture(scope="module")
def mapped_once(tmp_path_factory):
    """The same collection with its t-SNE map, for copies."""
    made = make_collection(tmp_path_factory.mktemp("mapped") / "c", clusters(5, 40)[0])
    make_map(made)
    return Path(made.path)


@pytest.fixture
def mapped(mapped_once, tmp_path):
    """A copy of the collection, whose t-SNE map is stored."""
    return Table.open(shutil.copytree(mapped_once, tmp_path / "mapped"))


@pytest.fixture
def short_descent(monkeypatch):
    """Let t-SNE take 150 steps instead of 750."""
    openTSNE = pytest.importorskip("openTSNE")  # noqa: N806  # its name
    few_steps = partial(openTSNE.TSNE, early_exaggeration_iter=50, n_iter=100)
    monkeypatch.setattr(openTSNE, "TSNE", few_steps)


@pytest.fixture(scope="module")
def umap():
    """umap-learn, if it is installed."""
    return pytest.importorskip(
        "umap",
        reason="needs umap-learn: pip install lookalike[umap]",
        exc_type=ImportError,
    )


@pytest.fixture(params=["tsne", "pca", "umap"])
def method(request):
    """Each method that is installed."""
    if request.param == "umap":
        request.getfixturevalue("umap")
    return request.param


def written_at(collection, method="tsne") -> int:
    """Return the time when the stored map was last written."""
    return Path(maps.map_path(collection.path, SPACE, method)).stat().st_mtime_ns


def accuracy(xy, labels, *, of=None, among=None) -> float:
    """Return how often the most frequent label of the ten nearest is the row's own label."""
    labels = np.unique(labels, return_inverse=True)[1]
    of = np.arange(len(xy)) if of is None else of
    among = np.arange(len(xy)) if among is None else among
    same = np.array_equal(of, among)
    near, _ = k_nearest(xy[of], xy[among], 10, own=np.arange(len(of)) if same else None)
    votes = [np.bincount(labels[among][row]).argmax() for row in near]
    return float((votes == labels[of]).mean())


# Making a map.


def test_clusters_stay_together(collection, method):
    made = make_map(collection, method=method)
    assert (made.space, made.method, made.seed, len(made)) == (SPACE, method, 0, 200)
    assert (made.xy.dtype, made.xy.shape) == (np.float32, (200, 2))
    assert (np.diff(made.ids) > 0).all()
    assert made.fitted.all()
    if method != "pca":  # Two axes cannot separate five corners.
        assert accuracy(made.xy, np.arange(200) % 5) == 1
        assert made.fidelity["trustworthiness"] > 0.9


def test_the_same_seed_gives_the_same_map(collection, short_descent):
    first = make_map(collection)
    again = make_map(collection, rebuild=True)
    other = make_map(collection, seed=1)
    assert np.array_equal(first.xy, again.xy)
    assert not np.allclose(first.xy, other.xy)
    assert other.seed == 1


def test_perplexity_changes_the_map_and_is_bounded(tmp_path, vectors, short_descent):
    collection = make_collection(tmp_path / "small", vectors[:40])
    auto, asked, bounded = (
        make_map(collection, perplexity=value) for value in ("auto", 5, 30)
    )
    assert auto.parameters["perplexity"] == bounded.parameters["perplexity"] == 13
    assert asked.parameters["perplexity"] == 5
    assert np.array_equal(auto.xy, bounded.xy)
    assert not np.allclose(auto.xy, asked.xy)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 10, 31])
@pytest.mark.parametrize("alike", [False, True])
def test_few_rows_can_be_mapped(tmp_path, count, alike):
    rows = (
        np.random.default_rng(0)
        .normal(size=(1 if alike else count, 16))
        .repeat(count if alike else 1, axis=0)
    )
    made = make_map(make_collection(tmp_path / "few", rows))
    assert len(made) == count
    assert np.isfinite(made.xy).all()
    assert np.isfinite(made.unit_square()).all()
    assert alike or len(np.unique(made.xy, axis=0)) == count
    assert json.loads(json.dumps(made.to_dict()))["rows"] == count


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_short_vectors_can_be_mapped(tmp_path, dim):
    made = make_map(
        make_collection(
            tmp_path / "short", np.random.default_rng(0).normal(size=(30, dim))
        )
    )
    assert np.isfinite(made.xy).all()
    assert made.fidelity["trustworthiness"] > 0.8


def test_many_rows_use_approximate_neighbors(collection, monkeypatch, short_descent):
    few = make_map(collection)
    monkeypatch.setattr(layouts, "_MAX_EXACT_ROWS", 100)
    many = make_map(collection, rebuild=True)
    assert (few.parameters["gradient"], many.parameters["gradient"]) == ("bh", "fft")
    assert accuracy(many.xy, np.arange(200) % 5) == 1
    assert np.array_equal(make_map(collection, rebuild=True).xy, many.xy)
    more, of = clusters(5, 6, seed=1)
    add_rows(collection, more)
    after = make_map(collection)
    assert np.array_equal(after.xy[:200], many.xy)
    middles = np.stack([many.xy[cluster::5].mean(axis=0) for cluster in range(5)])
    assert (k_nearest(after.xy[200:], middles, 1)[0][:, 0] == of).mean() > 0.9


def test_one_thread_and_many_give_the_same_positions(
    collection, monkeypatch, short_descent
):
    one = make_map(collection)
    monkeypatch.setattr(layouts, "_MAX_SINGLE_THREAD_ROWS", 100)
    assert np.array_equal(make_map(collection, rebuild=True).xy, one.xy)


def test_a_map_converts_to_plain_data(mapped):
    made = make_map(mapped)
    data = made.to_dict()
    assert (data["space"], data["method"], data["seed"]) == (SPACE, "tsne", 0)
    assert (data["rows"], data["fitted_rows"], data["ids"]) == (
        200,
        200,
        made.ids.tolist(),
    )
    assert np.array_equal(np.array([data["x"], data["y"]], np.float32).T, made.xy)
    assert data["fidelity"] == made.fidelity
    assert data["parameters"] == made.parameters


def test_the_title_and_summary_describe_the_map(mapped):
    made = make_map(mapped)
    assert made.title == f"t-SNE map of {SPACE}"
    kept = round(100 * made.fidelity["preservation"])
    assert made.summary == (
        f"200 images · trustworthiness {made.fidelity['trustworthiness']:.3f} · "
        f"{kept} % of the 10 nearest neighbors preserved"
    )


def test_the_unit_square_keeps_the_shape(mapped):
    made = make_map(mapped)
    unit = made.unit_square()
    assert (unit.min(), unit.max()) == (pytest.approx(0), pytest.approx(1))
    np.testing.assert_allclose((unit.min(axis=0) + unit.max(axis=0)) / 2, 0.5)
    scale = np.ptp(made.xy, axis=0).max()
    np.testing.assert_allclose(
        np.ptp(unit, axis=0), np.ptp(made.xy, axis=0) / scale, rtol=1e-5
    )
    assert unit[made.xy[:, 1].argmax(), 1] == unit[:, 1].min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "som"}, r"'som' is unknown; expected one of tsne, pca, umap"),
        ({"perplexity": 0.5}, r"0\.5 is invalid; expected a number from 1, or 'auto'"),
        ({"perplexity": float("nan")}, "nan is invalid"),
        ({"perplexity": "some"}, "'some' is invalid"),
        ({"method": "pca", "perplexity": 5}, "PCA has no such parameter"),
        ({"seed": -1}, "seed = -1 is out of range"),
    ],
)
def test_invalid_arguments_are_refused(collection, arguments, message):
    with pytest.raises(InputError, match=message):
        make_map(collection, **arguments)


def test_the_space_must_exist_and_have_vectors(collection, tmp_path, vectors):
    with pytest.raises(SpaceError, match="no Space 'pixels'"):
        make_map(collection, space="pixels")
    empty = make_collection(tmp_path / "empty", vectors[:1])
    empty.delete(empty.vectors(SPACE)[0])
    with pytest.raises(SpaceError, match=r"is empty.*lookalike index"):
        make_map(empty)


def test_later_processes_use_what_umap_compiled(collection, umap):
    make_map(collection, method="umap")
    stored = umap.umap_.smooth_knn_dist.stats
    assert sum((stored.cache_hits + stored.cache_misses).values()) == 1


def test_without_umap_the_error_says_how_to_install_it(collection, monkeypatch):
    # Simulate the missing package where it is installed.
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(InputError, match=r"pip install lookalike\[umap\]"):
        make_map(collection, method="umap")


# Saving and loading it.


def test_a_stored_map_is_returned_unchanged(mapped):
    first, when = make_map(mapped), written_at(mapped)
    again = make_map(Table.open(mapped.path))
    assert written_at(mapped) == when
    assert first.to_dict() == again.to_dict()


def test_rebuild_makes_a_new_map(mapped, short_descent):
    make_map(mapped)
    when = written_at(mapped)
    make_map(mapped, rebuild=True)
    assert written_at(mapped) > when


def test_another_seed_or_perplexity_replaces_the_map(mapped, short_descent):
    times = []
    for asked in (
        {},
        {"seed": 3},
        {"seed": 3, "perplexity": 7},
        {"seed": 3, "perplexity": 7.0},
    ):
        made = make_map(mapped, **asked)
        times.append(written_at(mapped))
    assert times[0] < times[1] < times[2] == times[3]
    assert (made.seed, made.parameters["perplexity"]) == (3, 7)


def test_new_rows_are_placed_and_no_other_row_moves(collection, method):
    before, when = make_map(collection, method=method), written_at(collection, method)
    more, of = clusters(5, 6, seed=1)
    add_rows(collection, more)
    after = make_map(collection, method=method)
    assert np.array_equal(after.ids[:200], before.ids)
    assert np.array_equal(after.xy[:200], before.xy)
    assert after.fitted.tolist() == [True] * 200 + [False] * 30
    middles = np.stack([before.xy[cluster::5].mean(axis=0) for cluster in range(5)])
    nearest, _ = k_nearest(after.xy[200:], middles, 1)
    assert (nearest[:, 0] == of).mean() > (0.8 if method == "pca" else 0.99)
    assert after.fidelity["rows"] == 230
    assert after.placed_share == pytest.approx(30 / 230)
    assert "30 placed later" in after.summary
    assert written_at(collection, method) > when


def test_placed_rows_do_not_move_later(mapped):
    make_map(mapped)
    for seed in (1, 2):
        add_rows(mapped, clusters(5, 3, seed=seed)[0])
        made = make_map(mapped)
    add_rows(mapped, clusters(5, 3, seed=3)[0])
    last = make_map(mapped)
    assert np.array_equal(last.xy[:230], made.xy)
    assert last.fitted.sum() == 200


def test_placing_one_by_one_equals_placing_all_at_once(mapped_once, tmp_path):
    more = clusters(5, 1, seed=1)[0]
    together, single = (
        Table.open(shutil.copytree(mapped_once, tmp_path / name))
        for name in ("together", "single")
    )
    add_rows(together, more)
    for row in more:
        add_rows(single, row[np.newaxis])
        make_map(single)
    np.testing.assert_allclose(make_map(single).xy, make_map(together).xy, atol=1e-3)


def test_only_a_changed_image_moves(mapped, vectors):
    before = make_map(mapped)
    add_rows(mapped, vectors[1:2], uris=["/pictures/000000.jpg"])
    after = make_map(mapped)
    assert np.array_equal(after.ids, before.ids)
    assert after.fitted.tolist() == [False] + [True] * 199
    assert np.array_equal(after.xy[1:], before.xy[1:])
    assert (
        np.linalg.norm(after.xy[0] - before.xy[1])
        < np.linalg.norm(before.xy[0] - before.xy[1]) / 5
    )


def test_removed_rows_leave_the_map(mapped):
    before = make_map(mapped)
    mapped.delete(before.ids[10:30])
    after = make_map(mapped)
    kept = np.r_[0:10, 30:200]
    assert np.array_equal(after.ids, before.ids[kept])
    assert np.array_equal(after.xy, before.xy[kept])
    assert after.fidelity["rows"] == 180


def test_a_map_with_too_few_rows_left_is_rebuilt(mapped, vectors):
    before = make_map(mapped)
    mapped.delete(before.ids[5:])
    add_rows(
        mapped,
        clusters(5, 10, seed=1)[0],
        uris=[f"/new/{index}.jpg" for index in range(50)],
    )
    after = make_map(mapped)
    assert len(after) == 55
    assert after.fitted.all()


def test_few_rows_are_placed_from_exact_forces(mapped, monkeypatch):
    """They lie where Barnes-Hut places them, and Barnes-Hut, which is slow for few, is not used."""
    placer = make_placer(mapped, make_map(mapped))
    few = clusters(5, 1, seed=4)[0]
    with monkeypatch.context() as patch:
        patch.setattr(layouts, "_MAX_EXACT_PAIRS", 0)
        approximate = placer(few)
    with monkeypatch.context() as patch:
        patch.delattr("openTSNE.tsne.kl_divergence_bh")
        exact = placer(few)
    assert np.abs(exact - approximate).max() < 0.1


def test_the_exact_gradient_is_that_of_opentsne():
    from openTSNE.tsne import kl_divergence_bh
    from scipy.sparse import csr_matrix

    random = np.random.default_rng(0)
    reference = 10 * random.normal(size=(300, 2))
    new = np.ascontiguousarray(8 * random.normal(size=(4, 2)))
    weights = random.random((4, 300)) * (random.random((4, 300)) < 0.05)
    affinities = csr_matrix(weights / weights.sum(axis=1, keepdims=True))
    # Without approximation, Barnes-Hut compares each pair too.
    _, expected = kl_divergence_bh(
        new, affinities, 1, {"theta": 0.0}, reference_embedding=reference
    )
    _, gradient = layouts._exact_gradient(
        new, affinities, dof=1, reference_embedding=reference
    )
    assert gradient == pytest.approx(expected, rel=1e-6)


def test_a_map_needs_a_refit_after_many_placed_rows(tmp_path, vectors, short_descent):
    collection = make_collection(tmp_path / "wearing", vectors[:100])
    assert not make_map(collection).needs_refit
    add_rows(collection, vectors[100:140])
    placed = make_map(collection)
    assert (placed.placed_share, placed.needs_refit) == (pytest.approx(40 / 140), False)
    add_rows(collection, vectors[140:150])
    placed = make_map(collection)
    assert placed.placed_share > REFIT_SHARE
    assert placed.needs_refit
    assert not make_map(collection, rebuild=True).needs_refit


def test_an_interrupt_leaves_the_stored_map(tmp_path):
    collection = make_collection(
        tmp_path / "interrupted", np.random.default_rng(0).normal(size=(1500, 32))
    )
    before = make_map(collection, method="pca")
    shutil.copy(
        maps.map_path(collection.path, SPACE, "pca"),
        maps.map_path(collection.path, SPACE, "tsne"),
    )
    when = written_at(collection)
    timer = threading.Timer(0.4, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            make_map(collection, rebuild=True)
    finally:
        timer.cancel()
    assert written_at(collection) == when
    assert np.array_equal(make_map(collection).xy, before.xy)


INTERRUPTED_IN_THE_TREE = """
import signal, sys
import numpy as np
from lookalike.store.table import Table
from lookalike.projection import map as mapping

smallest, trees = np.min, []

def interrupting(array, *args, **kwargs):
    # openTSNE computes the smallest position first when it builds a tree.
    if np.shape(array) == (200, 2) and kwargs.get("axis") == 0:
        trees.append(1)
        if len(trees) == 3:
            signal.raise_signal(signal.SIGINT)
    return smallest(array, *args, **kwargs)

collection = Table.open(sys.argv[1])
np.min = interrupting
try:
    mapping.make_map(collection, rebuild=True)
except KeyboardInterrupt:
    print("interrupted at tree", len(trees))
"""


def test_an_interrupt_while_a_tree_is_built_does_not_crash(collection):
    words = ["-c", INTERRUPTED_IN_THE_TREE, str(collection.path)]
    with start_python(words, env=os.environ) as ended:
        printed, errors = ended.communicate()
    assert (ended.returncode, printed) == (0, "interrupted at tree 3\n"), errors


# On the photographs.


@pytest.fixture(scope="module")
def photographs_map(caltech, tmp_path_factory):
    """Return a map of a copy of the photographs' collection, and their labels."""
    path = tmp_path_factory.mktemp("map") / "collection"
    shutil.copytree(caltech.path, path)
    collection = Table.open(path)
    made = make_map(collection)
    return (
        collection,
        made,
        np.array(collection.take(made.ids, ["label"])["label"].to_pylist()),
    )


def test_photographs_are_near_their_class(photographs_map):
    _, made, labels = photographs_map
    # These two classes are crops of the same photographs. `scripts/bench references` counts them
    # as two, with eight times the photographs.
    labels = np.where(labels == "Faces_easy", "Faces", labels)
    assert accuracy(made.xy, labels) >= 0.98
    assert made.fidelity["trustworthiness"] >= 0.98
    assert made.fidelity["preservation"] >= 0.40


@pytest.fixture(scope="module")
def part(photographs_map, tmp_path_factory):
    """A collection of 300 photographs and its map, their labels, and 89 more photographs."""
    collection, made, labels = photographs_map
    ids, vectors = collection.vectors("efficientnet-lite0")
    assert np.array_equal(ids, made.ids)
    order = np.random.default_rng(0).permutation(len(ids))
    path = tmp_path_factory.mktemp("part") / "collection"
    some = make_collection(path, vectors[order[:300]])
    return some, make_map(some), labels[order], vectors[order[300:]]


def test_held_out_photographs_are_placed_near_their_class(part, tmp_path):
    collection, before, labels, more = part
    path = shutil.copytree(collection.path, tmp_path / "collection")
    collection = Table.open(path)
    add_rows(collection, more)
    after = make_map(collection)
    fitted, held_out = np.arange(300), np.arange(300, 389)
    assert np.array_equal(after.xy[fitted], before.xy)
    usual = accuracy(after.xy[fitted], labels[fitted])
    assert accuracy(after.xy, labels, of=held_out, among=fitted) >= usual - 0.05
