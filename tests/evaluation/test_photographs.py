"""Evaluation of real photographs gives the figures that it gave before."""

from __future__ import annotations

import pytest

from lookalike.evaluation.evaluate import evaluate

# Measured once with this code: Euclidean, leave-one-out, label = folder. `scripts/bench references`
# compares all photographs with figures of other code.
SCORES = {
    "efficientnet-lite0": (0.8637, 0.8595, 0.7712, 0.8802, 0.8787),
    "pixels": (0.5175, 0.3744, 0.7866, 0.7265, 0.6838),
}


def test_scores_of_photographs(caltech):
    evaluation = evaluate(caltech, spaces=list(SCORES))
    assert (evaluation.counts.queries, evaluation.counts.gallery) == (389, 389)
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
    assert pixels.differences["map"].high < -0.32
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
