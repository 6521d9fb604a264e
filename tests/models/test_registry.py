"""A user's name, file or description becomes a Model, or an error that says what to write."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lookalike.errors import ModelError, WeightsError
from lookalike.models import weights
from lookalike.models.registry import DEFAULT, catalog, resolve
from lookalike.types import Model

BASE = {"architecture": '"pixels"', "size": "[2, 3]", "dim": "18"}


def toml(entries: dict[str, str], after: str = "") -> str:
    return "".join(f"{key} = {value}\n" for key, value in entries.items()) + after


@pytest.fixture
def describe(tmp_path):
    """Write a description and resolve it."""

    def write(text: str | bytes, name: str = "mine.toml") -> Model:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return resolve(path)

    return write


def onnx_file(path: Path, shape=("n", 3, 8, 6), kind=TensorProto.FLOAT) -> Path:
    """Write a graph from images to the means of their channels."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["p"], axes=[-2, -1]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", kind, ["n", 3])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ),
        path,
    )
    return path


# Names


def test_every_catalog_name_resolves_to_its_model():
    assert {
        "efficientnet-lite0",
        "efficientnet-lite0-int8",
        "efficientnet-lite2",
        "pixels",
    } <= set(catalog())
    for name, model in catalog().items():
        assert resolve(name) is model
        assert model.name == name
        assert Model.from_json(model.to_json()) == model
        assert model.weights is None or re.fullmatch(
            "[0-9a-f]{64}|", model.weights.sha256 or ""
        )


def test_auto_is_the_default_and_a_model_resolves_to_itself():
    assert resolve("auto") == resolve(DEFAULT) == catalog()["efficientnet-lite0-int8"]
    mine = replace(catalog()["pixels"], name="mine")
    assert resolve(mine) is mine


def test_catalog_models_have_different_fingerprints():
    prints = [model.fingerprint for model in catalog().values()]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("efficientnet", "Did you mean efficientnet-lite"), ("Pixels", "Did you mean pixels"),
     ("qqq", "The known models are: ")],
)  # fmt: skip
def test_unknown_name_gives_a_hint(name, hint):
    with pytest.raises(
        ModelError,
        match=rf"no model '{name}'\. {hint}.*\.onnx file or a \.toml description",
    ):
        resolve(name)


@pytest.mark.parametrize("name", ["lost.onnx", "lost.toml", "~/lost.onnx"])
def test_missing_file_is_named(name):
    with pytest.raises(
        ModelError, match=r"no model file .*lost\.(onnx|toml)\. Give a \.onnx file"
    ):
        resolve(name)


# Descriptions


def test_description_is_named_after_its_file(describe):
    model = describe(toml(BASE), "my.pixels.toml")
    assert model == Model(
        name="my-pixels", title="my-pixels", architecture="pixels", size=(2, 3), dim=18
    )


def test_description_can_set_every_key(describe):
    entries = {
        **BASE,
        "name": '"net"',
        "title": '"A net"',
        "architecture": '"onnx"',
        "resize": '"crop"',
        "filter": '"lanczos"',
        "mean": "[1, 2.5, 3]",
        "std": "[4.0, 5.0, -6.0]",
        "layout": '"NHWC"',
        "output": '"features"',
        "pooling": '"first"',
        "unit_length": "false",
        "options": "{depth = 1.5, names = ['a', 'b']}",
    }
    model = describe(
        toml(
            entries,
            '[weights]\nfile = "net.onnx"\nlicense = "MIT"\nsha256 = "'
            + "aa" * 32
            + '"\n',
        )
    )
    assert model == Model(
        "net", "A net", "onnx", (2, 3), 18, "crop", "lanczos", (1, 2.5, 3), (4.0, 5.0, -6.0),
        "NHWC", "features",
        "first", False, {"depth": 1.5, "names": ["a", "b"]}, model.weights,
    )  # fmt: skip
    assert (model.weights.file, model.weights.license, model.weights.sha256) == (
        "net.onnx",
        "MIT",
        "aa" * 32,
    )
    assert Model.from_json(model.to_json()) == model


