"""The ``explain`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike import tracing
from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection

if TYPE_CHECKING:
    from lookalike.models.explanation import Explanation
    from lookalike.retrieval.explain import ImageInput

_Query = Annotated[
    str, typer.Argument(metavar="QUERY", help="An image, or the id of a row.")
]
_Match = Annotated[
    str,
    typer.Argument(
        metavar="MATCH", help="The image that it is compared with, or the id of a row."
    ),
]
_ExplainedSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The Space to explain.", show_default="the first"
    ),
]
_QueryRegion = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,WIDTH,HEIGHT",
        help="Explain a part of the query, as it was searched by with --region.",
    ),
]
_FigureFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw both images and what they share to a .png, .jpg, or .webp file.",
    ),
]

_VALUES = {
    "likeness": "cosine of the two images, at a larger input than in a search",
    "difference": "likeness of the pixels, 1 minus their mean difference",
}
_PEAKS = {"likeness": "counts most", "difference": "differs most"}


@command(
    "explain",
    examples=[
        "lookalike explain photo.jpg pictures/car/car_0004.jpg --save why.png",
        "lookalike explain photo.jpg 12 --json",
        "lookalike explain photo.jpg 12 --space pixels --save difference.png",
    ],
)
def explain_command(
    query: _Query,
    match: _Match,
    collection: CollectionOption = None,
    space: _ExplainedSpace = None,
    region: _QueryRegion = None,
    save: _FigureFile = None,
    as_json: JsonOption = False,
) -> None:
    """Show why two images match: the parts that make them alike, or where their pixels differ."""
    opened = open_collection(collection)
    with tracing.span("import explain"):
        from lookalike.imaging import Region
        from lookalike.retrieval.query import ImageQuery

    first = _image_or_id(query)
    if region is not None:
        first = ImageQuery(query, Region.parse(region))
    explanation = opened.explain(first, _image_or_id(match), space=space)
    if save is not None:
        _save_figure(explanation, (query, match), save)
    if as_json:
        output.print_json(explanation.to_dict())
        return
    _print_explanation(explanation)
    if save is not None:
        output.print_saved(save)


def _image_or_id(text: str) -> ImageInput:
    """Return the id of a row if the text is a number and no file has this name."""
    is_number = text.isascii() and text.isdigit()
    path = Path(text)
    if is_number and not path.exists():
        return int(text)
    return text


def _save_figure(
    explanation: Explanation, given: tuple[str, str], target: Path
) -> None:
    from lookalike.drawing.explanation import draw_explanation
    from lookalike.sources import display_name, resolve_uri

    names = []
    for text in given:
        uri = resolve_uri(text)
        names.append(display_name(uri))
    query, match = names
    with tracing.span("draw image"):
        draw_explanation(explanation, target, names=(query, match))


def _print_explanation(explanation: Explanation) -> None:
    """Print the likeness, and the place in each image that counts most."""
    kind = explanation.kind
    value = _VALUES[kind]
    peak = _PEAKS[kind]
    heading = f"{explanation.similarity:.4f}"
    output.say_with_heading(heading, f"  {value}, in {explanation.space}")
    images = {"query": explanation.query, "match": explanation.match}
    rows = []
    for name, explained in images.items():
        x, y = explained.peak
        words = f"{peak} at x {x:.2f}, y {y:.2f} of the image"
        if explained.is_thumbnail:
            words += ", of which only the thumbnail could be read"
        rows.append([name, words])
    output.print_table(rows, styles=["bold"])
