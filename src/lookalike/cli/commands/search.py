"""The ``search`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.types import Matches

_Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE", help="The query image. Several are searched as their mean."
    ),
]
_Count = Annotated[int, typer.Option("-k", min=1, help="The number of matches.")]
_Space = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The Space to search in.", show_default="the first"
    ),
]
_Negative = Annotated[
    list[str] | None,
    typer.Option(
        "--negative",
        metavar="IMAGE",
        help="An image to move away from; may be repeated.",
    ),
]
_ExcludeSelf = Annotated[
    bool, typer.Option("--exclude-self", help="Leave out the query images' own rows.")
]
_Exact = Annotated[
    bool,
    typer.Option(
        "--exact", help="Compare every image, even if the Space has an index."
    ),
]
_Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw the query and its matches to a .png, .jpg, or .webp file.",
    ),
]


@command(
    "search",
    examples=[
        "lookalike search photo.jpg",
        "lookalike search photo.jpg -k 20 --save result.png",
        "lookalike search front.jpg side.jpg --negative toy.jpg --where \"label = 'car'\"",
    ],
)
def search_command(
    image: _Images,
    collection: CollectionOption = None,
    k: _Count = 10,
    space: _Space = None,
    negative: _Negative = None,
    where: WhereOption = None,
    exclude_self: _ExcludeSelf = False,
    exact: _Exact = False,
    save: _Save = None,
    as_json: JsonOption = False,
) -> None:
    """Search by image: print the most similar images, nearest first."""
    if save is not None and len(image) > 1:
        raise InputError(
            f"{len(image)} images were given, and --save draws the result of one. "
            "Search by one image, or leave out --save."
        )

    opened = open_collection(collection)
    with tracing.span("import search"):
        import lookalike.retrieval.search  # noqa: F401 (imported here to time it)
    matches = opened.search(
        image,
        negative=negative or (),
        k=k,
        space=space,
        where=where,
        exclude_self=exclude_self,
        exact=exact,
    )
    if save is not None:
        _draw_matches(image[0], matches, opened, save)

    if as_json:
        output.print_json(matches.to_dict())
        return
    _print_matches(matches)
    if where is not None and not matches:
        output.say("No image matches the filter.")
    if save is not None:
        output.print_saved(save)


def _draw_matches(
    query: str, matches: Matches, collection: Collection, target: Path
) -> None:
    from lookalike import imaging
    from lookalike.drawing.matches import draw_matches
    from lookalike.sources import display_name, read_uri, resolve_uri

    uri = resolve_uri(query)
    data = read_uri(uri)
    image = imaging.decode(data)
    name = display_name(uri)
    with tracing.span("draw image"):
        draw_matches(image, [matches], collection.table, target, name=name)


def _print_matches(matches: Matches) -> None:
    rows = []
    for match in matches:
        rank = str(match.rank)
        distance = f"{match.distance:.4f}"
        label = match.label or "-"
        row = [rank, distance, label, match.uri]
        rows.append(row)
    output.print_table(rows, styles=("dim", "bold", "cyan", ""), right=(0, 1))

    if matches.recall is not None:
        output.say(
            f"Approximate search, measured recall {matches.recall:.1%}. "
            "Use --exact to compare every image."
        )