def test_weights_beside_the_description_are_pinned_to_their_hash(describe, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.pth").write_bytes(b"numbers")
    model = describe(toml(BASE, '[weights]\nfile = "sub/net.pth"\n'))
    assert model.weights.file == str(tmp_path / "sub" / "net.pth")
    assert model.weights.sha256 == hashlib.sha256(b"numbers").hexdigest()
    assert weights.find(model) == tmp_path / "sub" / "net.pth"
    (tmp_path / "sub" / "net.pth").write_bytes(b"other numbers")
    with pytest.raises(WeightsError, match="not the promised file"):
        weights.find(model)
    assert (
        describe(toml(BASE, '[weights]\nfile = "sub/net.pth"\n')).fingerprint
        != model.fingerprint
    )


def test_given_hash_is_kept(describe, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"numbers")
    model = describe(
        toml(BASE, f'[weights]\nfile = "net.pth"\nsha256 = "{"abcd" * 16}"\n')
    )
    assert model.weights.sha256 == "abcd" * 16
    with pytest.raises(WeightsError, match="expected abcd"):
        weights.find(model)


@pytest.mark.parametrize(
    "text", ["= 3", "size = [1, 2", b"\xff", "name = 'a'\nname = 'b'\n"]
)
def test_invalid_toml_is_refused(describe, text):
    with pytest.raises(ModelError, match=r"mine\.toml is not valid TOML"):
        describe(text)


def test_unknown_key_gives_a_hint(describe):
    with pytest.raises(
        ModelError,
        match=r"mine\.toml has the unknown key 'poling'\. Did you mean 'pooling'\?",
    ):
        describe(toml({**BASE, "poling": '"mean"'}))
    with pytest.raises(
        ModelError,
        match=r"unknown key 'qq'\. The keys are architecture, base, batch, calibration, crop_side",
    ):
        describe(toml({**BASE, "qq": "1"}))


@pytest.mark.parametrize("key", BASE)
def test_missing_key_is_named(describe, key):
    with pytest.raises(ModelError, match=rf"mine\.toml lacks the key '{key}'"):
        describe(toml({name: value for name, value in BASE.items() if name != key}))


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("name", ['""', "3", '"a.b"', '"../a"', '"a`b"'], "a text without full stops"),
        ("title", ["3", "[]"], "a text"),
        ("architecture", ["3"], "a text"),
        ("output", ["0"], "a text"),
        ("size", ["3", "[3]", "[0, 3]", "[3, 5000]", "[1.5, 2]", "[true, true]", '"3x3"'],
         r"\[height, width\]"),
        ("dim", ["0", "-1", "1.5", "true", "65537", '"18"'], "a whole number from 1 to 65536"),
        ("mean", ["127", "[1, 2]", "[1, 2, 3, 4]", '["a", 1, 1]', "[nan, 1, 1]", "[1e400, 1, 1]"],
         "three numbers"),
        ("std", ["[1, 0, 1]", "[inf, 1, 1]", "[true, 1, 1]", f"[1{'0' * 400}, 1, 1]"],
         "three numbers other than 0"),
        ("unit_length", ["1", '"yes"'], "true or false"),
        ("options", ["3", "[]"], "a table"),
        ("resize", ['"stretch"', "3", "[]"], "one of squash, crop"),
        ("filter", ['"cubic"'], "one of nearest, bilinear, hamming, bicubic, lanczos"),
        ("layout", ['"nchw"'], "one of NCHW, NHWC"),
        ("pooling", ['"max"'], "one of none, mean, first"),
        ("precision", ['"int4"', "8"], "one of f32, bf16, int8"),
        ("runtime", ['"torch"', "[]"], "one of onnxruntime, openvino"),
        ("base", ['"lite"', "3", "[]"], "one of efficientnet-lite0, "),
        ("calibration", ["3", "{}"], "a table of texts with"),
        ("weights", ["3", "{}", '{sha256 = "a"}', '{file = "a", sha = "b"}', "{file = 3}"],
         "a table of texts with"),
    ],
)  # fmt: skip
def test_invalid_value_is_refused_with_the_expected_one(
    describe, key, values, expected
):
    for value in values:
        with pytest.raises(
            ModelError, match=rf"mine\.toml has {key} = .*; expected .*{expected}"
        ):
            describe(toml({**BASE, key: value}))


# ONNX files


@pytest.mark.parametrize(
    ("shape", "layout"),
    [(("n", 3, 8, 6), "NCHW"), ((1, 3, 8, 6), "NCHW"), (("n", 8, 6, 3), "NHWC")],
)
def test_onnx_file_describes_itself(tmp_path, shape, layout):
    path = onnx_file(tmp_path / "my.net.onnx", shape)
    if layout == "NHWC":
        turn_first(path)
    model = resolve(str(path))
    assert (model.name, model.architecture, model.size, model.dim) == (
        "my-net",
        "onnx",
        (8, 6),
        3,
    )
    assert (model.layout, model.output, model.pooling) == (layout, "y", "none")
    assert model.weights.file == str(path)
    assert model.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_allclose(model.mean, np.array([0.485, 0.456, 0.406]) * 255)
    np.testing.assert_allclose(model.std, np.array([0.229, 0.224, 0.225]) * 255)


def turn_first(path: Path) -> None:
    """Change the graph to take its images with the channels last."""
    proto = onnx.load(path)
    proto.graph.node.insert(
        0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2])
    )
    proto.graph.node[1].input[0] = "t"
    onnx.save(proto, path)


@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        (
            ("n", 3, "h", "w"),
            TensorProto.FLOAT,
            r"leaves open its image size .*keys size, layout",
        ),
        (("n", 1, 28, 28), TensorProto.FLOAT, "takes 1 channels"),
        (
            (3, 8, 6),
            TensorProto.FLOAT,
            r"expected one float tensor \[n, 3, height, width\]",
        ),
        (("n", 3, 8, 6), TensorProto.DOUBLE, r"expected one float tensor .*toml"),
    ],
)
def test_graph_that_takes_no_images_is_refused(tmp_path, shape, kind, reason):
    with pytest.raises(ModelError, match=rf"net\.onnx .*{reason}"):
        resolve(onnx_file(tmp_path / "net.onnx", shape, kind))


def test_graph_with_two_inputs_is_refused(tmp_path):
    path = onnx_file(tmp_path / "net.onnx")
    proto = onnx.load(path)
    proto.graph.input.append(
        helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 3])
    )
    proto.graph.node.append(helper.make_node("Add", ["y", "mask"], ["z"]))
    proto.graph.output[0].name = "z"
    onnx.save(proto, path)
    with pytest.raises(
        ModelError, match=r"takes x .*, mask .*; expected one float tensor"
    ):
        resolve(path)


def test_graph_without_input_is_refused(tmp_path):
    value = numpy_helper.from_array(np.zeros((1, 3), np.float32))
    node = helper.make_node("Constant", [], ["y"], value=value)
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]
    proto = helper.make_model(
        helper.make_graph([node], "g", [], outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="expected one float tensor"):
        resolve(tmp_path / "net.onnx")


def test_broken_graph_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"not a graph")
    with pytest.raises(
        ModelError, match=r"net\.onnx cannot be loaded.*Give a valid \.onnx file"
    ):
        resolve(tmp_path / "net.onnx")
