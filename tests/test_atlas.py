from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.drawing.map import choose_tiles, draw_map
from lookalike.drawing.palette import legend
from lookalike.errors import CollectionError, InputError
from lookalike.export import map_page as atlas_page
from lookalike.export.map_page import write_map_page
from lookalike.projection.map import Map, make_map
from made import SPACE, add_rows, clusters, make_collection, picture

FIDELITY = {"k": 10, "trustworthiness": 0.9, "preservation": 0.5, "queries": 2, "rows": 2}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "$x^2$ & <b>",
    "日本語 ラベル",
    "\u202ereversed\u2028",
    "a" * 300,
]


def map_of(ids, xy) -> Map:
    ids = np.asarray(ids, np.int64)
    fitted = np.ones(len(ids), np.bool_)
    return Map(ids, np.asarray(xy, np.float32), fitted, SPACE, "tsne", 0, {}, FIDELITY)


def collection_of(path, count, *, labels=None, uris=None, thumbnails=None):
    collection = make_collection(path, np.eye(4, dtype=np.float32)[:1])
    collection.delete(collection.vectors(SPACE)[0])
    colours = [
        tuple(int(part) for part in row)
        for row in np.random.default_rng(0).integers(0, 256, (count, 3))
    ]
    add_rows(
        collection,
        np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32),
        labels=labels,
        uris=uris,
        thumbnails=thumbnails or [picture(colour) for colour in colours],
    )
    return collection


def drawn(map_, collection, path) -> np.ndarray:
    return np.asarray(Image.open(draw_map(map_, collection, path)).convert("RGB"))


# ---- the picture ------------------------------------------------------------------------------------------------


def test_each_image_is_framed_and_dotted_in_its_labels_colour(tmp_path):
    labels = ["one", "two", "two", None]
    collection = collection_of(
        tmp_path / "c", 4, labels=labels, thumbnails=[picture((255, 0, 255))] * 4
    )
    map_ = map_of(collection.vectors(SPACE)[0], [[0, 0], [0, 1], [1, 0], [1, 1]])
    page = drawn(map_, collection, tmp_path / "map.png")
    key = legend(labels)
    left, right = page[:, :2300], page[:, 2336:]
    for colour, count in zip(key.colors, key.counts, strict=True):
        rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert (left == rgb).all(axis=2).sum() == count * (173**2 - 169**2)
        assert (np.abs(right.astype(int) - rgb).max(axis=2) < 12).sum() > 50
    magenta = (np.abs(left.astype(int) - (255, 0, 255)).max(axis=2) < 12).sum()
    assert magenta == 4 * 169**2


def test_an_image_lies_where_the_map_says(tmp_path):
    collection = collection_of(
        tmp_path / "c", 2, thumbnails=[picture((255, 0, 0)), picture((0, 0, 255))]
    )
    map_ = map_of(collection.vectors(SPACE)[0], [[-5, 5], [5, -5]])  # up is larger
    page = drawn(map_, collection, tmp_path / "map.png").astype(int)[:, :2300]
    red, blue = (
        np.argwhere(np.abs(page - colour).max(axis=2) < 12).mean(axis=0)
        for colour in ((255, 0, 0), (0, 0, 255))
    )
    assert (red < blue - 1500).all()


def test_tiles_never_overlap_and_leave_out_no_region():
    generator = np.random.default_rng(0)
    middles = generator.uniform(-50, 50, (12, 2))
    xy = middles[generator.integers(0, 12, 5000)] + generator.normal(0, 1.5, (5000, 2))
    lone = np.array([[90.0, 90.0]])
    map_ = map_of(range(5001), np.concatenate([xy, lone]))
    shown = choose_tiles(map_, 2208)
    assert (
        len(set(map(tuple, shown.corners.tolist())))
        == len(shown.rows)
        == len(set(shown.rows.tolist()))
    )
    assert (shown.corners >= 0).all()
    assert (shown.corners + shown.side <= 2208).all()
    assert ((shown.corners - shown.corners[0]) % shown.side == 0).all()
    assert 5000 in shown.rows
    nearest = np.linalg.norm(xy[:, np.newaxis] - middles, axis=2).argmin(axis=1)
    assert set(nearest[shown.rows[shown.rows < 5000]]) == set(nearest)
    # Each lies in its own cell or one next to it.
    whole = 2208 // shown.side * shown.side
    places = (0.02 + 0.96 * map_.unit_square()[shown.rows]) * whole + (2208 - whole) / 2
    assert np.abs(places - shown.corners - shown.side / 2).max() <= 1.5 * shown.side


def test_few_images_are_large_and_all_there():
    shown = choose_tiles(map_of(range(3), [[0, 0], [1, 0], [0, 1]]), 2208)
    assert (sorted(shown.rows), shown.side) == ([0, 1, 2], 176)


