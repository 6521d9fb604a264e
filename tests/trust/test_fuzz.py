"""Reading any file gives its content or a LookalikeError, and never runs anything in it."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path

import h5py
import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from safetensors.numpy import save_file

from lookalike.datasets.manifest import SCHEMA, read_manifest
from lookalike.errors import (
    ImageError,
    InputError,
    LookalikeError,
    ModelError,
    SourceError,
    WeightsError,
)
from lookalike.models import registry
from lookalike.models import schema as model_schema
from lookalike.models.graphs import quantization
from lookalike.models.graphs.builder import GraphBuilder
from lookalike.models.tensors import read_tensors
from lookalike.sources import LocalSource
from lookalike.store import schema
from lookalike.store.table import Table
from lookalike.types import Model
from made import make_collection

# Each test runs whole commands or networks; scripts/test --fast leaves them out.
pytestmark = pytest.mark.slow

# Readers in C and C++ get the same damage in every run, so that their results are known.
ALIKE = settings(max_examples=150, deadline=None, derandomize=True)

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "\0",
            "..",
            "../x",
            "a.b",
            "__main__",
            "os.path",
            "\ud800",
            "\x1b[2J",
            "0" * 64,
            "x" * 300,
        ]
    ),
    st.sampled_from([2**70, -(10**12), 1e308, 4096, 65536]),
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
)
keys = st.one_of(st.sampled_from(sorted(model_schema.FIELD_RULES)), st.text(max_size=8))


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """Return the bytes with a few changed, removed or inserted."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "put", "end"])):
            case "change":
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[place : place + draw(st.integers(1, 20))]
            case "put":
                data[place:place] = draw(
                    st.binary(max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8])
                )
            case "end":
                del data[place:]
    return bytes(data)


def put(factory, name: str, data: bytes) -> Path:
    path = factory.getbasetemp() / name
    path.write_bytes(data)
    return path


# Descriptions


def toml(value: object) -> str:
    """Write a value as TOML if TOML can hold it."""
    match value:
        case dict():
            return (
                "{"
                + ", ".join(
                    f"{toml(key)} = {toml(item)}" for key, item in value.items()
                )
                + "}"
            )
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case bool():
            return str(value).lower()
        case int():
            return str(value)
    return json.dumps(value) if isinstance(value, str | float) else "1979-05-27"


ENTRY = {
    "architecture": "pixels", "size": [2, 3], "dim": 18, "mean": [1, 2.5, 3], "std": [1, 1, 1],
    "base": "pixels",
    "options": {"depth": 1.5}, "weights": {"file": "net.pth", "sha256": "ab" * 32},
    "precision": "f32",
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    changes=st.dictionaries(keys, values, min_size=1, max_size=3),
    inner=st.sampled_from([None, "weights"]),
)
def test_any_description_gives_a_model_or_an_error(tmp_path_factory, changes, inner):
    entry = copy.deepcopy(ENTRY)
    (entry if inner is None else entry[inner]).update(changes)
    lines = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in entry.items())
    path = put(tmp_path_factory, "any.toml", lines.encode(errors="surrogatepass"))
    with suppress(ModelError):
        model = registry.resolve(path)
        assert Model.from_json(model.to_json()) == model
        assert model_schema.parse_model(model.to_json()) == model


@settings(max_examples=200, deadline=None)
@given(
    data=damaged(toml(ENTRY)[1:-1].replace(", ", "\n").encode())
    | st.binary(max_size=100)
)
def test_damaged_description_gives_a_model_or_an_error(tmp_path_factory, data):
    with suppress(ModelError):
        registry.resolve(put(tmp_path_factory, "damaged.toml", data))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 4000,
        "a = " + "[{b = " * 1000,
        "a." * 4000 + "a = 1",
        "dim = 0x" + "f" * 8000,
        "dim = 1" + "0" * 5000,
        "base = ['pixels']",
        "options = {a = 1979-05-27}",
        "options = {" + "a." * 1500 + "a = 1}",
        "x = 1\n" * 100_000,
    ],
)
def test_descriptions_that_exhaust_the_parser_are_refused(tmp_path_factory, text):
    path = put(
        tmp_path_factory,
        "tiring.toml",
        f'architecture = "pixels"\nsize = [2, 3]\n{text}\n'.encode(),
    )
    with pytest.raises(ModelError, match=r"tiring(\.toml|' in)") as caught:
        registry.resolve(path)
    assert len(str(caught.value)) < 1000


