"""Evaluation equals the definitions, counts the images left out, and states intervals."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter, defaultdict
from fractions import Fraction
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike import vectors
from lookalike.cli.commands.evaluate import print_evaluation
from lookalike.errors import InputError, SpaceError
from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.scores import METRICS
from lookalike.store.table import Table
from lookalike.types import Model

CUTS = (1, 5, 10)


def make(path, labels, **spaces):
    """Make images /0, /1, ... with these labels; an image lacks the Spaces where it has None."""
    dims = {
        name: len(next(row for row in rows if row is not None))
        for name, rows in spaces.items()
    }
    models = [
        Model(name, name, "pixels", size=(1, 1), dim=dim, unit_length=False)
        for name, dim in dims.items()
    ]
    collection = Table.create(path, models)
    groups = defaultdict(list)
    for row in range(len(labels)):
        groups[tuple(name for name in spaces if spaces[name][row] is not None)].append(
            row
        )
    for filled, rows in groups.items():
        columns = {
            "uri": [f"/{row}" for row in rows],
            "label": [labels[row] for row in rows],
            "sha256": [row.to_bytes(32, "big") for row in rows],
            "spaces": [list(filled) for _ in rows],
            **{
                name: np.stack([spaces[name][row] for row in rows]).astype(np.float32)
                for name in filled
            },
        }
        collection.upsert(columns, replace=True)
    return collection


def manifest(labels, parts):
    rows = {
        "uri": [f"/{row}" for row in range(len(labels))],
        "label": labels,
        "split": parts,
    }
    return pa.table(
        {name: pa.array(values, pa.string()) for name, values in rows.items()}
    )


def oracle(collection, space, parts=None):
    """Return label and metrics of each query, computed in integers, one rank at a time."""
    ids, matrix = collection.vectors(space)
    facts = collection.take(ids, ["uri", "label"]).to_pylist()
    images = [
        (fact["id"], fact["uri"], fact["label"], row.tolist())
        for fact, row in zip(facts, matrix, strict=True)
    ]
    found = []
    for query in images:
        if parts is not None and parts[query[1]] != "test":
            continue
        gallery = [
            image
            for image in images
            if image is not query and (parts is None or parts[image[1]] == "train")
        ]
        apart = {
            image[0]: sum((a - b) ** 2 for a, b in zip(image[3], query[3], strict=True))
            for image in gallery
        }
        ranked = sorted(gallery, key=lambda image: (apart[image[0]], image[0]))
        hits = [image[2] == query[2] for image in ranked]
        relevant = sum(hits)
        if relevant:
            precisions = [
                Fraction(sum(hits[: rank + 1]), rank + 1)
                for rank, hit in enumerate(hits)
                if hit
            ]
            scores = {
                "map": sum(precisions) / relevant,
                "r_precision": Fraction(sum(hits[:relevant]), relevant),
            }
            scores |= {f"precision_at_{k}": Fraction(sum(hits[:k]), k) for k in CUTS}
            scores |= {
                f"recall_at_{k}": Fraction(sum(hits[:k]), relevant) for k in CUTS
            }
            found.append((query[2], scores, [image[2] for image in ranked[:10]]))
    return found


def agree(evaluation, expected):
    """Check every figure of a one-Space evaluation against the oracle's queries."""
    (scores,) = evaluation.spaces
    by_class = defaultdict(list)
    for label, values, _ in expected:
        by_class[label].append(values)
    means = {
        name: mean(values[name] for _, values, _ in expected)
        for name in METRICS
        if name != "mean_class_map"
    }
    class_maps = {
        label: mean(values["map"] for values in some)
        for label, some in by_class.items()
    }
    means["mean_class_map"] = mean(class_maps.values())
    assert {
        name: estimate.value for name, estimate in scores.metrics.items()
    } == pytest.approx(means, abs=1e-12)
    assert evaluation.counts.queries == len(expected)
    assert {label: one.queries for label, one in scores.classes.items()} == {
        k: len(v) for k, v in by_class.items()
    }
    for label, one in scores.classes.items():
        assert one.map == pytest.approx(class_maps[label], abs=1e-12)
        for k in (1, 10):
            exact = mean(values[f"precision_at_{k}"] for values in by_class[label])
            assert getattr(one, f"precision_at_{k}") == pytest.approx(exact, abs=1e-12)


