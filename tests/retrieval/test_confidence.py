"""Each match has a confidence, and a search says when nothing is like its query."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from command import lookalike
from lookalike.collection import Collection
from lookalike.errors import InputError
from lookalike.evaluation.absent import evaluate_absent
from lookalike.maintenance import optimize
from lookalike.maintenance.calibrate import calibrate
from lookalike.retrieval.confidence import calibration_state, conformal
from lookalike.retrieval.query import RowQuery, VectorQuery
from lookalike.store.table import Table
from lookalike.types import Model
from made import SPACE, add_rows, clusters

LABELS = ["a", "b", "c", "d"]
EACH = 40
DIM = 12


def make(path, vectors, labels=None):
    """Make a collection of these vectors, which can be searched by vectors."""
    table = Table.create(path, [Model(SPACE, "numbers", "pixels", (2, 2), DIM)])
    add_rows(table, vectors, labels=labels)
    return table


def labeled(path, *, each=EACH):
    """Make a collection of four clusters, each with its label."""
    vectors, corners = clusters(4, each, dim=DIM)
    return make(path, vectors, [LABELS[corner] for corner in corners])


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibrated") / "c"
    calibrate(labeled(path))
    return path


@pytest.fixture
def collection(calibrated, tmp_path):
    """A calibrated collection that a test may change."""
    return Collection.open(shutil.copytree(calibrated, tmp_path / "c"))


def near(corner, *, seed=9):
    """Return a new vector near a corner; from 4 on, the collection has none there."""
    noise = np.random.default_rng(seed).normal(0, 0.06, DIM)
    vector = np.eye(DIM)[corner] + noise
    return VectorQuery(vector / np.linalg.norm(vector))


def leave_one_out(table):
    """Return the distance of each row to its nearest other row."""
    _, matrix = table.vectors(SPACE)
    rows = matrix.astype(np.float64)
    distances = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.min(axis=1)


def test_confidence_is_share_of_rows_at_least_as_far_from_nearest(collection):
    matches = collection.search(near(1), k=5)
    nearest = leave_one_out(collection.table)
    for match in matches:
        share = (1 + np.sum(nearest >= match.distance - 1e-6)) / (len(nearest) + 1)
        assert match.confidence == pytest.approx(share)
    assert matches.answer.confidence == matches.confidences[0]
    assert matches.answer.nearest == matches.distances[0]
    assert matches.answer.rows == 4 * EACH


def test_same_vector_has_confidence_of_one_and_row_leaves_itself_out(collection):
    row = RowQuery(3)
    assert collection.search(row, k=1).confidences[0] == 1
    others = collection.search(row, k=1, exclude_self=True)
    nearest = leave_one_out(collection.table)
    at_least_as_far = np.sum(nearest >= nearest[3] - 1e-9)
    assert others.confidences[0] * (len(nearest) + 1) == pytest.approx(
        1 + at_least_as_far
    )


def test_confidence_of_conformal_p_value_by_hand():
    found = conformal(np.array([0.1, 0.2, 0.2, 0.5]), np.array([0, 0.1, 0.2, 0.3, 9]))
    assert found.tolist() == [1, 1, 4 / 5, 2 / 5, 1 / 5]


def test_new_images_of_collection_are_answered_and_other_kinds_are_not(collection):
    answered = 0
    for seed in range(10):
        answered += collection.search(near(2, seed=seed)).answer.is_match
        absent = collection.search(near(10, seed=seed))
        assert not absent.answer.is_match
        assert len(absent) == 10
    assert answered >= 9


def test_min_confidence_cuts_and_states_what_it_hides(collection):
    every = collection.search(near(1), k=30)
    limit = float(every.confidences[4])
    cut = collection.search(near(1), k=30, min_confidence=limit)
    assert cut.ids.tolist() == every.ids[every.confidences >= limit].tolist()
    assert cut.answer.hidden == 30 - len(cut)

    nothing = collection.search(near(10), min_confidence=0.03)
    assert len(nothing) == 0
    assert nothing.answer.hidden == 10
    assert nothing.answer.nearest > 1
    assert len(collection.search(near(10), min_confidence=0)) == 10


def test_confidence_with_unique_counts_copies_of_kept_matches(collection):
    found = collection.search(near(1), k=3, unique=True, min_confidence=0.001)
    assert len(found.copies) == len(found.confidences) == len(found)


def test_confidence_is_of_plain_distance_in_every_ranking(collection):
    plain = collection.search(near(1), k=20)
    by_id = dict(zip(plain.ids.tolist(), plain.confidences.tolist(), strict=True))
    for ranking in ("centered", "context"):
        for match in collection.search(near(1), k=5, ranking=ranking):
            assert match.confidence == pytest.approx(by_id[match.id], abs=0.01)


def test_search_many_has_the_confidences_of_search(collection):
    (many,) = collection.search_many([near(1)], k=4)
    one = collection.search(near(1), k=4)
    assert many.confidences.tolist() == one.confidences.tolist()
    assert many.answer == one.answer


def test_several_examples_have_no_confidence(collection):
    found = collection.search([near(1), near(2)], k=3)
    assert found.confidences is None
    assert found.answer is None
    with pytest.raises(InputError, match="2 examples"):
        collection.search([near(1), near(2)], min_confidence=0.1)
    with pytest.raises(InputError, match="2 examples"):
        collection.search(near(1), negative=near(2), min_confidence=0.1)
    assert collection.search(near(1), negative=near(2), gamma=0).answer is not None


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "half"])
def test_min_confidence_outside_zero_to_one_is_refused(collection, value):
    with pytest.raises(InputError, match="from 0 to 1"):
        collection.search(near(1), min_confidence=value)


def test_min_confidence_needs_a_calibration(tmp_path):
    labeled(tmp_path / "c")
    uncalibrated = Collection.open(tmp_path / "c")
    assert uncalibrated.search(near(1)).answer is None
    assert len(uncalibrated.search(near(1), min_confidence=0)) == 10
    with pytest.raises(InputError, match="lookalike calibrate"):
        uncalibrated.search(near(1), min_confidence=0.03)


def test_outdated_calibration_is_not_used(collection):
    vectors, _ = clusters(4, EACH, seed=5, dim=DIM)
    ids, _ = collection.table.vectors(SPACE)
    add_rows(collection.table, vectors[:60])
    collection.table.delete(ids[:10])
    answer = collection.search(near(1)).answer
    assert (answer.added, answer.removed) == (60, 10)

    collection.table.delete(ids[10:21])
    assert collection.search(near(1)).answer is None
    assert not collection.calibration().is_usable
    with pytest.raises(InputError, match="more than half"):
        collection.search(near(1), min_confidence=0.03)


def test_index_calibrates_from_hundred_rows_and_after_growth_by_half(tmp_path):
    table = labeled(tmp_path / "c", each=24)
    optimize.maintain(table)
    assert calibration_state(table, SPACE) is None

    vectors, _ = clusters(4, 40, seed=5, dim=DIM)
    add_rows(table, vectors[:14])
    optimize.maintain(table)
    assert calibration_state(table, SPACE).calibration.rows == 110
    add_rows(table, vectors[14:60])
    optimize.maintain(table)
    assert calibration_state(table, SPACE).added == 46
    add_rows(table, vectors[60:80])
    optimize.maintain(table)
    assert calibration_state(table, SPACE).calibration.rows == 176


def test_backup_has_the_calibration(collection, tmp_path):
    collection.backup(tmp_path / "backup")
    restored = Table.open(tmp_path / "backup")
    expected = collection.calibration().to_dict()
    assert calibration_state(restored, SPACE).to_dict() == expected


@pytest.mark.parametrize("rows", [1, 2, 11, 33])
def test_few_images_are_refused(tmp_path, rows):
    vectors, _ = clusters(1, rows, dim=DIM)
    table = make(tmp_path / "c", vectors)
    expected = "33 at least" if rows < 33 else None
    if expected is None:
        calibrate(table)
        return
    with pytest.raises(InputError, match=expected):
        calibrate(table)


def test_images_that_are_all_equal_are_refused_and_do_not_stop_index(tmp_path):
    table = make(tmp_path / "c", np.ones((120, DIM), np.float32))
    with pytest.raises(InputError, match="Copies of one image"):
        calibrate(table)
    optimize.maintain(table)
    assert calibration_state(table, SPACE) is None

    # Not again, until the Space has grown by half.
    version = table.version
    optimize.maintain(table)
    assert table.version == version
    add_rows(table, clusters(4, 20, dim=DIM)[0])
    optimize.maintain(table)
    assert calibration_state(table, SPACE).calibration.rows == 200


def test_copies_do_not_shrink_the_distance_of_a_match(tmp_path):
    vectors, _ = clusters(4, EACH, dim=DIM)
    once = make(tmp_path / "once", vectors)
    twice = make(tmp_path / "twice", np.concatenate([vectors, vectors]))
    (single,), (double,) = calibrate(once), calibrate(twice)
    assert double.limit == pytest.approx(single.limit, rel=0.05)


def test_rates_without_labels_and_with_one_are_unknown(tmp_path):
    vectors, _ = clusters(4, EACH, dim=DIM)
    for name, labels in (("none", None), ("one", ["a"] * len(vectors))):
        table = make(tmp_path / name, vectors, labels)
        (measured,) = calibrate(table)
        assert measured.absent is None
        assert measured.can_tell is None
        with pytest.raises(InputError, match="two labels"):
            evaluate_absent(table)


def test_space_that_is_partly_filled_counts_its_own_rows(tmp_path):
    table = labeled(tmp_path / "c")
    ids, _ = table.vectors(SPACE)
    uris = table.take(ids[:100], ["uri"])["uri"].to_pylist()
    columns = {"uri": uris, "spaces": [[]] * 100, SPACE: None}
    table.update(columns)
    (measured,) = calibrate(table)
    assert measured.rows == 4 * EACH - 100


def test_rates_equal_their_definition(collection):
    """Of each label, the share of images whose confidence among the others is high enough."""
    table = collection.table
    scores = evaluate_absent(table, count=2)
    ids, matrix = table.vectors(SPACE)
    labels = np.array(table.take(ids, ["label"])["label"].to_pylist())
    rows = matrix.astype(np.float64)
    distances = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert len(scores.choices) == 6
    for choice in scores.choices:
        is_absent = np.isin(labels, choice.labels)
        to_present = distances[:, ~is_absent].min(axis=1)
        calibrated = to_present[~is_absent]
        answered = [
            (1 + np.sum(calibrated >= distance)) / (len(calibrated) + 1) >= 0.03
            for distance in to_present[is_absent]
        ]
        assert choice.answered == pytest.approx(np.mean(answered))
        assert choice.kept > 0.9
    assert scores.answered.value < 0.05
    assert scores.to_dict()["answered"]["value"] == scores.answered.value


def test_confusable_label_is_named(tmp_path):
    """Two labels of one cluster are answered in each other's place."""
    vectors, corners = clusters(3, 60, dim=DIM)
    names = [LABELS[corner] for corner in corners]
    for row in np.flatnonzero(corners == 0)[::2]:
        names[row] = "twin"
    table = make(tmp_path / "c", vectors, names)
    (measured,) = calibrate(table)
    first, second, *others = measured.labels
    assert {(first.label, first.match), (second.label, second.match)} == {
        ("a", "twin"),
        ("twin", "a"),
    }
    assert min(first.answered, second.answered) > 0.8
    assert max(rate.answered for rate in others) < 0.1


