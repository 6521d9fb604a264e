"""An untrusted graph is refused or fails with an error that names its file and the reason."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import lookalike
from command import lookalike as command
from lookalike.collection import Collection
from lookalike.errors import ModelError, WeightsError
from lookalike.models import embedder, registry
from lookalike.store.table import Table

FLOAT = TensorProto.FLOAT
MEAN = helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0)
PLUS_B = [MEAN, helper.make_node("Add", ["mean", "b"], ["y"])]
SAME = [MEAN, helper.make_node("Identity", ["mean"], ["y"])]
IMAGES = np.zeros((2, 8, 6, 3), np.uint8)
Dims = Sequence[int | str]


def save(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    numbers: Sequence[TensorProto] = (),
    *,
    takes: Dims = ("n", 3, 8, 6),
    gives: onnx.ValueInfoProto | Dims = ("n", 3),
    domains: Sequence[str] = (),
) -> Path:
    """Write ``net.onnx`` without the checks of onnx."""
    output = (
        gives
        if isinstance(gives, onnx.ValueInfoProto)
        else helper.make_tensor_value_info("y", FLOAT, gives)
    )
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, takes)],
        [output],
        numbers,
    )
    sets = [
        helper.make_opsetid("", 17),
        *(helper.make_opsetid(domain, 1) for domain in domains),
    ]
    folder.mkdir(exist_ok=True)
    proto = helper.make_model(graph, opset_imports=sets, ir_version=8)
    (folder / "net.onnx").write_bytes(proto.SerializeToString())
    return folder / "net.onnx"


def outside(
    location: str, *, dims: Sequence[int] = (3,), **where: object
) -> TensorProto:
    """Return the tensor ``b`` with its data in another file."""
    tensor = TensorProto(
        name="b", data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, **where}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def run(path: Path) -> np.ndarray:
    return embedder.load(registry.resolve(path), threads=1).embed(IMAGES)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(ModelError, match=f"(?s){reason}") as caught:
        run(path)
    assert str(path) in str(caught.value)


# External data


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a model's folder with three numbers in a file, and three others outside it."""
    (tmp_path / "model" / "sub").mkdir(parents=True)
    for place in ("model/data.bin", "model/sub/data.bin", "secret.bin"):
        (tmp_path / place).write_bytes(np.arange(1, 4, dtype=np.float32).tobytes())
    return tmp_path / "model"


@pytest.mark.parametrize("location", ["data.bin", "sub/data.bin", "./sub/../data.bin"])
def test_data_beside_the_graph_is_read(folder, location):
    vectors = run(save(folder, PLUS_B, [outside(location, offset=0, length=12)]))
    base = run(
        save(
            folder,
            PLUS_B,
            [numpy_helper.from_array(np.arange(1, 4, dtype=np.float32), "b")],
        )
    )
    np.testing.assert_array_equal(vectors, base)


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "sub/../../secret.bin", "{}/secret.bin", "link.bin", "/dev/zero"],
)
@pytest.mark.parametrize("part", ["initializer", "attribute", "branch"])
def test_data_outside_the_models_folder_is_refused(folder, location, part):
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    tensor = outside(location.format(folder.parent), offset=0, length=12)
    constant = helper.make_node("Constant", [], ["b"], value=tensor)
    inner = helper.make_graph(
        [constant], "inner", [], [helper.make_tensor_value_info("b", FLOAT, [3])]
    )
    true = numpy_helper.from_array(np.array(True), "true")
    nodes, numbers = {
        "initializer": (PLUS_B, [tensor]),
        "attribute": ([constant, *PLUS_B], []),
        "branch": (
            [
                helper.make_node(
                    "If", ["true"], ["b"], then_branch=inner, else_branch=inner
                ),
                *PLUS_B,
            ],
            [true],
        ),
    }[part]
    refused(
        save(folder, nodes, numbers),
        "is refused: it takes numbers from .*outside of its folder",
    )


