"""Evaluation of the real photographs gives the reference figures."""

from __future__ import annotations

import pytest

from lookalike.evaluation.evaluate import evaluate

# Measured with other code: Euclidean, leave-one-out, label = folder.
REFERENCE = {
    "efficientnet-lite0": (0.8674, 0.8592, 0.9029, 0.9311, 0.9285),
    "pixels": (0.4899, 0.3521, 0.8792, 0.8342, 0.8060),
}


def test_reference_results_on_photographs(caltech):
    evaluation = evaluate(caltech, spaces=list(REFERENCE))
    assert (evaluation.counts.queries, evaluation.counts.gallery) == (3079, 3079)
    names = (
        "map",
        "mean_class_map",
        "precision_at_1",
        "precision_at_5",
        "precision_at_10",
    )
    for scores in evaluation.spaces:
        found = tuple(scores.metrics[name].value for name in names)
        assert found == pytest.approx(REFERENCE[scores.space], abs=0.005)
    lite, pixels = evaluation.spaces
    assert pixels.differences["map"].high < -0.36
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
