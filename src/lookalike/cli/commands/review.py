"""The ``review`` command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
)
from lookalike.cli.given_options import refuse_options
from lookalike.cli.progress import progress_bar
from lookalike.errors import InputError

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.review.results import Review, ReviewImage
    from lookalike.review.words import Section

# As in `lookalike.review`, which would be loaded for every help.
_DIVERSE = 20
_REVIEW_OUTPUTS = {".csv", ".json", ".html", ".htm", ".png", ".jpg", ".jpeg", ".webp"}

_Parts = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PART",
        help="clusters, outliers, labels or diverse; several may be given.",
        show_default="all",
    ),
]
_ReviewSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The Space whose vectors are compared.",
        show_default="the first",
    ),
]


def _count_option(text: str, default: str | bool = True) -> Any:
    """Return an option that takes a number from 1 on."""
    return typer.Option(metavar="N", min=1, help=text, show_default=default)


_ClusterCount = Annotated[
    int | None, _count_option("The number of clusters.", "found by HDBSCAN")
]
_OutlierCount = Annotated[
    int | None, _count_option("The number of outliers.", "those above the threshold")
]
_DiverseCount = Annotated[
    int | None, _count_option("The number of diverse images.", str(_DIVERSE))
]
_ReviewOutput = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="A .csv table, an .html page, a .png, .jpg, or .webp image, or .json.",
    ),
]


@command(
    "review",
    examples=[
        "lookalike review",
        "lookalike review labels --output doubtful.html",
        "lookalike review clusters --clusters 12 --output clusters.csv",
        "lookalike review diverse --diverse 100 --json",
        "lookalike review outliers --outliers 30 --where \"label = 'cat'\"",
    ],
)
def review_command(
    parts: _Parts = None,
    collection: CollectionOption = None,
    space: _ReviewSpace = None,
    where: WhereOption = None,
    clusters: _ClusterCount = None,
    outliers: _OutlierCount = None,
    diverse: _DiverseCount = None,
    save: _ReviewOutput = None,
    as_json: JsonOption = False,
) -> None:
    """Review a collection: clusters, outliers, doubtful labels, and the most diverse images.

    Clusters are images that lie close together, named after their labels. Outliers are far from all
    others. A label is doubtful where an image fits another label better. Diverse images are a few
    that represent all. Nothing is changed.
    """
    _check_review_output(save)
    counts = {"clusters": clusters, "outliers": outliers, "diverse": diverse}
    _check_counts(counts, parts)
    opened = open_collection(collection)
    with progress_bar("Reading vectors", unit="items") as bar:

        def show(step: str, done: int, total: int | None) -> None:
            bar.describe(step)
            bar.update(done, total)

        options = {"parts": parts} if parts else {}
        found = opened.review(
            progress=show,
            space=space,
            where=where,
            clusters=clusters,
            outliers=outliers,
            diverse=_DIVERSE if diverse is None else diverse,
            **options,
        )
    if save is not None:
        _save_review(found, opened, save)
    if as_json:
        data = found.to_dict()
        output.print_json(data)
        return
    _print_review(found)
    if save is not None:
        output.print_saved(save)


def _check_counts(
    counts: Mapping[str, int | None], parts: Sequence[str] | None
) -> None:
    """Refuse the number of a part that is not asked for."""
    if not parts:
        return
    listed = ", ".join(parts)
    unused = {f"--{part}": count for part, count in counts.items() if part not in parts}
    refuse_options(
        unused, f"with the parts {listed} alone. Name its part too, or leave it out."
    )


def _check_review_output(save: Path | None) -> None:
    """Refuse a file of an unknown kind before the work begins."""
    if save is None:
        return
    ending = save.suffix
    if ending.lower() in _REVIEW_OUTPUTS:
        return
    allowed = ", ".join(sorted(_REVIEW_OUTPUTS))
    raise InputError(
        f"A review cannot be written as {save.name!r}; its name must end in {allowed}."
    )


def _save_review(found: Review, collection: Collection, target: Path) -> None:
    """Write a table, a page or an image, by the extension of the target."""
    suffix = target.suffix
    extension = suffix.lower()
    table = collection.table
    if extension == ".csv":
        from lookalike.export.review import write_review_table

        write_review_table(found, target)
    elif extension in {".html", ".htm"}:
        from lookalike.export.review import write_review_page

        write_review_page(found, table, target)
    elif extension == ".json":
        from lookalike.io.files import atomic_write

        text = found.to_json()
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    else:
        from lookalike.drawing.review import draw_review

        draw_review(found, table, target)


def _print_review(found: Review) -> None:
    from lookalike.review.words import sections

    for section in sections(found):
        output.say_with_heading(section.title, f": {section.summary}")
        if section.part == "clusters":
            _print_clusters(section)
        else:
            for group in section.groups:
                _print_images(group.images)
        output.say()
    for note in found.notes:
        output.say(note)


def _print_clusters(section: Section) -> None:
    rows = []
    for group in section.groups:
        size = len(group.images)
        rows.append([f"  {size:,}", group.title])
    output.print_table(rows[: output.MAX_LISTED], right=(0,))
    _print_left_out(len(rows))


def _print_images(images: tuple[ReviewImage, ...]) -> None:
    from lookalike.review.words import explain_image

    rows = []
    listed = images[: output.MAX_LISTED]
    for image in listed:
        explanation = explain_image(image)
        row = [f"  {explanation}", image.uri]
        rows.append(row)
    output.print_table(rows)
    _print_left_out(len(images))


def _print_left_out(total: int) -> None:
    left_out = total - output.MAX_LISTED
    if left_out > 0:
        output.say(f"  and {left_out:,} more: --output review.csv")
