"""Check a collection: read all of it, and compare it with its models and image files."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lookalike.errors import CollectionError, ModelError, WeightsError
from lookalike.io.processors import cores
from lookalike.maintenance.integrity import (
    OUTCOMES,
    CheckReport,
    Fault,
    RowChecker,
    restore_advice,
)
from lookalike.models import embedder, weights
from lookalike.retrieval.confidence import IMAGE, parse_calibration
from lookalike.store import calibrations, inspection, maps
from lookalike.store import copy as copies
from lookalike.store.table import Table
from lookalike.types import Ids, Model

__all__ = ["CheckReport", "Fault", "check", "check_rows"]


def check(
    table: Table,
    *,
    files: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a collection at its newest version, without changing it.

    Every column of every row is read. Uris and ids are unique. Each row is an image with a
    thumbnail that can be decoded, or a failure with its reason. It has exactly the vectors that it
    claims, finite and of unit length where its model makes them so. The indices find the rows. The
    maps, the trash and the calibrations can be read. Each Space's model is the one that filled it,
    if its weights are on this computer; none are downloaded. Memory grows by 16 bytes a row.

    Parameters
    ----------
    table
        The collection's table; its newest version is checked.
    files
        Whether to read the image files too, and to report which are missing or have changed.
    progress
        Called with the number of rows that are done, and the number of rows in all.

    Raises
    ------
    CollectionError
        If the collection cannot be read.
    """
    start = time.perf_counter()
    table.refresh()
    report = check_rows(table, files=files, progress=progress)
    models = table.models
    for space, model in models.items():
        _check_model(model, report)
        _check_calibration(table, space, report)
    end = time.perf_counter()
    seconds = end - start
    report.seconds = seconds
    return report


def check_rows(
    table: Table,
    *,
    files: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check everything except the models, which belong to the computer, not the collection."""
    outcomes: dict[str, int] | None = None
    if files:
        outcomes = dict.fromkeys(OUTCOMES, 0)
    report = CheckReport(table.path, table.version, files=outcomes)
    for name in copies.changed_files(table.path):
        what = f"The file {name} has changed since this backup was made."
        remedy = restore_advice(table)
        fault = Fault(what, remedy)
        report.add(fault)

    with ThreadPoolExecutor(cores(), "check") as pool:
        checker = RowChecker(table, report, pool)
        total = inspection.count_rows(table)
        for part in inspection.read_rows(table):
            if isinstance(part, inspection.UnreadableRows):
                checker.add_unreadable(part)
            else:
                checker.check(part)
            if progress is not None:
                progress(report.rows, total)
        checker.finish()

    _check_versions(table, report)
    _check_trash(table, report)
    ids = checker.ids()
    _check_maps(table, ids, report)
    return report


def _check_versions(table: Table, report: CheckReport) -> None:
    reason = inspection.unreadable_version(table)
    if reason is not None:
        what = f"An older version cannot be read ({reason}), so no old version can be removed."
        remedy = (
            "Make a copy, which holds the newest version alone: "
            f"lookalike restore {table.path} -c NEW"
        )
        fault = Fault(what, remedy)
        report.add(fault)


def _check_trash(table: Table, report: CheckReport) -> None:
    """Read every column of the removed rows."""
    remedy = (
        "The collection itself is not damaged. "
        f"Delete the trash for good with: lookalike trash empty -c {table.path}"
    )
    try:
        view = table.trash.view()
        if view is None:
            return
        for part in inspection.read_rows(view):
            if isinstance(part, inspection.UnreadableRows):
                columns = ", ".join(part.columns)
                rows = f"{columns} of {len(part.ids):,} rows of the trash"
                what = f"{rows} cannot be read: {part.reason}."
                report.add(Fault(what, remedy))
            else:
                report.trash += len(part)
    except CollectionError as error:
        what = f"The trash cannot be read: {inspection.damage_reason(error)}."
        report.add(Fault(what, remedy))


def _check_model(model: Model, report: CheckReport) -> None:
    """Load a Space's model if its weights are here; its graph must have filled the Space."""
    if model.architecture == "pixels":
        return
    try:
        if weights.is_available(model):
            embedder.load(model)
        else:
            report.unchecked.append(
                f"the model of {model.name}: its weights are not on this computer "
                f"({weights.describe_source(model)})"
            )
    except (ModelError, WeightsError) as error:
        what = f"The Space {model.name!r} cannot be searched by an image."
        report.add(Fault(what, remedy=str(error)))


def _check_calibration(table: Table, space: str, report: CheckReport) -> None:
    """Parse a Space's calibration; a search without a valid one has no confidences."""
    text = calibrations.read_text(table, space, IMAGE)
    if text is None or parse_calibration(text) is not None:
        return
    what = f"The calibration of the Space {space!r} is damaged, or a newer version wrote it."
    remedy = f"Measure it again with: lookalike calibrate -c {table.path}"
    report.add(Fault(what, remedy))


def _check_maps(table: Table, ids: Ids, report: CheckReport) -> None:
    """Read each map; rows of a map that were removed from the collection since are not a fault."""
    for space, method in maps.list_maps(table.path):
        try:
            stored = maps.read(table.path, space, method)
        except CollectionError as error:
            fault = Fault(what=str(error), remedy="")
            report.add(fault)
            continue
        if stored is None:
            continue

        if space not in table.models or not _is_valid(stored):
            file = maps.map_path(table.path, space, method)
            what = f"The map {file} is invalid: its Space, its ids or its positions are impossible."
            remedy = "Delete the file and make the map again. The collection itself is not damaged."
            fault = Fault(what, remedy)
            report.add(fault)

        is_removed = ~np.isin(stored.ids, ids)
        removed = np.count_nonzero(is_removed)
        description = {
            "space": space,
            "method": method,
            "rows": len(stored.ids),
            "gone": int(removed),
        }
        report.maps.append(description)


def _is_valid(stored: maps.StoredMap) -> bool:
    """Return whether the ids of a map ascend and its positions are finite numbers."""
    steps = np.diff(stored.ids)
    is_ascending = np.all(steps > 0)
    is_finite = np.isfinite(stored.xy)
    return bool(is_ascending and is_finite.all())
