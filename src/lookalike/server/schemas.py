"""What requests and answers hold."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "CollectionSummary",
    "Collections",
    "ColumnSummary",
    "Distances",
    "EvaluationBody",
    "Example",
    "Facts",
    "Failure",
    "Failures",
    "Fault",
    "Found",
    "Health",
    "ImageExample",
    "JobBody",
    "JobList",
    "LabelCount",
    "MapBody",
    "MapFacts",
    "MapQuestion",
    "Match",
    "ModelSummary",
    "Models",
    "NewJob",
    "Place",
    "ProblemBody",
    "Question",
    "Root",
    "Roots",
    "Row",
    "RowExample",
    "Rows",
    "Search",
    "Side",
    "SpaceSummary",
    "UploadExample",
    "Uploaded",
]

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=[_HASH])]
RowId = Annotated[int, Field(ge=0, lt=2**63, description="A row's id.", examples=[12])]
Weight = Annotated[
    float,
    Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="How much it weighs beside the others of its side.",
    ),
]


class _Asked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Side(IntEnum):
    """The longer side of a small picture, in pixels."""

    SMALL = 128
    MIDDLE = 256
    LARGE = 512


class RowExample(_Asked):
    """A row of the collection."""

    id: RowId
    weight: Weight = 1.0


class UploadExample(_Asked):
    """A picture that was sent before."""

    upload: Sha256
    weight: Weight = 1.0


class ImageExample(_Asked):
    """A picture of this very request: the n-th part named ``image``, from 0."""

    image: Annotated[int, Field(ge=0, lt=16)]
    weight: Weight = 1.0


Example = RowExample | UploadExample | ImageExample
_Examples = Annotated[list[Example], Field(max_length=64)]


class Question(_Asked):
    """What is searched by: pictures that matches should be like, and pictures that they should be unlike."""

    collection: Annotated[
        str | None, Field(description="A collection's name; the first if left out.")
    ] = None
    space: Annotated[
        str | None, Field(description="The Space to measure in; the first if left out.")
    ] = None
    plus: Annotated[_Examples, Field(description="Like these: their weighted mean.")] = []
    minus: Annotated[
        _Examples, Field(description="Unlike these: their weighted mean is taken off.")
    ] = []


class Search(Question):
    """A search."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"plus": [{"id": 0}], "k": 5, "not_self": True}]},
    )

    k: Annotated[int, Field(ge=1, le=1000, description="How many matches.")] = 10
    where: Annotated[
        str | None,
        Field(max_length=10_000, description="Only images that fit, such as `width > 300`."),
    ] = None
    exact: Annotated[
        bool, Field(description="Compare every picture, although the Space has an index.")
    ] = False
    not_self: Annotated[
        bool,
        Field(
            description="Leave out the rows searched by, and rows with the content of a picture sent."
        ),
    ] = False


class Fault(_Answer):
    """One part of a request that is wrong."""

    where: str
    reason: str


class ProblemBody(_Answer):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "No such row",
                    "status": 404,
                    "detail": "The collection 'pictures' has no row 99.",
                    "instance": "/api/v1/rows/99",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="A sentence for people.")]
    instance: str
    errors: list[Fault] | None = None


class Health(_Answer):
    """That the server is there."""

    status: Literal["ok"]
    version: str


class SpaceSummary(_Answer):
    """A Space."""

    name: str
    title: str
    dim: int
    precision: str
    vectors: Annotated[int, Field(description="How many images have a vector in it.")]
    indexed: Annotated[
        bool, Field(description="Whether it is searched approximately unless `exact` is asked for.")
    ]


class ColumnSummary(_Answer):
    """A column that a filter may name."""

    name: str
    type: Literal["int64", "float64", "bool", "timestamp", "string"]


class LabelCount(_Answer):
    """A label and how many images have it."""

    label: str
    count: int


class CollectionSummary(_Answer):
    """A collection."""

    name: str
    images: int
    failures: int
    version: Annotated[
        int, Field(description="Another number whenever the collection has changed.")
    ]
    originals: Annotated[bool, Field(description="Whether `original` gives the files themselves.")]
    spaces: list[SpaceSummary]
    columns: list[ColumnSummary]
    labels: Annotated[list[LabelCount], Field(description="The most frequent first.")]


class Collections(_Answer):
    """The collections of this server, the default one first."""

    collections: list[CollectionSummary]
    unavailable: Annotated[
        list[Fault], Field(description="Collections that cannot be read now, and why.")
    ] = []


class ModelSummary(_Answer):
    """A model of the catalogue."""

    name: str
    title: str
    dim: int
    size: Annotated[list[int], Field(description="Height and width of its input.")]
    precision: str
    available: bool


