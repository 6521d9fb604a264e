"""The exported map: its data, its images within the budget, and a policy for its own code only."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import CollectionError, InputError
from lookalike.export import map_page
from lookalike.export.map_page import write_map_page
from lookalike.export.sprites import ThumbnailPacker
from lookalike.projection.map import make_map
from made import SPACE, clusters, picture
from sample_maps import HOSTILE, collection_of, map_of


class Elements(HTMLParser):
    """The elements of a page, and the texts of its scripts and styles."""

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
        write_map_page(map_, collection, folder / "map.html").read_text(
            encoding="utf-8"
        )
    )
    return elements, json.loads(elements.texts["script"][0])


def sprite(data: dict, row: int) -> np.ndarray:
    sheet, index = divmod(data["sprites"][row], data["sheet_columns"] ** 2)
    image = Image.open(
        io.BytesIO(base64.b64decode(data["sheets"][sheet].split(",")[1]))
    ).convert("RGB")
    y, x = (side * data["sprite_side"] for side in divmod(index, data["sheet_columns"]))
    return np.asarray(
        image.crop((x, y, x + data["sprite_side"], y + data["sprite_side"]))
    )


def test_the_page_holds_the_map_row_by_row(tmp_path):
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    thumbnails = [
        picture(color, (160, 40 + 40 * index)) for index, color in enumerate(colors)
    ]
    collection = collection_of(
        tmp_path / "c", 3, labels=["a", None, "b"], thumbnails=thumbnails
    )
    map_ = map_of(collection.vectors(SPACE)[0], [[0, 0], [2, 1], [1, 2]])
    _, data = page_of(map_, collection, tmp_path)
    positions = (
        np.frombuffer(base64.b64decode(data["positions"]), "<u2").reshape(-1, 2) / 65535
    )
    np.testing.assert_allclose(positions, map_.unit_square(), atol=1e-5)
    assert [data["labels"][label]["name"] for label in data["label_index"]] == [
        "a",
        "no label",
        "b",
    ]
    assert sorted(data["order"]) == [0, 1, 2]
    for row, color in enumerate(colors):
        np.testing.assert_allclose(sprite(data, row).mean(axis=(0, 1)), color, atol=8)
        assert data["ratios"][row] == pytest.approx(160 / (40 + 40 * row), abs=0.01)
        preview = Image.open(
            io.BytesIO(base64.b64decode(data["previews"][row].split(",")[1]))
        )
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
        attributes["content"]
        for tag, attributes in elements.tags
        if "http-equiv" in attributes
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


@pytest.mark.parametrize("label", ["<!--script-->", "{{ script }}", "{% raw %}"])
def test_template_syntax_in_the_data_stays_data(tmp_path, label):
    collection = collection_of(tmp_path / "c", 1, labels=[label])
    _, data = page_of(make_map(collection), collection, tmp_path)
    assert data["labels"][0]["name"] == label


@pytest.mark.parametrize(
    ("uri", "path", "link"),
    [
        (
            "/pictures/a b/c#d.jpg",
            "/pictures/a b/c#d.jpg",
            "file:///pictures/a%20b/c%23d.jpg",
        ),
        (
            "file:///pictures/%FF.jpg",
            "/pictures/\ufffd.jpg",
            "file:///pictures/%FF.jpg",
        ),
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
    folder, start = data["folders"][data["folder_index"][0]]
    assert path is None or folder + data["names"][0] == path
    assert (start and start + (data["link_ends"][0] or data["names"][0])) == link


@pytest.mark.slow
@pytest.mark.parametrize("budget", [10_000_000, 120_000, 8_000, 0])
def test_images_stay_within_the_budget(tmp_path, monkeypatch, budget):
    generator = np.random.default_rng(0)
    tints, thumbnails = generator.integers(20, 108, (40, 3)), []
    for tint in tints:
        pixels = generator.integers(0, 128, (120, 160, 3)) + tint
        Image.fromarray(pixels.astype(np.uint8)).save(
            file := io.BytesIO(), "JPEG", quality=85
        )
        thumbnails.append(file.getvalue())
    collection = collection_of(tmp_path / "c", 40, thumbnails=thumbnails)
    packer = ThumbnailPacker(budget, columns=4)
    monkeypatch.setattr(map_page, "ThumbnailPacker", lambda: packer)
    _, data = page_of(
        map_of(collection.vectors(SPACE)[0], generator.normal(size=(40, 2))),
        collection,
        tmp_path,
    )
    images = [image for image in data["sheets"] + data["previews"] if image]
    assert sum(map(len, images)) <= budget * 4 / 3 + 32 * len(images)
    there = [row for row in range(40) if data["sprites"][row] >= 0]
    assert len(there) == {10_000_000: 40, 120_000: 40, 8_000: 24, 0: 0}[budget], [
        len(s) for s in data["sheets"]
    ]
    assert all(data["previews"]) == (budget == 10_000_000)
    for row in there:
        np.testing.assert_allclose(
            sprite(data, row).mean(axis=(0, 1)), tints[row] + 63.5, atol=8
        )


def test_a_row_without_thumbnail_is_a_dot(tmp_path):
    collection = collection_of(tmp_path / "c", 2, thumbnails=[None, picture((1, 2, 3))])
    _, data = page_of(make_map(collection), collection, tmp_path)
    assert data["sprites"][0] == -1
    assert data["sprites"][1] >= 0
    assert data["previews"][0] == ""


def test_ten_thousand_images_fit_in_twelve_megabytes(caltech, tmp_path):
    """The thumbnails of photographs, repeated."""
    ids, _ = caltech.vectors("efficientnet-lite0")
    thumbnails = caltech.take(ids, ["thumbnail"])["thumbnail"].to_pylist()
    collection = collection_of(
        tmp_path / "c", 10_000, thumbnails=(thumbnails * 26)[:10_000]
    )
    xy = clusters(9, 1112, dim=9)[0][:10_000, :2]
    path = write_map_page(
        map_of(collection.vectors(SPACE)[0], xy), collection, tmp_path / "map.html"
    )
    data = json.loads(Elements(path.read_text(encoding="utf-8")).texts["script"][0])
    assert min(data["sprites"]) == 0
    assert path.stat().st_size < 12e6


def test_the_template_is_filled(tmp_path):
    collection = collection_of(tmp_path / "c", 1)
    file = write_map_page(make_map(collection), collection, tmp_path / "map.html")
    page = file.read_text(encoding="utf-8")
    assert not re.search(r"\{\{ [a-z]+( \| safe)? \}\}|\{%", page)
    assert page.isascii() or "·" in page


def test_another_extension_is_refused(tmp_path):
    collection = collection_of(tmp_path / "c", 2)
    with pytest.raises(InputError, match=r"map.pdf.*must end in"):
        write_map_page(make_map(collection), collection, tmp_path / "map.pdf")


def test_a_missing_row_leaves_the_file_as_it_was(tmp_path):
    collection = collection_of(tmp_path / "c", 3)
    map_ = make_map(collection)
    collection.delete(map_.ids[:1])
    (tmp_path / "map.html").write_text("before")
    with pytest.raises(CollectionError, match="no row"):
        write_map_page(map_, collection, tmp_path / "map.html")
    assert (tmp_path / "map.html").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "map.html"]
