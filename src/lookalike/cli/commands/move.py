"""The ``move`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection

if TYPE_CHECKING:
    from lookalike.maintenance.move import MoveReport


@command("move", examples=["lookalike move ~/Pictures /mnt/disk/Pictures"])
def move_command(
    old: Annotated[
        str, typer.Argument(metavar="OLD", help="The folder before it was moved.")
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The folder now.")],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry the images of a folder that was moved over to its new place.

    Their metadata and vectors stay, and no image is read. Move the folder first. Images whose files
    are not in the new place stay as they are.
    """
    report = open_collection(collection).move(old, new)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_move_report(report)


def _print_move_report(report: MoveReport) -> None:
    carried = report.moved + report.merged
    images = (output.plural(carried, "image"), "bold")
    places = f" carried over from {report.old} to {report.new}"
    output.say(Text.assemble(images, output.printable(places), "."))
    if report.merged:
        output.say(f"{report.merged:,} of them were already indexed there.")
    if report.present:
        files = output.plural(report.present, "file")
        output.say(f"{files} still in the old folder: their images stay.")
    if report.missing:
        files = output.plural(report.missing, "file")
        output.say(f"{files} not found in the new folder: their images stay.")
    if report.different:
        output.say("The new folder has another image under the same name:")
        output.print_list(report.different)
