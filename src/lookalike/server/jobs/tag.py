"""The tagging job: fills the column of tags from vectors, or removes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from lookalike.indexing.tags import (
    TagRemoval,
    TagReport,
    check_taggable,
    check_tagged,
    remove_tags,
    tag_images,
)
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState

__all__ = ["TagBody", "TagJob"]


class TagBody(JobBody):
    """Tag the images of a collection with words for what is in them, or remove the tags."""

    kind: Literal["tag"]
    remove: Annotated[
        bool, Field(description="Remove the tags and their column instead.")
    ] = False


class TagJob:
    """Tags all images, or removes their tags; no image is read."""

    body = TagBody
    router = None
    changes_collection = True

    def prepare(self, state: ServerState, body: TagBody) -> JobWork:
        """Return the work of tagging, or of removing the tags."""
        collection = state.registry.collection(body.collection)
        view = collection.view()
        kinds = view.table.metadata
        if body.remove:
            check_tagged(kinds)
        else:
            check_taggable(kinds, view.models)

        def work(job: Job) -> dict[str, Any]:
            newest = collection.view()
            job.total = len(newest.row_cache)
            table = newest.table.reopen()
            report: TagReport | TagRemoval
            if body.remove:
                report = remove_tags(table)
                job.advance(job.total)
            else:
                report = tag_images(table, progress=job.advance)
            # The next filter already finds tags, or none.
            collection.refresh(force=True)
            return report.to_dict()

        return work
