"""Commits that conflict with those of other processes, where no lock keeps the others out."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from lookalike.errors import BusyError

if TYPE_CHECKING:
    from lookalike.store.table import Table

__all__ = [
    "ConflictError",
    "StepResult",
    "in_transaction",
    "is_conflict",
    "retry_conflicts",
]

_ATTEMPTS = 12
_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 3.0
_CONFLICT = re.compile(
    r"commit conflict|Too many concurrent writers|preempted by concurrent"
    r"|incompatible with concurrent"
)

StepResult = TypeVar("StepResult")
_Parameters = ParamSpec("_Parameters")


class _OfTable(Protocol):
    """An object that changes a table."""

    _table: Table


_Owner = TypeVar("_Owner", bound=_OfTable)


class ConflictError(BusyError):
    """Another process has changed the same rows, columns or indices first."""


def is_conflict(error: BaseException) -> bool:
    """Return whether Lance refused a commit because of a commit of another process."""
    text = str(error)
    match = _CONFLICT.search(text)
    return match is not None


def retry_conflicts(step: Callable[[], StepResult]) -> StepResult:
    """Run a step, and run it again if a commit of it conflicts with another process's.

    Parameters
    ----------
    step
        Starts from the newest version each time. Its commits before the conflict stay, so it must
        find what it has already done.

    Raises
    ------
    ConflictError
        If the last attempt conflicts too.
    """
    pause = _FIRST_PAUSE_SECONDS
    for _ in range(_ATTEMPTS - 1):
        try:
            return step()
        except ConflictError:
            # At random, so that two processes do not meet again.
            time.sleep(random.uniform(0, pause))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
    return step()


def in_transaction(
    method: Callable[Concatenate[_Owner, _Parameters], StepResult],
) -> Callable[Concatenate[_Owner, _Parameters], StepResult]:
    """Run each call of a method as a transaction of its object's table; see `Table.transaction`."""

    @wraps(method)
    def run(
        owner: _Owner, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> StepResult:
        step = partial(method, owner, *args, **kwargs)
        return owner._table.transaction(step)

    return run