@pytest.mark.parametrize("count", [0, 4, 9])
def test_number_of_absent_labels_leaves_some(collection, count):
    with pytest.raises(InputError, match="from 1 to 3"):
        evaluate_absent(collection.table, count=count)


def test_command_line_marks_where_likeness_ends(sample, tmp_path):
    path = tmp_path / "c"
    lookalike("index", sample, "-c", path, "--model", "pixels")
    said = lookalike("calibrate", "-c", path).stdout
    assert "An image like those of this collection is answered in " in said
    assert "45 images at version" in lookalike("info", "-c", path).stdout

    (space,) = json.loads(lookalike("info", "-c", path, "--json").stdout)["spaces"]
    assert space["calibration"]["rows"] == 45
    assert space["calibration"]["usable"]

    file = min(sample.rglob("*.jpg"))
    noise = np.random.default_rng(0).integers(0, 2, (32, 32)) * 255
    Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "new.png")
    found = lookalike("search", file, "-c", path, "-k", 45).stdout
    assert found.count("Less alike from here on (confidence below 0.03):") == 1
    nothing = lookalike("search", tmp_path / "new.png", "-c", path, "-k", 3).stdout
    assert nothing.startswith("Nothing here is like that (nearest: ")
    assert nothing.count("\n") == 4
    options = ("-c", path, "--min-confidence", 0.03)
    cut = lookalike("search", tmp_path / "new.png", *options).stdout
    assert cut.endswith("See the nearest with --min-confidence 0.\n")
    assert cut.count("\n") == 1

    data = json.loads(lookalike("search", file, *options, "--json").stdout)
    assert data["answer"]["match"]
    assert data["matches"][0]["confidence"] == 1
    rates = json.loads(
        lookalike("evaluate", "-c", path, "--absent", 1, "--json").stdout
    )
    assert len(rates["spaces"][0]["choices"]) == 9
    said = lookalike("evaluate", "-c", path, "--absent", 2).stdout
    assert "36 choices of 2 labels held out" in said
    refused = lookalike(
        "evaluate", "-c", path, "--absent", 1, "--rank", "plain", status=2
    )
    assert "--absent was given with" in refused.stderr
