"""Job kinds: the request body of a job and the work that it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, Union

from fastapi import APIRouter
from pydantic import Field, TypeAdapter

from lookalike.server.jobs.queue import Job, JobWork
from lookalike.server.problems import Problem
from lookalike.server.schemas import JobBody
from lookalike.server.state import ServerState

__all__ = ["JobKind", "JobKinds"]


class JobKind(Protocol):
    """A kind of job.

    Attributes
    ----------
    body
        The request body: a `JobBody` whose field ``kind`` is a `Literal` of the kind's name.
    router
        Further routes of the kind, such as the latest result, or None.
    changes_collection
        Whether the work changes a collection or makes one. A read-only server refuses it.
    """

    @property
    def body(self) -> type[JobBody]:
        """The request body."""
        ...

    @property
    def router(self) -> APIRouter | None:
        """The further routes, or None."""
        ...

    @property
    def changes_collection(self) -> bool:
        """Whether the work changes a collection or makes one."""
        ...

    def prepare(self, state: ServerState, body: Any) -> JobWork:
        """Validate a request against the server and return the work.

        Raises
        ------
        Problem, LookalikeError
            If the work cannot be started.
        """
        ...


class JobKinds:
    """The job kinds of a server.

    Attributes
    ----------
    body
        Validates the body of ``POST /jobs``: the union of the bodies of all kinds.
    routers
        The further routes of all kinds.
    """

    def __init__(self, kinds: Sequence[JobKind]) -> None:
        self._kinds: dict[type[JobBody], JobKind] = {}
        self.routers: list[APIRouter] = []
        for kind in kinds:
            self._kinds[kind.body] = kind
            if kind.router is not None:
                self.routers.append(kind.router)

        bodies = tuple(self._kinds)
        union = _union_of(bodies)
        self.body: TypeAdapter[JobBody] = TypeAdapter(union)

    def start(self, state: ServerState, body: JobBody) -> Job:
        """Add the job of a request to the server's queue; see `JobQueue.add`.

        Raises
        ------
        Problem
            403, if the job would change a collection and the server is read-only.
        """
        body_type = type(body)
        kind = self._kinds[body_type]
        if kind.changes_collection and state.settings.read_only:
            raise Problem(
                403,
                "Read-only server",
                f"This server only reads its collections; a job of kind {body.kind} would change "
                "one. Run the command on the machine that maintains the collection, such as: "
                "lookalike index FOLDER -c COLLECTION",
            )
        work = kind.prepare(state, body)
        fields = body.model_dump(exclude_none=True, exclude={"kind"})
        return state.jobs.add(body.kind, fields, work)


def _union_of(bodies: tuple[type[JobBody], ...]) -> Any:
    """Return the type of a body of any kind; the field ``kind`` decides between them."""
    union: Any = Union[bodies]  # noqa: UP007 (the members are known only at run time)
    if len(bodies) == 1:
        return union
    return Annotated[union, Field(discriminator="kind")]
