"""Calibration matches a plain computation, and a description turns it into an 8-bit network."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import lookalike
from forked import start_python
from integer_network import run
from lookalike import imaging
from lookalike.errors import ModelError, WeightsError
from lookalike.models import embedder, graphs, tensors, weights
from lookalike.models.calibration import calibrate
from lookalike.models.graphs.quantization import activation_names
from lookalike.models.registry import resolve

SCRIPT = Path(__file__).parents[2] / "scripts" / "calibrate.py"


@pytest.fixture(scope="module")
def prepared(sample) -> np.ndarray:
    model = resolve("efficientnet-lite0")
    files = sorted(sample.glob("*/*.jpg"))
    return np.stack(
        [imaging.prepare(imaging.decode(file.read_bytes()), model) for file in files]
    )


def test_calibration_matches_a_plain_computation(prepared):
    model = replace(resolve("efficientnet-lite0"), size=(64, 96))
    few = prepared[:6, ::3, ::2][:, :64, :96]
    measured = calibrate(model, [few[:4], few[4:]])
    proto = graphs.build(model, tensors.read_tensors(weights.find(model)))
    names = activation_names(proto)
    assert set(measured) == {
        f"{name}.{what}" for name in names for what in ("range", "mean")
    }
    for name, values in zip(names, run(proto, few, names), strict=True):
        np.testing.assert_allclose(
            measured[f"{name}.range"],
            [values.min(), values.max()],
            rtol=1e-4,
            atol=1e-4,
        )
        mean = values.astype(np.float64).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(measured[f"{name}.mean"], mean, rtol=1e-3, atol=1e-4)


def test_shipped_calibration_fits_unseen_images(prepared):
    floats, small = (
        embedder.load(resolve(f"efficientnet-lite0{kind}")).embed(prepared)
        for kind in ("", "-int8")
    )
    cosines = (floats * small).sum(axis=1)
    assert cosines.mean() >= 0.98
    assert cosines.min() >= 0.95


def test_8_bit_vectors_of_photographs_are_close_to_float_vectors(caltech):
    """The two Spaces also resize with different filters, as a user sees them."""
    rows = []
    for space in ("efficientnet-lite0", "efficientnet-lite0-int8"):
        ids, matrix = caltech.vectors(space)
        rows.append(matrix.astype(np.float32)[np.argsort(ids)])
    cosines = (rows[0] * rows[1]).sum(axis=1)
    assert cosines.mean() >= 0.98
    assert np.quantile(cosines, 0.01) >= 0.94


def script(*arguments: object, status: int = 0) -> tuple[str, str]:
    """Run the script, and return its output and its errors."""
    words = [str(SCRIPT), *map(str, arguments)]
    with start_python(words, env=os.environ) as process:
        printed, errors = process.communicate()
    assert process.returncode == status, errors
    return printed, errors


@pytest.fixture(scope="module")
def measured(sample, tmp_path_factory) -> tuple[Path, str]:
    """A calibration that the script wrote, and the script's output."""
    path = tmp_path_factory.mktemp("measured") / "cal" / "mine.safetensors"
    printed, _ = script(
        "efficientnet-lite0", sample, "--images", 12, "--seed", 3, "--output", path
    )
    return path, printed


@pytest.mark.slow
def test_script_output_works_in_a_description(measured, sample, prepared, tmp_path):
    path, printed = measured
    first, table = printed.split("Add to the description:\n")
    assert first == f"Measured 59 tensors on 12 images, saved to {path}.\n"
    (path.parent / "mine.toml").write_text(
        f'base = "efficientnet-lite0"\nprecision = "int8"\n{table}'
    )
    model = resolve(path.parent / "mine.toml")
    assert (model.name, model.precision, model.calibration.file) == (
        "mine",
        "int8",
        str(path),
    )
    floats, small = (
        embedder.load(m).embed(prepared) for m in (resolve("efficientnet-lite0"), model)
    )
    assert (floats * small).sum(axis=1).mean() > 0.98
    lookalike.index(sample, tmp_path / "c", models=[model])
    query = min(sample.glob("car/*.jpg"))
    assert lookalike.search(tmp_path / "c", query, k=3).labels == ["car"] * 3


