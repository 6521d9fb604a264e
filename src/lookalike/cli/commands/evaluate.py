"""The ``evaluate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection


@command("Example: lookalike evaluate --space efficientnet-lite0-int8 --space pixels")
def evaluate(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A Space to evaluate; may be repeated.", show_default="all"
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST",
            help="Query with its test pictures, in its training pictures.",
            show_default="leave one out",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the figures into a .png, .jpg or .webp."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well each Space brings together the pictures of one label: mAP, precision, recall.

    Every labelled picture is a query in turn; the others are the gallery. Each figure has a 95 % interval.
    """
    from lookalike.evaluation.evaluate import evaluate as measure

    if picture is not None:
        from lookalike.drawing.style import output_path

        output_path(picture)
    table = open_collection(collection).table
    spaces = [table.space(name) for name in space or ()] or list(table.models)
    with output.ranking(table.count() * len(spaces)) as progress:
        result = measure(table, spaces=spaces, split=split, progress=progress)
    if picture is not None:
        from lookalike.drawing.scores import draw_evaluation

        draw_evaluation(result, picture)
    if as_json:
        output.print_json(result.to_dict())
        return
    output.print_evaluation(result)
    if picture is not None:
        output.say(f"Drawn into {output.printable(str(picture))}")
