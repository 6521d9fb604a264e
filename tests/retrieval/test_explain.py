"""Explanations point at what two images share, in Python, on the command line and by REST."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.drawing.explanation import heat_colors
from lookalike.errors import ImageError, InputError
from lookalike.imaging import decode
from lookalike.models.explanation import likeness_by_cell
from lookalike.retrieval.query import ImageQuery, RowQuery, VectorQuery
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings

SPACES = ["efficientnet-lite0-int8", "pixels"]


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory) -> Path:
    """Three kinds of drawn images, and one image of a cat on the left and a car on the right."""
    folder = tmp_path_factory.mktemp("explained") / "images"
    for label in ("cat", "car"):
        shutil.copytree(sample / label, folder / label)
    halves = []
    for file in (folder / "cat" / "cat_0001.jpg", folder / "car" / "car_0001.jpg"):
        halves.append(np.asarray(decode(file.read_bytes()).resize((160, 160))))
    Image.fromarray(np.hstack(halves)).save(folder / "both.png")
    return folder


@pytest.fixture(scope="module")
def collection(folder, tmp_path_factory) -> Collection:
    path = tmp_path_factory.mktemp("explained") / "c"
    lookalike.index(folder, path, models=SPACES)
    return Collection.open(path)


def row_of(collection: Collection, file: Path) -> int:
    return collection.table.existing_rows([str(file)])[str(file)].id


def pixels_of(file: Path) -> np.ndarray:
    return np.asarray(decode(file.read_bytes()))


def test_each_cell_has_its_share_of_the_cosine():
    random = np.random.default_rng(0)
    cells = random.random((3, 4, 5), dtype=np.float32)
    other = random.random(5, dtype=np.float32)

    def cosine(vector):
        return (
            vector @ other / (np.linalg.norm(vector) * np.linalg.norm(other))
        ).astype(np.float64)

    heat = likeness_by_cell(cells, 7 * other)
    total = cells.sum(axis=(0, 1))
    for row, column in np.ndindex(3, 4):
        without = total - cells[row, column]
        expected = cosine(total) - cosine(without)
        assert heat[row, column] == pytest.approx(expected, abs=1e-6)
    # Features of nothing are like nothing.
    assert not likeness_by_cell(np.zeros_like(cells), other).any()


def test_an_explanation_points_at_the_object_that_both_images_show(collection, folder):
    both = folder / "both.png"
    peaks = {}
    for label in ("cat", "car"):
        explained = collection.explain(folder / label / f"{label}_0003.jpg", both)
        assert (explained.space, explained.kind) == (SPACES[0], "likeness")
        assert explained.match.heat.shape == explained.query.heat.shape == (14, 14)
        assert explained.match.heat.dtype == np.float32
        peaks[label] = explained.match.peak[0]
    assert peaks["cat"] < 0.5 < peaks["car"]

    # The two images may change their places.
    swapped = collection.explain(both, folder / "car" / "car_0003.jpg")
    np.testing.assert_array_equal(swapped.query.heat, explained.match.heat)
    assert swapped.similarity == pytest.approx(explained.similarity)


def test_an_image_is_a_row_a_file_bytes_or_a_part(collection, folder):
    cat, both = folder / "cat" / "cat_0002.jpg", folder / "both.png"
    expected = collection.explain(cat, both)
    row = row_of(collection, cat)
    for query in (row, np.int64(row), RowQuery(row), str(cat), cat.read_bytes()):
        explained = collection.explain(query, row_of(collection, both))
        np.testing.assert_array_equal(explained.match.heat, expected.match.heat)
        assert not explained.query.is_thumbnail
    part = collection.explain(cat, ImageQuery(both, region=(0, 0, 0.5, 1)))
    assert part.match.image.size == (160, 160)
    assert part.similarity > expected.similarity


def test_pixels_are_explained_by_their_difference(collection, folder):
    cat, both = folder / "cat" / "cat_0002.jpg", folder / "both.png"
    explained = collection.explain(cat, both, space="pixels")
    assert explained.kind == "difference"
    assert explained.query.heat.shape == (32, 32)
    assert 0 <= explained.query.heat.min() <= explained.query.heat.max() <= 1
    np.testing.assert_array_equal(explained.query.heat, explained.match.heat)
    same = collection.explain(cat, cat, space="pixels")
    assert same.similarity == 1
    assert not same.match.heat.any()


def test_the_thumbnail_replaces_an_original_that_is_away(folder, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(folder / "cat", images)
    lookalike.index(images, tmp_path / "c", models=["pixels"])
    collection = Collection.open(tmp_path / "c")
    first, second = images / "cat_0001.jpg", images / "cat_0002.jpg"
    first.unlink()
    for query in (row_of(collection, first), str(first), first):
        explained = collection.explain(query, second)
        assert explained.query.is_thumbnail
        assert not explained.match.is_thumbnail


@pytest.mark.parametrize(
    ("query", "error", "reason"),
    [
        (10**6, InputError, "has no row 1000000"),
        (-1, InputError, "has no row -1"),
        (VectorQuery(np.zeros(4)), InputError, "VectorQuery cannot be explained"),
        (None, InputError, "NoneType"),
        ("nowhere.jpg", ImageError, "cannot be read"),
        (b"no image", ImageError, "cannot be decoded"),
    ],
)
def test_other_queries_are_refused(collection, folder, query, error, reason):
    with pytest.raises(error, match=reason):
        collection.explain(query, folder / "both.png")


def test_colors_run_from_dark_to_bright():
    colors = heat_colors(np.array([[-1, 0, 0.2, 0.5, 1]], np.float32))[0].astype(int)
    brightness = colors.sum(axis=1)
    assert brightness[0] == brightness[1]
    assert (np.diff(brightness)[1:] > 60).all()
    assert len(np.unique(heat_colors(np.zeros((2, 2), np.float32)))) <= 3


def test_the_command_draws_both_images_with_their_cells(collection, folder, tmp_path):
    place = ("-c", collection.path)
    car, both = folder / "car" / "car_0003.jpg", folder / "both.png"
    target = tmp_path / "why.png"
    done = run("explain", *place, car, row_of(collection, both), "--save", target)
    assert "counts most at x" in done.stdout
    assert f"Saved to {target}" in done.stdout
    page = pixels_of(target).astype(int)
    # The cells that count most glow, in the right half: the match, and there in its right half.
    glow = (page[..., 0] - page[..., 2] > 90) & (page[..., 0] > 180)
    match = glow[: page.shape[0] * 3 // 4, page.shape[1] // 2 :].sum(axis=0)
    assert match[len(match) // 2 :].sum() > match[: len(match) // 2].sum()

    fields = lookalike_json("explain", *place, car, both)
    assert np.shape(fields["match"]["heat"]) == (14, 14)
    assert fields["match"]["peak"][0] > 0.5
    part = ("--region", "0.5,0,0.5,1")
    assert lookalike_json("explain", *place, both, car, *part)["similarity"] > 0.5

    pixels = tmp_path / "difference.png"
    run("explain", *place, car, both, "--space", "pixels", "--save", pixels)
    assert pixels_of(pixels).shape[1] > page.shape[1]
    wrong = run("explain", *place, car, 999_999, status=2)
    assert "has no row 999999" in wrong.stderr
    wrong = run("explain", *place, car, both, "--space", "none", status=2)
    assert "none" in wrong.stderr


@pytest.fixture(scope="module")
def client(collection) -> Iterator[TestClient]:
    app = make_app([collection.path])
    with TestClient(app, base_url="http://localhost") as running:
        yield running


def test_rest_explains_rows_and_uploads(client, collection, folder):
    car, both = folder / "car" / "car_0003.jpg", folder / "both.png"
    ids = {"query": row_of(collection, car), "match": row_of(collection, both)}
    expected = collection.explain(car, both)
    by_rows = client.get("/api/v1/explain", params=ids).json()
    np.testing.assert_allclose(by_rows["match"]["heat"], expected.match.heat, atol=1e-5)
    assert by_rows["match"]["peak"] == pytest.approx(list(expected.match.peak))
    assert by_rows["match"]["is_thumbnail"] is False

    fields = json.dumps({"query": {"image": 0}, "match": ids["match"]})
    files = {"image": ("car.jpg", car.read_bytes())}
    sent = client.post("/api/v1/explain", files=files, data={"query": fields}).json()
    assert sent == by_rows
    part = {"id": ids["match"], "region": [160, 0, 160, 160]}
    body = {"query": part, "match": ids["query"], "space": "pixels"}
    pixels = client.post("/api/v1/explain", json=body).json()
    assert (pixels["kind"], np.shape(pixels["query"]["heat"])) == (
        "difference",
        (32, 32),
    )

    drawn = client.get("/api/v1/explain", params={**ids, "format": "png"})
    assert drawn.headers["content-type"] == "image/png"
    assert pixels_of_bytes(drawn.content).shape[2] == 3


def pixels_of_bytes(data: bytes) -> np.ndarray:
    return np.asarray(decode(data))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"query": {"id": 999}, "match": 0}, 404),
        ({"query": {"id": 0}, "match": 999}, 404),
        ({"query": {"upload": "0" * 64}, "match": 0}, 404),
        ({"query": {"image": 0}, "match": 0}, 422),
        ({"query": {"id": 0}}, 422),
        ({"query": {"id": 0, "region": [0, 0, 0, 1]}, "match": 0}, 422),
        ({"query": {"id": 0}, "match": 0, "space": "none"}, 404),
    ],
)
def test_rest_refuses_other_explanations(client, body, status):
    response = client.post("/api/v1/explain", json=body)
    assert response.status_code == status, response.text


def test_rest_explains_thumbnails_where_originals_are_not_read(collection):
    app = make_app([collection.path], ServerSettings(originals=False))
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/api/v1/explain", params={"query": 0, "match": 1}).json()
        assert answer["query"]["is_thumbnail"]
        assert answer["match"]["is_thumbnail"]
