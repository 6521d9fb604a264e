"""The types that cross the packages, such as Item, Model, Neighbors, Match and Matches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.types.learned_map import LearnedMap, Purpose
from lookalike.types.weights import Weights

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "DEFAULT_GAMMA",
    "MIN_CONFIDENCE",
    "MIN_WORD_CONFIDENCE",
    "NO_IDS",
    "UNKNOWN_SIZE",
    "UNKNOWN_TIME",
    "AnswerConfidence",
    "Distances",
    "Ids",
    "Item",
    "Kind",
    "LearnedMap",
    "Match",
    "Matches",
    "Model",
    "Neighbors",
    "Places",
    "Purpose",
    "TextTower",
    "Understood",
    "VectorsF16",
    "VectorsF32",
    "Weights",
]

# Row ids, places in an array of rows, vectors and distances, as NumPy arrays.
Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
VectorsF16 = npt.NDArray[np.float16]
VectorsF32 = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]
NO_IDS: Ids = np.empty(0, np.int64)

Resize = Literal["squash", "crop"]
Filter = Literal["nearest", "bilinear", "hamming", "bicubic", "lanczos"]
Layout = Literal["NCHW", "NHWC"]
Pooling = Literal["none", "mean", "first"]
Precision = Literal["f32", "bf16", "int8"]
Runtime = Literal["onnxruntime", "openvino"]
Alphabet = Literal["any", "latin"]

# The fields of a Model that were added later, with the default that stands for earlier Models.
_LATER_FIELDS = {
    "precision": "f32",
    "calibration": None,
    "runtime": "onnxruntime",
    "crop_side": None,
    "image_input": None,
    "batch": None,
    "data": None,
    "text": None,
    "learned": None,
}
_MODEL_FILES = ("weights", "calibration", "data")
_TOWER_FILES = ("graph", "tokenizer", "projection")
# The strength of negative queries, Rocchio's gamma: docs/decisions/0029-negative-queries.md has the
# measurements.
DEFAULT_GAMMA = 0.1
# Matches of a smaller confidence are less alike than the images of the collection are:
# docs/confidence.md explains it.
MIN_CONFIDENCE = 0.03

# From here on the network is sure that a match shows the words: docs/words.md has measurements.
MIN_WORD_CONFIDENCE = 0.5

# The size of an Item that only reading it shows, such as a cell of a Parquet file.
UNKNOWN_SIZE = -2
# The time of an Item that has none, such as an address of the web.
UNKNOWN_TIME = -2

# The type of a metadata column. Lookalike fills a column of tags itself, from vectors.
Kind = Literal["int64", "float64", "bool", "timestamp", "string", "tags"]


@dataclass(frozen=True, slots=True)
class Item:
    """One image before decoding.

    Attributes
    ----------
    uri
        The identity: an absolute path, a ``file://`` URI if the path is not valid Unicode, or the
        address of a file in another place, such as ``s3://bucket/key``.
    size, mtime_ns
        The stamp: bytes, and nanoseconds since the epoch. A file with the same stamp is not read
        again. With `UNKNOWN_SIZE`, the time alone is the stamp, and the row gets the size of the
        content. With `UNKNOWN_TIME`, an image that has a row is not read again, and the row has the
        time of the read.
    label
        The name of the folder that holds the image, or None.
    read
        Returns the bytes of the file; raises OSError.
    is_remote
        Whether `read` waits for a network. Several such files are read at the same time.
    """

    uri: str
    size: int
    mtime_ns: int
    label: str | None
    read: Callable[[], bytes] = field(repr=False, compare=False)
    is_remote: bool = False


@dataclass(frozen=True, slots=True)
class TextTower:
    """The part of a Model that turns texts into vectors of its Space, as data.

    Attributes
    ----------
    graph
        The ``.onnx`` file. Its inputs are ``input_ids`` and, if it has them, ``attention_mask`` and
        ``token_type_ids``.
    tokenizer
        The ``tokenizer.json`` file.
    context
        The most tokens of a text, with those that the tokenizer adds. Further tokens are left out.
    output
        The output tensor whose values are the features; the graph's first one by default.
    pooling
        ``mean`` over the tokens, ``first`` of them, or ``none`` if the graph pools them.
    padding
        The id that fills shorter texts up to `context`; None if the graph takes any length.
    lower_case, strip_punctuation
        What is done to a text before it is split into tokens.
    template
        The text that the graph reads, with ``{}`` for the user's words.
    alphabet
        ``latin`` for a network that learned texts in the Latin alphabet alone.
    projection
        A ``.safetensors`` file whose only matrix, ``[dim, features]``, is the last layer.
    logit_scale, logit_bias
        From a cosine to the network's own score: ``scale * cosine + bias``. None if not published.
    """

    graph: Weights
    tokenizer: Weights
    context: int
    output: str = ""
    pooling: Pooling = "none"
    padding: int | None = None
    lower_case: bool = False
    strip_punctuation: bool = False
    template: str = "{}"
    alphabet: Alphabet = "any"
    projection: Weights | None = None
    logit_scale: float | None = None
    logit_bias: float | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TextTower:
        """Return the description of plain data, as JSON and TOML hold it."""
        values = _with_files(fields, _TOWER_FILES)
        return cls(**values)


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
        The ranges of the activations that ``int8`` needs, measured on real images; see
        `lookalike.models.calibration`. None where the first images that are indexed are measured.
    runtime
        The runtime of the graph. Two runtimes round 8-bit numbers differently, so their vectors do
        not mix.
    graph
        The sha256 of the graph that filled a Space; None before it has filled one.
    crop_side
        The length in pixels to which ``crop`` scales the shorter side; None for the input's own.
    image_input
        The input tensor of the images, in a graph that has others too: only the part between it
        and `output` is run. None for a graph that takes images alone.
    batch
        The number of images that the graph runs at once; None for the runtime's fastest. Where
        numbers are rounded by the largest of a batch, only 1 makes a vector its image's own.
    data
        The file beside the graph that holds its numbers, if they are not in the graph itself.
    text
        The text tower; None if the Model embeds images alone.
    learned
        The map that turns the network's vectors into those of the Space; None in most.
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
    crop_side: int | None = None
    image_input: str | None = None
    batch: int | None = None
    data: Weights | None = None
    text: TextTower | None = None
    learned: LearnedMap | None = None

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
                values = fields[name]
                fields[name] = tuple(values)
        fields = _with_files(fields, _MODEL_FILES)
        tower = fields.get("text")
        if tower is not None:
            fields["text"] = TextTower.from_dict(tower)
        learned = fields.get("learned")
        if learned is not None:
            fields["learned"] = LearnedMap(**learned)
        return cls(**fields)

    @property
    def fingerprint(self) -> str:
        """A hash, 12 hexadecimal digits, of everything that decides the vectors."""
        fields = asdict(self)
        # The title decides nothing, and the graph is built from the other fields.
        del fields["title"]
        del fields["graph"]
        # A file counts by its content, wherever it is.
        _replace_by_hashes(fields, _MODEL_FILES)
        tower = fields["text"]
        if tower is not None:
            _replace_by_hashes(tower, _TOWER_FILES)
        if self.learned is not None:
            fields["learned"] = self.learned.digest

        # Fields that were added later change the hash only if they differ from their default.
        for name, default in _LATER_FIELDS.items():
            value = fields[name]
            if value == default:
                del fields[name]
        text = json.dumps(fields, sort_keys=True)
        content = text.encode()
        digest = hashlib.sha256(content).hexdigest()
        return digest[:12]


def _with_files(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return fields in which each named table of a file is a `Weights`."""
    values = dict(fields)
    for name in names:
        table = values.get(name)
        if table is not None:
            values[name] = Weights(**table)
    return values


