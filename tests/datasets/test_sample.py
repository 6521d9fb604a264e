"""The drawn sample: the same images every time, alike in all but the subject."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import lookalike
from lookalike.datasets import sample
from lookalike.datasets.manifest import read_manifest
from lookalike.datasets.sample import CLASSES, draw_sample_image, write_sample
from lookalike.errors import InputError


@pytest.fixture(scope="module")
def images() -> dict[str, list[Image.Image]]:
    return {
        label: [draw_sample_image(label, index) for index in range(10)]
        for label in CLASSES
    }


def test_nine_classes_have_plain_names() -> None:
    assert len(set(CLASSES)) == 9
    assert all(label.isalpha() and label.islower() for label in CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("label", CLASSES)
def test_the_same_arguments_draw_the_same_image(label: str, images) -> None:
    assert draw_sample_image(label, 3).tobytes() == images[label][3].tobytes()


def test_each_index_and_each_seed_draws_another_image(images) -> None:
    drawn = [image.tobytes() for label in CLASSES for image in images[label]]
    drawn += [draw_sample_image(label, 0, seed=1).tobytes() for label in CLASSES]
    assert len(set(drawn)) == 11 * len(CLASSES)


@pytest.mark.parametrize("label", CLASSES)
def test_images_are_in_color_and_of_several_shapes(label: str, images) -> None:
    assert {image.mode for image in images[label]} == {"RGB"}
    assert all(200 <= side <= 400 for image in images[label] for side in image.size)
    assert len({image.size for image in images[label]}) > 2
    assert all(
        len(image.getcolors(image.width * image.height)) > 50 for image in images[label]
    )


@pytest.mark.slow
def test_pixels_alone_do_not_reveal_the_class(images) -> None:
    small = [
        image.resize((32, 32), Image.Resampling.BILINEAR)
        for label in CLASSES
        for image in images[label]
    ]
    vectors = np.stack([np.asarray(image, dtype=np.float64).ravel() for image in small])
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(distances, np.inf)
    labels = np.repeat(np.arange(len(CLASSES)), 10)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) < 0.45


def test_backdrops_are_alike_in_every_class(images) -> None:
    colors = np.array(
        [[image.getpixel((0, 0)) for image in images[label]] for label in CLASSES]
    )
    between, within = colors.mean(axis=1).std(axis=0), colors.std(axis=1).mean(axis=0)
    assert (between < 0.6 * within).all(), "the upper left pixel reveals the class"


def test_an_unknown_class_is_an_error_with_the_choices() -> None:
    with pytest.raises(InputError, match=r"'zebra'.*airplane, .*teapot"):
        draw_sample_image("zebra", 0)


@pytest.mark.parametrize(("index", "seed"), [(-1, 0), (0, -1)])
def test_a_negative_number_is_an_error(index: int, seed: int) -> None:
    with pytest.raises(InputError, match="0 or more"):
        draw_sample_image("cat", index, seed=seed)


@pytest.mark.slow
def test_write_sample_makes_one_folder_per_class(tmp_path) -> None:
    folder = write_sample(tmp_path / "new" / "sample", per_class=2, seed=3)
    assert folder == tmp_path / "new" / "sample"
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )
    assert names == [
        f"{label}/{label}_000{number}.jpg"
        for label in sorted(CLASSES)
        for number in (1, 2)
    ]
    with Image.open(folder / "cat" / "cat_0002.jpg") as image:
        assert image.format == "JPEG"
        difference = np.abs(
            np.asarray(image, float)
            - np.asarray(draw_sample_image("cat", 1, seed=3), float)
        )
    assert difference.mean() < 3


@pytest.mark.slow
def test_write_sample_draws_forty_images_of_a_class(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sample, "CLASSES", ("cat",))
    write_sample(tmp_path)
    assert len(list(tmp_path.glob("cat/*.jpg"))) == 40


@pytest.mark.slow
def test_write_sample_keeps_existing_files_and_adds_the_rest(tmp_path) -> None:
    write_sample(tmp_path, per_class=1)
    first = tmp_path / "car" / "car_0001.jpg"
    first.write_bytes(b"mine")
    (tmp_path / "cat" / "cat_0001.jpg").unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    write_sample(tmp_path, per_class=2)
    assert first.read_bytes() == b"mine"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(tmp_path.rglob("*.jpg"))) == 2 * len(CLASSES)


@pytest.mark.slow
def test_the_manifest_leaves_out_partial_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sample, "write_sample", partial(write_sample, per_class=2))
    folder = tmp_path / "images" / "cat"
    folder.mkdir(parents=True)
    for name in (".lookalike-0a1b.jpg", "cat_0001.17.part"):
        (folder / name).write_bytes(b"half")
    lookalike("dataset", "sample", "--to", tmp_path)
    named = [
        Path(uri).name
        for uri in read_manifest(tmp_path / "manifest.csv")["uri"].to_pylist()
    ]
    assert sorted(named) == sorted(
        f"{label}_000{number}.jpg" for label in CLASSES for number in (1, 2)
    )
