"""The ``map`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.projection.map import Map

_PAGE_SUFFIXES = {".html", ".htm"}


@command(
    "map",
    examples=[
        "lookalike map",
        "lookalike map --output map.html",
        "lookalike map --space pixels --method pca --output pixels.png",
    ],
)
def map_command(
    collection: CollectionOption = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The Space to map.", show_default="the first"
        ),
    ] = None,
    method: Annotated[
        Literal["tsne", "pca", "umap"], typer.Option(help="The layout method.")
    ] = "tsne",
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="A .png, .jpg, or .webp image, or an interactive .html page.",
        ),
    ] = Path("map.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same map.")] = 0,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Compute the map again, even if one is stored."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Map a collection: place every image in two dimensions, similar images together.

    The map is stored with the collection. New images are placed on it, and the others stay where
    they are.
    """
    opened = open_collection(collection)
    with progress_bar(f"Mapping {output.plural(len(opened), 'image')}"):
        computed = opened.map(space=space, method=method, seed=seed, rebuild=rebuild)
        _save_map(computed, opened, target)

    if as_json:
        summary = computed.to_dict()
        summary["output"] = str(target)
        output.print_json(summary)
        return
    _print_map(computed)
    output.print_saved(target)


def _save_map(computed: Map, collection: Collection, target: Path) -> None:
    """Write a page or an image, by the extension of the target."""
    extension = target.suffix.lower()
    if extension in _PAGE_SUFFIXES:
        from lookalike.export.map_page import write_map_page

        write_map_page(computed, collection.table, target)
    else:
        from lookalike.drawing.map import draw_map

        draw_map(computed, collection.table, target)


def _print_map(computed: Map) -> None:
    parameters = []
    for name, value in computed.parameters.items():
        shown = f"{value:.3g}" if isinstance(value, float) else value
        words = name.replace("_", " ")
        parameter = f"{words} {shown}"
        parameters.append(parameter)
    images = output.plural(len(computed), "image")
    listed = ", ".join(parameters)
    output.say(f"{images} of {computed.space} by {computed.method} ({listed}).")

    quality = computed.fidelity
    trustworthiness = quality["trustworthiness"]
    if trustworthiness is not None:
        preservation = quality["preservation"]
        neighbors = quality["k"]
        output.say(
            f"Trustworthiness {trustworthiness:.3f}; "
            f"{preservation:.0%} of the {neighbors} nearest neighbors preserved."
        )
    if computed.needs_refit:
        share = f"{computed.placed_share:.0%}"
        output.say(
            f"{share} of the images were placed after the map was computed. "
            "Use --rebuild to compute it again."
        )
    if not computed.kept:
        output.say(
            "Not stored: the collection is read-only. The next run computes the map again."
        )
