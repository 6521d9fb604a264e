"""Calibrate Spaces: measure how far their images lie apart, so that answers have a confidence."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from lookalike.errors import InputError
from lookalike.evaluation.absent import choose_labels, score_absent
from lookalike.evaluation.nearest import nearest_rows, read_labels
from lookalike.retrieval.confidence import (
    IMAGE,
    SpaceCalibration,
    calibration_state,
    count_changes,
)
from lookalike.store import calibrations
from lookalike.store.table import Table
from lookalike.store.view import View

__all__ = ["MIN_CALIBRATED_ROWS", "calibrate", "measure_space", "refresh"]

# Spaces with fewer rows are calibrated on request alone.
MIN_CALIBRATED_ROWS = 100
# The pass over a larger Space takes more than a minute, and is made on request alone.
_MAX_ROWS = 200_000
# In place of a kind of query: what could not be calibrated.
_ATTEMPT = "attempt"


def calibrate(
    table: Table,
    *,
    spaces: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[SpaceCalibration]:
    """Calibrate Spaces, so that each match of a search has a confidence.

    The distance of rows to their nearest other row is measured, of all rows or of a sample, and
    stored in the table. Where images have labels, each label is held out in turn, to measure how
    often an image of an absent kind is answered.

    Parameters
    ----------
    table
        The collection's table.
    spaces
        The Spaces; all if none is named.
    seed
        The seed of samples.
    progress
        Called with the number of rows compared since the last call.

    Returns
    -------
    calibrations
        That of each Space.

    Raises
    ------
    InputError
        If a Space holds fewer than 34 different images.
    SpaceError
        If the collection has no such Space.
    CollectionError
        If the collection cannot be read or written.
    """
    named = dict.fromkeys(table.space(name) for name in spaces)
    names = list(named) or list(table.models)
    measured = []
    for space in names:
        calibration = measure_space(table, space, seed=seed, progress=progress)
        measured.append(calibration)
    for calibration in measured:
        text = calibration.to_json()
        space = calibration.space
        kind = calibration.kind
        calibrations.write_text(table, space, kind, text)
    return measured


def measure_space(
    view: View,
    space: str,
    *,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SpaceCalibration:
    """Measure the calibration of a Space, without storing it; see `calibrate`."""
    start = time.perf_counter()
    rows = read_labels(view, space)
    choices = []
    if len(rows.names) > 1:
        choices = choose_labels(rows.names, 1, seed)
    names = [label for (label,) in choices]
    nearest = nearest_rows(view, space, rows, names, seed=seed, progress=progress)
    count = len(rows.ids)
    scores = score_absent(space, count, nearest, choices, seed)
    seconds = time.perf_counter() - start
    return SpaceCalibration(
        kind=IMAGE,
        space=space,
        version=rows.version,
        rows=count,
        last_id=int(rows.ids[-1]),
        distances=scores.distances,
        kept=scores.kept,
        absent=scores.answered,
        labels=scores.labels,
        seconds=round(seconds, 3),
    )


def refresh(table: Table, max_change: float) -> None:
    """Calibrate each Space that has none, or whose rows have changed by more than a share.

    Small Spaces, those that would take long, and those that were learned from labels are left out.
    """
    models = table.models
    for space, model in models.items():
        if model.learned is not None:
            # The images that it was learned from lie closer together than new ones: a new image
            # would too often seem to be like none.
            continue
        count = table.count(space)
        is_measured = MIN_CALIBRATED_ROWS <= count <= _MAX_ROWS
        if not is_measured or _is_current(table, space, max_change):
            continue
        named = [space]
        try:
            calibrate(table, spaces=named)
        except InputError:
            # Too few images differ from each other. The next run does not measure them again.
            _store_attempt(table, space)


def _is_current(view: View, space: str, max_change: float) -> bool:
    """Return whether few rows have changed since a Space was measured, or could not be."""
    state = calibration_state(view, space)
    if state is not None and state.change <= max_change:
        return True
    text = calibrations.read_text(view, space, _ATTEMPT)
    if text is None:
        return False
    attempt = json.loads(text)
    rows: int = attempt["rows"]
    last_id: int = attempt["last_id"]
    added, removed = count_changes(view, space, rows, last_id)
    return added + removed <= max_change * rows


def _store_attempt(table: Table, space: str) -> None:
    """Remember the rows of a Space that could not be calibrated."""
    measured = read_labels(table, space)
    ids = measured.ids
    count = len(ids)
    last_id = int(ids[-1])
    attempt = {"rows": count, "last_id": last_id}
    text = json.dumps(attempt)
    calibrations.write_text(table, space, _ATTEMPT, text)
