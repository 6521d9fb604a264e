"""The map job: computes a two-dimensional map of a Space."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike.projection.map import make_map
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState

__all__ = ["MapBody", "MapJob"]


class MapBody(JobBody):
    """Make a map of a Space."""

    kind: Literal["map"]
    space: Annotated[
        str | None, Field(description="The Space; the first by default.")
    ] = None
    method: Annotated[
        Literal["tsne", "pca", "umap"], Field(description="The projection method.")
    ] = "tsne"
    rebuild: Annotated[
        bool, Field(description="Make the map even if it is stored already.")
    ] = False


class MapJob:
    """Makes a map, which is stored in the collection."""

    body = MapBody
    router = None
    changes_collection = True

    def prepare(self, state: ServerState, body: MapBody) -> JobWork:
        """Return the work of making a map."""
        collection = state.registry.collection(body.collection)
        view = collection.view()
        space = view.table.space(body.space)

        def work(_: Job) -> dict[str, Any]:
            newest = collection.view()
            made = make_map(
                newest.table, space=space, method=body.method, rebuild=body.rebuild
            )
            return {"space": space, "method": body.method, "summary": made.summary}

        return work
