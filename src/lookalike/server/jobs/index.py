"""The index job: brings a collection up to date with a folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

import lookalike
from lookalike.indexing.run import IndexSettings
from lookalike.io.processors import cores
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.openapi import problem_responses
from lookalike.server.problems import Problem
from lookalike.server.responses import json_response
from lookalike.server.schemas import JobBody, RootsResponse
from lookalike.server.state import ServerState, server_state

__all__ = ["IndexBody", "IndexJob"]

roots_router = APIRouter(tags=["jobs"])


class IndexBody(JobBody):
    """Index a folder that the server was started with."""

    kind: Literal["index"]
    root: Annotated[
        int, Field(ge=0, lt=1000, description="The number of a root in `/roots`.")
    ]


class IndexJob:
    """Indexes a folder into a collection."""

    body = IndexBody
    router = roots_router

    def prepare(self, state: ServerState, body: IndexBody) -> JobWork:
        """Return the work of indexing a root."""
        collection = state.registry.collection(body.collection)
        # Raises if the collection cannot be read.
        collection.view()
        roots = state.settings.roots
        if body.root >= len(roots):
            raise Problem(
                404,
                "Root not found",
                f"This server has {len(roots)} roots, counted from 0. "
                "Start it with --root DIR to add one.",
            )
        root = roots[body.root]
        # One core is left to searches.
        threads = max(1, cores() - 1)
        settings = IndexSettings(threads=threads)

        def work(job: Job) -> dict[str, Any]:
            report = lookalike.index(
                [root], collection.path, settings=settings, progress=job.advance
            )
            collection.refresh(force=True)
            return report.to_dict()

        return work


@roots_router.get("/roots", response_model=RootsResponse, responses=problem_responses())
async def get_roots(request: Request) -> Response:
    """List the folders that can be indexed; an index job refers to one by its number."""
    settings = server_state(request).settings
    listed = []
    for number, folder in enumerate(settings.roots):
        path = str(folder)
        root = {"root": number, "path": path}
        listed.append(root)
    return json_response({"roots": listed})
