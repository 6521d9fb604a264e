"""The evaluation job: measures how well each Space retrieves images of the same label."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from lookalike.evaluation.evaluate import evaluate
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.openapi import problem_responses
from lookalike.server.parameters import CollectionName
from lookalike.server.problems import Problem
from lookalike.server.responses import json_response
from lookalike.server.schemas import EvaluationResponse, JobBody
from lookalike.server.state import ServerState, server_state

__all__ = ["EvaluateBody", "EvaluateJob"]

evaluation_router = APIRouter(tags=["jobs"])


class EvaluateBody(JobBody):
    """Evaluate Spaces of a collection."""

    kind: Literal["evaluate"]
    spaces: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=64,
            description="The Spaces to evaluate; all by default.",
        ),
    ]


class EvaluateJob:
    """Evaluates Spaces; the result stays with the served collection."""

    body = EvaluateBody
    router = evaluation_router
    # The result is in the memory of the server.
    changes_collection = False

    def prepare(self, state: ServerState, body: EvaluateBody) -> JobWork:
        """Return the work of an evaluation."""
        collection = state.registry.collection(body.collection)
        table = collection.view().table
        spaces = []
        for name in body.spaces:
            space = table.space(name)
            spaces.append(space)

        def work(job: Job) -> dict[str, Any]:
            view = collection.view()
            space_count = len(spaces) or len(view.models)
            row_count = len(view.row_cache)
            job.total = space_count * row_count
            evaluation = evaluate(view.table, spaces=spaces, progress=job.advance)
            result = evaluation.to_dict()
            collection.evaluation = result
            return result

        return work


@evaluation_router.get(
    "/evaluation",
    response_model=EvaluationResponse,
    responses=problem_responses(404, 422),
)
async def get_evaluation(
    request: Request, collection: CollectionName = None
) -> Response:
    """Return the result of the last evaluation since the server started."""
    served = server_state(request).registry.collection(collection)
    if served.evaluation is None:
        raise Problem(
            404,
            "Evaluation not found",
            f"The collection {served.name!r} has not been evaluated. Start a job of kind evaluate.",
        )
    return json_response(served.evaluation)
