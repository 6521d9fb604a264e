"""A Space keeps the hash of the graph that filled it, and no other graph can search or fill it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lookalike
from lookalike.collection import Collection
from lookalike.errors import ModelError
from lookalike.indexing.run import index
from lookalike.models import embedder
from lookalike.models.registry import resolve
from lookalike.store.table import Table
from lookalike.types import Model

NAME = "efficientnet-lite0-int8"


# The bytes of the default graph, on which every existing collection depends. If a release of onnx
# serializes graphs differently, these collections must keep working: increase its upper bound in
# pyproject.toml or write the graph in the old form.
GRAPH_SHA256 = "bec45fcfa55caf58e2056135a7e25a9d52b6951b22f87d61eb38e9239dc2aced"


@pytest.fixture(scope="module")
def built_cache(tmp_path_factory) -> Path:
    """A cache folder with the default graph, built once."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        embedder.load(resolve(NAME))
    return folder


@pytest.fixture
def cache(built_cache, tmp_path, monkeypatch) -> Path:
    """A copy of the cache folder with the default graph, in use."""
    shutil.copytree(built_cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lookalike" / "graphs"


@pytest.fixture
def few(sample, tmp_path) -> Path:
    shutil.copytree(sample / "car", tmp_path / "in")
    return tmp_path / "in"


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def test_default_graph_has_always_the_same_bytes(cache):
    assert embedder.load(resolve(NAME)).model.graph == GRAPH_SHA256


def test_collection_stores_the_graph_hash(cache, few, tmp_path):
    lookalike.index(few, tmp_path / "c", models=[NAME, "pixels"])
    models = Table.open(tmp_path / "c").models
    assert models[NAME].graph == embedder.load(resolve(NAME)).model.graph
    assert models["pixels"].graph is None
    assert resolve(NAME).graph is None
    lookalike.index(few, tmp_path / "c", models=["efficientnet-lite0"])
    assert Table.open(tmp_path / "c").models["efficientnet-lite0"].graph not in {
        None,
        models[NAME].graph,
    }


def test_onnx_file_is_identified_by_its_own_hash(cache, tmp_path):
    embedder.load(resolve(NAME))
    file = tmp_path / "net.onnx"
    shutil.copy(next(cache.glob("*.onnx")), file)
    model = Model(
        "net",
        "net",
        "onnx",
        (224, 224),
        1280,
        weights=replace(resolve(NAME).weights, file=str(file), sha256=None),
    )
    assert embedder.load(model).model.graph == embedder.load(resolve(NAME)).model.graph


def collection_of_another(path: Path, graph: str | None, images: Path) -> Table:
    """Create a collection whose Space names another graph."""
    table = Table.create(path, [replace(resolve(NAME), graph=graph)])
    file = next(images.iterdir())
    row = {
        "uri": [str(file)],
        "sha256": [b"\1" * 32],
        "label": ["car"],
        "thumbnail": [b""],
        "spaces": [[NAME]],
    }
    table.upsert(
        {**row, NAME: np.full((1, 1280), 1280**-0.5, np.float32)}, replace=True
    )
    return table


@pytest.mark.slow
def test_other_graph_can_neither_search_nor_fill_a_space(cache, few, tmp_path):
    table = collection_of_another(tmp_path / "c", "0123456789ab" + "c" * 52, few)
    here = embedder.load(resolve(NAME)).model.graph[:12]
    words = (
        rf"'{NAME}' is {here} here, but 0123456789ab filled its Space, "
        r".*index into a new collection"
    )
    with pytest.raises(ModelError, match=words):
        Collection(table).search(next(few.iterdir()))
    with pytest.raises(ModelError, match=words):
        index(few, table)
    assert table.count() == 1


def test_collection_without_a_graph_hash_still_works(cache, few, tmp_path):
    table = collection_of_another(tmp_path / "c", None, few)
    assert len(Collection(table).search(next(few.iterdir()))) == 1
    assert index(few, table, models=[NAME]).failed == 0
    found = Collection(table).search(next(few.iterdir()))
    assert len(found) == 5
    assert found.distances[0] == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:-2000] + b"\1" * 2000],
)
def test_damaged_cached_graph_is_rebuilt(cache, noise, damage, known):
    first = embedder.load(resolve(NAME))
    (file,) = cache.glob("*.onnx")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    again = embedder.load(
        replace(resolve(NAME), graph=first.model.graph if known else None)
    )
    assert again.model.graph == first.model.graph
    np.testing.assert_array_equal(again.embed(noise), first.embed(noise))
    assert [path.read_bytes() for path in cache.iterdir()] == [whole]


def test_foreign_cached_graph_is_ignored(cache, noise):
    """Another release of onnx may serialize the same graph differently."""
    import hashlib

    first = embedder.load(resolve(NAME))
    (file,) = cache.glob("*.onnx")
    other = embedder.load(
        replace(resolve(NAME), filter="lanczos", std=(100.0, 100.0, 100.0))
    )
    foreign = next(path for path in cache.glob("*.onnx") if path != file).read_bytes()
    key = file.stem.rpartition("-")[0]
    (cache / f"{key}-{hashlib.sha256(foreign).hexdigest()[:16]}.onnx").write_bytes(
        foreign
    )
    again = embedder.load(first.model)
    assert again.model.graph == first.model.graph != other.model.graph
    np.testing.assert_array_equal(again.embed(noise), first.embed(noise))
