"""Jobs: start, list, follow and cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lookalike.server.jobs.kinds import JobKinds
from lookalike.server.jobs.queue import Job, JobState
from lookalike.server.openapi import (
    BODY_STATUSES,
    file_response,
    problem_responses,
    request_body,
)
from lookalike.server.request_body import read_json
from lookalike.server.responses import json_response
from lookalike.server.schemas import JobResponse, JobsResponse
from lookalike.server.settings import API
from lookalike.server.state import ServerState, server_state

__all__ = ["JOB_REQUEST", "jobs_router"]

# The name of the schema of a request; the server's `JobKinds` define it.
JOB_REQUEST = "JobRequest"

jobs_router = APIRouter(tags=["jobs"])

_JobId = Annotated[str, Path(max_length=64, description="The id of a job.")]
_EVENT_SCHEMA = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["progress", "done", "failed"]},
        "data": {"type": "string", "description": "The job as JSON."},
    },
}
_POLL_SECONDS = 0.2
# Proxies close connections that are silent for longer.
_LONGEST_SILENCE_SECONDS = 15.0


@jobs_router.post(
    "/jobs",
    response_model=JobResponse,
    status_code=202,
    responses=problem_responses(404, *BODY_STATUSES),
    openapi_extra=request_body(json=JOB_REQUEST),
)
async def start_job(request: Request) -> Response:
    """Start a job; an equal job that waits or runs already is returned instead."""
    state = server_state(request)
    kinds: JobKinds = request.app.state.job_kinds
    body = await read_json(request, kinds.body)
    job = kinds.start(state, body)
    prefix = state.settings.root_path
    location = f"{prefix}{API}/jobs/{job.id}"
    headers = {"Location": location}
    fields = job.to_dict()
    return json_response(fields, 202, headers)


@jobs_router.get("/jobs", response_model=JobsResponse, responses=problem_responses())
async def list_jobs(request: Request) -> Response:
    """List the jobs, the oldest first."""
    jobs = server_state(request).jobs
    listed = []
    for job in jobs.all():
        fields = job.to_dict()
        listed.append(fields)
    return json_response({"jobs": listed})


@jobs_router.get(
    "/jobs/{job}", response_model=JobResponse, responses=problem_responses(404, 422)
)
async def get_job(request: Request, job: _JobId) -> Response:
    """Return the state, progress and result of a job."""
    state = server_state(request)
    jobs = state.jobs
    found = jobs.find(job)
    fields = found.to_dict()
    return json_response(fields)


@jobs_router.delete(
    "/jobs/{job}",
    response_model=JobResponse,
    responses=problem_responses(403, 404, 422),
)
async def cancel_job(request: Request, job: _JobId) -> Response:
    """Cancel a job; a running job stops as soon as it can."""
    state = server_state(request)
    jobs = state.jobs
    found = jobs.find(job)
    found.cancel()
    fields = found.to_dict()
    return json_response(fields)


@jobs_router.get(
    "/jobs/{job}/events",
    response_class=Response,
    responses={
        200: file_response(
            "text/event-stream",
            description="Events: progress, then done or failed.",
            schema=_EVENT_SCHEMA,
        ),
        **problem_responses(404, 422),
    },
)
async def stream_job_events(request: Request, job: _JobId) -> Response:
    """Stream the changes of a job: ``progress`` events, then ``done`` or ``failed``."""
    state = server_state(request)
    found = state.jobs.find(job)
    events = _events(state, found)
    return StreamingResponse(events, media_type="text/event-stream")


async def _events(state: ServerState, job: Job) -> AsyncIterator[str]:
    last_sent = ""
    silent_seconds = 0.0
    while not state.closing:
        fields = job.to_dict()
        current = json.dumps(fields)
        if current != last_sent:
            last_sent = current
            silent_seconds = 0.0
            name = _event_name(fields["state"])
            yield f"event: {name}\ndata: {current}\n\n"
            if name != "progress":
                return
        elif silent_seconds > _LONGEST_SILENCE_SECONDS:
            silent_seconds = 0.0
            yield ": keep-alive\n\n"
        await asyncio.sleep(_POLL_SECONDS)
        silent_seconds += _POLL_SECONDS


def _event_name(state: JobState) -> str:
    if state in {JobState.WAITING, JobState.RUNNING}:
        return "progress"
    if state == JobState.DONE:
        return "done"
    return "failed"