def test_locating_a_package_imports_nothing(tmp_path, monkeypatch):
    """To locate ``a.b``, Python imports ``a``."""
    (tmp_path / "sly").mkdir()
    (tmp_path / "sly" / "__init__.py").write_text(
        f"import os; os.mkdir({str(tmp_path / 'ran')!r})"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "sly.toml").write_text(
        'base = "efficientnet-lite0"\n[weights]\nfile = "x.pth"\npackage = "sly.inner"\n'
    )
    with pytest.raises(ModelError, match="package and extra are plain names"):
        registry.resolve(tmp_path / "sly.toml")
    assert not (tmp_path / "ran").exists()
    __import__("sly")
    assert (tmp_path / "ran").exists()


# Manipulated models in a collection


@settings(max_examples=200, deadline=None)
@given(
    changes=st.dictionaries(keys, values, min_size=1, max_size=3),
    lost=st.sets(keys, max_size=2),
)
def test_any_model_json_gives_a_model_or_an_error(changes, lost):
    entry = (
        json.loads(registry.catalog()["efficientnet-lite0-int8"].to_json()) | changes
    )
    entry = {key: value for key, value in entry.items() if key not in lost}
    with suppress(ModelError):
        model = model_schema.parse_model(json.dumps(entry))
        assert model_schema.parse_model(model.to_json()) == model


@settings(max_examples=100, deadline=None)
@given(
    data=damaged(registry.catalog()["efficientnet-lite0"].to_json().encode())
    | st.binary(max_size=50)
)
def test_damaged_model_json_gives_a_model_or_an_error(data):
    fields = pa.schema(
        [
            pa.field(
                "efficientnet-lite0",
                pa.list_(pa.float16(), 1280),
                metadata={schema._MODEL_KEY: data},
            )
        ]
    )
    with suppress(ModelError):
        schema.models_of(fields)


# Lists and manifests


# Lines that name nothing large: a list could name a whole disk.
lines = st.binary(max_size=20).filter(
    lambda line: not set(line) & set(b"/.~@")
) | st.sampled_from(
    [
        b"/dev/zero",
        b"/proc/kmsg",
        b"/dev/tty",
        b"~nobody-of-that-name/x",
        b"@list.txt",
        b"x" * 5000,
        "\ufeff".encode(),
    ]
)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(lines, max_size=6))
def test_any_path_list_is_read_or_refused(tmp_path_factory, lines):
    """The named files are read as well; endless ones must be refused."""
    path = put(tmp_path_factory, "list.txt", b"\n".join(lines))
    with suppress(SourceError):
        for item in LocalSource([f"@{path}"]):
            with suppress(OSError, LookalikeError):
                assert item.read() == b""


