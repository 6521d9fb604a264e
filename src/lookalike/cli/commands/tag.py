"""The ``tag`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar
from lookalike.cli.tags import print_tag_report
from lookalike.errors import InputError

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.indexing.tags import TagReport

_Column = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column to fill.", show_default="tags"),
]
_Remove = Annotated[
    bool, typer.Option("--remove", help="Remove the tags and their column instead.")
]


@command(
    "tag",
    examples=[
        "lookalike tag",
        "lookalike tag --remove",
        "lookalike tag -c shop --json",
        "lookalike search query.jpg --where \"tags contains 'airplane'\"",
        "lookalike info --where \"not tags contains 'airplane'\"",
    ],
)
def tag_command(
    collection: CollectionOption = None,
    column: _Column = None,
    remove: _Remove = False,
    as_json: JsonOption = False,
) -> None:
    """Tag images with words for what is in them, from vectors that are there.

    No image is read. An image gets up to three tags, such as piano and grand piano, or none where
    the network is not sure. It knows 1,000 kinds of objects and animals. From then on `index` tags
    new images too. Filters find them, and a column of your own is never overwritten. --remove
    removes the tags and their column; `index` then tags no more images.
    """
    if remove and column is not None:
        raise InputError(
            "--remove and --column cannot be combined: a collection has one column of tags. "
            "Leave out --column."
        )
    opened = open_collection(collection)
    if remove:
        _remove_tags(opened, as_json=as_json)
        return
    images = len(opened)
    with progress_bar("Tagging", unit="items", total=images) as bar:
        report = opened.tag(column=column, progress=bar.advance)
    if as_json:
        data = report.to_dict()
        output.print_json(data)
        return
    print_tag_report(report)
    _print_example(report)


def _remove_tags(opened: Collection, *, as_json: bool) -> None:
    removal = opened.remove_tags()
    if as_json:
        data = removal.to_dict()
        output.print_json(data)
        return
    images = output.plural(removal.images, "image")
    output.say(f"Removed the column {removal.column}: {images} had tags.")


def _print_example(report: TagReport) -> None:
    """Print a filter that finds the images of the most frequent tag."""
    from lookalike.store.filter_tree import Column
    from lookalike.store.schema import quote

    column = Column(report.column, "tags")
    name = column.written
    words = report.words
    for word, _ in words.most_common(1):
        quoted = quote(word)
        example = f"{name} contains {quoted}"
        output.say(f'Find them with: --where "{example}"')
