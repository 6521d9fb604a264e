"""Options that a command would ignore: they are refused, so that none is lost in silence."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.errors import InputError

__all__ = ["refuse_options"]


def refuse_options(options: Mapping[str, object], reason: str) -> None:
    """Refuse options that have no use beside others.

    Parameters
    ----------
    options
        Each option by its name, and a value that is true if it was given.
    reason
        The end of the sentence that begins with "--images was given", and the next step.

    Raises
    ------
    InputError
        If one was given.
    """
    given = [name for name, value in options.items() if value]
    if not given:
        return
    listed = " and ".join(given)
    count = len(given)
    verb = "was"
    if count > 1:
        verb = "were"
    problem = f"{listed} {verb} given {reason}"
    raise InputError(problem)
