"""The ``search`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike import tracing
from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
)
from lookalike.errors import InputError


@command("Example: lookalike search photo.jpg -k 20 --picture result.png")
def search(
    image: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="The query picture, or several: what they share counts."
        ),
    ],
    collection: CollectionOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many matches.")] = 10,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The Space to measure distance in.", show_default="the first"
        ),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(metavar="IMAGE", help="A picture to keep away from; may be repeated."),
    ] = None,
    where: WhereOption = None,
    not_self: Annotated[
        bool, typer.Option("--not-self", help="Leave out the query's own row.")
    ] = False,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Compare every picture, although the Space has an index."),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Draw the query and its matches into a .png, .jpg or .webp."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search by a picture: print the pictures most like it, nearest first."""
    if picture is not None and len(image) > 1:
        raise InputError(
            f"{len(image)} pictures were given; --picture draws the answer to one. Leave the others out."
        )
    opened = open_collection(collection)
    with tracing.span("import search"):
        import lookalike.retrieval.search  # noqa: F401 (to time it)
    matches = opened.search(
        image,
        negative=minus or (),
        k=k,
        space=space,
        where=where,
        exclude_self=not_self,
        exact=exact,
    )
    if picture is not None:
        from lookalike import imaging
        from lookalike.drawing import matches as pictures
        from lookalike.sources import from_uri

        path = from_uri(image[0]).expanduser()
        query = imaging.decode(path.read_bytes())
        with tracing.span("draw picture"):
            pictures.draw_matches(query, [matches], opened.table, picture, name=path.name)
    if as_json:
        output.print_json(matches.to_dict())
        return
    output.print_matches(matches)
    if where is not None and not matches:
        output.say("No image fits the filter.")
    if picture is not None:
        output.say(f"Drawn into {output.printable(str(picture))}")