@pytest.mark.slow
def test_images_count_and_seed_change_the_calibration(measured, sample, tmp_path):
    path, _ = measured
    found = []
    for options in (
        ["--images", 12, "--seed", 3],
        ["--images", 12],
        ["--images", 5, "--seed", 3],
    ):
        script(
            "efficientnet-lite0",
            sample,
            "--output",
            tmp_path / "x.safetensors",
            *options,
        )
        found.append((tmp_path / "x.safetensors").read_bytes())
    assert found[0] == path.read_bytes()
    assert len(set(found)) == 3
    wide = load_file(path)
    assert all(
        wide[name][0] <= wide[name][1] for name in wide if name.endswith(".range")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope", "images"], "There is no model 'nope'"),
        (["efficientnet-lite0", "nowhere"], "no file or folder"),
        (["efficientnet-lite0", "empty"], "Nothing to measure: 128 of 0 images"),
        (
            ["efficientnet-lite0", "images", "--images", "0"],
            "Nothing to measure: 0 of 1 images. Give a folder with images",
        ),
        (["efficientnet-lite0", "images"], "bad.jpg cannot be measured: not an image"),
        (["pixels", "images"], "'pixels' names no weights file"),
    ],
)
def test_script_errors_are_explained_and_write_nothing(
    arguments, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "bad.jpg").write_text("no picture")
    output = tmp_path / "x.safetensors"
    _, errors = script(*arguments, "--output", output, status=2)
    assert errors.startswith("Error: ")
    assert words in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.slow
def test_unwritable_output_is_named(sample, tmp_path):
    (tmp_path / "file").touch()
    _, errors = script(
        "efficientnet-lite0",
        sample / "car",
        "--images",
        1,
        "--output",
        tmp_path / "file" / "x",
        status=2,
    )
    assert errors.startswith(f"Error: {tmp_path / 'file'}")


# Descriptions


@pytest.fixture
def describe(measured, tmp_path, monkeypatch):
    """Write a description beside the calibration ``mine.safetensors`` and resolve it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mine.safetensors").write_bytes(measured[0].read_bytes())

    def write(text: str):
        (tmp_path / "mine.toml").write_text(text)
        return resolve(tmp_path / "mine.toml")

    return write


INT8 = 'base = "efficientnet-lite0"\nprecision = "int8"\n'
CALIBRATION = '[calibration]\nfile = "mine.safetensors"\n'


def test_calibration_file_is_pinned_to_its_hash(describe, tmp_path):
    model = describe(INT8 + CALIBRATION)
    assert model.calibration.sha256 == weights.sha256_of(tmp_path / "mine.safetensors")
    first = embedder.load(model)
    shipped = resolve("efficientnet-lite0-int8")
    (tmp_path / "mine.safetensors").write_bytes(
        weights.find(shipped, "calibration").read_bytes()
    )
    with pytest.raises(
        WeightsError,
        match=r"mine\.safetensors of the model 'mine' is not the promised file",
    ):
        weights.find(model, "calibration")
    again = describe(INT8 + CALIBRATION)
    assert again.fingerprint != model.fingerprint
    assert embedder.load(again).model.graph != first.model.graph


def test_calibration_without_a_hash_is_read_each_time(describe, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_WEIGHTS", str(tmp_path))
    model = describe(INT8 + CALIBRATION)
    loose = replace(model, calibration=replace(model.calibration, sha256=None))
    first = embedder.load(loose).model.graph
    shipped = resolve("efficientnet-lite0-int8")
    (tmp_path / "mine.safetensors").write_bytes(
        weights.find(shipped, "calibration").read_bytes()
    )
    assert embedder.load(loose).model.graph != first


def test_missing_calibration_is_explained(describe, tmp_path):
    model = describe(INT8 + '[calibration]\nfile = "lost.safetensors"\n')
    assert (weights.is_available(model), weights.describe_source(model)) == (
        False,
        "not here",
    )
    with pytest.raises(
        WeightsError,
        match=r"calibration of the model 'mine' \(lost\.safetensors\) is not here\. Put",
    ):
        embedder.load(model)


def test_base_supplies_missing_keys(describe):
    base = resolve("efficientnet-lite0")
    model = describe('base = "efficientnet-lite0"\nfilter = "lanczos"\n')
    assert model == replace(base, name="mine", filter="lanczos")
    small = resolve("efficientnet-lite0-int8")
    assert describe(
        'base = "efficientnet-lite0-int8"\nruntime = "openvino"\n'
    ) == replace(small, name="mine", runtime="openvino")
    floats = describe('base = "efficientnet-lite0-int8"\nprecision = "f32"\n')
    assert (floats.precision, floats.calibration, floats.filter) == (
        "f32",
        None,
        "hamming",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'base = "efficientnet-lite0"\n' + CALIBRATION,
            r"a \[calibration\] and precision = 'f32'; expected 'int8'",
        ),
        (
            'base = "efficientnet-lite0"\nprecision = "bf16"\n',
            r"only OpenVINO computes\. Add runtime = 'openvino'",
        ),
        (
            'base = "pixels"\nprecision = "int8"\n' + CALIBRATION,
            "architecture = 'pixels'; only a network",
        ),
        (
            'base = "efficientnet-lite9"\n',
            "base = 'efficientnet-lite9'; expected one of efficientnet-lite0, ",
        ),
        (INT8 + 'graph = "abc"\n' + CALIBRATION, "unknown key 'graph'"),
    ],
)
def test_contradictory_description_is_refused(describe, text, words):
    with pytest.raises(ModelError, match=rf"'mine' in .*mine\.toml has .*{words}"):
        describe(text)
