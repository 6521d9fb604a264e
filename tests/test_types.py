"""Models round-trip through JSON and have fingerprints; Matches convert to tables."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.types import Item, LearnedMap, Match, Matches, Model, TextTower, Weights

MODEL = Model(
    name="net",
    title="A net",
    architecture="onnx",
    size=(4, 5),
    dim=6,
    options={"depth": 1.0},
    weights=Weights("net.onnx", sha256="a" * 64),
)

numbers = st.floats(-1e6, 1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)
optional = st.none() | st.text()
files = st.none() | st.builds(
    Weights, st.text(), **{f.name: optional for f in fields(Weights)[1:]}
)
models = st.builds(
    Model,
    name=st.text(),
    title=st.text(),
    architecture=st.text(),
    size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    dim=st.integers(1, 65536),
    resize=st.sampled_from(["squash", "crop"]),
    filter=st.sampled_from(["nearest", "bilinear", "hamming", "bicubic", "lanczos"]),
    mean=st.tuples(numbers, numbers, numbers),
    std=st.tuples(numbers, numbers, numbers),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    output=st.text(),
    pooling=st.sampled_from(["none", "mean", "first"]),
    unit_length=st.booleans(),
    options=st.dictionaries(st.text(), json_values, max_size=3),
    weights=files,
    precision=st.sampled_from(["f32", "bf16", "int8"]),
    calibration=files,
    runtime=st.sampled_from(["onnxruntime", "openvino"]),
    graph=optional,
)


@pytest.mark.slow
@given(models)
def test_a_model_round_trips_through_json(model):
    back = Model.from_json(model.to_json())
    assert back == model
    assert back.fingerprint == model.fingerprint
    assert back.to_json() == model.to_json()


def test_a_models_json_is_plain_data():
    assert json.loads(MODEL.to_json())["weights"]["sha256"] == "a" * 64
    assert MODEL.to_json() == replace(MODEL, options=dict(MODEL.options)).to_json()


CHANGES = {
    "learned": LearnedMap("base", 1, True, "anything", "center", "axes"),
    "name": "other",
    "architecture": "pixels",
    "size": (5, 4),
    "dim": 7,
    "resize": "crop",
    "filter": "nearest",
    "mean": (0.0, 0.0, 1.0),
    "std": (1.0, 2.0, 1.0),
    "layout": "NHWC",
    "output": "features",
    "pooling": "first",
    "unit_length": False,
    "options": {"depth": 1.1},
    "weights": Weights("net.onnx", sha256="b" * 64),
    "precision": "int8",
    "calibration": Weights("net.safetensors", sha256="d" * 64),
    "runtime": "openvino",
    "crop_side": 8,
    "image_input": "pixels",
    "batch": 1,
    "data": Weights("net.data", sha256="e" * 64),
    "text": TextTower(Weights("text.onnx"), Weights("tokenizer.json"), 77),
}


def test_the_fingerprint_changes_with_every_field_that_decides_the_vectors():
    assert set(CHANGES) == {f.name for f in fields(Model)} - {"title", "graph"}
    changed = [
        replace(MODEL, **{name: value}).fingerprint for name, value in CHANGES.items()
    ]
    changed.append(replace(MODEL, weights=None).fingerprint)
    changed.append(
        replace(MODEL, weights=Weights("net.onnx", md5="c" * 32)).fingerprint
    )
    assert len({MODEL.fingerprint, *changed}) == len(changed) + 1


def test_a_description_of_an_older_version_is_read():
    old = json.loads(MODEL.to_json())
    for name in ("precision", "calibration", "runtime", "graph"):
        del old[name]
    assert Model.from_json(json.dumps(old)) == MODEL


def test_the_fingerprint_is_stable():
    """It identifies cached graphs and whole collections: a new formula is a new format."""
    assert MODEL.fingerprint == "7643c6917b10"


@pytest.mark.parametrize(
    "other",
    [
        replace(MODEL, title="Another title"),
        replace(MODEL, graph="e" * 64),
        replace(MODEL, weights=replace(MODEL.weights, file="elsewhere/net.onnx")),
        replace(
            MODEL,
            weights=replace(
                MODEL.weights, package="p", extra="e", license="MIT", hub="a/b", url="u"
            ),
        ),
    ],
)
def test_the_fingerprint_ignores_other_fields(other):
    assert other.fingerprint == MODEL.fingerprint


def test_items_compare_without_their_read_function():
    one, two = (Item("a.jpg", 1, 2, None, read) for read in (bytes, str.encode))
    assert one == two
    assert "read" not in repr(one)


@pytest.fixture
def matches() -> Matches:
    ids, distances = np.array([7, 3, 5], np.int64), np.array([0.0, 0.25, 1.5])
    return Matches(
        ids,
        ["a.jpg", "b.jpg", "c.jpg"],
        ["cat", None, "dog"],
        distances,
        "net",
        exact=False,
        recall=0.99,
    )


EMPTY = Matches(np.empty(0, np.int64), [], [], np.empty(0), "net")


def test_matches_are_rows_from_rank_one(matches):
    assert len(matches) == 3
    assert list(matches)[1] == Match(
        rank=2, id=3, uri="b.jpg", label=None, distance=0.25
    )
    assert [match.rank for match in matches] == [1, 2, 3]
    assert list(EMPTY) == []


def test_matches_as_plain_data(matches):
    data = json.loads(json.dumps(matches.to_dict()))
    first = {"rank": 1, "id": 7, "uri": "a.jpg", "label": "cat", "distance": 0.0}
    assert {**data, "matches": data["matches"][0]} == {
        "space": "net",
        "metric": "euclidean",
        "exact": False,
        "recall": 0.99,
        "matches": first,
    }
    assert EMPTY.to_dict() == {
        "space": "net",
        "metric": "euclidean",
        "exact": True,
        "recall": None,
        "matches": [],
    }


def test_matches_as_tables_keep_their_types_even_without_rows(matches):
    for answer in (matches, EMPTY):
        table = answer.to_arrow()
        assert table.num_rows == len(answer)
        assert {
            name: str(table.schema.field(name).type) for name in table.column_names
        } == {
            "rank": "int64",
            "id": "int64",
            "uri": "string",
            "label": "string",
            "distance": "double",
        }
    frame = matches.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame["uri"].tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert frame["distance"].tolist() == [0.0, 0.25, 1.5]
    assert frame["label"].isna().tolist() == [False, True, False]
