"""The picture of an evaluation shows each Space's figures, whatever its classes are called, few or many."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lookalike.drawing.scores import draw_evaluation
from lookalike.drawing.style import COLORS
from lookalike.errors import InputError
from lookalike.evaluation.scores import (
    METRICS,
    ClassScores,
    Counts,
    Estimate,
    Evaluation,
    SpaceScores,
)


def evaluation(*values, classes=("cat", "dog"), leave_one_out=True):
    """One Space for each value, which is that of every metric and class."""
    spaces = (
        SpaceScores(
            f"space {index}",
            {name: Estimate(value, max(0, value - 0.01), min(1, value + 0.01)) for name in METRICS},
            {},
            {label: ClassScores(5, value, value, value) for label in classes},
            (),
        )
        for index, value in enumerate(values)
    )
    return Evaluation(tuple(spaces), Counts(10, 10, 0, 0, 0, 0), leave_one_out, 0, 1000)


def drawn(path, *values, **options):
    return np.asarray(Image.open(draw_evaluation(evaluation(*values, **options), path)))


def area(picture, colour, left=0.0, right=1.0):
    part = picture[:, int(left * picture.shape[1]) : int(right * picture.shape[1])]
    return int((part == [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2).sum())


def test_bars_are_as_high_as_the_figures(tmp_path):
    picture = drawn(tmp_path / "p.png", 0.8, 0.4)
    assert picture.shape[1] == 1280
    first, second = (area(picture, colour, right=0.56) for colour in COLORS[:2])
    assert first == pytest.approx(2 * second, rel=0.03)


def test_every_space_has_its_bars_and_its_dots(tmp_path):
    picture = drawn(tmp_path / "p.png", 0.9, 0.7, 0.5, 0.3)
    for colour in COLORS:
        assert area(picture, colour, right=0.56) > 5000
        assert area(picture, colour, left=0.58) > 50


def test_dots_stand_where_the_class_scores(tmp_path):
    # The panel's width is that between two dots whose classes score 0 and 1.
    picture = drawn(tmp_path / "p.png", 1.0, 0.25, 0.0)
    places = []
    for colour in COLORS[:3]:
        dots = (picture == [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)
        dots[:, : int(0.58 * picture.shape[1])] = False
        places.append(np.nonzero(dots)[1].mean())
    assert (places[1] - places[2]) / (places[0] - places[2]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_the_files_ending_decides_its_format(tmp_path, ending):
    path = draw_evaluation(evaluation(0.5), str(tmp_path / f"p{ending}"))
    with Image.open(path) as picture:
        assert picture.format == {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[ending]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'p\.pdf'; its name must end in \.png"):
        draw_evaluation(evaluation(0.5), tmp_path / "p.pdf")


def test_names_are_drawn_as_they_are(tmp_path):
    strange = ["$x_{", "\\frac", "two\nlines", "猫", "a" * 300]
    odd = drawn(tmp_path / "a.png", 0.5, 0.4, classes=strange)
    plain = drawn(tmp_path / "b.png", 0.5, 0.4, classes=list("abcde"))
    assert odd.shape == plain.shape
    assert (odd[:, :640] == plain[:, :640]).all()
    assert not (odd == plain).all()


def test_many_classes_make_no_endless_picture(tmp_path):
    few, many, more = (
        drawn(
            tmp_path / "p.png", 0.5, classes=[f"class {number}" for number in range(count)]
        ).shape[0]
        for count in (2, 101, 5000)
    )
    assert few < many == more < 1500


def test_a_split_is_told(tmp_path):
    whole, split = (
        drawn(tmp_path / "p.png", 0.5, leave_one_out=choice) for choice in (True, False)
    )
    assert not (whole[:60] == split[:60]).all()
    assert (whole[140:] == split[140:]).all()