def mean(values):
    values = list(values)
    return float(sum(values) / Fraction(len(values)))


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """Eighty images of five classes on a coarse grid with many ties; one class has one image."""
    random = np.random.default_rng(5)
    labels = ["abcd"[number] for number in random.integers(4, size=79)] + ["alone"]
    rows = (
        random.integers(0, 3, (80, 2))
        + np.array([ord(label[0]) % 2 for label in labels])[:, None]
    )
    return make(tmp_path_factory.mktemp("tied") / "c", labels, grid=rows)


def test_every_figure_equals_its_definition(tied):
    evaluation = evaluate(tied)
    agree(evaluation, oracle(tied, "grid"))
    assert evaluation.counts.gallery == 80
    assert evaluation.counts.skipped == 1
    assert "alone" not in evaluation.spaces[0].classes


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_small_collections_with_ties_equal_the_definition(data, tmp_path_factory):
    count = data.draw(st.integers(3, 14))
    labels = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    rows = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    )[:, None]
    parts = data.draw(
        st.none()
        | st.lists(st.sampled_from(["train", "test"]), min_size=count, max_size=count)
    )
    collection = make(tmp_path_factory.mktemp("small") / "c", labels, line=rows)
    split = None if parts is None else manifest(labels, parts)
    expected = oracle(
        collection,
        "line",
        parts and {f"/{row}": part for row, part in enumerate(parts)},
    )
    gallery = {
        label
        for row, label in enumerate(labels)
        if parts is None or parts[row] == "train"
    }
    if len(gallery) < 2 or not expected:
        with pytest.raises(InputError, match="expected two labels and a query"):
            evaluate(collection, split=split, resamples=10)
    else:
        agree(evaluate(collection, split=split, resamples=10), expected)


