"""The review job: clusters, outliers, doubtful labels and diverse images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lookalike.review.results import Review, ReviewImage, ReviewPart
from lookalike.review.run import review
from lookalike.review.words import ImageGroup, Section, explain_image, sections
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.openapi import problem_responses
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView, ServedCollection
from lookalike.server.responses import json_response
from lookalike.server.review_schemas import ReviewResponse
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState, server_state

__all__ = ["ReviewBody", "ReviewJob"]

review_router = APIRouter(tags=["review"])

# The images of a cluster that an answer has.
_IMAGES_OF_CLUSTER = 12
# Any first part of the diverse images is the choice of as many: an answer is cut to its limit.
_DIVERSE_IMAGES = 100
# The figures of an image, which its kind may lack.
_FIGURES = ("suggested", "score", "agreeing", "neighbors", "distance", "represents")


class ReviewBody(JobBody):
    """Review a collection."""

    kind: Literal["review"]
    space: Annotated[
        str | None,
        Field(
            description="The Space whose vectors are compared; the first by default."
        ),
    ] = None
    clusters: Annotated[
        int | None,
        Field(ge=1, lt=2**31, description="The number of clusters; found by default."),
    ] = None


class ReviewJob:
    """Reviews a collection; the result stays with the served collection."""

    body = ReviewBody
    router = review_router
    # The result is in the memory of the server.
    changes_collection = False

    def prepare(self, state: ServerState, body: ReviewBody) -> JobWork:
        """Return the work of a review."""
        registry = state.registry
        collection = registry.collection(body.collection)
        table = collection.view().table
        return partial(
            _review,
            collection=collection,
            space=table.space(body.space),
            clusters=body.clusters,
            diverse=_DIVERSE_IMAGES,
        )


def _review(
    job: Job, *, collection: ServedCollection, **settings: Any
) -> dict[str, Any]:
    """Review a collection, and return the sizes of the parts."""
    view = collection.view()
    found = review(view.table, progress=job.report, **settings)
    collection.review = found
    sizes: dict[str, Any] = {}
    for section in sections(found):
        sizes[section.part] = _size(section)
    return sizes


@review_router.get(
    "/review", response_model=ReviewResponse, responses=problem_responses(404, 422)
)
async def get_review(
    request: Request,
    part: Annotated[ReviewPart, Query(description="The part to list.")] = "clusters",
    collection: CollectionName = None,
    offset: Annotated[
        int, Query(ge=0, lt=2**31, description="The number of entries to pass over.")
    ] = 0,
    limit: Annotated[
        int,
        Query(ge=1, le=500, description="The largest number of clusters, or images."),
    ] = 50,
    group: Annotated[
        int | None,
        Query(
            ge=0,
            lt=2**31,
            description="The number of a cluster, from 0, to list all its images in pages.",
        ),
    ] = None,
) -> Response:
    """Return a part of the last job of kind review since the server started.

    A cluster has its twelve most central images, unless `group` names it. Images that were removed
    since are left out.
    """
    state = server_state(request)
    served = state.registry.collection(collection)
    found = served.review
    if found is None:
        raise Problem(
            404,
            "Review not found",
            f"The collection {served.name!r} has not been reviewed. Start a job of kind review.",
        )
    end = offset + limit
    page = await state.read_pool.run(
        _read_review_page, served.view(), found, part, slice(offset, end), group
    )
    return json_response(page)


def _read_review_page(
    view: CollectionView,
    found: Review,
    part: ReviewPart,
    entries: slice,
    group: int | None,
) -> dict[str, Any]:
    """Return the fields of a `ReviewResponse`."""
    listed = []
    chosen = None
    for section in sections(found):
        if section.part == part:
            chosen = section
        listed.append(
            {
                "part": section.part,
                "title": section.title,
                "summary": section.summary,
                "total": _size(section),
            }
        )
    groups = []
    total = 0
    if chosen is not None:
        if group is not None:
            chosen = _only_group(chosen, group)
        shown = _page_groups(chosen, entries)
        groups = [_group_fields(view, *each) for each in shown]
        total = _count_entries(chosen)
    return {
        "version": found.version,
        "is_outdated": found.version != view.table.version,
        "space": found.space,
        "images": found.images,
        "notes": list(found.notes),
        "parts": listed,
        "groups": groups,
        "next": entries.stop if entries.stop < total else None,
    }


def _only_group(section: Section, number: int) -> Section:
    """Return a section with one group, whose entries are its images."""
    count = len(section.groups)
    if number >= count:
        raise Problem(
            404,
            "Group not found",
            f"{section.title}: there is no group {number}. Expected a number below {count}.",
        )
    return replace(section, groups=(section.groups[number],), lists_groups=False)


def _count_entries(section: Section) -> int:
    """Return the number of groups of the clusters, or of images in another part."""
    groups = section.groups
    if section.lists_groups:
        return len(groups)
    return len(groups[0].images)


def _size(section: Section) -> int:
    """Return the number of clusters, or of images in another part."""
    return _count_entries(section) - section.has_rest


def _page_groups(section: Section, entries: slice) -> list[tuple[ImageGroup, int]]:
    """Return the groups of a page, and how many images each has in all."""
    groups = section.groups
    shown_images = entries
    if section.lists_groups:
        groups = groups[entries]
        shown_images = slice(_IMAGES_OF_CLUSTER)
    shown = []
    for group in groups:
        images = group.images[shown_images]
        part = replace(group, images=images)
        shown.append((part, len(group.images)))
    return shown


def _group_fields(
    view: CollectionView, group: ImageGroup, total: int
) -> dict[str, Any]:
    """Return the fields of a `ReviewGroup`."""
    rows = view.row_cache
    present = []
    for image in group.images:
        if rows.row(image.id) is not None:
            present.append(image)
    ids = [image.id for image in present]
    described = []
    for row, image in zip(rows.rows(np.array(ids, np.int64)), present, strict=True):
        fields = _image_fields(row, image)
        described.append(fields)
    return {"title": group.title, "total": total, "images": described}


def _image_fields(row: dict[str, Any], image: ReviewImage) -> dict[str, Any]:
    """Return the fields of a `ReviewedImage`."""
    # The row itself belongs to the cache.
    fields = dict(row)
    fields["explanation"] = explain_image(image)
    for name in _FIGURES:
        figure = getattr(image, name, None)
        fields[name] = figure
    return fields
