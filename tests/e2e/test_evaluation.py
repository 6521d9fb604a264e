"""The dataset, evaluate, and map commands as a user sees them."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest
from PIL import Image

from command import lookalike, lookalike_json
from lookalike.datasets import sample as drawing


@pytest.fixture(scope="module")
def indexed(sample_in_float, tmp_path_factory):
    """A copy, which tests may map."""
    path = tmp_path_factory.mktemp("studies") / "collection"
    return shutil.copytree(sample_in_float, path)


@pytest.mark.slow
def test_evaluate_prints_its_json_contract(indexed):
    result = lookalike_json("evaluate", "-c", indexed)
    feature, pixels = result["spaces"]
    keys = [
        "space",
        "ranking",
        "queries",
        "gallery",
        "map",
        "mean_class_map",
        "r_precision",
        "precision_at",
        "recall_at",
        "classes",
    ]
    assert list(feature)[: len(keys)] == keys
    assert [space["space"] for space in result["spaces"]] == [
        "efficientnet-lite0",
        "pixels",
    ]
    assert list(feature["precision_at"]) == ["1", "5", "10"]
    assert (feature["queries"], len(feature["classes"])) == (45, 9)
    assert feature["map"] > 0.8
    assert pixels["map"] < 0.4


def test_evaluate_prints_a_table_and_saves_an_image(indexed, tmp_path):
    done = lookalike(
        "evaluate", "-c", indexed, "--space", "pixels", "--save", tmp_path / "e.png"
    )
    assert "mAP" in done.stdout
    assert "pixels" in done.stdout
    assert "efficientnet-lite0" not in done.stdout
    with Image.open(tmp_path / "e.png") as image:
        assert image.width > 1000


def test_three_spaces_are_compared_with_the_first(sample, tmp_path):
    for side in (8, 16):
        (tmp_path / f"small{side}.toml").write_text(
            f'architecture = "pixels"\nsize = [{side}, {side}]\ndim = {side * side * 3}\n'
            f"unit_length = false\n"
        )
    models = [
        "--model",
        "pixels",
        "--model",
        tmp_path / "small8.toml",
        "--model",
        tmp_path / "small16.toml",
    ]
    lookalike("index", sample, "-c", tmp_path / "c", *models)
    printed = lookalike("evaluate", "-c", tmp_path / "c").stdout
    _, differences = printed.split("difference from pixels")
    assert differences.splitlines()[0].split() == ["small8", "small16"]
    assert "+0.0" in differences or "-0.0" in differences


@pytest.fixture
def four_per_class(monkeypatch):
    """Let ``dataset sample`` draw four images of each class."""
    monkeypatch.setattr(
        drawing, "write_sample", partial(drawing.write_sample, per_class=4)
    )


@pytest.mark.slow
def test_evaluate_with_a_split_queries_the_test_images(four_per_class, tmp_path):
    made = lookalike_json(
        "dataset", "sample", "--to", tmp_path / "data", "--test", 0.25
    )
    assert (made["train"], made["test"]) == (27, 9)
    lookalike("index", made["root"], "-c", tmp_path / "c", "--model", "pixels")
    (space,) = lookalike_json(
        "evaluate", "-c", tmp_path / "c", "--split", made["manifest"][0]
    )["spaces"]
    assert (space["queries"], space["gallery"]) == (9, 27)


def test_evaluate_without_labels_says_how_to_label(sample, tmp_path):
    lookalike(
        "index",
        sample / "car",
        "-c",
        tmp_path / "c",
        "--model",
        "pixels",
        "--labels",
        "none",
    )
    error = lookalike("evaluate", "-c", tmp_path / "c", status=2).stderr
    assert "label" in error


@pytest.mark.slow
def test_map_is_drawn_stored_and_extended(sample, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(sample, folder)
    lookalike("index", folder, "-c", tmp_path / "c", "--model", "pixels")
    first = lookalike_json(
        "map", "-c", tmp_path / "c", "--output", tmp_path / "map.png"
    )
    assert (first["rows"], first["method"], first["space"]) == (45, "tsne", "pixels")
    with Image.open(tmp_path / "map.png") as image:
        assert image.width > 1000
    shutil.copy(sample / "car" / "car_0001.jpg", folder / "car" / "another.jpg")
    lookalike("index", folder, "-c", tmp_path / "c")
    second = lookalike_json(
        "map", "-c", tmp_path / "c", "--output", tmp_path / "map.html"
    )
    position = {
        row_id: (x, y)
        for row_id, x, y in zip(second["ids"], second["x"], second["y"], strict=True)
    }
    assert [position[row_id] for row_id in first["ids"]] == list(
        zip(first["x"], first["y"], strict=True)
    )
    assert second["rows"] == second["fitted_rows"] + 1 == 46
    page = (tmp_path / "map.html").read_text()
    assert "another.jpg" in page
    fresh = lookalike_json(
        "map",
        "-c",
        tmp_path / "c",
        "--output",
        tmp_path / "map.png",
        "--rebuild",
        "--method",
        "pca",
    )
    assert fresh["fitted_rows"] == 46


@pytest.mark.slow
def test_map_prints_a_summary(indexed, tmp_path):
    done = lookalike("map", "-c", indexed, "--output", tmp_path / "m.png")
    assert "45 images of efficientnet-lite0 by tsne" in done.stdout
    assert "Trustworthiness" in done.stdout
    assert (
        "x.gif"
        in lookalike(
            "map", "-c", indexed, "--output", tmp_path / "x.gif", status=2
        ).stderr
    )


def test_dataset_from_a_copy_makes_a_stratified_manifest(photographs, tmp_path):
    done = lookalike(
        "dataset",
        "caltech101",
        "--from",
        photographs.parent,
        "--to",
        tmp_path,
        "--json",
    )
    made = json.loads(done.stdout)
    assert (made["root"], made["train"] + made["test"]) == (str(photographs), 3079)
    assert made["test"] == pytest.approx(3079 * 0.2, abs=5)
    some = lookalike_json(
        "dataset",
        "caltech101",
        "--from",
        photographs,
        "--to",
        tmp_path,
        "--classes",
        "brain,butterfly",
    )
    assert some["train"] + some["test"] == 98 + 91
    text = (tmp_path / "manifest.csv").read_text()
    assert text.splitlines()[0] == "uri,label,split"


@pytest.mark.slow
def test_dataset_errors_name_a_remedy(four_per_class, tmp_path):
    wrong = lookalike(
        "dataset", "caltech101", "--classes", "butterfy", "--to", tmp_path, status=2
    )
    assert "butterfly" in wrong.stderr
    gone = lookalike(
        "dataset",
        "caltech101",
        "--from",
        tmp_path / "nowhere",
        "--to",
        tmp_path,
        status=2,
    )
    assert "nowhere" in gone.stderr
    drawn = lookalike(
        "dataset", "sample", "--to", tmp_path, "--classes", "cat", status=2
    )
    assert "Leave out --from and --classes" in drawn.stderr
    for name in ("sample", "caltech101"):
        folder = tmp_path / name
        words = ("dataset", name, "--to", folder)
        for option, value in (("--test", "2"), ("--seed", "-1")):
            refused = lookalike(*words, option, value, status=2)
            assert "share above 0 and below 1, and a seed" in refused.stderr
            # Nothing was drawn or downloaded first.
            assert not folder.exists()
