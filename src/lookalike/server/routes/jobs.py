"""Jobs: evaluate, map, index; and what came of the last evaluation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lookalike.server import jobs
from lookalike.server.problems import Problem
from lookalike.server.request_body import read_json
from lookalike.server.responses import answer, body, data, problems
from lookalike.server.routes.collections import CollectionName
from lookalike.server.schemas import EvaluationBody, JobBody, JobList, NewJob, Roots
from lookalike.server.settings import API
from lookalike.server.state import ServerState, server_state

__all__ = ["router"]

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(max_length=64, description="A job's id.")]
_EVENT = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["progress", "done", "failed"]},
        "data": {"type": "string", "description": "The job as JSON."},
    },
}
_LOOK_SECONDS = 0.2
# A proxy ends connections that are silent for long.
_SILENT_SECONDS = 15.0


@router.get("/roots", response_model=Roots, responses=problems())
async def roots(request: Request) -> Response:
    """List the folders that may be indexed on demand; a job names one by its number."""
    listed = server_state(request).settings.roots
    return answer(
        {"roots": [{"root": number, "path": str(path)} for number, path in enumerate(listed)]}
    )


@router.post(
    "/jobs",
    response_model=JobBody,
    status_code=202,
    responses=problems(400, 403, 404, 408, 413, 415, 422),
    openapi_extra=body(NewJob),
)
async def begin(request: Request) -> Response:
    """Begin a job; the same one, while it waits or runs, is not begun twice."""
    state = server_state(request)
    asked = await read_json(request, NewJob)
    work = _work(state, asked)
    job = state.jobs.add(asked.kind, asked.model_dump(exclude_none=True, exclude={"kind"}), work)
    prefix = state.settings.root_path
    return answer(job.to_dict(), 202, {"Location": f"{prefix}{API}/jobs/{job.id}"})


@router.get("/jobs", response_model=JobList, responses=problems())
async def listed(request: Request) -> Response:
    """List the jobs, the oldest first."""
    return answer({"jobs": [job.to_dict() for job in server_state(request).jobs.all()]})


@router.get("/jobs/{job}", response_model=JobBody, responses=problems(404, 422))
async def told(request: Request, job: JobId) -> Response:
    """Tell how far a job is, and what came of it."""
    return answer(server_state(request).jobs.find(job).to_dict())


@router.delete("/jobs/{job}", response_model=JobBody, responses=problems(403, 404, 422))
async def cancel(request: Request, job: JobId) -> Response:
    """Call a job off; one that runs ends as soon as it can."""
    found = server_state(request).jobs.find(job)
    found.cancel()
    return answer(found.to_dict())


@router.get(
    "/jobs/{job}/events",
    response_class=Response,
    responses={
        200: data(
            "text/event-stream", description="Events: progress, then done or failed.", schema=_EVENT
        ),
        **problems(404, 422),
    },
)
async def events(request: Request, job: JobId) -> Response:
    """Tell how far a job is whenever that changes: ``progress``, and at last ``done`` or ``failed``."""
    state = server_state(request)
    found = state.jobs.find(job)
    return StreamingResponse(_events(state, found), media_type="text/event-stream")


@router.get("/evaluation", response_model=EvaluationBody, responses=problems(404, 422))
async def evaluation(request: Request, collection: CollectionName = None) -> Response:
    """Give the result of the last evaluation since the server started."""
    served = server_state(request).registry.served(collection)
    if served.evaluation is None:
        raise Problem(
            404,
            "No evaluation yet",
            f"{served.name!r} has not been evaluated. Begin a job: evaluate.",
        )
    return answer(served.evaluation)


def _work(state: ServerState, asked: NewJob) -> Callable[[jobs.Job], dict[str, Any]]:
    served = state.registry.served(asked.collection)
    collection = served.view().collection
    if asked.kind == "evaluate":
        return jobs.evaluation(served, [collection.space(name) for name in asked.spaces])
    if asked.kind == "map":
        return jobs.mapping(served, collection.space(asked.space), asked.method, fresh=asked.fresh)
    roots = state.settings.roots
    if asked.root is None or asked.root >= len(roots):
        raise Problem(
            404,
            "No such root",
            f"There are {len(roots)} folders that may be indexed, counted from 0. Start the server with --root DIR.",
        )
    return jobs.indexing(served, roots[asked.root])


async def _events(state: ServerState, job: jobs.Job) -> AsyncIterator[str]:
    last, silent = "", 0.0
    while not state.closing:
        now = json.dumps(job.to_dict())
        if now != last:
            last, silent = now, 0.0
            name = ("done" if job.state == "done" else "failed") if job.ended else "progress"
            yield f"event: {name}\ndata: {now}\n\n"
            if name != "progress":
                return
        elif silent > _SILENT_SECONDS:
            silent = 0.0
            yield ": still there\n\n"
        await asyncio.sleep(_LOOK_SECONDS)
        silent += _LOOK_SECONDS
