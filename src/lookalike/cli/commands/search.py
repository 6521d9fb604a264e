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

# As in `lookalike.types`, which would load NumPy for every command and every help.
_DEFAULT_GAMMA = 0.1

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
_Gamma = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="NUMBER",
        help="The strength of the --negative images: 0 ignores them.",
    ),
]
_MaxDistance = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="NUMBER", help="Only matches that are at most this far."
    ),
]
_Unique = Annotated[
    bool,
    typer.Option(
        "--unique", help="Print each content once, with its number of copies."
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
_Rank = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="How to rank the matches: plain, by distance; centered, without what all images "
        "share; or context, by the images around each match too.",
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
        "lookalike search photo.jpg --unique --max-distance 0.8",
        "lookalike search photo.jpg --rank context",
    ],
)
def search_command(
    image: _Images,
    collection: CollectionOption = None,
    k: _Count = 10,
    space: _Space = None,
    negative: _Negative = None,
    gamma: _Gamma = _DEFAULT_GAMMA,
    where: WhereOption = None,
    max_distance: _MaxDistance = None,
    exclude_self: _ExcludeSelf = False,
    unique: _Unique = False,
    exact: _Exact = False,
    rank: _Rank = "plain",
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
        from lookalike.retrieval.query import ImageQuery
    queries = [ImageQuery(name) for name in image]
    matches = opened.search(
        queries,
        negative=negative or (),
        k=k,
        gamma=gamma,
        space=space,
        where=where,
        max_distance=max_distance,
        exclude_self=exclude_self,
        unique=unique,
        exact=exact,
        ranking=rank,
    )
    if save is not None:
        # The query keeps its bytes, so an address is read once.
        data = queries[0].data
        assert data is not None  # noqa: S101 (for the type checker)
        _draw_matches(image[0], data, matches, opened, save)

    if as_json:
        output.print_json(matches.to_dict())
        return
    _print_matches(matches)
    if not matches:
        output.say(_no_match(where, max_distance))
    if save is not None:
        output.print_saved(save)


def _no_match(where: str | None, max_distance: float | None) -> str:
    """Return the line that a search without matches prints."""
    if max_distance is not None:
        return f"No image is within the distance {max_distance:g}."
    if where is not None:
        return "No image matches the filter."
    return "No image matches."


def _draw_matches(
    query: str,
    data: bytes,
    matches: Matches,
    collection: Collection,
    target: Path,
) -> None:
    from lookalike import imaging
    from lookalike.drawing.matches import draw_matches
    from lookalike.sources import display_name, resolve_uri

    uri = resolve_uri(query)
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
        row = [rank, distance, label]
        if match.copies is not None:
            has_copies = match.copies > 1
            row.append(f"x{match.copies}" if has_copies else "")
        row.append(match.uri)
        rows.append(row)

    styles = ["dim", "bold", "cyan", ""]
    if matches.copies is not None:
        styles.insert(3, "dim")
    output.print_table(rows, styles=styles, right=(0, 1))

    if matches.recall is not None:
        output.say(
            f"Approximate search, measured recall {matches.recall:.1%}. "
            "Use --exact to compare every image."
        )
