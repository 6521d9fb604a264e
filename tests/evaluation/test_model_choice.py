"""Models measured on a user's own images, and the one that is recommended."""

from __future__ import annotations

import json
import shutil

import pytest

from command import lookalike as command
from lookalike.errors import InputError, ModelError, SourceError
from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.model_choice import compare_models
from lookalike.store.table import Table

MODELS = ["pixels", "efficientnet-lite0-int8"]


def test_the_better_model_is_recommended_with_the_scores_that_evaluate_measures(
    sample, tmp_path
):
    comparison = compare_models(sample, MODELS)
    best, worst = comparison.models
    assert [best.model, worst.model] == ["efficientnet-lite0-int8", "pixels"]
    assert comparison.recommended == best
    assert "measurably above that of every other" in comparison.verdict
    assert best.bytes_per_image == 2 * 1280
    assert min(best.images_per_second, worst.images_per_second) > 0
    command("index", sample, "-c", tmp_path / "c", "--model", best.model)
    table = Table.open(tmp_path / "c")
    (scores,) = evaluate(table).spaces
    assert best.map == scores.metrics["map"]


def test_of_equal_models_the_fastest_is_recommended(sample, tmp_path):
    small = tmp_path / "small.toml"
    small.write_text('base = "pixels"\nsize = [8, 8]\n')
    comparison = compare_models(sample, [small, "pixels"], images=30)
    assert comparison.counts.gallery == 30
    fastest = max(comparison.models, key=lambda one: one.images_per_second)
    assert comparison.recommended == fastest
    again = compare_models(sample, [small, "pixels"], images=30)
    assert [one.map for one in again.models] == [one.map for one in comparison.models]


def test_a_model_that_cannot_run_does_not_stop_the_others(sample, tmp_path):
    missing = tmp_path / "mine.toml"
    missing.write_text('base = "efficientnet-lite0"\n[weights]\nfile = "none.pth"\n')
    comparison = compare_models(sample, ["pixels", missing])
    assert [one.model for one in comparison.models] == ["pixels"]
    assert "none.pth" in comparison.failures["mine"]
    assert comparison.verdict.startswith("Use pixels: no other model")
    with pytest.raises(ModelError, match="No model could be measured"):
        compare_models(sample, [missing])


def test_the_command(sample):
    words = ["models", "--benchmark", sample, "--model", "pixels", "--images", 40]
    printed = command(*words).stdout
    assert "Use pixels" in printed
    assert "6,144" in printed
    result = json.loads(command(*words, "--json").stdout)
    assert result["recommended"] == "pixels"
    assert result["models"][0]["intervals"]["map"][0] <= result["models"][0]["map"]
    assert result["failures"] == {}


def test_bad_input(sample, tmp_path):
    with pytest.raises(InputError, match="expected 2 or more"):
        compare_models(sample, images=1)
    with pytest.raises(ModelError, match="no model 'resnet'"):
        compare_models(sample, ["resnet"])
    with pytest.raises(SourceError, match="no file or folder"):
        compare_models(tmp_path / "missing")
    only = tmp_path / "cat"
    shutil.copytree(sample / "cat", only)
    with pytest.raises(InputError, match="label"):
        compare_models(only, ["pixels"])
    message = command("models", "--model", "pixels", status=2).stderr
    assert "--benchmark FOLDER" in message
