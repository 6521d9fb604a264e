"""The calibration job: measures when an answer means something."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike.maintenance.calibrate import calibrate
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState

__all__ = ["CalibrateBody", "CalibrateJob"]


class CalibrateBody(JobBody):
    """Calibrate Spaces of a collection, so that matches have a confidence."""

    kind: Literal["calibrate"]
    spaces: Annotated[
        list[str],
        Field(
            default_factory=list,
            max_length=64,
            description="The Spaces to calibrate; all by default.",
        ),
    ]


class CalibrateJob:
    """Calibrates Spaces; the calibration is stored in the collection."""

    body = CalibrateBody
    router = None
    changes_collection = True

    def prepare(self, state: ServerState, body: CalibrateBody) -> JobWork:
        """Return the work of a calibration."""
        collection = state.registry.collection(body.collection)
        view = collection.view()
        spaces = [view.table.space(name) for name in body.spaces]

        def work(job: Job) -> dict[str, Any]:
            view = collection.view()
            space_count = len(spaces) or len(view.models)
            job.total = space_count * len(view.row_cache)
            table = view.table.reopen()
            calibrations = calibrate(table, spaces=spaces, progress=job.advance)
            # The next search already has confidences.
            collection.refresh(force=True)
            return {"spaces": [one.to_dict() for one in calibrations]}

        return work
