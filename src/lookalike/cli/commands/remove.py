"""The ``remove`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection


@command(
    "remove",
    examples=[
        "lookalike remove ~/Pictures/2019",
        "lookalike remove ~/Pictures/cat.jpg -c pets",
    ],
)
def remove_command(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="URI",
            help="Images, or folders with everything below them, as search prints them.",
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move images of a collection into its trash. The files themselves are not touched."""
    opened = open_collection(collection)
    removed = opened.remove(uris)
    if as_json:
        output.print_json({"removed": removed})
        return
    images = output.plural(removed, "image")
    output.say(
        f"{images} moved into the trash. "
        "The files are untouched; indexing their folder restores the images."
    )