@pytest.mark.parametrize(
    "labels", [HOSTILE, [None] * 6, [f"label {index}" for index in range(6)]], ids=str.__class__
)
def test_any_label_can_be_drawn(tmp_path, labels):
    collection = collection_of(tmp_path / "c", 6, labels=labels)
    page = drawn(make_map(collection), collection, tmp_path / "map.png")
    assert page.shape == (2456, 3856, 3)


def test_many_labels_find_room(tmp_path):
    collection = collection_of(
        tmp_path / "c", 90, labels=[f"{'long ' * (index % 5)}{index:02}" for index in range(90)]
    )
    page = drawn(make_map(collection), collection, tmp_path / "map.png")
    assert (page[-64:] == 255).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_and_equal_places_can_be_drawn(tmp_path, count):
    collection = collection_of(tmp_path / "c", count)
    page = drawn(
        map_of(collection.vectors(SPACE)[0], np.zeros((count, 2))), collection, tmp_path / "map.png"
    )
    assert page.min() < 200


def test_a_row_without_thumbnail_keeps_its_frame(tmp_path):
    collection = collection_of(tmp_path / "c", 2, thumbnails=[None, None])
    assert drawn(make_map(collection), collection, tmp_path / "map.png").shape == (2456, 3856, 3)


def test_the_same_map_is_the_same_picture(tmp_path):
    collection = collection_of(tmp_path / "c", 30)
    map_ = make_map(collection)
    first, again = (
        draw_map(map_, collection, tmp_path / name).read_bytes() for name in ("a.png", "b.png")
    )
    assert first == again


@pytest.mark.parametrize(("write", "name"), [(draw_map, "map.gif"), (write_map_page, "map.pdf")])
def test_another_ending_is_refused(tmp_path, write, name):
    collection = collection_of(tmp_path / "c", 2)
    with pytest.raises(InputError, match=rf"{name}.*must end in"):
        write(make_map(collection), collection, tmp_path / name)


@pytest.mark.parametrize(("write", "name"), [(draw_map, "map.png"), (write_map_page, "map.html")])
def test_nothing_is_left_where_a_row_is_gone(tmp_path, write, name):
    collection = collection_of(tmp_path / "c", 3)
    map_ = make_map(collection)
    collection.delete(map_.ids[:1])
    (tmp_path / name).write_text("before")
    with pytest.raises(CollectionError, match="no row"):
        write(map_, collection, tmp_path / name)
    assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", name]


# ---- the page ---------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """The elements of a page, and the text of its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in self.texts else ""
        if self.inside:
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside:
            self.texts[self.inside][-1] += data


def page_of(map_, collection, folder) -> tuple[Elements, dict]:
    elements = Elements(
        write_map_page(map_, collection, folder / "map.html").read_text(encoding="utf-8")
    )
    return elements, json.loads(elements.texts["script"][0])


def sprite(data: dict, row: int) -> np.ndarray:
    sheet, index = divmod(data["sprite"][row], data["columns"] ** 2)
    image = Image.open(io.BytesIO(base64.b64decode(data["sheets"][sheet].split(",")[1]))).convert(
        "RGB"
    )
    y, x = (side * data["side"] for side in divmod(index, data["columns"]))
    return np.asarray(image.crop((x, y, x + data["side"], y + data["side"])))


def test_the_page_holds_the_map_row_by_row(tmp_path):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    thumbnails = [picture(colour, (160, 40 + 40 * index)) for index, colour in enumerate(colours)]
    collection = collection_of(tmp_path / "c", 3, labels=["a", None, "b"], thumbnails=thumbnails)
    map_ = map_of(collection.vectors(SPACE)[0], [[0, 0], [2, 1], [1, 2]])
    _, data = page_of(map_, collection, tmp_path)
    places = np.frombuffer(base64.b64decode(data["places"]), "<u2").reshape(-1, 2) / 65535
    np.testing.assert_allclose(places, map_.unit_square(), atol=1e-5)
    assert [data["labels"][label]["name"] for label in data["label"]] == ["a", "no label", "b"]
    assert sorted(data["order"]) == [0, 1, 2]
    for row, colour in enumerate(colours):
        np.testing.assert_allclose(sprite(data, row).mean(axis=(0, 1)), colour, atol=8)
        assert data["ratios"][row] == pytest.approx(160 / (40 + 40 * row), abs=0.01)
        preview = Image.open(io.BytesIO(base64.b64decode(data["previews"][row].split(",")[1])))
        assert max(preview.size) == 160


