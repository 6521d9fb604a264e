"""The ``map`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection


@command("Example: lookalike map --output map.html", name="map")
def make_map(
    collection: CollectionOption = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Space to map.", show_default="the first")
    ] = None,
    method: Annotated[
        Literal["tsne", "pca", "umap"], typer.Option(help="How places are found.")
    ] = "tsne",
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="A .png (also .jpg, .webp), or a .html page to move about in.",
        ),
    ] = Path("map.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same map.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make it anew, although one is kept.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Map a collection: a place on a plane for every picture, like near like.

    The map is kept with the collection: new pictures are placed on it without moving the others.
    """
    from lookalike.projection import map as mapping

    table = open_collection(collection).table
    with output.waiting(f"Mapping {table.count():,} pictures"):
        plane = mapping.make_map(table, space=space, method=method, seed=seed, fresh=fresh)
        if target.suffix.lower() in {".html", ".htm"}:
            from lookalike.export.map_page import write_map_page as draw
        else:
            from lookalike.drawing.map import draw_map as draw
        draw(plane, table, target)
    if as_json:
        output.print_json({**plane.to_dict(), "output": str(target)})
    else:
        output.print_map(plane, str(target))
