"""Images to index, and synthetic vectors made from those of real images."""

from __future__ import annotations

import argparse
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.decomposition import PCA

import lookalike
from lookalike.datasets.sample import CLASSES, write_sample
from lookalike.models import registry
from lookalike.retrieval.query import VectorQuery, WeightedQuery
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.sources import LocalSource, display_path
from lookalike.store.table import Table
from lookalike.types import Matches, Model
from lookalike.vectors import k_nearest, unit_length

BLOCK = 8192
K = 10
PHOTOGRAPHS = 3079
# One row in a hundred has this label.
RARE = "rare"

DATA = Path(os.environ.get("LOOKALIKE_TEST_DATA", Path(__file__).parents[2] / "shared"))
_SHARE = 100


def add_source(parser: argparse.ArgumentParser, *, collection: bool = False) -> None:
    """Add the options that choose the images."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="images in folders that name their class (default: Caltech 101 in the folder that "
        "LOOKALIKE_TEST_DATA names or in ../shared, or else the drawn sample)",
    )
    if collection:
        parser.add_argument(
            "--collection",
            metavar="PATH",
            help="use the vectors of its first Space; index nothing",
        )


def sample_images(data: Path | None, count: int, place: Path, seed: int) -> Path:
    """Return a folder of at most `count` images: the source, or a copy of a sample."""
    source = data or DATA / "caltech101" / "101_ObjectCategories"
    if data is not None and not data.is_dir():
        raise SystemExit(
            f"The folder {data} does not exist. Name a folder with images."
        )
    if not source.is_dir():
        source = write_sample(
            place / "sample", per_class=-(-count // len(CLASSES)), seed=seed
        )
    found = files(source)
    if len(found) <= count:
        return source
    for path in random.Random(seed).sample(found, count):
        copy = place / "images" / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return place / "images"


def files(folder: Path) -> list[Path]:
    """Return the images in a folder, in the order of indexing."""
    return [Path(display_path(item.uri)) for item in LocalSource([folder])]


def embedded(
    arguments: argparse.Namespace, place: Path, count: int = PHOTOGRAPHS
) -> np.ndarray:
    """Return the float32 vectors of the given collection, or of images indexed for this purpose."""
    path = arguments.collection
    if path is None:
        path = str(place / "embedded")
        lookalike.index(
            sample_images(arguments.data, count, place, arguments.seed), path
        )
    collection = Table.open(path)
    return collection.vectors(collection.space(None))[1].astype(np.float32)


def projected(vectors: np.ndarray, dim: int, seed: int) -> np.ndarray:
    """Return the principal components of the vectors, at unit length."""
    count = min(dim, *vectors.shape)
    components = PCA(count, random_state=seed).fit_transform(vectors)
    return unit_length(components.astype(np.float32))


def grown(
    vectors: np.ndarray,
    rows: int,
    generator: np.random.Generator,
    *,
    block: int = BLOCK,
) -> Iterator[np.ndarray]:
    """Yield float16 rows in blocks: a sample of the given ones, or all of them and synthetic ones.

    A synthetic row lies between a row and one of its 10 nearest, with a little noise, so that it
    has near neighbors like a real one.
    """
    if rows <= len(vectors):
        yield vectors[generator.permutation(len(vectors))[:rows]].astype(np.float16)
        return
    yield vectors.astype(np.float16)
    k = min(K, len(vectors) - 1)
    near, _ = k_nearest(vectors, vectors, k, own=np.arange(len(vectors)))
    noise = 0.3 * float(np.std(vectors - vectors[near[:, k // 2]]))
    for start in range(len(vectors), rows, block):
        count = min(block, rows - start)
        first = generator.integers(0, len(vectors), count)
        second = near[first, generator.integers(0, k, count)]
        share = generator.uniform(0.2, 0.8, (count, 1)).astype(np.float32)
        between = vectors[first] * share + vectors[second] * (1 - share)
        off = generator.normal(0, noise, between.shape).astype(np.float32)
        yield unit_length(between + off).astype(np.float16)


def space_of(place: Path, dim: int) -> Model:
    """Return a Model of one layer with this dimension, for Spaces of synthetic vectors."""
    weights = np.random.default_rng(0).normal(size=(3, dim)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["vectors"]),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8])
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", dim])
    graph = helper.make_graph(
        nodes,
        "made",
        [images],
        [vectors],
        [numpy_helper.from_array(weights, "weights")],
    )
    path = place / "made.onnx"
    onnx.save(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ),
        path,
    )
    return registry.resolve(path)


def fill(
    collection: Table, blocks: Iterable[np.ndarray], first: int | None = None
) -> None:
    """Append rows with these vectors, one commit per block.

    Their numbers begin at `first`; without it they continue those stored.
    """
    space = collection.space(None)
    if first is None:
        first = collection.count()
    for block in blocks:
        numbers = range(first, first + len(block))
        columns = {
            "uri": [f"/made/{number:08}.jpg" for number in numbers],
            "label": [RARE if number % _SHARE == 0 else "made" for number in numbers],
            "sha256": [number.to_bytes(32) for number in numbers],
            "spaces": [[space]] * len(block),
            space: block,
        }
        collection.upsert(columns, replace=True)
        first += len(block)


def numbers(uris: Iterable[str]) -> np.ndarray:
    """Return the numbers of rows, from the uris that `fill` wrote."""
    return np.array([int(Path(uri).stem) for uri in uris], np.int64)


class VectorSearcher(Searcher):
    """A Searcher of vectors: a search without decoding and embedding the query."""

    def search_vector(self, vector: np.ndarray, **options: Any) -> Matches:
        """Return the matches of a vector, float ``[dim]``, with options of `SearchRequest`."""
        return self.search(
            SearchRequest([WeightedQuery(VectorQuery(vector))], **options)
        )
