"""Check a collection: read all of it through, and hold what it says against itself, its models and its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from lookalike.errors import CollectionError, ModelError, WeightsError
from lookalike.io.processors import cores
from lookalike.maintenance.integrity import OUTCOMES, CheckReport, Fault, Rows, put_back
from lookalike.models import embedder, weights
from lookalike.store import copy as copies
from lookalike.store import inspection, maps
from lookalike.store.table import Table
from lookalike.types import Model

__all__ = ["CheckReport", "Fault", "check", "read_through"]


def check(
    table: Table,
    *,
    files: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a collection at its newest version; nothing is changed in it.

    Every column of every row is read. Uris and ids are there once, each row is an image (with a thumbnail that can be
    decoded) or a failure with its reason, and has just the vectors that it claims: finite, and of unit length where
    its model makes them so. The indices find what is there. The kept maps can be read. Each Space's model is the one
    that filled it, as far as its weights are here: none is downloaded. Memory grows by 16 bytes a row.

    Parameters
    ----------
    table
        The collection's table; it is read at its newest version.
    files
        Whether to read the pictures themselves, and to tell which are gone or have another content.
    progress
        Called with the number of rows dealt with, and how many there are to deal with.

    Raises
    ------
    CollectionError
        If the collection cannot be read.
    """
    start = time.perf_counter()
    table.refresh()
    report = read_through(table, files=files, progress=progress)
    for name in table.models:
        _check_model(table.models[name], report)
    report.seconds = time.perf_counter() - start
    return report


def read_through(
    collection: Table, *, files: bool = False, progress: Callable[[int, int], None] | None = None
) -> CheckReport:
    """Check all that `check` does but for the models, which belong to the computer and not to the collection."""
    report = CheckReport(
        collection.path, collection.version, files=dict.fromkeys(OUTCOMES, 0) if files else None
    )
    for name in copies.altered(collection.path):
        report.add(
            Fault(
                f"The file {name} is not what was written into this backup.", put_back(collection)
            )
        )
    with ThreadPoolExecutor(cores(), "check") as pool:
        rows = Rows(collection, report, pool)
        total = inspection.count(collection)
        for part in inspection.rows(collection):
            if isinstance(part, inspection.UnreadableRows):
                rows.lost(part)
            else:
                rows.check(part)
            if progress is not None:
                progress(report.rows, total)
        rows.finish()
    reason = inspection.unreadable_version(collection)
    if reason is not None:
        what = f"An older version cannot be read ({reason}), so that no old version can be removed."
        remedy = (
            f"Make a copy, which holds the newest alone: lookalike restore {collection.path} -c NEW"
        )
        report.add(Fault(what, remedy))
    _check_maps(collection, rows.ids(), report)
    return report


def _check_model(model: Model, report: CheckReport) -> None:
    """Load a Space's model, if its weights are here: its graph must be the one that filled the Space."""
    if model.architecture == "pixels":
        return
    try:
        if weights.is_available(model):
            embedder.load(model)
        else:
            report.unchecked.append(
                f"the model of {model.name}: its weights are not here ({weights.describe_source(model)})"
            )
    except (ModelError, WeightsError) as error:
        report.add(Fault(f"The Space {model.name!r} cannot be searched by a picture.", str(error)))


def _check_maps(collection: Table, ids: npt.NDArray[np.int64], report: CheckReport) -> None:
    """Read each kept map; rows of it that have been removed since are no fault."""
    for space, method in maps.list_maps(collection.path):
        try:
            kept = maps.read(collection.path, space, method)
        except CollectionError as error:
            report.add(Fault(str(error), ""))
            continue
        if kept is None:
            continue
        rising, finite = (np.diff(kept.ids) > 0).all(), np.isfinite(kept.xy).all()
        if not (rising and finite and space in collection.models):
            place = maps.map_path(collection.path, space, method)
            what = f"The map {place} is none: its Space, its ids or its places cannot be."
            report.add(
                Fault(
                    what, "Remove that file and make the map again: the collection itself is whole."
                )
            )
        gone = int(np.count_nonzero(~np.isin(kept.ids, ids)))
        report.maps.append({"space": space, "method": method, "rows": len(kept.ids), "gone": gone})
