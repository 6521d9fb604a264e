"""Licenses that a user accepts before a download."""

from __future__ import annotations

import hashlib
from pathlib import Path

import platformdirs

from lookalike.errors import WeightsError
from lookalike.io.files import atomic_write
from lookalike.types import Model, Weights

__all__ = ["accept", "check_accepted"]


def accept(model: Model) -> list[str]:
    """Accept the licenses of a Model's files for this user of this computer.

    Returns
    -------
    list of str
        The addresses of the licenses; none if the Model's files need no acceptance.

    Raises
    ------
    WeightsError
        If the acceptance cannot be kept.
    """
    accepted = []
    for file in _files(model):
        terms = file.terms
        if terms is None or terms in accepted:
            continue
        _write_acceptance(terms)
        accepted.append(terms)
    return accepted


def check_accepted(model: Model, file: Weights) -> None:
    """Refuse a file whose license the user has not accepted.

    Raises
    ------
    WeightsError
        If the file has terms, and `accept` was never called for them.
    """
    terms = file.terms
    if terms is None or _acceptance(terms).is_file():
        return
    name = model.name
    raise WeightsError(
        f"The model {name!r} is only for those who accept its license, {file.license}: {terms}. "
        f"Read it. To accept it, run: lookalike models --accept-license {name}"
    )


def _files(model: Model) -> list[Weights]:
    files = [model.weights, model.calibration, model.data]
    tower = model.text
    if tower is not None:
        files += [tower.graph, tower.tokenizer, tower.projection]
    return [file for file in files if file is not None]


def _write_acceptance(terms: str) -> None:
    record = _acceptance(terms)
    try:
        with atomic_write(record) as temporary:
            temporary.write_text(f"{terms}\n", "utf-8")
    except OSError as error:
        raise WeightsError(
            f"The accepted license cannot be kept in {record}: {error.strerror or error}. "
            "Name a writable folder in XDG_DATA_HOME."
        ) from error


def _acceptance(terms: str) -> Path:
    """Return the file whose existence means that the user accepted these terms."""
    content = terms.encode()
    digest = hashlib.sha256(content).hexdigest()
    data = platformdirs.user_data_dir("lookalike", appauthor=False)
    folder = Path(data, "licenses")
    return folder / f"{digest[:16]}.txt"
