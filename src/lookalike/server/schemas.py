"""The schemas of requests and responses."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from lookalike.server.confidence_schemas import (
    AnswerField,
    CalibrationField,
    ConfidenceField,
    MinConfidenceField,
)
from lookalike.server.example_schemas import (
    MAX_BATCH_IMAGES,
    ExampleBody,
    ImageExample,
    RequestModel,
    RowExample,
    RowId,
    Sha256,
    UnderstoodInfo,
    UploadExample,
)
from lookalike.server.learned_schemas import LearnedField
from lookalike.server.space_schemas import MetricField, SpacesField
from lookalike.types import DEFAULT_GAMMA, Kind

__all__ = [
    "MAX_BATCH_IMAGES",
    "MAX_IMAGES",
    "CollectionInfo",
    "CollectionsResponse",
    "ColumnInfo",
    "DistancesResponse",
    "EvaluationResponse",
    "ExampleBody",
    "FailureInfo",
    "FailuresResponse",
    "HealthResponse",
    "ImageExample",
    "ImageFile",
    "InvalidPart",
    "JobBody",
    "JobResponse",
    "JobsResponse",
    "LabelCount",
    "MatchInfo",
    "ModelInfo",
    "ModelsResponse",
    "ProblemBody",
    "QueryBody",
    "QueryForm",
    "ReadyResponse",
    "RequestModel",
    "ResponseModel",
    "RootInfo",
    "RootsResponse",
    "RowDetails",
    "RowExample",
    "RowInfo",
    "RowsResponse",
    "SearchBody",
    "SearchResponse",
    "SessionBody",
    "SpaceInfo",
    "ThumbnailSize",
    "UploadExample",
    "UploadForm",
    "UploadResponse",
]

# The largest number of images in the form of one query.
MAX_IMAGES = 16

ImageFile = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]


class ResponseModel(BaseModel):
    """The base of responses."""

    model_config = ConfigDict(extra="forbid")


class ThumbnailSize(IntEnum):
    """The longer side of a thumbnail in pixels."""

    SMALL = 128
    MEDIUM = 256
    LARGE = 512


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


# Queries

_Examples = Annotated[list[ExampleBody], Field(max_length=64)]


class QueryBody(RequestModel):
    """A query: images and words that matches should resemble, and ones that they should not."""

    collection: Annotated[
        str | None, Field(description="A collection's name; the first by default.")
    ] = None
    space: Annotated[
        str | None, Field(description="The Space to search in; the first by default.")
    ] = None
    positive: Annotated[
        _Examples, Field(description="Matches resemble the weighted mean of these.")
    ] = []  # noqa: RUF012 (pydantic copies it)
    negative: Annotated[
        _Examples,
        Field(description="`gamma` times the weighted mean of these is subtracted."),
    ] = []  # noqa: RUF012 (pydantic copies it)
    gamma: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            allow_inf_nan=False,
            description="The strength of the negative examples; 0 ignores them.",
        ),
    ] = DEFAULT_GAMMA


class SearchBody(QueryBody):
    """A search."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "examples": [{"positive": [{"id": 0}], "k": 5, "exclude_self": True}]
        },
    )

    k: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="The number of matches of a page; `cursor` continues beyond it.",
        ),
    ] = 10
    cursor: Annotated[
        str | None,
        Field(
            max_length=1000,
            description="The `next` of the page before, with the same query.",
        ),
    ] = None
    where: Annotated[
        str | None,
        Field(
            max_length=10_000,
            description="A filter such as `width > 300`; only images that satisfy it match.",
        ),
    ] = None
    ranking: Annotated[
        Literal["plain", "centered", "context"],
        Field(
            description="How matches are ranked: by distance (`plain`), by distance without what "
            "all images share (`centered`), or also by the images around each (`context`). The "
            "first search by `context`, in each version of a collection, compares all its images "
            "with each other."
        ),
    ] = "plain"
    max_distance: Annotated[
        float | None,
        Field(
            ge=0,
            allow_inf_nan=False,
            description="The largest distance of a match; any by default.",
        ),
    ] = None
    min_confidence: MinConfidenceField = None
    spaces: SpacesField = None
    unique: Annotated[
        bool,
        Field(
            description="Return each content once; `copies` counts the images with it."
        ),
    ] = False
    exact: Annotated[
        bool, Field(description="Compare every image even if the Space has an index.")
    ] = False
    exclude_self: Annotated[
        bool,
        Field(
            description="Leave out the rows of the query, and rows with the content of its images."
        ),
    ] = False


