"""The command ``review``: what it prints, and the files that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from command import lookalike, lookalike_json
from lookalike.store.table import Table
from lookalike.types import Model
from made import SPACE, add_rows, clusters


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A collection of three corners with a wrong label."""
    vectors, corner = clusters(3, 20)
    labels = [f"<corner {number}>" for number in corner]
    labels[4] = "<corner 0>"
    folder = tmp_path_factory.mktemp("review") / "c"
    model = Model(SPACE, "numbers", "pixels", (1, 1), vectors.shape[1])
    add_rows(Table.create(folder, [model]), vectors, labels=labels)
    return folder


def test_all_parts_are_printed(path):
    text = lookalike("review", "-c", path, "--diverse", 25).stdout
    for title in ("Clusters", "Outliers", "Doubtful labels", "Diverse images"):
        assert title in text
    assert "<corner 0> or <corner 1>?" in text
    assert "1 of 60 labels" in text
    assert "and 5 more: --output review.csv" in text


def test_json_has_the_parts_that_were_asked_for(path):
    review = lookalike_json("review", "labels", "clusters", "-c", path)
    [image] = review["labels"]["images"]
    assert (image["label"], image["suggested"]) == ("<corner 0>", "<corner 1>")
    assert len(review["clusters"]["groups"]) == 3
    assert (review["outliers"], review["diverse"]) == (None, None)


def test_files(path, tmp_path):
    names = ("r.csv", "r.json", "r.html", "r.png")
    for name in names:
        done = lookalike("review", "-c", path, "--output", tmp_path / name)
        assert f"Saved to {tmp_path / name}" in done.stdout
    with (tmp_path / "r.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    in_clusters = [line for line in lines if line["part"] == "clusters"]
    assert len(in_clusters) == 60
    [doubtful] = [line for line in lines if line["part"] == "labels"]
    assert doubtful["suggested"] == "<corner 1>"
    assert json.loads((tmp_path / "r.json").read_text())["images"] == 60
    page = (tmp_path / "r.html").read_text()
    assert "&lt;corner 0&gt;" in page
    assert "<corner 0>" not in page
    assert "data:image/jpeg" in page
    with Image.open(tmp_path / "r.png") as image:
        assert image.width > 1000


def test_a_file_of_another_kind_is_refused_before_the_work(path, tmp_path):
    target = tmp_path / "review.pdf"
    done = lookalike("review", "-c", path, "--output", target, status=2)
    assert "must end in" in done.stderr
