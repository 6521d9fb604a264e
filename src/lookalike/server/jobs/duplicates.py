"""The duplicates job: finds groups of images that show the same. It removes no files."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from lookalike.duplicates.find import ContentPair
from lookalike.duplicates.groups import Duplicate, DuplicateGroup, Duplicates
from lookalike.duplicates.search import search_duplicates
from lookalike.duplicates.verdicts import (
    content_pair,
    dismiss,
    forget,
    read_verdicts,
    without_dismissed,
)
from lookalike.duplicates.words import describe_figures, explain_copy
from lookalike.server.duplicate_schemas import (
    DuplicatesResponse,
    VerdictBody,
    VerdictResponse,
)
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.openapi import BODY_STATUSES, problem_responses, request_body
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.query import row_not_found
from lookalike.server.registry import CollectionView, ServedCollection
from lookalike.server.request_body import read_json
from lookalike.server.responses import json_response
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState, server_state
from lookalike.store.table import Table

__all__ = ["DuplicatesBody", "DuplicatesJob"]

duplicates_router = APIRouter(tags=["duplicates"])

_VERDICT = TypeAdapter(VerdictBody)
_AnyTier = Literal["identical", "copy", "similar"]


class DuplicatesBody(JobBody):
    """Find duplicates in a collection."""

    kind: Literal["duplicates"]
    tier: Annotated[
        _AnyTier,
        Field(description="The loosest tier to find; the stricter ones are included."),
    ] = "copy"
    space: Annotated[
        str | None,
        Field(description="The Space of the candidates; the first by default."),
    ] = None


class DuplicatesJob:
    """Finds duplicates; the result stays with the served collection."""

    body = DuplicatesBody
    router = duplicates_router
    # The result is in the memory of the server.
    changes_collection = False

    def prepare(self, state: ServerState, body: DuplicatesBody) -> JobWork:
        """Return the work of a search for duplicates."""
        registry = state.registry
        collection = registry.collection(body.collection)
        view = collection.view()
        space = view.table.space(body.space)
        tier = body.tier
        return partial(_find, collection=collection, tier=tier, space=space)


def _find(
    job: Job, *, collection: ServedCollection, tier: _AnyTier, space: str
) -> dict[str, Any]:
    """Find duplicates, and return the counts of the result."""
    table = collection.view().table
    found = search_duplicates(table, job.report, tier=tier, space=space)
    collection.duplicates = found
    return {
        "groups": len(found),
        "copies": found.copies,
        "tiers": found.counts(),
        "removable_bytes": found.removable_bytes,
    }


@duplicates_router.get(
    "/duplicates",
    response_model=DuplicatesResponse,
    responses=problem_responses(404, 422),
)
async def get_duplicates(
    request: Request,
    collection: CollectionName = None,
    tier: Annotated[
        _AnyTier | None, Query(description="Only copies of this tier; all by default.")
    ] = None,
    offset: Annotated[
        int, Query(ge=0, lt=2**31, description="The number of groups to pass over.")
    ] = 0,
    limit: Annotated[
        int, Query(ge=1, le=500, description="The largest number of groups.")
    ] = 50,
) -> Response:
    """Return groups of the last job of kind duplicates since the server started.

    Images that were removed or changed since are left out, and so are pairs with a verdict.
    """
    state = server_state(request)
    served = state.registry.collection(collection)
    found = served.duplicates
    if found is None:
        raise Problem(
            404,
            "Duplicates not found",
            f"The collection {served.name!r} has not been searched for duplicates. "
            "Start a job of kind duplicates.",
        )
    view = served.view()
    page = await state.read_pool.run(_read_page, view, found, tier, offset, limit)
    return json_response(page)


@duplicates_router.post(
    "/duplicates/verdicts",
    response_model=VerdictResponse,
    responses=problem_responses(404, *BODY_STATUSES),
    openapi_extra=request_body(json=VerdictBody),
)
async def give_verdict(request: Request) -> Response:
    """Remember, or forget, that images are not duplicates of each other."""
    state = server_state(request)
    body = await read_json(request, _VERDICT)
    if state.settings.read_only:
        raise Problem(
            403,
            "Read-only server",
            "This server only reads its collections. Run the command on the machine that maintains "
            "the collection: lookalike duplicates dismiss URI URI",
        )
    view = state.registry.view(body.collection)
    pairs = [_pair_of_contents(view, pair) for pair in body.pairs]
    change = dismiss if body.verdict == "different" else forget
    # A table of its own: that of the view stays at its version.
    table = Table.open(view.table.path)
    changed = await state.read_pool.run(change, table, pairs)
    return json_response({"changed": changed})


def _pair_of_contents(view: CollectionView, pair: list[int]) -> ContentPair:
    """Return the contents of two rows."""
    contents = []
    for row_id in pair:
        row = view.row_cache.row(row_id)
        if row is None:
            raise row_not_found(view, row_id)
        contents.append(row["content"])
    first, second = contents
    return content_pair(first, second)


def _read_page(
    view: CollectionView,
    found: Duplicates,
    tier: _AnyTier | None,
    offset: int,
    limit: int,
) -> dict[str, Any]:
    """Return the fields of a `DuplicatesResponse`."""
    rejected = read_verdicts(view.table)
    current = _current_groups(view, without_dismissed(found, rejected))
    tiers = dict.fromkeys(("identical", "copy", "similar"), 0)
    for group in current:
        for copy in group.copies:
            tiers[str(copy.tier)] += 1

    chosen = [_of_tier(group, tier) for group in current]
    groups = [group for group in chosen if group.copies]
    end = offset + limit
    next_offset = end if end < len(groups) else None
    removable_bytes = sum(group.removable_bytes for group in groups)
    described = [_describe_group(view, group) for group in groups[offset:end]]
    return {
        "version": found.version,
        "is_outdated": found.version != view.table.version,
        "groups": described,
        "total": len(groups),
        "next": next_offset,
        "tiers": tiers,
        "removable_bytes": removable_bytes,
        "command": _command(view, tier),
        "notes": list(found.notes),
    }


def _current_groups(
    view: CollectionView, groups: list[DuplicateGroup]
) -> list[DuplicateGroup]:
    """Return groups without the images that were removed or changed since the search."""
    current = []
    for group in groups:
        copies = tuple(copy for copy in group.copies if _is_current(view, copy))
        if copies and _is_current(view, group.keeper):
            current.append(DuplicateGroup(group.keeper, copies))
    return current


def _is_current(view: CollectionView, image: Duplicate) -> bool:
    rows = view.row_cache
    row = rows.row(image.id)
    if row is None:
        return False
    content = row["content"]
    return bool(content == image.sha256)


def _of_tier(group: DuplicateGroup, tier: _AnyTier | None) -> DuplicateGroup:
    if tier is None:
        return group
    copies = tuple(copy for copy in group.copies if copy.tier == tier)
    return DuplicateGroup(group.keeper, copies)


def _describe_group(view: CollectionView, group: DuplicateGroup) -> dict[str, Any]:
    images = [group.keeper, *group.copies]
    image_ids = [image.id for image in images]
    ids = np.array(image_ids, np.int64)
    rows = view.row_cache.rows(ids)
    described = []
    for row, image in zip(rows, images, strict=True):
        explanation = explain_copy(image)
        # The row itself belongs to the cache.
        fields = {
            **row,
            "format": image.format,
            "tier": image.tier,
            "explanation": explanation,
            "figures": describe_figures(image),
            "is_protected": image.is_protected,
        }
        described.append(fields)
    keeper, *copies = described
    return {"keeper": keeper, "copies": copies}


def _command(view: CollectionView, tier: _AnyTier | None) -> str:
    """Return the command that shows what a removal would do."""
    words = ["lookalike", "duplicates", "--apply", "trash"]
    if tier is not None:
        words += ["--tier", tier]
    path = view.table.path
    words += ["-c", path]
    return shlex.join(words)