class Models(_Answer):
    """The models that a collection can be indexed with."""

    models: list[ModelSummary]
    default: str


class Uploaded(_Answer):
    """A picture that the server keeps in memory for a while."""

    upload: Sha256
    width: int
    height: int


class Facts(_Answer):
    """What is known of an image."""

    id: RowId
    uri: str
    name: Annotated[str, Field(description="The file's name, for people.")]
    label: str | None
    width: int | None
    height: int | None
    size: Annotated[int | None, Field(description="Bytes of the file.")]
    mtime: Annotated[str | None, Field(description="When the file was last changed, ISO 8601.")]
    content: Annotated[
        Sha256, Field(description="The sha256 of the file, for `thumbnail?content=`.")
    ]


class Match(Facts):
    """An image that was found."""

    rank: int
    distance: float


class Found(_Answer):
    """The answer to a search, nearest first."""

    collection: str
    space: str
    metric: Literal["euclidean"]
    exact: bool
    recall: Annotated[
        float | None,
        Field(
            description="Of an approximate search, the share of neighbours it was measured to find."
        ),
    ]
    uploads: Annotated[
        list[Sha256],
        Field(description="The pictures of this request, to be named in the next one."),
    ]
    seconds: float
    matches: list[Match]


class Distances(_Answer):
    """The distance of every image of a Space."""

    space: str
    ids: list[int]
    distances: list[float]


class Row(Facts):
    """An image, with its metadata by column."""

    metadata: dict[str, Any]


class Rows(_Answer):
    """Some images."""

    rows: list[Row]
    next: Annotated[int | None, Field(description="What to give as `after` for the next page.")]
    total: Annotated[int, Field(description="How many fit the filter.")]


class Failure(_Answer):
    """A file that could not be indexed."""

    uri: str
    error: str


class Failures(_Answer):
    """The files that could not be indexed."""

    failures: list[Failure]


class Place(_Answer):
    """A place on a map, 0 to 1."""

    x: float
    y: float


class MapFacts(_Answer):
    """How a map was made, and how faithful it is."""

    title: str
    summary: Annotated[str, Field(description="In one line, for people.")]
    seed: int
    parameters: dict[str, Any]
    fidelity: dict[str, Any]
    missing: Annotated[
        int, Field(description="Images that the map does not show yet; make it again for them.")
    ]


class MapBody(_Answer):
    """A map, in columns of one length."""

    space: str
    method: str
    facts: MapFacts
    ids: list[int]
    x: Annotated[list[float], Field(description="0 to 1, rightwards.")]
    y: Annotated[list[float], Field(description="0 to 1, downwards.")]
    labels: Annotated[list[str], Field(description="The labels there are.")]
    label: Annotated[list[int], Field(description="For each image its place in `labels`, or -1.")]


class MapQuestion(Question):
    """What is to be placed on a map."""

    method: Literal["tsne", "pca", "umap"] = "tsne"


class NewJob(_Asked):
    """A job to begin."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "map", "method": "pca"}]},
    )

    kind: Literal["evaluate", "map", "index"]
    collection: str | None = None
    spaces: Annotated[
        list[str], Field(max_length=64, description="Of `evaluate`: which Spaces; all if none.")
    ] = []
    space: Annotated[
        str | None, Field(description="Of `map`: which Space; the first if left out.")
    ] = None
    method: Annotated[
        Literal["tsne", "pca", "umap"], Field(description="Of `map`: how places are found.")
    ] = "tsne"
    fresh: Annotated[bool, Field(description="Of `map`: make it anew, although one is kept.")] = (
        False
    )
    root: Annotated[
        int | None, Field(ge=0, lt=1000, description="Of `index`: the number of a root.")
    ] = None


class JobBody(_Answer):
    """A job."""

    id: str
    kind: Literal["evaluate", "map", "index"]
    asked: Annotated[dict[str, Any], Field(description="What it was begun with.")]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: Annotated[int, Field(description="How many pictures or queries are done.")]
    total: Annotated[int | None, Field(description="Of how many; null where that is not known.")]
    result: dict[str, Any] | None
    error: str | None


class JobList(_Answer):
    """The jobs."""

    jobs: list[JobBody]


class Root(_Answer):
    """A folder that may be indexed."""

    root: int
    path: str


class Roots(_Answer):
    """The folders that may be indexed."""

    roots: list[Root]


class EvaluationBody(BaseModel):
    """An evaluation: what `lookalike evaluate --json` prints."""

    model_config = ConfigDict(extra="allow")