class QueryForm(BaseModel):
    """A query and its images."""

    image: Annotated[
        list[ImageFile],
        Field(min_length=1, max_length=MAX_IMAGES, description="Images to search by."),
    ]
    query: Annotated[
        str,
        Field(
            description="The query as JSON; without it, all images are positive examples.",
            json_schema_extra=_without_default,
        ),
    ] = ""


class UploadForm(BaseModel):
    """An image to upload."""

    image: Annotated[ImageFile, Field(description="An image file.")]


# Sessions


class SessionBody(RequestModel):
    """A token."""

    token: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="The token that the server requires.",
        ),
    ]


# Errors and health


class InvalidPart(ResponseModel):
    """An invalid part of a request."""

    where: str
    reason: str


class ProblemBody(ResponseModel):
    """An error as RFC 9457 problem details."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Row not found",
                    "status": 404,
                    "detail": "The collection 'images' has no row 99.",
                    "instance": "/api/v1/rows/99",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: Annotated[str, Field(description="An explanation for people.")]
    instance: str
    errors: list[InvalidPart] | None = None
    suggestions: Annotated[
        list[str] | None,
        Field(description="Known words that are spelled like one that is not known."),
    ] = None


class HealthResponse(ResponseModel):
    """Liveness response."""

    status: Literal["ok"]
    version: str


class ReadyResponse(ResponseModel):
    """Readiness response."""

    status: Literal["ready"]


# Collections


class SpaceInfo(ResponseModel):
    """A Space."""

    name: str
    title: str
    compares: Annotated[
        Literal["content", "appearance"],
        Field(
            description="What near images have in common: what they show, or their colors and "
            "shapes."
        ),
    ]
    dim: int
    precision: str
    vectors: Annotated[
        int, Field(description="The number of images with a vector in the Space.")
    ]
    indexed: Annotated[
        bool,
        Field(description="Whether searches are approximate unless `exact` is set."),
    ]
    calibration: CalibrationField = None
    learned: LearnedField = None


class ColumnInfo(ResponseModel):
    """A column that filters may use."""

    name: str
    type: Kind
    values: Annotated[
        list[str],
        Field(
            description="The values of a text column of the metadata, if there are at most 50."
        ),
    ]


class LabelCount(ResponseModel):
    """A label and its number of images."""

    label: str
    count: int


class CollectionInfo(ResponseModel):
    """A collection."""

    name: str
    images: int
    failures: int
    version: Annotated[
        int, Field(description="Changes whenever the collection changes.")
    ]
    originals: Annotated[
        bool, Field(description="Whether `original` returns the image files.")
    ]
    read_only: Annotated[
        bool, Field(description="Whether the server refuses jobs that change it.")
    ]
    spaces: list[SpaceInfo]
    columns: list[ColumnInfo]
    labels: Annotated[list[LabelCount], Field(description="The most frequent first.")]
    tags: Annotated[
        list[LabelCount],
        Field(description="The tags, each as a label; the most frequent first."),
    ]
    tag_column: Annotated[
        str | None,
        Field(description="The column that a filter finds tags in; null without tags."),
    ]


class CollectionsResponse(ResponseModel):
    """The collections of this server; the first is the default."""

    collections: list[CollectionInfo]
    unavailable: Annotated[
        list[InvalidPart],
        Field(description="Collections that cannot be read now, and why."),
    ] = []


class ModelInfo(ResponseModel):
    """A model of the catalog."""

    name: str
    title: str
    dim: int
    size: Annotated[list[int], Field(description="The height and width of the input.")]
    precision: str
    available: bool


class ModelsResponse(ResponseModel):
    """The models that can index a collection."""

    models: list[ModelInfo]
    default: str


class FailureInfo(ResponseModel):
    """A file that could not be indexed."""

    uri: str
    error: str


class FailuresResponse(ResponseModel):
    """The files that could not be indexed."""

    failures: list[FailureInfo]


# Rows and matches


class RowInfo(ResponseModel):
    """An indexed image."""

    id: RowId
    uri: str
    name: Annotated[str, Field(description="The file's name, for display.")]
    label: str | None
    tags: Annotated[
        list[str],
        Field(description="Words for what is in the image, if it was tagged."),
    ]
    width: int | None
    height: int | None
    size: Annotated[int | None, Field(description="The file's size in bytes.")]
    mtime: Annotated[
        str | None, Field(description="The file's modification time, ISO 8601.")
    ]
    content: Annotated[
        Sha256, Field(description="The file's sha256, for `thumbnail?content=`.")
    ]


class RowDetails(RowInfo):
    """An indexed image with its metadata by column."""

    metadata: dict[str, Any]


class RowsResponse(ResponseModel):
    """A page of rows."""

    rows: list[RowDetails]
    next: Annotated[int | None, Field(description="The `after` of the next page.")]
    total: Annotated[
        int, Field(description="The number of rows that satisfy the filter.")
    ]


class MatchInfo(RowInfo):
    """A match."""

    rank: int
    distance: float
    copies: Annotated[
        int | None,
        Field(
            description="The number of images with this content, if `unique` was set."
        ),
    ]
    confidence: ConfidenceField


class SearchResponse(ResponseModel):
    """Matches, nearest first."""

    collection: str
    space: str
    metric: MetricField
    exact: bool
    recall: Annotated[
        float | None, Field(description="The measured recall of an approximate search.")
    ]
    uploads: Annotated[
        list[Sha256],
        Field(description="The images of this request, for use in later queries."),
    ]
    from_thumbnails: Annotated[
        list[int],
        Field(
            description="Rows whose region was cut from the thumbnail, with less detail, because "
            "the original cannot be read."
        ),
    ]
    seconds: float
    next: Annotated[
        str | None,
        Field(description="The `cursor` of the next page; null on the last one."),
    ]
    answer: AnswerField
    understood: Annotated[
        list[UnderstoodInfo],
        Field(description="What was understood of each text of the query."),
    ]
    matches: list[MatchInfo]


class DistancesResponse(ResponseModel):
    """The distance of every image of a Space."""

    space: str
    ids: list[int]
    distances: list[float]


class UploadResponse(ResponseModel):
    """An image that the server keeps in memory for a while."""

    upload: Sha256
    width: int
    height: int


# Jobs


class JobBody(RequestModel):
    """The fields of every job; the request model of a job kind adds its own."""

    kind: str
    collection: Annotated[
        str | None, Field(description="A collection's name; the first by default.")
    ] = None


class JobResponse(ResponseModel):
    """A job."""

    id: str
    kind: str
    asked: Annotated[dict[str, Any], Field(description="The fields of the request.")]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: Annotated[
        int, Field(description="The number of processed images or queries.")
    ]
    total: Annotated[int | None, Field(description="The expected number, if known.")]
    rate: Annotated[
        float | None, Field(description="Images a second of late, while the job runs.")
    ]
    seconds_left: Annotated[
        float | None,
        Field(description="The expected time until the end, while it is known."),
    ]
    result: dict[str, Any] | None
    error: str | None


class JobsResponse(ResponseModel):
    """All jobs, the oldest first."""

    jobs: list[JobResponse]


class RootInfo(ResponseModel):
    """A folder that can be indexed."""

    root: int
    path: str
    images: Annotated[
        int, Field(description="The number of the collection's images in this folder.")
    ]


class RootsResponse(ResponseModel):
    """The folders that can be indexed, and the folder of new collections."""

    roots: list[RootInfo]
    new_collections: Annotated[
        str | None,
        Field(description="The folder of collections that jobs make, or null."),
    ]


class EvaluationResponse(BaseModel):
    """An evaluation, as `lookalike evaluate --json` prints it."""

    model_config = ConfigDict(extra="allow")