def test_link_to_the_models_folder_is_inside(folder, tmp_path):
    (tmp_path / "same").symlink_to(folder)
    save(folder, PLUS_B, [outside("data.bin")])
    assert run(tmp_path / "same" / "net.onnx").shape == (2, 3)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (outside("none.bin"), "does not exist"),
        (outside(""), "does not exist"),
        (outside("sub"), "does not exist"),
        (outside("data.bin", offset=-4), "not in it"),
        (outside("data.bin", offset=4, length=12), "not in it"),
        (outside("data.bin", length=10**30), "not in it"),
        (outside("data.bin", offset="x"), "not in it"),
        (outside("data.bin", dims=(2**40,)), "cannot be loaded"),
        (outside("*/_ORT_MEM_ADDR_/*", offset=4096, length=12), "does not exist"),
    ],
)
def test_missing_data_is_refused(folder, tensor, reason):
    refused(save(folder, PLUS_B, [tensor]), reason)


def test_other_data_beside_the_same_graph_is_another_model(folder, sample, tmp_path):
    """The graph's own file and hash stay the same."""
    path = save(folder, PLUS_B, [outside("data.bin")])
    lookalike.index(sample / "teapot", tmp_path / "c", models=[path])
    (query,) = list((sample / "teapot").glob("*_0001.jpg"))
    assert len(lookalike.search(tmp_path / "c", query)) > 1
    (folder / "data.bin").write_bytes(np.array([9, -9, 9], np.float32).tobytes())
    shutil.copy(query, tmp_path / "new.jpg")
    with pytest.raises(
        ModelError,
        match=r"has other external data than the graph that filled the Space",
    ):
        Collection(Table.open(tmp_path / "c")).search(np.full((9, 9, 3), 7, np.uint8))


# Other files than graphs


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no protobuf",
        b"\x08\x07",
        b"location",
        b"PK\x03\x04" + bytes(100),
        b"\xff" * 1000,
    ],
)
def test_file_without_a_graph_is_refused(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    refused(tmp_path / "net.onnx", "cannot be loaded: .*Give a valid .onnx file")


def test_other_runtime_formats_are_not_opened(tmp_path):
    path = save(tmp_path, SAME).rename(tmp_path / "net.ort")
    (tmp_path / "net.toml").write_text(
        'architecture = "onnx"\nsize = [8, 6]\ndim = 3\n[weights]\nfile = "net.ort"',
        "utf-8",
    )
    with pytest.raises(ModelError, match=rf"{path} does not end in \.onnx"):
        run(tmp_path / "net.toml")


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            [
                helper.make_node("Add", ["x", "b"], ["a"]),
                helper.make_node("Neg", ["a"], ["b"]),
                *SAME,
            ],
            "acyclic",
        ),
        ([helper.make_node("Sly", ["x"], ["y"], domain="com.sly")], "not a registered"),
        ([helper.make_node("Sly", ["x"], ["y"])], "No Op registered"),
        ([*SAME, helper.make_node("Abs", ["mean"], ["y"])], "Duplicate"),
        ([helper.make_node("Add", ["x", "none"], ["y"])], "none"),
        ([], "y"),
    ],
)
def test_invalid_graph_is_refused(tmp_path, nodes, reason):
    refused(save(tmp_path, nodes, domains=["com.sly"]), f"cannot be loaded: .*{reason}")


# False shapes and outputs


def claimed(dims: Sequence[int], data: bytes = b"1234") -> TensorProto:
    return TensorProto(name="b", data_type=FLOAT, dims=dims, raw_data=data)


@pytest.mark.parametrize("dims", [(2**40,), (2**62, 4), (-3,), (2**31, 2**31, 4)])
def test_tensor_larger_than_its_data_is_refused(tmp_path, dims):
    refused(save(tmp_path, PLUS_B, [claimed(dims)]), "cannot be loaded")


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"takes": ("n", 3, 100_000, 100_000)}, "size = .*1 to 4096"),
        ({"takes": ("n", 3, 0, 0)}, "size = .*1 to 4096"),
        (
            {"takes": (10**7, 3, 8, 6), "gives": (10**7, 3)},
            "takes 10000000 images at once; expected 1 to 1,024",
        ),
        ({"takes": (0, 3, 8, 6), "gives": (0, 3)}, "takes 0 images at once"),
    ],
)
def test_unbounded_input_is_refused(tmp_path, shapes, reason):
    refused(save(tmp_path, SAME, **shapes), reason)