def test_too_large_file_is_one_failed_item(tmp_path):
    with (tmp_path / "vast.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (item,) = LocalSource([tmp_path])
    with pytest.raises(ImageError, match="more than any image"):
        item.read()


MANIFEST = b'uri,label,split\n/a/1.jpg,cat,train\n"/a/2, b.jpg",dog,test\n'


@settings(max_examples=150, deadline=None)
@given(data=damaged(MANIFEST) | st.binary(max_size=60))
def test_any_csv_is_a_manifest_or_refused(tmp_path_factory, data):
    with suppress(InputError):
        assert read_manifest(put(tmp_path_factory, "m.csv", data)).schema == SCHEMA


def parquet(compression: str) -> bytes:
    sink = pa.BufferOutputStream()
    columns = [["/a/1.jpg", "/a/2.jpg"], ["cat", "dog"], ["train", "test"]]
    pq.write_table(pa.table(columns, schema=SCHEMA), sink, compression=compression)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("compression", ["none", "zstd"])
@ALIKE
@given(data=st.data())
def test_any_parquet_is_a_manifest_or_refused(tmp_path_factory, compression, data):
    path = put(tmp_path_factory, "m.parquet", data.draw(damaged(parquet(compression))))
    with suppress(InputError):
        assert read_manifest(path).schema == SCHEMA


# Weights


def weights_file(folder: Path, suffix: str) -> bytes:
    path = folder / f"whole{suffix}"
    numbers = {
        "conv2d/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "norm/mean": np.ones(2),
    }
    if suffix == ".safetensors":
        save_file(numbers, path)
    else:
        with h5py.File(path, "w") as file:
            for name, array in numbers.items():
                file[name] = array
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
@ALIKE
@given(data=st.data())
def test_damaged_weights_file_is_read_or_refused(tmp_path_factory, suffix, data):
    whole = weights_file(tmp_path_factory.getbasetemp(), suffix)
    with suppress(WeightsError):
        read_tensors(
            put(tmp_path_factory, f"damaged{suffix}", data.draw(damaged(whole)))
        )


shapes = st.lists(
    st.integers(-1, 5) | st.sampled_from([2**31, 2**63, 2**64, 2**70]), max_size=4
)


@settings(max_examples=200, deadline=None)
@given(
    shape=shapes,
    dtype=st.sampled_from(["F32", "F64", "BF16", "F8_E4M3", "I64", "BOOL", "U8", "x"]),
    places=st.tuples(
        st.integers(-1, 200), st.integers(-1, 200) | st.sampled_from([2**63, 2**64])
    ),
    length=st.none() | st.sampled_from([0, 1, 2**31, 2**62, 2**64 - 1]),
)
def test_any_safetensors_header_is_read_or_refused(
    tmp_path_factory, shape, dtype, places, length
):
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": places}, "b": {
        "dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()  # fmt: skip
    said = len(header) if length is None else length
    path = put(
        tmp_path_factory,
        "any.safetensors",
        said.to_bytes(8, "little") + header + bytes(100),
    )
    with pytest.raises(WeightsError, match=r"any\.safetensors"):
        read_tensors(path)


# Calibrations of 8-bit networks


def tiny() -> GraphBuilder:
    model = Model("m", "m", "none", (6, 6), 2, mean=(127.0,) * 3, std=(128.0,) * 3)
    ones = np.ones(2, np.float32)
    norm = {
        f"n.{part}": ones for part in ("weight", "bias", "running_mean", "running_var")
    }
    return GraphBuilder(
        model, {"c.weight": np.ones((2, 3, 3, 3), np.float32), **norm}, epsilon=1e-3
    )


numbers = st.floats(-10, 10) | st.sampled_from(
    [
        0.0,
        1.0,
        8.7e40,
        1e-60,
        1e19,
        1e-19,
        np.nan,
        np.inf,
        -1e308,
        1e308,
        3e38,
        -3e38,
        1e-320,
    ]
)


@st.composite
def measurements(draw) -> dict[str, np.ndarray]:
    """Generate statistics for the tensors of the network above, mostly in the right shape."""
    found = {}
    for name in TINY_NAMES:
        count = 2 if name.endswith("range") or draw(st.booleans()) else 3
        kind = draw(st.sampled_from(["f4", "f8", "f8", "i8", "?"]))
        with np.errstate(all="ignore"):
            found[name] = np.array(
                draw(st.lists(numbers, min_size=count, max_size=count))
            ).astype(kind)
    return {name: found[name] for name in found if draw(st.integers(0, 9))}


TINY = tiny()
TINY_PROTO = TINY.build(TINY.relu6(TINY.convolution(TINY.images(), "c", "n")))
TINY_NAMES = [
    f"{name}.{what}"
    for name in quantization.activation_names(TINY_PROTO)
    for what in ("range", "mean")
]


@settings(max_examples=300, deadline=None)
@given(measured=measurements())
def test_any_calibration_gives_a_finite_graph_or_is_refused(measured):
    with suppress(WeightsError):
        graph = quantization.quantize(copy.deepcopy(TINY_PROTO), measured).graph
        assert all(
            np.isfinite(numpy_helper.to_array(each)).all() for each in graph.initializer
        )


# Whole collections


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "lacks a field"),
        (b'{"name": "numbers"}', "lacks a field"),
        ({"sly": 1}, "an unknown one"),
        ({"dim": 7}, "the column 'numbers' does not hold"),
        ({"name": "other"}, "the column 'numbers' does not hold"),
        ({"size": [10**9, 10**9]}, "has size"),
        ({"std": [0, 0, 0]}, "has std"),
        ({"options": [1]}, "has options"),
        ({"weights": {"file": "x", "sha256": "../../../x"}}, "has weights"),
        ({"weights": {"file": "x", "package": "os.path"}}, "has weights"),
        ({"weights": 3}, "has weights"),
    ],
)
def test_collection_with_a_manipulated_model_is_refused(tmp_path, text, reason):
    vectors = np.eye(16, dtype=np.float32)
    collection = make_collection(tmp_path / "c", vectors)
    if isinstance(text, dict):
        text = json.dumps(
            json.loads(collection.models["numbers"].to_json()) | text
        ).encode()
    table = lance.dataset(tmp_path / "c" / "images.lance")
    fields = [
        field.with_metadata({schema._MODEL_KEY: text})
        if field.name == "numbers"
        else field
        for field in table.schema
    ]
    rows = table.to_table().replace_schema_metadata(table.schema.metadata)
    spoilt = pa.schema(fields, metadata=table.schema.metadata)
    lance.write_dataset(rows.cast(spoilt), tmp_path / "d" / "images.lance")
    with pytest.raises(LookalikeError, match=reason) as caught:
        Table.open(tmp_path / "d")
    assert str(tmp_path / "d") in str(caught.value)
