"""The ``optimize`` command."""

from __future__ import annotations

from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    command,
)


@command("Example: lookalike optimize --recall 0.995")
def optimize(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space", metavar="NAME", help="A Space to tune; may be repeated.", show_default="all"
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(help="The share of the ten nearest that an approximate search must find."),
    ] = 0.99,
    keep_days: Annotated[
        float, typer.Option(help="Older versions of the table are removed.")
    ] = 1.0,
    min_rows: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Spaces of fewer pictures get no index.", show_default="20000"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a collection quick to search: gather its files, index and tune its Spaces, remove old versions.

    A large Space is then searched approximately, with settings whose recall is measured here and told with each answer.
    """
    from lookalike.collection import default_path
    from lookalike.store.ann import MIN_ROWS

    path = collection or default_path()
    least = MIN_ROWS if min_rows is None else min_rows
    with output.stepping("Optimizing") as progress:
        report = lookalike.optimize(
            path,
            spaces=space or (),
            recall=recall,
            keep_days=keep_days,
            min_rows=least,
            progress=progress,
        )
    if as_json:
        output.print_json(report.to_dict())
    else:
        output.print_optimized(report)
