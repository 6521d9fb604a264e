"""The tagging job: fills the column of tags from vectors."""

from __future__ import annotations

from typing import Any, Literal

from lookalike.indexing.tags import check_taggable, tag_images
from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState

__all__ = ["TagBody", "TagJob"]


class TagBody(JobBody):
    """Tag the images of a collection with words for what is in them."""

    kind: Literal["tag"]


class TagJob:
    """Tags all images; no image is read."""

    body = TagBody
    router = None
    changes_collection = True

    def prepare(self, state: ServerState, body: TagBody) -> JobWork:
        """Return the work of tagging."""
        collection = state.registry.collection(body.collection)
        view = collection.view()
        check_taggable(view.table.metadata, view.models)

        def work(job: Job) -> dict[str, Any]:
            newest = collection.view()
            job.total = len(newest.row_cache)
            table = newest.table.reopen()
            report = tag_images(table, progress=job.advance)
            # The next filter already finds tags.
            collection.refresh(force=True)
            return report.to_dict()

        return work
