"""The figure of a search shows the pixels of the query and of its matches, nearest first."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.collection import Collection
from lookalike.drawing.matches import draw_matches
from lookalike.drawing.style import MUTED
from lookalike.errors import InputError
from lookalike.models.registry import resolve
from lookalike.store.table import Table
from lookalike.types import AnswerConfidence, Matches

COUNT = 12
SMALL = replace(resolve("pixels"), name="small", size=(8, 8), dim=192)
# The size in pixels of the cell that an image is fitted into.
CELL = (336, 264)


def noise(seed: int, width: int, height: int) -> Image.Image:
    """Return noise that gets brighter with the seed, so that near seeds give near images."""
    pixels = np.random.default_rng(seed).integers(
        0, 100, (height, width, 3), dtype=np.uint8
    )
    return Image.fromarray(pixels + np.uint8(10 * seed))


def indexed(folder: Path) -> Table:
    """Index twelve images of several sizes in two folders, in two Spaces."""
    for seed in range(COUNT):
        path = (
            folder / "pictures" / ("even" if seed % 2 == 0 else "odd") / f"{seed}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed, 90 + 30 * (seed % 3), 120).save(path)
    lookalike.index(
        folder / "pictures", folder / "collection", models=["pixels", SMALL]
    )
    return Table.open(folder / "collection")


def original(uri: str) -> Image.Image:
    seed = int(Path(uri).stem)
    return noise(seed, 90 + 30 * (seed % 3), 120)


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Table:
    return indexed(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def query() -> Image.Image:
    return noise(3, 200, 100)


def answer(
    collection: Table, query: Image.Image, k: int, space: str = "pixels"
) -> Matches:
    return Collection(collection).search(np.asarray(query), k=k, space=space)


def fitted(image: Image.Image) -> Image.Image:
    ratio = min(CELL[0] / image.width, CELL[1] / image.height)
    size = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    return image.resize(size, Image.Resampling.LANCZOS)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as page:
        return np.asarray(page.convert("RGB"))


def positions(page: np.ndarray, image: Image.Image) -> list[tuple[int, int]]:
    """Return each (top, left) where the fitted image is on the page, apart from its frame."""
    inner = np.asarray(fitted(image))[4:-4, 4:-4]
    height, width = inner.shape[:2]
    found = []
    for top in range(page.shape[0] - height + 1):
        start = page[top].tobytes().find(inner[0].tobytes())
        if (
            start >= 0
            and (
                page[top : top + height, start // 3 : start // 3 + width] == inner
            ).all()
        ):
            found.append((top - 4, start // 3 - 4))
    return found


def has(page: np.ndarray, color: str) -> bool:
    return bool((page == tuple(bytes.fromhex(color))).all(axis=2).any())


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_query_and_all_matches_are_sharp_and_in_order(
    collection, query, tmp_path, k
):
    matches = answer(collection, query, k)
    page = pixels(draw_matches(query, [matches], collection, tmp_path / "out.png"))
    ((query_top, query_left),) = positions(page, query)
    found = [positions(page, original(match.uri)) for match in matches]
    assert [len(each) for each in found] == [1] * k
    assert query_left < min(place[0][1] for place in found)
    assert query_top < page.shape[0] / 2
    # Images are centered in their cells, so their centers are in rows and columns.
    columns = min(k, 5)
    centers = []
    for match, ((top, left),) in zip(matches, found, strict=True):
        width, height = fitted(original(match.uri)).size
        centers.append((top + height / 2, left + width / 2))
    rows = [centers[start : start + columns] for start in range(0, k, columns)]
    for row in rows:
        assert max(y for y, _ in row) - min(y for y, _ in row) <= 2
        assert [x for _, x in row] == sorted(x for _, x in row)
    assert [row[0][0] for row in rows] == sorted(row[0][0] for row in rows)


@pytest.mark.slow
def test_the_figure_grows_with_the_matches_and_has_white_margins(
    collection, query, tmp_path
):
    sizes = []
    for k in (0, 1, 3, 5, 10, 12):
        matches = answer(collection, query, max(k, 1))
        if k == 0:
            matches = Matches(matches.ids[:0], [], [], matches.distances[:0], "pixels")
        page = pixels(draw_matches(query, [matches], collection, tmp_path / "out.png"))
        assert (page[[0, -1]] == 255).all()
        assert (page[:, [0, -1]] == 255).all()
        sizes.append(page.shape[:2])
    heights, widths = zip(*sizes, strict=True)
    assert widths[0] == widths[1] < widths[2] < widths[3] == widths[4] == widths[5]
    assert (
        heights[0] == heights[1] == heights[2] == heights[3] < heights[4] < heights[5]
    )


@pytest.mark.slow
def test_the_second_answer_is_below_the_first(collection, query, tmp_path):
    answers = [answer(collection, query, 2), answer(collection, query, 3, "small")]
    page = pixels(draw_matches(query, answers, collection, tmp_path / "out.png"))
    below = next(uri for uri in answers[1].uris if uri not in answers[0].uris)
    lower = min(positions(page, original(below)))[0]
    for uri in answers[0].uris:
        assert min(positions(page, original(uri)))[0] < lower
    assert (
        sum(
            len(positions(page, original(uri)))
            for uri in {*answers[0].uris, *answers[1].uris}
        )
        == 5
    )
    one = pixels(draw_matches(query, answers[:1], collection, tmp_path / "one.png"))
    assert one.shape[0] < page.shape[0]


@pytest.mark.slow
def test_frames_show_which_matches_share_the_label(collection, query, tmp_path):
    matches = answer(collection, query, 4)
    assert set(matches.labels) == {"even", "odd"}
    same, other = "0072b2", "d55e00"
    seen = {}
    for label in (None, "even", "neither"):
        page = pixels(
            draw_matches(
                query, [matches], collection, tmp_path / "out.png", label=label
            )
        )
        seen[label] = has(page, same), has(page, other)
    assert seen == {
        None: (False, False),
        "even": (True, True),
        "neither": (False, True),
    }


NAMES = [
    "$x^2$",
    "100 $",
    "new\nline",
    "tab\there",
    "$\\frac{$",
    "😀 猫",
    "a" * 300,
    "word " * 80,
    "q" * 30 + " photo",
    "",
    "\udce9",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_any_name_and_label_can_be_a_caption(collection, query, tmp_path, name):
    one = answer(collection, query, 1)
    matches = replace(one, labels=[name], uris=[f"/pictures/{name}.jpg"])
    for label in (None, name):
        page = pixels(
            draw_matches(
                query,
                [matches],
                collection,
                tmp_path / "out.png",
                label=label,
                name=name,
            )
        )
        assert len(positions(page, query)) == 1


@pytest.mark.slow
def test_names_and_captions_are_drawn(collection, query, tmp_path):
    one = answer(collection, query, 1)
    draws = [
        draw_matches(query, [matches], collection, tmp_path / f"{number}.png",
                     **options).read_bytes()
        for number, (matches, options) in enumerate([
            (one, {}),
            (one, {"name": "other.jpg"}),
            (one, {"label": "x"}),
            (one, {"label": "x", "name": "other.jpg"}),
            (replace(one, labels=["another"]), {}),
            (replace(one, distances=one.distances + 1), {}),
            (replace(one, space="elsewhere"), {}),
        ])
    ]  # fmt: skip
    assert len(set(draws)) == len(draws)


def test_images_of_extreme_shape_are_drawn(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for width, height in [(1, 5000), (5000, 1), (1, 1), (3000, 2)]:
        noise(1, width, height).save(folder / f"{width}x{height}.png")
    lookalike.index(folder, tmp_path / "collection", models=["pixels"])
    table = Table.open(tmp_path / "collection")
    for query in (noise(1, 1, 5000), noise(1, 5000, 1)):
        matches = answer(table, query, 4)
        assert len(matches) == 4
        page = pixels(draw_matches(query, [matches], table, tmp_path / "out.png"))
        assert page.shape[1] > 4 * CELL[0]


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["gone", "damaged", "a folder"])
def test_the_thumbnail_replaces_a_lost_original(query, tmp_path, harm):
    collection = indexed(tmp_path)
    matches = answer(collection, query, 2)
    lost = Path(matches.uris[1])
    lost.unlink()
    if harm == "damaged":
        lost.write_bytes(b"\x89PNG\r\n")
    elif harm == "a folder":
        lost.mkdir()
    page = pixels(draw_matches(query, [matches], collection, tmp_path / "out.png"))
    thumbnail = collection.take(matches.ids, ["thumbnail"])["thumbnail"][1].as_py()
    assert positions(page, original(matches.uris[1])) == []
    assert len(positions(page, Image.open(io.BytesIO(thumbnail)))) == 1
    assert len(positions(page, original(matches.uris[0]))) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "PNG"),
        ("a.jpg", "JPEG"),
        ("a.jpeg", "JPEG"),
        ("a.webp", "WEBP"),
        ("b/A.JPG", "JPEG"),
    ],
)
def test_the_suffix_decides_the_format(collection, query, tmp_path, name, kind):
    path = tmp_path / "out" / name
    assert (
        draw_matches(query, [answer(collection, query, 1)], collection, str(path))
        == path
    )
    with Image.open(path) as page:
        page.load()
        assert page.format == kind
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["out.gif", "out", "out.pdf", ".png"])
def test_an_unknown_suffix_is_refused(collection, query, tmp_path, name):
    with pytest.raises(
        InputError,
        match=rf"'{name}'; its name must end in \.png, \.jpg, \.jpeg, \.webp",
    ):
        draw_matches(query, [answer(collection, query, 1)], collection, tmp_path / name)
    assert not (tmp_path / name).exists()


def has_thick_line(page: np.ndarray, color: str) -> bool:
    """Return whether a square of 4 x 4 pixels has a color, which no stroke of a letter fills."""
    is_color = (page == tuple(bytes.fromhex(color.removeprefix("#")))).all(axis=2)
    squares = np.lib.stride_tricks.sliding_window_view(is_color, (4, 4))
    return bool(squares.all(axis=(2, 3)).any())


@pytest.mark.parametrize("alike", [0, 2, 5, 7])
def test_dashed_line_is_where_likeness_ends(collection, query, tmp_path, alike):
    matches = answer(collection, query, 7)
    confidences = np.where(np.arange(7) < alike, 0.5, 0.01)
    best = AnswerConfidence(0.5, 0.1, hidden=0, rows=9, version=1, added=0, removed=0)
    marked = replace(matches, confidences=confidences, answer=best)
    page = pixels(draw_matches(query, [marked], collection, tmp_path / "out.png"))
    assert has_thick_line(page, MUTED) == (alike in {2, 5})
