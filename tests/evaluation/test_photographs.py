"""Evaluation of real photographs gives the figures that it gave before."""

from __future__ import annotations

import pytest

from lookalike.evaluation.evaluate import evaluate

# Measured once with this code: Euclidean, leave-one-out, label = folder. `scripts/bench references`
# compares all photographs with figures of other code.
SCORES = {
    "efficientnet-lite0": (0.8664, 0.8575, 0.8264, 0.8930, 0.8920),
    "pixels": (0.5086, 0.3830, 0.8342, 0.7720, 0.7316),
}


def test_scores_of_photographs(caltech):
    evaluation = evaluate(caltech, spaces=list(SCORES))
    assert (evaluation.counts.queries, evaluation.counts.gallery) == (772, 772)
    names = (
        "map",
        "mean_class_map",
        "precision_at_1",
        "precision_at_5",
        "precision_at_10",
    )
    for scores in evaluation.spaces:
        found = tuple(scores.metrics[name].value for name in names)
        assert found == pytest.approx(SCORES[scores.space], abs=0.005)
    lite, pixels = evaluation.spaces
    assert pixels.differences["map"].high < -0.34
    assert {lite.confused[0].label, lite.confused[0].taken_for} == {
        "Faces",
        "Faces_easy",
    }


def test_int8_ranks_as_well_as_float32_on_photographs(caltech):
    floats, small = evaluate(
        caltech, spaces=["efficientnet-lite0", "efficientnet-lite0-int8"]
    ).spaces
    assert small.metrics["map"].value == pytest.approx(
        floats.metrics["map"].value, abs=0.005
    )
    assert small.metrics["precision_at_10"].value == pytest.approx(
        floats.metrics["precision_at_10"].value, abs=0.005
    )
