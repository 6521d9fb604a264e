"""Many searches in one request: their images share the embedder's batches."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pydantic_core

from lookalike.server.problems import problem_fields, to_problem
from lookalike.server.query import (
    ResolvedQuery,
    embed_request,
    images_used,
    search_response,
)
from lookalike.server.replicas import catch_up_with_query
from lookalike.server.request_body import parse_json
from lookalike.server.schemas import SearchBody
from lookalike.server.state import ServerState
from lookalike.server.uploads import EmbedRequest

__all__ = ["run_searches"]

# As few as share a turn of a thread when they come one by one.
_PART_SEARCHES = 4


async def run_searches(
    state: ServerState, searches: list[Any], images: list[bytes], instance: str
) -> list[dict[str, Any]]:
    """Return the fields of a `BatchResult` for each search.

    Parameters
    ----------
    state
        The server.
    searches
        The fields of a `SearchBody` each, not validated yet.
    images
        The images sent with the request; a search refers to them by number.
    instance
        The path of the request.
    """
    outcomes: list[Any] = []
    requests: list[EmbedRequest] = []
    positions = []
    for position, fields in enumerate(searches):
        try:
            request = await _prepare(state, fields, images)
        except Exception as error:  # noqa: BLE001 (ends this search only)
            outcomes.append(error)
        else:
            outcomes.append(None)
            requests.append(request)
            positions.append(position)

    if requests:
        answers = await _run_in_parts(state, requests)
        for position, answer in zip(positions, answers, strict=True):
            outcomes[position] = answer
    return [_result(outcome, instance) for outcome in outcomes]


async def _prepare(
    state: ServerState, fields: Any, images: list[bytes]
) -> EmbedRequest:
    """Return one search as a request to the embedder."""
    start = time.perf_counter()
    encoded = pydantic_core.to_json(fields)
    body = parse_json(encoded, SearchBody.model_validate_json)
    body, used = images_used(body, images)
    await catch_up_with_query(state, body)

    def search(query: ResolvedQuery) -> dict[str, Any]:
        return search_response(state, query, body, start)

    return embed_request(state, body, used, search)


async def _run_in_parts(state: ServerState, requests: list[EmbedRequest]) -> list[Any]:
    """Return the result or exception of each request.

    All threads take parts of the batch. Other requests get their turns in between, because each
    thread asks for its next part only when it has done one.
    """
    pool = state.image_pool
    answers: list[Any] = [None] * len(requests)
    starts = iter(range(0, len(requests), _PART_SEARCHES))

    async def take_parts() -> None:
        for start in starts:
            part = slice(start, start + _PART_SEARCHES)
            work = partial(state.uploads.run, requests[part])
            answers[part] = await pool.submit(work)

    with pool.slot():
        threads = [take_parts() for _ in range(state.settings.workers)]
        await asyncio.gather(*threads)
    return answers


def _result(outcome: Any, instance: str) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        problem = to_problem(outcome)
        return {"answer": None, "problem": problem_fields(problem, instance)}
    return {"answer": outcome, "problem": None}