def test_average_precision_equals_scikit_learn_without_ties(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    # In a split with one test image a class, a class's mAP is that image's AP.
    labels = [
        f"class {number}" for number in [*range(8), *random.integers(8, size=120)]
    ]
    rows = random.normal(size=(128, 6))
    parts = ["test"] * 8 + ["train"] * 120
    classes = (
        evaluate(make(tmp_path / "c", labels, s=rows), split=manifest(labels, parts))
        .spaces[0]
        .classes
    )
    vectors_f16 = rows.astype(np.float16).astype(np.float64)
    for query in range(8):
        distances = np.linalg.norm(vectors_f16[8:] - vectors_f16[query], axis=1)
        assert len(np.unique(distances)) == 120
        expected = metrics.average_precision_score(
            np.array(labels[8:]) == labels[query], -distances
        )
        assert classes[labels[query]].map == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("memory", [1, 8 * 80, 8 * 80 * 7, 1 << 30])
def test_block_size_does_not_change_the_figures(tied, monkeypatch, memory):
    whole = evaluate(tied).to_dict()
    monkeypatch.setattr(
        vectors, "distance_blocks", partial(vectors.distance_blocks, memory=memory)
    )
    counts = []
    assert evaluate(tied, progress=counts.append).to_dict() == whole
    assert sum(counts) == 79
    assert len(counts) == {1: 79, 8 * 80: 79, 8 * 80 * 7: 12, 1 << 30: 1}[memory]


@pytest.mark.parametrize("kind", ["unit length", "pixels"])
def test_float16_distances_are_exact_for_any_block_size(kind, monkeypatch):
    random = np.random.default_rng(2)
    if kind == "unit length":
        rows = vectors.unit_length(random.random((41, 300), np.float32) ** 8)
    else:
        rows = random.integers(0, 256, (41, 300)).astype(np.float32)
    vectors_f16 = rows.astype(np.float16)
    whole = (vectors_f16.astype(np.float64) * 2**24).astype(np.int64).astype(object)
    exact = [
        [float(Fraction(sum((a - b) ** 2), 2**48)) for b in whole] for a in whole[:17]
    ]
    monkeypatch.setattr(vectors.knn, "_TILE_ROWS", 13)
    for memory in (1, 8 * 41 * 5, 1 << 20):
        blocks = list(
            vectors.distance_blocks(vectors_f16[:17], vectors_f16, memory=memory)
        )
        assert [part.start for part, _ in blocks] == list(
            range(0, 17, max(1, memory // (8 * 41)))
        )
        np.testing.assert_array_equal(
            np.concatenate([squares for _, squares in blocks]), exact
        )
        assert all(squares.nbytes <= max(memory, 8 * 41) for _, squares in blocks)


def test_a_split_uses_its_own_parts_and_labels(tmp_path):
    random = np.random.default_rng(3)
    labels = ["ab"[number] for number in random.integers(2, size=40)]
    parts = ["test" if row % 3 == 0 else "train" for row in range(40)]
    # The collection's own labels are wrong, and it holds images that the manifest does not name.
    rows = random.integers(0, 9, (44, 2))
    wrong = make(tmp_path / "wrong", ["x"] * 20 + [None] * 24, s=rows)
    right = make(tmp_path / "right", [*labels, *"xxyy"], s=rows)
    expected = oracle(
        right,
        "s",
        {f"/{row}": part for row, part in enumerate([*parts, *["none"] * 4])},
    )
    path = tmp_path / "manifest.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["uri", "label", "split"], ["/gone", "a", "test"], ["/lost", "b", "train"]]
        )
        csv.writer(file).writerows(
            zip((f"/{row}" for row in range(40)), labels, parts, strict=True)
        )
    for evaluation in (evaluate(right, split=path), evaluate(wrong, split=str(path))):
        agree(evaluation, expected)
        assert not evaluation.leave_one_out
        assert (evaluation.counts.gallery, evaluation.counts.absent) == (26, 2)
        assert evaluation.counts.unlabelled == 0


def test_images_that_take_no_part_are_counted(tmp_path):
    labels = ["a", "a", "b", "b", "c", None, None, "a", "b"]
    one = np.array([[0], [1], [10], [11], [5], [0], [0], [2], [12]])
    other = [*one[:7], None, one[8]]
    collection = make(tmp_path / "c", labels, one=one, other=other)
    counts = evaluate(collection).counts
    assert (
        counts.queries,
        counts.gallery,
        counts.skipped,
        counts.unlabelled,
        counts.left_out,
    ) == (5, 6, 1, 2, 1)
    counts = evaluate(collection, spaces=["one"]).counts
    assert (
        counts.queries,
        counts.gallery,
        counts.skipped,
        counts.unlabelled,
        counts.left_out,
    ) == (6, 7, 1, 2, 0)
    # Unlabelled images at the queries' very places would have been the nearest.
    assert (
        evaluate(collection, spaces="one").spaces[0].metrics["precision_at_1"].value
        == 1
    )


def test_spaces_keep_the_requested_order(tied, tmp_path):
    random = np.random.default_rng(0)
    collection = make(
        tmp_path / "c",
        list("aabb"),
        one=random.random((4, 2)),
        two=random.random((4, 3)),
    )
    assert [scores.space for scores in evaluate(collection).spaces] == ["one", "two"]
    assert [
        scores.space
        for scores in evaluate(
            Table.open(collection.path), spaces=["two", "one", "two"]
        ).spaces
    ] == ["two", "one"]
    assert [scores.space for scores in evaluate(collection, spaces="two").spaces] == [
        "two"
    ]
    with pytest.raises(SpaceError, match="has no Space 'three'; it has one, two"):
        evaluate(collection, spaces=["three"])


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    """Two hundred images of unequal classes; `same` repeats `good`, and `noise` is random."""
    random = np.random.default_rng(7)
    classes = random.choice(4, size=200, p=[0.6, 0.2, 0.15, 0.05])
    good = random.normal(size=(200, 8)) + 1.5 * np.eye(4, 8)[classes]
    spaces = {"good": good, "same": good, "noise": random.normal(size=(200, 5))}
    return make(
        tmp_path_factory.mktemp("rivals") / "c",
        [f"class {number}" for number in classes],
        **spaces,
    )


def test_intervals_contain_the_mean_and_are_seeded(rivals):
    first, again, other = (evaluate(rivals, seed=seed) for seed in (0, 0, 1))
    assert first == again
    for scores, others in zip(first.spaces, other.spaces, strict=True):
        for name, estimate in scores.metrics.items():
            assert estimate.low - 1e-12 <= estimate.value <= estimate.high + 1e-12
            assert estimate.value == others.metrics[name].value
        assert scores.metrics != others.metrics
    assert evaluate(rivals, resamples=50).spaces[0].metrics != first.spaces[0].metrics
    assert (other.seed, other.resamples) == (1, 1000)


def test_interval_width_equals_theory(rivals):
    values = [values for _, values, _ in oracle(rivals, "good")]
    metrics = evaluate(rivals, resamples=4000).spaces[0].metrics
    for name in ("map", "precision_at_10"):
        numbers = [float(one[name]) for one in values]
        expected = 2 * 1.96 * np.std(numbers) / math.sqrt(len(numbers))
        assert metrics[name].high - metrics[name].low == pytest.approx(
            expected, rel=0.1
        )


def test_mean_of_class_maps_is_resampled_within_classes(tmp_path):
    # In each class all queries score the same: only the shares of the classes could vary.
    rows = np.array([[0], [0], [0], [0], [5], [-5], [5], [-5]])
    metrics = evaluate(make(tmp_path / "c", list("aaaabbbb"), s=rows)).spaces[0].metrics
    assert metrics["map"].high - metrics["map"].low > 0.05
    assert metrics["mean_class_map"].high == pytest.approx(
        metrics["mean_class_map"].low, abs=1e-12
    )


def test_differences_are_paired(rivals):
    good, same, noise = evaluate(rivals).spaces
    assert good.differences == {}
    assert same.metrics == good.metrics
    # Drawn apart, two equal Spaces would differ; drawn as pairs they never do.
    assert all(tuple(estimate) == (0, 0, 0) for estimate in same.differences.values())
    for name, difference in noise.differences.items():
        assert difference.value == pytest.approx(
            noise.metrics[name].value - good.metrics[name].value, abs=1e-12
        )
        assert difference.low <= difference.value <= difference.high < 0
    flipped = evaluate(rivals, spaces=["noise", "good"]).spaces[1].differences["map"]
    assert flipped == pytest.approx([-noise.differences["map"][at] for at in (0, 2, 1)])


def test_confused_pairs_are_shares_of_the_ten_nearest(rivals, tied):
    for collection, space in ((rivals, "good"), (tied, "grid")):
        taken = Counter(
            (label, other)
            for label, _, first in oracle(collection, space)
            for other in first
        )
        queries = Counter(label for label, _, _ in oracle(collection, space))
        expected = [
            (-times / (10 * queries[label]), label, other)
            for (label, other), times in taken.items()
            if label != other
        ]
        confused = evaluate(collection, spaces=space).spaces[0].confused
        assert [
            (-pair.share, pair.label, pair.taken_for) for pair in confused
        ] == sorted(expected)[:20]


def test_the_json_contract(rivals):
    data = json.loads(json.dumps(evaluate(rivals, spaces=["good", "noise"]).to_dict()))
    assert set(data) == {"spaces", "leave_one_out", "seed", "resamples"}
    names = {
        "space",
        "queries",
        "gallery",
        "ranking",
        "skipped",
        "unlabelled",
        "left_out",
        "absent",
        "map",
        "mean_class_map",
        "r_precision",
        "precision_at",
        "recall_at",
        "intervals",
        "differences",
        "classes",
        "confused",
    }
    for entry in data["spaces"]:
        assert set(entry) == names
        assert (
            list(entry["precision_at"]) == list(entry["recall_at"]) == ["1", "5", "10"]
        )
        plain = [
            entry["map"],
            entry["mean_class_map"],
            entry["r_precision"],
            *entry["precision_at"].values(),
        ]
        assert all(
            isinstance(value, float) for value in [*plain, *entry["recall_at"].values()]
        )
        assert list(entry["intervals"]) == list(METRICS)
        assert all(low <= high for low, high in entry["intervals"].values())
        assert all(
            set(pair) == {"label", "taken_for", "share"} for pair in entry["confused"]
        )
        for scores in entry["classes"].values():
            assert set(scores) == {"queries", "map", "precision_at"}
            assert set(scores["precision_at"]) == {"1", "10"}
    good, noise = data["spaces"]
    assert good["differences"] == {}
    assert list(noise["differences"]) == list(METRICS)
    assert noise["differences"]["map"]["value"] == pytest.approx(
        noise["map"] - good["map"]
    )
    assert all(
        low < 0 for low, _ in (one["interval"] for one in noise["differences"].values())
    )


def test_invalid_arguments_are_refused(tied, tmp_path):
    rows = np.arange(4.0)[:, None]
    bare = make(tmp_path / "bare", [None] * 4, s=rows)
    with pytest.raises(
        InputError,
        match=r"holds no image with a label, and 4 without.*its folder.*--labels folder",
    ):
        evaluate(bare)
    with pytest.raises(
        InputError,
        match=r"4 images to search among \(labels: 1\).*expected two.*--labels folder",
    ):
        evaluate(make(tmp_path / "one", ["a"] * 4, s=rows))
    with pytest.raises(
        InputError, match=r"4 images .*labels: 4.* 0 queries that share their label"
    ):
        evaluate(make(tmp_path / "lonely", list("abcd"), s=rows))
    with pytest.raises(
        SpaceError,
        match=r"No labeled image of .* has a vector in one and in two\. Fill",
    ):
        evaluate(
            make(
                tmp_path / "apart",
                list("aabb"),
                one=[*rows[:2], None, None],
                two=[None, None, *rows[2:]],
            )
        )
    with pytest.raises(InputError, match="resamples = 0"):
        evaluate(tied, resamples=0)
    with pytest.raises(InputError, match="seed = -1"):
        evaluate(tied, seed=-1)
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("uri,label,split\n/x,a,train\n/y,a,test\n")
    with pytest.raises(
        InputError, match=r"elsewhere\.csv lists 2 images, and .* holds none of them"
    ):
        evaluate(tied, split=elsewhere)
    with pytest.raises(
        InputError, match=r"expected \['uri', 'label', 'split'\], with train or test"
    ):
        evaluate(tied, split=manifest(["a"], ["validation"]))
    with pytest.raises(
        InputError, match="again with more classes in both of its splits"
    ):
        evaluate(tied, split=manifest(["a", "a"], ["train", "test"]))


def test_the_printed_table(rivals, tied, tmp_path, capsys):
    print_evaluation(evaluate(rivals, spaces=["good", "noise"]))
    printed = capsys.readouterr().out
    good, noise = evaluate(rivals, spaces=["good", "noise"]).spaces
    assert printed.startswith("200 queries, each among the other 199 images.\n")
    map_line = next(line for line in printed.splitlines() if line.startswith("mAP "))
    for value in (*good.metrics["map"], *noise.metrics["map"]):
        assert f"{value:.3f}" in map_line
    assert f"{noise.differences['map'].value:+.3f} [" in map_line
    assert map_line.endswith("] *")
    assert [
        line.split()[0]
        for line in printed.splitlines()
        if line.endswith(f"{noise.classes['class 0'].map:.3f}")
    ]
    assert printed.count(" taken for ") == 10
    assert "Not used" not in printed
    print_evaluation(evaluate(rivals, spaces=["good", "same"]))
    assert "+0.000 [+0.000, +0.000]\n" in capsys.readouterr().out
    print_evaluation(evaluate(rivals))
    differences = capsys.readouterr().out.split("difference from good")[1]
    map_line = next(
        line for line in differences.splitlines() if line.startswith("mAP ")
    )
    for scores in evaluate(rivals).spaces[1:]:
        assert f"{scores.differences['map'].value:+.3f} [" in map_line
    print_evaluation(evaluate(tied))
    printed = capsys.readouterr().out
    assert "difference" not in printed
    assert printed.endswith(
        "Not used: 1 without another image of their class, so not queries.\n"
    )
    split = manifest(["a", "b"] * 50, ["train", "train", "test", "test"] * 25)
    print_evaluation(evaluate(tied, split=split))
    printed = capsys.readouterr().out
    assert printed.startswith("40 test images as queries, among 40 training images.\n")
    assert printed.endswith("Not used: 20 in the manifest but not in the collection.\n")
