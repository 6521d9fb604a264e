"""The output and the options that a Model chooses for its architecture."""

from __future__ import annotations

from collections.abc import Iterable

from lookalike.errors import ModelError
from lookalike.types import Model

__all__ = ["read_output", "refuse_unknown_options"]


def read_output(model: Model, known: Iterable[str], *, default: str) -> str:
    """Return the output that a Model names, or the default one.

    Raises
    ------
    ModelError
        If the architecture does not have it.
    """
    output = model.output or default
    names = list(known)
    if output not in names:
        listed = ", ".join(names)
        raise ModelError(
            f"The model {model.name!r} has output = {output!r}; expected one of {listed}."
        )
    return output


def refuse_unknown_options(model: Model, known: Iterable[str]) -> None:
    """Refuse an option that the architecture does not have.

    Raises
    ------
    ModelError
        If the Model has one.
    """
    names = list(known)
    listed = " or ".join(names) or "none"
    for key in model.options:
        if key not in names:
            raise ModelError(
                f"The model {model.name!r} has the option {key!r}; expected {listed}."
            )