def test_the_page_fetches_nothing_and_runs_only_its_own_script(tmp_path):
    collection = collection_of(tmp_path / "c", 6, labels=HOSTILE)
    elements, data = page_of(make_map(collection), collection, tmp_path)
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert not [
        attributes
        for _, attributes in elements.tags
        if {"src", "href", "srcset"} & attributes.keys()
    ]
    policy = next(
        attributes["content"] for tag, attributes in elements.tags if "http-equiv" in attributes
    )
    assert policy.startswith("default-src 'none'; ")
    for kind, text in (
        ("script", elements.texts["script"][1]),
        ("style", elements.texts["style"][0]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    names = [label["name"] for label in data["labels"]]
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[3]} <= set(names)
    assert "\ufffdreversed\ufffd" in names


def test_placeholders_in_the_data_stay_data(tmp_path):
    collection = collection_of(tmp_path / "c", 1, labels=["<!--script-->"])
    _, data = page_of(make_map(collection), collection, tmp_path)
    assert data["labels"][0]["name"] == "<!--script-->"


@pytest.mark.parametrize(
    ("uri", "path", "link"),
    [
        ("/pictures/a b/c#d.jpg", "/pictures/a b/c#d.jpg", "file:///pictures/a%20b/c%23d.jpg"),
        ("file:///pictures/%FF.jpg", "/pictures/\ufffd.jpg", "file:///pictures/%FF.jpg"),
        (
            "https://example.org/a/b.jpg?x=1",
            "https://example.org/a/b.jpg?x=1",
            "https://example.org/a/b.jpg?x=1",
        ),
        ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg", ""),
        ("javascript:alert(1)//b.jpg", None, ""),
        ("javascript://%0aalert(1)/b.jpg", "javascript://%0aalert(1)/b.jpg", ""),
    ],
)
def test_links_lead_to_files_and_the_web_only(tmp_path, uri, path, link):
    collection = collection_of(tmp_path / "c", 1, uris=[uri])
    _, data = page_of(make_map(collection), collection, tmp_path)
    folder, start = data["folders"][data["folder"][0]]
    assert path is None or folder + data["names"][0] == path
    assert (start and start + (data["tails"][0] or data["names"][0])) == link


@pytest.mark.parametrize("budget", [10_000_000, 120_000, 8_000, 0])
def test_images_stay_within_the_budget(tmp_path, monkeypatch, budget):
    generator = np.random.default_rng(0)
    tints, thumbnails = generator.integers(20, 108, (40, 3)), []
    for tint in tints:
        pixels = generator.integers(0, 128, (120, 160, 3)) + tint
        Image.fromarray(pixels.astype(np.uint8)).save(file := io.BytesIO(), "JPEG", quality=85)
        thumbnails.append(file.getvalue())
    collection = collection_of(tmp_path / "c", 40, thumbnails=thumbnails)
    monkeypatch.setattr(atlas_page, "_COLUMNS", 4)
    monkeypatch.setattr(atlas_page, "_BUDGET", budget)
    _, data = page_of(
        map_of(collection.vectors(SPACE)[0], generator.normal(size=(40, 2))), collection, tmp_path
    )
    images = [image for image in data["sheets"] + data["previews"] if image]
    assert sum(map(len, images)) <= budget * 4 / 3 + 32 * len(images)
    there = [row for row in range(40) if data["sprite"][row] >= 0]
    assert len(there) == {10_000_000: 40, 120_000: 40, 8_000: 24, 0: 0}[budget], [
        len(s) for s in data["sheets"]
    ]
    assert all(data["previews"]) == (budget == 10_000_000)
    for row in there:
        np.testing.assert_allclose(sprite(data, row).mean(axis=(0, 1)), tints[row] + 63.5, atol=8)


def test_a_row_without_thumbnail_is_a_dot(tmp_path):
    collection = collection_of(tmp_path / "c", 2, thumbnails=[None, picture((1, 2, 3))])
    _, data = page_of(make_map(collection), collection, tmp_path)
    assert data["sprite"][0] == -1
    assert data["sprite"][1] >= 0
    assert data["previews"][0] == ""


def test_ten_thousand_images_fit_in_twelve_megabytes(caltech, tmp_path):
    """The photographs' thumbnails, three and a bit times over."""
    ids, _ = caltech.vectors("efficientnet-lite0")
    thumbnails = caltech.take(ids, ["thumbnail"])["thumbnail"].to_pylist()
    collection = collection_of(tmp_path / "c", 10_000, thumbnails=(thumbnails * 4)[:10_000])
    xy = clusters(9, 1112, dim=9)[0][:10_000, :2]
    path = write_map_page(
        map_of(collection.vectors(SPACE)[0], xy), collection, tmp_path / "map.html"
    )
    data = json.loads(Elements(path.read_text(encoding="utf-8")).texts["script"][0])
    assert min(data["sprite"]) == 0
    assert path.stat().st_size < 12e6


def test_the_templates_places_are_all_filled(tmp_path):
    collection = collection_of(tmp_path / "c", 1)
    page = write_map_page(make_map(collection), collection, tmp_path / "map.html").read_text(
        encoding="utf-8"
    )
    assert not re.search(r"<!--\w+-->", page)
    assert page.isascii() or "·" in page
    assert (
        Path(atlas_page.__file__)
        .with_name("page")
        .joinpath("map.html")
        .read_text()
        .count("<!--data-->")
        == 1
    )
