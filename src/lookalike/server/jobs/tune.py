"""The tuning job: learns a Space from labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike.learning.tune import tune_space
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState
from lookalike.types import Purpose

__all__ = ["TuneBody", "TuneJob"]


class TuneBody(JobBody):
    """Learn a Space from labels, and add it to the collection if it is better."""

    kind: Literal["tune"]
    purpose: Annotated[
        Purpose,
        Field(
            description="`these-classes` if all images have one of these labels, `anything` if "
            "images of other labels are searched as well."
        ),
    ]
    name: Annotated[
        str | None,
        Field(description="The name of the new Space; by default that of the purpose."),
    ] = None
    space: Annotated[
        str | None, Field(description="The Space to learn from; the first by default.")
    ] = None
    seed: Annotated[
        int, Field(ge=0, description="The seed of the images that are left out.")
    ] = 0


class TuneJob:
    """Learns a Space; its gains and the verdict are the result."""

    body = TuneBody
    router = None
    changes_collection = True

    def prepare(self, state: ServerState, body: TuneBody) -> JobWork:
        """Return the work of learning."""
        collection = state.registry.collection(body.collection)
        space = collection.view().table.space(body.space)

        def work(job: Job) -> dict[str, Any]:
            table = collection.view().table.reopen()
            report = tune_space(
                table,
                body.purpose,
                name=body.name,
                space=space,
                seed=body.seed,
                progress=job.report,
            )
            # The next search already has the Space.
            collection.refresh(force=True)
            return report.to_dict()

        return work
