"""The types that cross the packages: Item, Weights, Model, Neighbors, Match and Matches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "Distances",
    "Ids",
    "Item",
    "Kind",
    "Match",
    "Matches",
    "Model",
    "Neighbors",
    "VectorsF16",
    "VectorsF32",
    "Weights",
]

# Row ids, vectors and distances as NumPy arrays.
Ids = npt.NDArray[np.int64]
VectorsF16 = npt.NDArray[np.float16]
VectorsF32 = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]

Resize = Literal["squash", "crop"]
Filter = Literal["nearest", "bilinear", "hamming", "bicubic", "lanczos"]
Layout = Literal["NCHW", "NHWC"]
Pooling = Literal["none", "mean", "first"]
Precision = Literal["f32", "bf16", "int8"]
Runtime = Literal["onnxruntime", "openvino"]

# The type of a metadata column.
Kind = Literal["int64", "float64", "bool", "timestamp", "string"]


@dataclass(frozen=True, slots=True)
class Item:
    """One image before decoding.

    Attributes
    ----------
    uri
        The identity: an absolute path, or a ``file://`` URI if the path is not valid Unicode.
    size, mtime_ns
        The stamp: bytes, and nanoseconds since the epoch. A file with the same stamp is not read
        again.
    label
        The name of the folder that holds the image, or None.
    read
        Returns the bytes of the file; raises OSError.
    """

    uri: str
    size: int
    mtime_ns: int
    label: str | None
    read: Callable[[], bytes] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Weights:
    """The source of a Model's weights.

    Attributes
    ----------
    file
        The name of the file, or a path to it.
    sha256, md5
        The hash of the file: the sha256, or the md5 if its publisher gives no other. Both are None
        only for a file that a description names without a hash; a download needs one.
    package
        The installed package that ships the file, if one does.
    extra
        The extra of Lookalike that installs that package.
    hub
        The place on the Hugging Face hub: ``owner/repository``, followed by ``@revision`` for a
        revision other than ``main``, and by ``/path`` if the name there is not `file`.
    url
        Another place to download the file from.
    license
        The SPDX identifier, shown by ``lookalike models``.
    """

    file: str
    sha256: str | None = None
    md5: str | None = None
    package: str | None = None
    extra: str | None = None
    hub: str | None = None
    url: str | None = None
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """The frozen description of a network: everything that decides its vectors, as data.

    Attributes
    ----------
    name
        The name in the catalog, and the name of the Space that the Model fills.
    architecture
        A function of ``models/graphs``, ``onnx`` for a file that is the graph itself, or
        ``pixels``.
    size
        Height and width in pixels of the network's input.
    resize
        ``squash`` resizes the whole image; ``crop`` scales the shorter side, then cuts the center.
    mean, std
        For each of R, G, B on the scale 0 to 255: the network sees ``(x - mean) / std``.
    output
        The block (built graphs) or output tensor (``onnx``) whose values are the features.
    pooling
        ``mean`` over the cells of a feature map, ``first`` of a sequence of tokens, or ``none``.
    dim
        The length of a vector.
    unit_length
        Whether vectors are scaled to Euclidean length 1.
    options
        Further arguments of the architecture's function.
    weights
        The weights of the network.
    precision
        The type of the numbers in the network; ``bf16`` needs a runtime and a processor with it.
    calibration
        What ``int8`` needs beside the weights, measured on real pictures; see
        `lookalike.models.calibration`.
    runtime
        What runs the graph. Two runtimes round 8-bit numbers differently, so their vectors do not
        mix.
    graph
        The sha256 of the graph that filled a Space; None before it has filled one.
    """

    name: str
    title: str
    architecture: str
    size: tuple[int, int]
    dim: int
    resize: Resize = "squash"
    filter: Filter = "bicubic"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: Layout = "NCHW"
    output: str = ""
    pooling: Pooling = "mean"
    unit_length: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    precision: Precision = "f32"
    calibration: Weights | None = None
    runtime: Runtime = "onnxruntime"
    graph: str | None = None

    def to_json(self) -> str:
        """Return the description as JSON text, as a collection stores it."""
        fields = asdict(self)
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Model:
        """Return the Model of a text that `to_json` wrote."""
        fields = json.loads(text)
        for name in ("size", "mean", "std"):
            if name in fields:
                fields[name] = tuple(fields[name])
        for name in ("weights", "calibration"):
            weights = fields.get(name)
            if weights is not None:
                fields[name] = Weights(**weights)
        return cls(**fields)

    @property
    def fingerprint(self) -> str:
        """A hash, 12 hexadecimal digits, of everything that decides the vectors."""
        fields = asdict(self)
        del fields["title"], fields["graph"]
        files = {"weights": self.weights, "calibration": self.calibration}
        for name, file in files.items():
            fields[name] = None
            if file is not None:
                fields[name] = file.sha256 or file.md5

        # Fields that were added later change the hash only if they differ from their default.
        defaults = {"precision": "f32", "calibration": None, "runtime": "onnxruntime"}
        for name, default in defaults.items():
            if fields[name] == default:
                del fields[name]
        text = json.dumps(fields, sort_keys=True)
        digest = hashlib.sha256(text.encode())
        return digest.hexdigest()[:12]


class Neighbors(NamedTuple):
    """The rows nearest to a query vector, nearest first.

    Attributes
    ----------
    ids
        int64 ``[k]``, the row ids.
    distances
        float64 ``[k]``, the Euclidean distances.
    recall
        The measured recall of the search, or None if every row was compared.
    """

    ids: Ids
    distances: Distances
    recall: float | None


class Match(NamedTuple):
    """One row of `Matches`."""

    rank: int
    id: int
    uri: str
    label: str | None
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matches of one query, nearest first, in columns; iterating yields `Match` rows.

    Attributes
    ----------
    ids
        int64 ``[k]``, the rows' ids in the collection.
    uris, labels
        Lists of length ``k``.
    distances
        float64 ``[k]``, in the units of the Space (unit-length vectors: 0 to 2).
    space, metric, exact
        The Space that was searched, the metric, and whether every row was compared.
    recall
        Of an approximate search, the share of the true neighbours that it was measured to find;
        None if exact.
    """

    ids: npt.NDArray[np.int64]
    uris: list[str]
    labels: list[str | None]
    distances: npt.NDArray[np.float64]
    space: str
    metric: str = "euclidean"
    exact: bool = True
    recall: float | None = None

    def __len__(self) -> int:
        return len(self.uris)

    def __iter__(self) -> Iterator[Match]:
        ids = self.ids.tolist()
        distances = self.distances.tolist()
        rows = zip(ids, self.uris, self.labels, distances, strict=True)
        for rank, row in enumerate(rows, start=1):
            yield Match(rank, *row)

    def to_dict(self) -> dict[str, Any]:
        """Return the matches as plain data, as ``lookalike search --json`` prints them."""
        return {
            "space": self.space,
            "metric": self.metric,
            "exact": self.exact,
            "recall": self.recall,
            "matches": [match._asdict() for match in self],
        }

    def to_arrow(self) -> pa.Table:
        """Return a table with the columns rank, id, uri, label, distance."""
        import pyarrow as pa

        ranks = range(1, len(self) + 1)
        columns = {
            "rank": pa.array(ranks, pa.int64()),
            "id": pa.array(self.ids, pa.int64()),
            "uri": pa.array(self.uris, pa.string()),
            "label": pa.array(self.labels, pa.string()),
            "distance": pa.array(self.distances, pa.float64()),
        }
        return pa.table(columns)

    def to_pandas(self) -> pd.DataFrame:
        """Return `to_arrow` as a DataFrame (needs pandas: ``pip install lookalike[pandas]``)."""
        table = self.to_arrow()
        return table.to_pandas()