def _replace_by_hashes(fields: dict[str, Any], names: Sequence[str]) -> None:
    """Replace each named table of a file by the hash that it states, or None."""
    for name in names:
        table = fields[name]
        if table is not None:
            fields[name] = table["sha256"] or table["md5"]


class AnswerConfidence(NamedTuple):
    """How sure an answer is, and the calibration that says so.

    Attributes
    ----------
    confidence
        The largest confidence of a match: the share of the collection's images that are at least as
        far from their nearest other image. Below `MIN_CONFIDENCE`, nothing is like the query.
    nearest
        The plain distance of the nearest match; None without a match.
    hidden
        The number of matches that were left out because of their confidence.
    rows, version
        The number of images that were measured, and the version of the collection.
    added, removed
        The images that were added and removed since.
    """

    confidence: float
    nearest: float | None
    hidden: int
    rows: int
    version: int
    added: int
    removed: int

    @property
    def is_match(self) -> bool:
        """Whether an image of the collection is like the query."""
        return self.confidence >= MIN_CONFIDENCE

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {**self._asdict(), "match": self.is_match}


class Understood(NamedTuple):
    """What was understood of the text of a query.

    Attributes
    ----------
    text
        The text.
    words
        What the search looked for: the names of the classes that the text stands for, or the text
        itself if the Space reads any text.
    unknown
        The words of the text that were not understood.
    confidence
        How sure the network is that a match shows it, 0 to 1; None where it cannot be said.
    """

    text: str
    words: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    confidence: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        data = self._asdict()
        return {**data, "words": list(self.words), "unknown": list(self.unknown)}


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
    copies
        int64 ``[k]``, the number of images with the content of each row, if each content was to be
        returned once; None otherwise.
    confidences
        float64 ``[k]``, the confidence of each row; None if they are not known.
    answer
        The confidence of the whole answer; None without a calibration.
    understood
        What was understood of each text of the query.
    """

    ids: Ids
    distances: Distances
    recall: float | None
    copies: Ids | None = None
    confidences: Distances | None = None
    answer: AnswerConfidence | None = None
    understood: tuple[Understood, ...] = ()


class Match(NamedTuple):
    """One row of `Matches`."""

    rank: int
    id: int
    uri: str
    label: str | None
    distance: float
    copies: int | None = None
    confidence: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data; `copies` and `confidence` only if they are known."""
        fields = self._asdict()
        for name in ("copies", "confidence"):
            if fields[name] is None:
                del fields[name]
        return fields


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
        The measured share of the true neighbors that an approximate search finds; None if exact.
    copies
        Of a search with ``unique``, a list of length ``k``: how many images have the content of
        each match, the match included. None otherwise.
    confidences
        float64 ``[k]``, the confidence of each match, from 0 to 1. Of one image, in a calibrated
        Space; of one word, if `min_confidence` was given; otherwise None.
    answer
        The confidence of the answer to an image as a whole; None where `confidences` is.
    understood
        What was understood of each text of the query; empty without a text.
    """

    ids: npt.NDArray[np.int64]
    uris: list[str]
    labels: list[str | None]
    distances: npt.NDArray[np.float64]
    space: str
    metric: str = "euclidean"
    exact: bool = True
    recall: float | None = None
    copies: list[int] | None = None
    confidences: npt.NDArray[np.float64] | None = None
    answer: AnswerConfidence | None = None
    understood: tuple[Understood, ...] = ()

    def __len__(self) -> int:
        return len(self.uris)

    @property
    def alike(self) -> int | None:
        """The number of matches up to the last one that is like the query; None if unknown."""
        if self.confidences is None or self.answer is None:
            return None
        is_alike = self.confidences >= MIN_CONFIDENCE
        places = np.flatnonzero(is_alike)
        return int(places.max(initial=-1)) + 1

    def __iter__(self) -> Iterator[Match]:
        # tolist gives Python's own numbers, which JSON can hold.
        ids = self.ids.tolist()
        distances = self.distances.tolist()
        copies: Sequence[int | None] | None = self.copies
        if copies is None:
            copies = [None] * len(ids)
        confidences: Sequence[float | None] = [None] * len(ids)
        if self.confidences is not None:
            confidences = self.confidences.tolist()
        columns = (ids, self.uris, self.labels, distances, copies, confidences)
        rows = zip(*columns, strict=True)
        for rank, row in enumerate(rows, start=1):
            yield Match(rank, *row)

    def to_dict(self) -> dict[str, Any]:
        """Return the matches as plain data, as ``lookalike search --json`` prints them."""
        data: dict[str, Any] = {
            "space": self.space,
            "metric": self.metric,
            "exact": self.exact,
            "recall": self.recall,
        }
        if self.understood:
            data["understood"] = [one.to_dict() for one in self.understood]
        if self.answer is not None:
            data["answer"] = self.answer.to_dict()
        data["matches"] = [match.to_dict() for match in self]
        return data

    def to_arrow(self) -> pa.Table:
        """Return a table with the columns rank, id, uri, label and distance.

        The columns copies and confidence follow where they are known.
        """
        import pyarrow as pa

        schema = pa.schema(
            {
                "rank": pa.int64(),
                "id": pa.int64(),
                "uri": pa.string(),
                "label": pa.string(),
                "distance": pa.float64(),
            }
        )
        count = len(self)
        columns = {
            "rank": range(1, count + 1),
            "id": self.ids,
            "uri": self.uris,
            "label": self.labels,
            "distance": self.distances,
        }
        table = pa.table(columns, schema)
        if self.copies is not None:
            copies = pa.array(self.copies, pa.int64())
            table = table.append_column("copies", copies)
        if self.confidences is not None:
            confidences = pa.array(self.confidences, pa.float64())
            table = table.append_column("confidence", confidences)
        return table

    def to_pandas(self) -> pd.DataFrame:
        """Return `to_arrow` as a DataFrame (needs pandas: ``pip install lookalike[pandas]``)."""
        table = self.to_arrow()
        return table.to_pandas()