def test_unbounded_vector_is_refused(tmp_path):
    shape = helper.make_node("Shape", ["mean"], ["shape"])
    path = save(
        tmp_path,
        [MEAN, shape, helper.make_node("Reshape", ["mean", "shape"], ["y"])],
        gives=("n", 2**40),
    )
    refused(
        path,
        "dim = 1099511627776; expected a whole number from 1 to 65536|cannot be loaded",
    )


def test_too_much_memory_fails_cleanly(tmp_path):
    shape = numpy_helper.from_array(np.array([2**45], np.int64), "shape")
    big = helper.make_node("ConstantOfShape", ["shape"], ["big"])
    nodes = [
        MEAN,
        big,
        helper.make_node("ReduceSum", ["big"], ["b"], keepdims=0),
        PLUS_B[1],
    ]
    refused(save(tmp_path, nodes, [shape]), "failed: |cannot be loaded: ")


def cast(kind: int) -> tuple[list[onnx.NodeProto], onnx.ValueInfoProto]:
    return [
        MEAN,
        helper.make_node("Cast", ["mean"], ["y"], to=kind),
    ], helper.make_tensor_value_info("y", kind, ["n", 3])


def test_text_output_is_refused(tmp_path):
    nodes, gives = cast(TensorProto.STRING)
    refused(save(tmp_path, nodes, gives=gives), "values, not numbers")


@pytest.mark.parametrize(
    "kind", [TensorProto.INT64, TensorProto.DOUBLE, TensorProto.FLOAT16]
)
def test_other_numeric_outputs_are_accepted(tmp_path, kind):
    nodes, gives = cast(kind)
    assert run(save(tmp_path, nodes, gives=gives)).dtype == np.float32


def test_output_other_than_a_tensor_is_refused(tmp_path):
    nodes = [MEAN, helper.make_node("SequenceConstruct", ["mean"], ["y"])]
    refused(
        save(
            tmp_path,
            nodes,
            gives=helper.make_tensor_sequence_value_info("y", FLOAT, ["n", 3]),
        ),
        "vector length",
    )


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("unit_length", ["true", "false"])
def test_vectors_without_finite_numbers_are_refused(tmp_path, number, unit_length):
    save(
        tmp_path, PLUS_B, [numpy_helper.from_array(np.full(3, number, np.float32), "b")]
    )
    (tmp_path / "net.toml").write_text(
        f'architecture = "onnx"\nsize = [8, 6]\ndim = 3\nunit_length = {unit_length}\n'
        f'[weights]\nfile = "net.onnx"'
    )
    if number == 1e30 and unit_length == "true":
        np.testing.assert_allclose(
            np.linalg.norm(run(tmp_path / "net.toml"), axis=1), 1, rtol=1e-6
        )
        return
    with pytest.raises(
        ModelError, match=r"The model 'net' gave numbers that are not finite or beyond"
    ):
        run(tmp_path / "net.toml")


@pytest.mark.parametrize(
    "name", ["a`b.onnx", "a\nb.onnx", "a\x1b[2Jb.onnx", "a\udcffb.onnx"]
)
def test_name_that_cannot_name_a_space_is_refused(tmp_path, name):
    path = save(tmp_path, SAME).rename(tmp_path / name)
    with pytest.raises(ModelError, match=r"name = .*; expected a text without"):
        run(path)


# The command line, and random damage


def test_command_line_explains_it_in_one_paragraph(folder, sample, tmp_path):
    path = save(folder, PLUS_B, [outside("../secret.bin")])
    done = command("index", sample, "-c", tmp_path / "c", "--model", path, status=2)
    assert "Error: The graph" in done.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_graph_gives_vectors_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    whole = bytearray(
        save(
            folder, PLUS_B, [numpy_helper.from_array(np.ones(3, np.float32), "b")]
        ).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(
            st.integers(0, 255)
        )
    (folder / "net.onnx").write_bytes(whole)
    with suppress(ModelError, WeightsError):
        run(folder / "net.onnx")
