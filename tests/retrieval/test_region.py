"""Search by a part of an image, in Python, on the command line and by REST."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from starlette.testclient import TestClient

import lookalike
from command import lookalike as run
from command import lookalike_json
from lookalike import Collection
from lookalike.errors import InputError
from lookalike.imaging import Region
from lookalike.retrieval.query import ImageQuery, RowQuery, WeightedQuery
from lookalike.server.app import make_app
from lookalike.server.settings import ServerSettings

RIGHT = (0.5, 0, 0.5, 1)


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory) -> Path:
    """A collage of a cat and a car, beside the images that it is made of."""
    folder = tmp_path_factory.mktemp("regions") / "images"
    for label in ("cat", "car", "teapot"):
        shutil.copytree(sample / label, folder / label)
    collage(folder).save(folder / "collage.png")
    return folder


def collage(folder: Path) -> Image.Image:
    halves = [folder / "cat" / "cat_0001.jpg", folder / "car" / "car_0001.jpg"]
    images = [Image.open(half).convert("RGB").resize((160, 120)) for half in halves]
    together = np.hstack([np.asarray(image) for image in images])
    return Image.fromarray(together)


@pytest.fixture(scope="module")
def collection(folder, tmp_path_factory) -> Collection:
    path = tmp_path_factory.mktemp("regions") / "c"
    lookalike.index(folder, path, models=["pixels"])
    return Collection.open(path)


def first(matches) -> str:
    return Path(matches.uris[0]).name


def test_the_matches_are_those_of_the_part(collection, folder):
    file = folder / "collage.png"
    assert first(collection.search(file, region=RIGHT)) == "car_0001.jpg"
    assert first(collection.search(file, region=[0, 0, 160, 120])) == "cat_0001.jpg"
    assert first(collection.search(file)) == "collage.png"
    # The file with the part is the query's own row, and can be left out.
    whole = Region(0, 0, 1, 1)
    matches = collection.search(file, region=whole, exclude_self=True)
    assert "collage.png" not in [Path(uri).name for uri in matches.uris]

    same = collection.search(collage(folder), region=Region(160, 0, 160, 120), k=3)
    assert same.uris == collection.search(file, region=RIGHT, k=3).uris


def test_the_part_is_one_of_the_image_as_viewers_show_it(collection, folder, tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # shown after a turn by 90 degrees to the right
    turned = collage(folder).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    found = collection.search(tmp_path / "turned.png", region=RIGHT)
    assert first(found) == "car_0001.jpg"


def test_a_negative_has_a_part_too(collection, folder):
    file = folder / "collage.png"
    negative = WeightedQuery(ImageQuery(file, region=RIGHT))
    car = folder / "car" / "car_0001.jpg"
    cat = folder / "cat" / "cat_0001.jpg"
    found = collection.search(cat, negative=negative, gamma=0.5, k=16)
    expected = collection.search(cat, negative=car, gamma=0.5, k=16)
    assert found.uris[:3] == expected.uris[:3]
    assert found.distances == pytest.approx(expected.distances, rel=0.1)


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ((0.6, 0, 0.5, 1), "reaches beyond the image, which is 320 x 120 pixels"),
        ((0, 0, 321, 120), "reaches beyond"),
        ((0.2, 0.2, 0, 0.5), "is empty"),
        ((-0.1, 0, 0.5, 1), "begins outside"),
        ((float("nan"), 0, 0.5, 1), "is invalid; expected x,y,width,height"),
        ((0, 0, float("inf"), 1), "is invalid"),
        (("0", 0, 1, 1), "is invalid"),
        ((0, 0, 1), "is invalid"),
        ((0, 0, 7, 100), "is 7 x 100 pixels of the image, which is 320 x 120"),
        ((0, 0, 0.01, 1), "expected at least 8 pixels a side"),
    ],
)
def test_other_regions_are_refused(collection, folder, region, reason):
    with pytest.raises(InputError, match=reason):
        collection.search(folder / "collage.png", region=region)


def test_a_region_needs_one_image(collection, folder):
    cats = [folder / "cat" / f"cat_000{number}.jpg" for number in (1, 2)]
    for query in (cats, RowQuery(0), ()):
        with pytest.raises(InputError, match="is a part of one image"):
            collection.search(query, region=RIGHT)


def test_the_command_searches_by_a_part_and_shows_it(collection, folder, tmp_path):
    place = ("-c", collection.path)
    file = folder / "collage.png"
    found = lookalike_json("search", *place, file, "--region", "160,0,160,120")
    assert Path(found["matches"][0]["uri"]).name == "car_0001.jpg"
    assert found["region"] == [0.5, 0, 0.5, 1]
    assert "region" not in lookalike_json("search", *place, file)

    drawn = {}
    for name, options in (("part", ["--region", "0.5,0,0.5,1"]), ("whole", [])):
        target = tmp_path / f"{name}.png"
        run("search", *place, file, *options, "-k", 1, "--save", target)
        drawn[name] = np.asarray(Image.open(target)).astype(int)
    # The frame of the part lies on the query, which is on the left.
    differs = np.abs(drawn["part"] - drawn["whole"]).max(axis=2) > 0
    query = differs[:, : differs.shape[1] // 2]
    columns = np.flatnonzero(query.any(axis=0))
    assert 150 < columns[-1] - columns[0] < 190

    negative = ("--negative", file, "--negative-region", "0.5,0,0.5,1")
    run("search", *place, file, *negative)
    for words in (["--region", "1,2,3"], ["--region", "a,b,c,d"]):
        assert (
            "expected x,y,width,height"
            in run("search", *place, file, *words, status=2).stderr
        )
    two = run("search", *place, file, file, "--region", "0,0,1,1", status=2)
    assert "2 images were given" in two.stderr


@pytest.fixture(scope="module")
def client(collection) -> Iterator[TestClient]:
    app = make_app([collection.path])
    with TestClient(app, base_url="http://localhost") as running:
        yield running


def post(client: TestClient, *images: bytes, status: int = 200, **query: object):
    if images:
        files = [("image", ("image.png", image)) for image in images]
        sent = {"files": files, "data": {"query": json.dumps(query)}}
    else:
        sent = {"json": query}
    response = client.post("/api/v1/search", **sent)
    assert response.status_code == status, response.text
    return response.json()


def names(answer) -> list[str]:
    return [match["name"] for match in answer["matches"]]


def row_of(client: TestClient, name: str) -> int:
    rows = client.get("/api/v1/rows").json()["rows"]
    (row,) = [row["id"] for row in rows if row["name"] == name]
    return row


def test_rest_searches_by_parts_of_rows_and_of_uploads(client, folder):
    collage_row = row_of(client, "collage.png")
    by_row = post(client, positive=[{"id": collage_row, "region": RIGHT}], k=4)
    assert names(by_row)[0] == "car_0001.jpg"
    assert by_row["from_thumbnails"] == []

    data = (folder / "collage.png").read_bytes()
    by_file = post(client, data, positive=[{"image": 0, "region": RIGHT}], k=4)
    assert names(by_file) == names(by_row)
    upload = {"upload": by_file["uploads"][0], "region": [160, 0, 160, 120]}
    assert names(post(client, positive=[upload], k=4)) == names(by_row)

    # A part that is left out of the matches is the whole row.
    whole = {"id": collage_row, "region": [0, 0, 1, 1]}
    assert "collage.png" in names(post(client, positive=[whole], k=16))
    own = post(client, positive=[whole], k=16, exclude_self=True)
    assert "collage.png" not in names(own)


def test_the_next_page_belongs_to_the_region(client):
    part = {"id": row_of(client, "collage.png"), "region": RIGHT}
    everything = names(post(client, positive=[part], k=10))
    page = post(client, positive=[part], k=5)
    rest = post(client, positive=[part], k=5, cursor=page["next"])
    assert names(page) + names(rest) == everything
    other = {**part, "region": [0, 0, 0.5, 1]}
    refused = post(client, positive=[other], k=5, cursor=page["next"], status=422)
    assert "another query" in refused["detail"]


@pytest.mark.parametrize(
    "region", [[0.6, 0, 0.5, 1], [0, 0, 4, 4], [0, 0, 0, 1], [-1, 0, 1, 1], [0, 0, 1]]
)
def test_rest_refuses_other_regions(client, region):
    part = {"id": row_of(client, "collage.png"), "region": region}
    assert "region" in json.dumps(post(client, positive=[part], status=422))


def test_a_part_of_a_row_comes_from_the_thumbnail_where_originals_are_not_read(
    collection,
):
    settings = ServerSettings(originals=False)
    app = make_app([collection.path], settings)
    with TestClient(app, base_url="http://localhost") as client:
        row = row_of(client, "collage.png")
        found = post(client, positive=[{"id": row, "region": [160, 0, 160, 120]}])
        assert names(found)[0] == "car_0001.jpg"
        assert found["from_thumbnails"] == [row]
        # 10 pixels of the original are 5 of its thumbnail.
        tiny = [{"id": row, "region": [0, 0, 10, 60]}]
        refused = post(client, positive=tiny, status=422)
        assert "too small to be cut from its thumbnail" in refused["detail"]


def test_bytes_have_a_part_too(collection, folder):
    file = io.BytesIO()
    collage(folder).save(file, "PNG")
    found = collection.search(ImageQuery(file.getvalue(), region=RIGHT))
    assert first(found) == "car_0001.jpg"
