from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lookalike.drawing.map import choose_tiles, draw_map
from lookalike.drawing.palette import legend
from lookalike.errors import CollectionError, InputError
from lookalike.projection.map import make_map
from made import SPACE, picture
from sample_maps import HOSTILE, collection_of, map_of


def drawn(map_, collection, path) -> np.ndarray:
    return np.asarray(Image.open(draw_map(map_, collection, path)).convert("RGB"))


# ---- the figure -------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_and_dots_have_the_color_of_their_label(tmp_path):
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


@pytest.mark.slow
def test_images_are_at_their_positions(tmp_path):
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


def test_tiles_do_not_overlap_and_cover_every_region():
    generator = np.random.default_rng(0)
    centers = generator.uniform(-50, 50, (12, 2))
    xy = centers[generator.integers(0, 12, 5000)] + generator.normal(0, 1.5, (5000, 2))
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
    nearest = np.linalg.norm(xy[:, np.newaxis] - centers, axis=2).argmin(axis=1)
    assert set(nearest[shown.rows[shown.rows < 5000]]) == set(nearest)
    # Each lies in its own cell or one next to it.
    whole = 2208 // shown.side * shown.side
    positions = (0.02 + 0.96 * map_.unit_square()[shown.rows]) * whole + (
        2208 - whole
    ) / 2
    assert np.abs(positions - shown.corners - shown.side / 2).max() <= 1.5 * shown.side


def test_few_images_are_all_shown_and_large():
    shown = choose_tiles(map_of(range(3), [[0, 0], [1, 0], [0, 1]]), 2208)
    assert (sorted(shown.rows), shown.side) == ([0, 1, 2], 176)


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels",
    [HOSTILE, [None] * 6, [f"label {index}" for index in range(6)]],
    ids=str.__class__,
)
def test_any_label_can_be_drawn(tmp_path, labels):
    collection = collection_of(tmp_path / "c", 6, labels=labels)
    page = drawn(make_map(collection), collection, tmp_path / "map.png")
    assert page.shape == (2456, 3856, 3)


@pytest.mark.slow
def test_many_labels_fit_in_the_legend(tmp_path):
    collection = collection_of(
        tmp_path / "c",
        90,
        labels=[f"{'long ' * (index % 5)}{index:02}" for index in range(90)],
    )
    page = drawn(make_map(collection), collection, tmp_path / "map.png")
    assert (page[-64:] == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_and_equal_positions_can_be_drawn(tmp_path, count):
    collection = collection_of(tmp_path / "c", count)
    page = drawn(
        map_of(collection.vectors(SPACE)[0], np.zeros((count, 2))),
        collection,
        tmp_path / "map.png",
    )
    assert page.min() < 200


def test_a_row_without_thumbnail_keeps_its_frame(tmp_path):
    collection = collection_of(tmp_path / "c", 2, thumbnails=[None, None])
    assert drawn(make_map(collection), collection, tmp_path / "map.png").shape == (
        2456,
        3856,
        3,
    )


@pytest.mark.slow
def test_the_same_map_gives_the_same_figure(tmp_path):
    collection = collection_of(tmp_path / "c", 30)
    map_ = make_map(collection)
    first, again = (
        draw_map(map_, collection, tmp_path / name).read_bytes()
        for name in ("a.png", "b.png")
    )
    assert first == again


@pytest.mark.parametrize(("write", "name"), [(draw_map, "map.gif")])
def test_another_ending_is_refused(tmp_path, write, name):
    collection = collection_of(tmp_path / "c", 2)
    with pytest.raises(InputError, match=rf"{name}.*must end in"):
        write(make_map(collection), collection, tmp_path / name)


@pytest.mark.parametrize(("write", "name"), [(draw_map, "map.png")])
def test_nothing_is_left_where_a_row_is_gone(tmp_path, write, name):
    collection = collection_of(tmp_path / "c", 3)
    map_ = make_map(collection)
    collection.delete(map_.ids[:1])
    (tmp_path / name).write_text("before")
    with pytest.raises(CollectionError, match="no row"):
        write(map_, collection, tmp_path / name)
    assert (tmp_path / name).read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", name]
