from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from lookalike.errors import WeightsError
from lookalike.models.tensors import read_tensors

NAMED = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.half": np.array([0.5, -2], dtype=np.float16),
    "a.count": np.array(7, dtype=np.int64),
}


@pytest.fixture
def file(tmp_path) -> Path:
    save_file(NAMED, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_safetensors_are_recognized_by_content(file):
    assert_same(read_tensors(file), NAMED)
    assert_same(read_tensors(file.rename(file.with_name("weights"))), NAMED)


def test_truncated_safetensors_file_is_refused(file):
    whole = file.read_bytes()
    for length in (0, 4, 8, 20, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(
            WeightsError,
            match=r"model\.safetensors cannot be read as a safetensors file",
        ):
            read_tensors(file)


def test_false_safetensors_header_is_refused(file):
    whole = file.read_bytes()
    for lie in (
        whole.replace(b"[2,3,4]", b"[2,3,9]"),
        whole.replace(b'"F32"', b'"X32"'),
        b"\xff" * 7 + whole[7:],
    ):
        assert lie != whole
        file.write_bytes(lie)
        with pytest.raises(WeightsError, match="safetensors"):
            read_tensors(file)


# The spellings of one kernel and one norm by Keras: the layer's name, then the part's.
SPELLINGS = {
    "Keras 3, a whole model": (
        "model_weights/conv2d_1/conv2d_1/kernel",
        "model_weights/batch_normalization/batch_normalization/moving_mean",
    ),
    "Keras 2": (
        "conv2d_1/conv2d_1/kernel:0",
        "batch_normalization/batch_normalization/moving_mean:0",
    ),
    "Keras 2, flat": ("conv2d_1/kernel:0", "batch_normalization/moving_mean:0"),
    "converted from Keras 1": (
        "conv2d_1/conv2d_1_W_1:0",
        "batch_normalization/batch_normalization_moving_mean_1:0",
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["weights.h5", "weights"])
def test_all_spellings_of_keras_names_are_read(spelling, name, tmp_path):
    kernel, mean = NAMED["a.weight"], NAMED["a.half"]
    with h5py.File(tmp_path / name, "w") as h5:
        h5[SPELLINGS[spelling][0]], h5[SPELLINGS[spelling][1]] = kernel, mean
        h5.create_group("input_1")  # a layer without weights
    assert_same(
        read_tensors(tmp_path / name),
        {"conv2d_1/kernel": kernel, "batch_normalization/moving_mean": mean},
    )


def test_damaged_keras_file_is_refused(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as h5:
        h5["conv2d_1/kernel:0"] = np.zeros((100, 100))
    whole = path.read_bytes()
    for body in (b"", whole[:50], whole[: len(whole) // 2], b"no such file" * 100):
        path.write_bytes(body)
        with pytest.raises(WeightsError, match="cannot be read as a Keras file"):
            read_tensors(path)


def test_missing_h5py_says_what_to_install(tmp_path, monkeypatch):
    h5py.File(tmp_path / "weights.h5", "w").close()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"pip install 'lookalike\[keras\]'"):
        read_tensors(tmp_path / "weights.h5")


def test_unreadable_file_is_named(file):
    with pytest.raises(WeightsError, match=r"absent\.safetensors cannot be read"):
        read_tensors(file.with_name("absent.safetensors"))
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tensors(file.parent)


def test_safetensors_file_named_as_a_pickle_is_not_unpickled(file):
    assert_same(
        read_tensors(Path(shutil.copy(file, file.with_name("model.pth")))), NAMED
    )
