"""The index job: brings a collection up to date with a folder, or makes one of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

import lookalike
from lookalike.indexing.run import IndexReport, IndexSettings
from lookalike.io.processors import cores
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.openapi import problem_responses
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView, ServedCollection
from lookalike.server.responses import json_response
from lookalike.server.schemas import JobBody, RootsResponse
from lookalike.server.state import ServerState, server_state
from lookalike.sources import LocalSource, uri_prefixes
from lookalike.store.table import Table

__all__ = ["IndexBody", "IndexJob"]

roots_router = APIRouter(tags=["jobs"])

# New images can be searched after this time, while the job runs.
_COMMIT_SECONDS = 3.0
# A name becomes a folder: a letter or a digit, then those, spaces and some signs.
_NAME = re.compile(r"[^\W_][\w .()+-]{0,63}")
_NAME_RULE = (
    "a letter or a digit first, then up to 63 letters, digits, spaces and . ( ) + - _"
)


class IndexBody(JobBody):
    """Index a folder that the server was started with."""

    kind: Literal["index"]
    root: Annotated[
        int, Field(ge=0, lt=1000, description="The number of a root in `/roots`.")
    ]
    create: Annotated[
        bool,
        Field(
            description="Make a new collection of the name `collection` first, in the server's "
            "folder for new collections."
        ),
    ] = False
    prune: Annotated[
        bool,
        Field(
            description="Move the rows of all missing files into the trash, even if a drive may "
            "not be mounted. Without it, `withheld` of the result lists the folders whose rows "
            "were kept."
        ),
    ] = False


class IndexJob:
    """Indexes a folder into a collection."""

    body = IndexBody
    router = roots_router
    changes_collection = True

    def prepare(self, state: ServerState, body: IndexBody) -> JobWork:
        """Return the work of indexing a root."""
        root = _find_root(state, body.root)
        if body.create:
            folder = _new_folder(state, body.collection)
            return _creating_work(state, root, folder)
        collection = state.registry.collection(body.collection)
        collection.view()  # raises if the collection cannot be read
        return _updating_work(root, collection, prune=body.prune)


@roots_router.get(
    "/roots", response_model=RootsResponse, responses=problem_responses(404, 422)
)
async def list_roots(request: Request, collection: CollectionName = None) -> Response:
    """List the folders that can be indexed; an index job refers to one by its number.

    The counts are those of one collection; without any collection they are 0.
    """
    state = server_state(request)
    view = None
    if collection is not None or state.registry.collections:
        view = state.registry.view(collection)
    roots = await state.read_pool.run(_list_roots, state, view)
    return json_response(roots)


def _list_roots(state: ServerState, view: CollectionView | None) -> dict[str, Any]:
    settings = state.settings
    listed = []
    for number, path in enumerate(settings.roots):
        count = 0
        if view is not None:
            prefixes = uri_prefixes(str(path))
            count = len(view.table.ids_under(prefixes))
        listed.append({"root": number, "path": str(path), "images": count})
    folder = None if settings.read_only else settings.new_collections
    new_collections = None if folder is None else str(folder)
    return {"roots": listed, "new_collections": new_collections}


def _find_root(state: ServerState, number: int) -> Path:
    roots = state.settings.roots
    if number >= len(roots):
        raise Problem(
            404,
            "Root not found",
            f"This server has {len(roots)} roots, counted from 0. "
            "Start it with --root DIR to add one.",
        )
    return roots[number]


def _new_folder(state: ServerState, name: str | None) -> Path:
    """Return the folder of a new collection.

    Raises
    ------
    Problem
        422, if the name cannot be one; 404, if this server makes no collections; 409, if there is
        a collection of this name.
    """
    parent = state.settings.new_collections
    if parent is None:
        detail = "This server makes no new collections. Use: lookalike index FOLDER -c COLLECTION"
        raise Problem(404, "No folder for new collections", detail)
    if name is None or not _is_valid_name(name):
        reason = f"The name {name!r} cannot be used; expected {_NAME_RULE}."
        errors = [{"where": "collection", "reason": reason}]
        raise Problem(422, "Invalid name", reason, errors=errors)
    folder = parent / name
    if name in state.registry.collections or folder.exists():
        detail = f"There is a collection {name!r} already. Choose another name, or add to it."
        raise Problem(409, "Name in use", detail)
    return folder


def _is_valid_name(name: str) -> bool:
    if _NAME.fullmatch(name) is None:
        return False
    # Windows removes spaces and full stops from the end of a folder's name.
    last = name[-1]
    return last not in " ."


def _updating_work(root: Path, collection: ServedCollection, *, prune: bool) -> JobWork:
    """Return the work of indexing a root into a served collection."""

    def find_served() -> ServedCollection:
        return collection

    path = collection.path
    return partial(_index, root=root, path=path, find_served=find_served, prune=prune)


def _creating_work(state: ServerState, root: Path, folder: Path) -> JobWork:
    """Return the work of indexing a root into a new collection, which is served once it exists."""
    registry = state.registry
    served: ServedCollection | None = None

    def find_served() -> ServedCollection | None:
        nonlocal served
        if served is None and Table.exists(folder):
            served = registry.add(folder)
            served.refresh(force=True)
        return served

    path = str(folder)
    return partial(_index, root=root, path=path, find_served=find_served)


def _index(
    job: Job,
    *,
    root: Path,
    path: str,
    find_served: Callable[[], ServedCollection | None],
    prune: bool = False,
) -> dict[str, Any]:
    """Index a root, and return the counts of the report as plain data.

    Parameters
    ----------
    job
        Reports the progress. If it is cancelled or fails, its result has the counts of what was
        kept.
    root, path
        The folder of images, and that of the collection.
    find_served
        Returns the served collection, or None while it does not exist.
    prune
        Whether to move the rows of all missing files into the trash, even if a drive may not be
        mounted.
    """
    source = LocalSource([root])
    # One core is left to searches.
    threads = max(1, cores() - 1)
    settings = IndexSettings(
        threads=threads, commit_seconds=_COMMIT_SECONDS, prune=prune
    )
    images_before, failures_before = _sizes(find_served())
    job.total = source.count()

    def advance(count: int) -> None:
        find_served()
        job.advance(count)

    report: IndexReport | None = None
    try:
        report = lookalike.index(source, path, settings=settings, progress=advance)
    finally:
        served = find_served()
        if served is not None:
            served.refresh(force=True)
        if report is None:
            images, failures = _sizes(served)
            added = max(0, images - images_before)
            failed = max(0, failures - failures_before)
            job.result = {"added": added, "failed": failed, "images": images}
    return report.to_dict()


def _sizes(served: ServedCollection | None) -> tuple[int, int]:
    """Return the numbers of images and of failures of a served collection."""
    if served is None:
        return 0, 0
    try:
        view = served.view()
    except Problem:
        return 0, 0
    return len(view.row_cache), view.table.failures().num_rows
