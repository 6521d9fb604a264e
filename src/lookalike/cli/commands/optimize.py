"""The ``optimize`` command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.cluster_options import (
    AddressOption,
    OnOption,
    WorkersOption,
    refuse_cluster_options,
)
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar
from lookalike.io.sizes import file_size

if TYPE_CHECKING:
    from lookalike.cluster import RayEngine
    from lookalike.maintenance.optimize import OptimizeReport, SpaceIndex

_TrashDaysOption = Annotated[
    float | None,
    typer.Option(
        help="Delete images that have been in the trash for more than this many days.",
        show_default="$LOOKALIKE_TRASH_DAYS, or 30",
    ),
]
_RemoveUnfinishedOption = Annotated[
    bool,
    typer.Option(
        "--remove-unfinished",
        help="In object storage, remove what killed processes left now, not after 7 days. "
        "No other process may write to the collection meanwhile.",
    ),
]


@command(
    "optimize",
    examples=[
        "lookalike optimize",
        "lookalike optimize --recall 0.995 --keep-days 7",
        "lookalike optimize -c s3://bucket/shop --remove-unfinished",
        "lookalike optimize -c /mnt/shop --on ray",
    ],
)
def optimize_command(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="NAME",
            help="A Space to tune; may be repeated.",
            show_default="all",
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(
            help="The share of the ten nearest that approximate search must find."
        ),
    ] = 0.99,
    keep_days: Annotated[
        float,
        typer.Option(help="Remove versions of the table older than this many days."),
    ] = 1.0,
    trash_days: _TrashDaysOption = None,
    remove_unfinished: _RemoveUnfinishedOption = False,
    min_rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Build an index for Spaces with at least this many images.",
            show_default="20000",
        ),
    ] = None,
    on: OnOption = "threads",
    address: AddressOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a collection fast to search: merge fragments, tune indexes, remove old versions.

    Large Spaces are then searched approximately. Their recall is measured here, and every answer
    states it.
    """
    from lookalike.store.ann import MIN_ROWS

    engine = None
    if on == "ray":
        engine = _ray_engine(address or "auto", workers or 0)
    else:
        refuse_cluster_options(address, workers)
    opened = open_collection(collection)
    with progress_bar("Optimizing") as bar:
        report = opened.optimize(
            spaces=space or (),
            recall=recall,
            keep_days=keep_days,
            trash_days=trash_days,
            min_rows=MIN_ROWS if min_rows is None else min_rows,
            engine=engine,
            progress=bar.describe,
        )
        if remove_unfinished:
            bar.describe("Removing unfinished files")
            freed = opened.remove_unfinished()
            report = replace(report, freed=report.freed + freed)

    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_optimize_report(report)


def _ray_engine(address: str, workers: int) -> RayEngine:
    from lookalike.cluster import RayEngine

    return RayEngine(address, workers)


def _print_optimize_report(report: OptimizeReport) -> None:
    for index in report.spaces:
        name = output.printable(index.space)
        rows = output.plural(index.rows, "row")
        summary = _index_summary(index)
        output.say_with_heading(name, f": {rows}, {summary}.")
    before = report.fragments_before
    after = report.fragments
    if after != before:
        output.say(f"{before:,} fragments merged into {after:,}.")
    if report.purged:
        purged = output.plural(report.purged, "image")
        output.say(f"{purged} deleted from the trash for good.")
    freed = file_size(report.freed)
    output.say(f"{freed} freed. Took {report.seconds:.1f} s.")


def _index_summary(index: SpaceIndex) -> str:
    if index.index is None:
        return "searched exactly, without an index"
    summary = f"index {index.did} ({index.index})"
    if index.recall is None:
        return (
            f"{summary}, but no setting reaches recall {index.target}: searched exactly"
        )
    probes = output.plural(index.probes or 0, "partition")
    candidates = output.plural(index.candidates or 0, "candidate")
    return f"{summary}, recall {index.recall:.4f} with {probes} probed and {candidates} compared"
