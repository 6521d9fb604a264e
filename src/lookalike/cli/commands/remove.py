"""The ``remove`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    command,
    open_collection,
)


@command("Example: lookalike remove ~/Pictures/2019")
def remove(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="URI...",
            help="Pictures, or folders with all that is below them, as search prints them.",
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take pictures out of a collection; the files themselves are not touched."""
    removed = open_collection(collection).remove(uris)
    if as_json:
        output.print_json({"removed": removed})
    else:
        output.say(
            f"{removed:,} removed. The files themselves are untouched; indexing their folder adds them again."
        )
