"""The figure of an evaluation shows each Space's scores, with any number and names of classes."""

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
    """Return an evaluation with one Space per value, which all its metrics and classes have."""
    spaces = (
        SpaceScores(
            f"space {index}",
            "plain",
            {
                name: Estimate(value, max(0, value - 0.01), min(1, value + 0.01))
                for name in METRICS
            },
            {},
            {label: ClassScores(5, value, value, value) for label in classes},
            (),
        )
        for index, value in enumerate(values)
    )
    return Evaluation(tuple(spaces), Counts(10, 10, 0, 0, 0, 0), leave_one_out, 0, 1000)


def drawn(path, *values, **options):
    return np.asarray(Image.open(draw_evaluation(evaluation(*values, **options), path)))


def area(image, color, left=0.0, right=1.0):
    part = image[:, int(left * image.shape[1]) : int(right * image.shape[1])]
    return int(
        (part == [int(color[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2).sum()
    )


def test_bars_have_the_height_of_the_scores(tmp_path):
    image = drawn(tmp_path / "p.png", 0.8, 0.4)
    assert image.shape[1] == 1280
    first, second = (area(image, color, right=0.56) for color in COLORS[:2])
    assert first == pytest.approx(2 * second, rel=0.03)


def test_every_space_has_bars_and_dots(tmp_path):
    image = drawn(tmp_path / "p.png", 0.9, 0.7, 0.5, 0.3)
    for color in COLORS:
        assert area(image, color, right=0.56) > 5000
        assert area(image, color, left=0.58) > 50


def test_dots_are_at_the_scores_of_classes(tmp_path):
    # Classes with scores of 0 and 1 give the ends of the panel.
    image = drawn(tmp_path / "p.png", 1.0, 0.25, 0.0)
    positions = []
    for color in COLORS[:3]:
        dots = (image == [int(color[at : at + 2], 16) for at in (1, 3, 5)]).all(axis=2)
        dots[:, : int(0.58 * image.shape[1])] = False
        positions.append(np.nonzero(dots)[1].mean())
    assert (positions[1] - positions[2]) / (
        positions[0] - positions[2]
    ) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_the_suffix_decides_the_format(tmp_path, ending):
    path = draw_evaluation(evaluation(0.5), str(tmp_path / f"p{ending}"))
    with Image.open(path) as image:
        assert image.format == {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[ending]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'p\.pdf'; its name must end in \.png"):
        draw_evaluation(evaluation(0.5), tmp_path / "p.pdf")


def test_any_names_of_classes_are_drawn(tmp_path):
    strange = ["$x_{", "\\frac", "two\nlines", "猫", "a" * 300]
    odd = drawn(tmp_path / "a.png", 0.5, 0.4, classes=strange)
    plain = drawn(tmp_path / "b.png", 0.5, 0.4, classes=list("abcde"))
    assert odd.shape == plain.shape
    assert (odd[:, :640] == plain[:, :640]).all()
    assert not (odd == plain).all()


@pytest.mark.slow
def test_the_height_is_limited_with_many_classes(tmp_path):
    few, many, more = (
        drawn(
            tmp_path / "p.png",
            0.5,
            classes=[f"class {number}" for number in range(count)],
        ).shape[0]
        for count in (2, 101, 5000)
    )
    assert few < many == more < 1500


def test_the_heading_names_the_split(tmp_path):
    whole, split = (
        drawn(tmp_path / "p.png", 0.5, leave_one_out=choice) for choice in (True, False)
    )
    assert not (whole[:60] == split[:60]).all()
    assert (whole[140:] == split[140:]).all()
