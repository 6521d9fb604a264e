"""Spaces learned from labels, on vectors that were made to have something to learn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
from command import lookalike as run
from labeled import DIM, labeled_collection, labeled_vectors
from lookalike.errors import InputError, ModelError, ReadOnlyError, SpaceError
from lookalike.evaluation.scores import Estimate
from lookalike.learning import fit
from lookalike.learning import tune as tuning
from lookalike.learning.fit import LabelMoments, learn_axes
from lookalike.learning.report import Gains
from lookalike.learning.verdict import is_worth_storing, verdict
from lookalike.models.learned import network_model
from lookalike.models.schema import parse_model
from lookalike.store.table import Table
from lookalike.types import Model
from lookalike.vectors.centering import Center
from made import SPACE, add_rows, make_collection

PURPOSES = ["these-classes", "anything"]


@pytest.fixture(scope="module")
def made(build_once) -> Path:
    return build_once("labeled-vectors", labeled_collection)


@pytest.fixture
def collection(made, tmp_path) -> lookalike.Collection:
    path = tmp_path / "collection"
    shutil.copytree(made, path)
    return lookalike.Collection.open(path)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_tuned_space_finds_images_that_were_added_later(collection, purpose):
    report = collection.tune(purpose)
    assert report.is_stored
    assert report.filled == len(collection) == 90
    assert report.new_images.gain.low > 0.05
    assert set(report.labels) == {f"label {number}" for number in range(6)}
    assert collection.spaces == [SPACE, purpose]
    assert collection.table.count(purpose) == 90

    # The promise is measured: images drawn again gain as much as the report says.
    new, names = labeled_vectors(6, 15, seed=1)
    add_rows(collection.table, new, labels=names)
    vectors = new.astype(np.float16)
    model = collection.models[purpose]
    mapped = tuning.VectorMap.of(model).apply(vectors)
    uris = [f"/pictures/{index:06}.jpg" for index in range(90, 180)]
    collection.table.update(
        {"uri": uris, purpose: mapped, "spaces": [[SPACE, purpose]] * 90}
    )
    plain, tuned = collection.evaluate().spaces
    assert tuned.metrics["map"].value > plain.metrics["map"].value + 0.05


def test_a_few_directions_are_those_of_the_whole_decomposition(monkeypatch):
    rows, names = labeled_vectors(4, 20)
    _, classes = np.unique(names, return_inverse=True)
    rows_f16 = rows.astype(np.float16)
    moments = LabelMoments.of(rows_f16, classes, Center.of(rows_f16))
    whole = learn_axes(moments, "anything", most_axes=8)
    monkeypatch.setattr(fit, "_LANCZOS_DIM", 8)
    few = learn_axes(moments, "anything", most_axes=8)
    assert few @ few.T == pytest.approx(whole @ whole.T, abs=0.01)


def test_a_learned_space_is_calibrated_on_request_alone(tmp_path):
    table = labeled_collection(tmp_path / "c", labels=6, each=20)
    collection = lookalike.Collection(table)
    collection.tune("anything")
    assert collection.calibration() is not None
    assert collection.calibration("anything") is None
    collection.calibrate(spaces=["anything"])
    assert collection.calibration("anything") is not None


def gains(value: float, *, labels: int = 6) -> Gains:
    """Return gains of a value, with an interval of .02 on both sides."""
    estimate = Estimate(value, value - 0.02, value + 0.02)
    return Gains(90, labels, estimate, estimate, estimate, estimate, estimate)


@pytest.mark.parametrize(
    ("purpose", "new_images", "new_labels", "stored", "words"),
    [
        ("these-classes", 0.1, -0.1, True, "other labels are found worse"),
        ("these-classes", 0.1, 0.1, True, "found better as well"),
        ("these-classes", 0.01, 0.1, False, "not sure to be a gain"),
        ("these-classes", -0.1, 0.1, False, "not sure to be a gain"),
        ("anything", 0.1, 0.01, True, "about as well as before"),
        ("anything", 0.1, -0.1, False, "new labels are found worse"),
        ("anything", 0.01, 0.1, False, "not sure to be a gain"),
    ],
)
def test_verdicts(purpose, new_images, new_labels, stored, words):
    measured = gains(new_images), gains(new_labels)
    assert is_worth_storing(purpose, *measured) is stored
    sentence = verdict(purpose, "base", *measured)
    assert words in sentence
    assert sentence.startswith("Not stored") is not stored
    assert sentence.count(". ") == 0


@pytest.mark.parametrize("purpose", PURPOSES)
def test_labels_without_meaning_are_refused_and_nothing_is_stored(tmp_path, purpose):
    table = labeled_collection(tmp_path / "shuffled", labels=4)
    ids, _ = table.vectors(SPACE)
    rows = table.take(ids, ["uri", "label"])
    shuffled = np.random.default_rng(0).permutation(rows["label"].to_pylist())
    table.update({"uri": rows["uri"], "label": shuffled.tolist()})
    version = table.version

    report = lookalike.Collection(table).tune(purpose)
    assert not report.is_stored
    assert report.filled == 0
    assert report.verdict.startswith("Not stored")
    assert table.version == version
    assert list(table.models) == [SPACE]


def test_a_space_remembers_where_it_comes_from(collection):
    report = collection.tune("anything", name="mine", seed=3)
    learned = Table.open(collection.path).models["mine"].learned
    assert (learned.base, learned.purpose) == (SPACE, "anything")
    assert learned.provenance["seed"] == 3
    assert learned.provenance["labels"] == report.labels
    assert learned.provenance["verdict"] == report.verdict
    assert learned.provenance["new_images"] == report.new_images.to_dict()
    base = collection.models[SPACE]
    assert network_model(collection.models["mine"]).fingerprint == base.fingerprint


def test_the_same_seed_gives_the_same_space(collection):
    collection.tune("anything", name="first")
    collection.tune("anything", name="second")
    first, second = (collection.table.vectors(name)[1] for name in ("first", "second"))
    assert np.array_equal(first, second)


# Bad input


def few(
    path: Path, count: int, labels: list[str | None], *, equal: bool = False
) -> Table:
    rows, _ = labeled_vectors(1, count)
    if equal:
        rows = np.repeat(rows[:1], count, axis=0)
    table = make_collection(path, rows)
    ids, _ = table.vectors(SPACE)
    uris = table.take(ids, ["uri"])["uri"]
    table.update({"uri": uris, "label": labels})
    return table


@pytest.mark.parametrize(
    ("labels", "equal"),
    [
        (["a"], False),
        (["a", "b"], False),
        (["a"] * 6 + ["b"] * 5, False),
        (["a"] * 12, False),
        ([None] * 12, False),
        (["a"] * 8 + ["b"] * 8 + ["c"] * 8, True),
    ],
    ids=["one image", "two", "eleven", "one label", "no label", "all equal"],
)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_too_few_labels_are_an_error(tmp_path, labels, equal, purpose):
    table = few(tmp_path / "few", len(labels), labels, equal=equal)
    version = table.version
    with pytest.raises(InputError, match="labels with 6 different images or more"):
        lookalike.Collection(table).tune(purpose)
    assert table.version == version


def test_an_empty_space_is_an_error(tmp_path):
    model = Model(SPACE, "numbers", "pixels", (1, 1), DIM)
    table = Table.create(tmp_path / "empty", [model])
    with pytest.raises(InputError, match=r"needs 3 labels.* has 0\."):
        lookalike.Collection(table).tune("anything")


def test_two_labels_can_be_told_apart_but_not_left_out(tmp_path):
    table = labeled_collection(tmp_path / "two", labels=2, each=20)
    collection = lookalike.Collection(table)
    with pytest.raises(InputError, match="anything needs 3"):
        collection.tune("anything")
    report = collection.tune("these-classes")
    assert report.is_stored
    assert report.new_labels is None
    assert "was not measured" in report.verdict


@pytest.mark.parametrize("name", [SPACE, "label", "uri"])
def test_a_name_that_is_taken_is_an_error(collection, name):
    with pytest.raises(SpaceError, match="another name"):
        collection.tune("anything", name=name)


def test_other_arguments_are_checked_before_anything_is_learned(collection):
    with pytest.raises(InputError, match="expected these-classes or anything"):
        collection.tune("everything")
    with pytest.raises(InputError, match="without full stops"):
        collection.tune("anything", name="a.b")
    with pytest.raises(InputError, match="cannot be named ''"):
        collection.tune("anything", name="")
    with pytest.raises(InputError, match="from 0 on"):
        collection.tune("anything", seed=-1)
    with pytest.raises(SpaceError, match="no Space 'other'"):
        collection.tune("anything", space="other")
    collection.tune("anything")
    with pytest.raises(SpaceError, match="was learned from labels itself"):
        collection.tune("these-classes", space="anything")


def test_a_read_only_collection_is_an_error(collection, monkeypatch):
    def refuse(*_: object) -> None:
        raise ReadOnlyError("The collection is read-only.")

    monkeypatch.setattr(Table, "_commit", refuse)
    with pytest.raises(ReadOnlyError):
        collection.tune("anything")
    assert Table.open(collection.path).models.keys() == {SPACE}


def test_an_interrupted_run_is_continued(collection, monkeypatch):
    monkeypatch.setattr(tuning, "_COMMIT_ROWS", 1)
    monkeypatch.setattr(collection.table, "scan", in_batches(collection.table, 40))
    seen = []

    def interrupt(step: str, done: int, total: int) -> None:
        seen.append((step, done, total))
        if step == "Computing vectors" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.tune("anything", progress=interrupt)
    monkeypatch.undo()
    assert 0 < collection.table.count("anything") < 90
    # Each step has its total, and reaches it.
    images, labels = "Measuring on new images", "Measuring on labels left out"
    assert {(images, 0, 90), (images, 90, 90), (labels, 90, 90)} <= set(seen)
    assert seen[-1] == ("Computing vectors", collection.table.count("anything"), 90)

    report = collection.tune("anything")
    assert report.filled > 0
    assert report.is_stored
    assert collection.table.count("anything") == 90
    whole = tuning.VectorMap.of(collection.models["anything"])
    _ids, base = collection.table.vectors(SPACE)
    assert np.array_equal(
        collection.table.vectors("anything")[1], whole.apply(base).astype(np.float16)
    )


def in_batches(table: Table, size: int):
    """Return `table.scan` with batches of a few rows."""
    scan = table.scan

    def scan_few(columns, where=None):
        for batch in scan(columns, where):
            for first in range(0, len(batch), size):
                yield batch.slice(first, size)

    return scan_few


def test_rows_that_change_meanwhile_keep_their_own_vectors(collection):
    rows, _ = labeled_vectors(6, 15, seed=5)
    other = Table.open(collection.path)
    changed = []

    def change(*_: object) -> None:
        if changed:
            return
        changed.append(True)
        uris = ["/pictures/000000.jpg", "/pictures/000001.jpg"]
        add_rows(other, rows[:1], uris=uris[:1], labels=["label 0"])
        ids = [row.id for row in other.existing_rows(uris[1:]).values()]
        other.delete(np.array(ids, np.int64))

    report = collection.tune("anything", progress=change)
    assert report.filled == len(collection) == 89
    _ids, mapped = collection.table.vectors("anything")
    _, base = collection.table.vectors(SPACE)
    again = tuning.VectorMap.of(collection.models["anything"]).apply(base)
    assert np.array_equal(mapped, again.astype(np.float16))


def test_rows_without_a_base_vector_stay_without(collection):
    rows, names = labeled_vectors(1, 3, seed=9)
    add_rows(collection.table, rows, labels=names)
    lacking = [f"/pictures/{index:06}.jpg" for index in range(90, 93)]
    collection.table.update({"uri": lacking, "spaces": [[]] * 3, SPACE: None})
    report = collection.tune("anything")
    assert report.filled == 90
    assert len(collection) == 93


# The command line, and images


def test_the_command_prints_gains_and_a_verdict(collection):
    done = run("tune", "--for", "anything", "-c", collection.path)
    assert "new images of these labels" in done.stdout
    assert "images of labels left out" in done.stdout
    assert "Better for new images of these 6 labels" in done.stdout
    info = run("info", "-c", collection.path)
    assert "90 images of 6 labels" in info.stdout

    again = run("tune", "--for", "anything", "-c", collection.path, status=2)
    assert "--name NAME" in again.stderr


def test_a_refused_space_has_an_exit_status_and_json(tmp_path):
    table = labeled_collection(tmp_path / "shuffled", labels=4)
    ids, _ = table.vectors(SPACE)
    rows = table.take(ids, ["uri", "label"])
    shuffled = np.random.default_rng(0).permutation(rows["label"].to_pylist())
    table.update({"uri": rows["uri"], "label": shuffled.tolist()})
    done = run("tune", "--for", "anything", "-c", table.path, "--json", status=1)
    report = json.loads(done.stdout)
    assert report["stored"] is False
    low, _high = report["new_images"]["gain"]["interval"]
    assert low <= 0


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Small images whose upper half has the color of their label, and whose lower half has any."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    colors = random.integers(40, 215, (5, 3))
    for label, color in enumerate(colors):
        for number in range(10):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            pixels[:4] = np.clip(color + random.integers(-25, 25, (4, 8, 3)), 0, 255)
            path = folder / f"label {label}" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def test_new_images_queries_and_backups_use_the_tuned_space(images, tmp_path):
    pixels = Model("small", "Small pixels", "pixels", (4, 4), 48)
    held_back = tmp_path / "later"
    shutil.copytree(images / "label 0", held_back / "label 0")
    collection = lookalike.Collection.create(tmp_path / "collection", [pixels])
    collection.index(images)
    report = collection.tune("these-classes")
    assert report.is_stored

    # A query by the image finds its own row at once.
    own = images / "label 2" / "3.png"
    matches = collection.search(own.read_bytes(), k=3, space="these-classes")
    assert matches.uris[0] == str(own)
    assert matches.distances[0] < 1e-3

    # New images are filled in both Spaces, in one pass.
    new = held_back / "label 0" / "new.png"
    Image.open(own).rotate(90).save(new)
    collection.index(held_back)
    assert collection.table.count("these-classes") == len(collection) == 61
    _ids, base = collection.table.vectors("small")
    again = tuning.VectorMap.of(collection.models["these-classes"]).apply(base)
    mapped = collection.table.vectors("these-classes")[1]
    assert np.abs(mapped - again).max() < 2e-3

    backup = tmp_path / "backup"
    lookalike.backup(collection, backup)
    shutil.rmtree(collection.path)
    restored = lookalike.restore(backup, tmp_path / "restored")
    restored = lookalike.Collection.open(tmp_path / "restored")
    assert restored.check().sound
    found = restored.search(own.read_bytes(), k=3, space="these-classes")
    assert found.uris == matches.uris
    explained = restored.explain(
        own, images / "label 2" / "4.png", space="these-classes"
    )
    assert explained.space == "these-classes"


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": {}},
        {"purpose": "everything"},
        {"base_dim": DIM + 1},
        {"axes": ""},
        {"center": "no base64"},
    ],
)
def test_a_damaged_map_is_refused(collection, change):
    collection.tune("anything")
    table = json.loads(collection.models["anything"].to_json())
    assert parse_model(json.dumps(table)).learned is not None
    table["learned"] |= change
    with pytest.raises(ModelError, match="learned = "):
        parse_model(json.dumps(table))
