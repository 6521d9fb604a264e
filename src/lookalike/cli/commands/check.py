"""The ``check`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.maintenance.integrity import CheckReport


@command("check", examples=["lookalike check", "lookalike check --files -c pictures"])
def check_command(
    collection: CollectionOption = None,
    files: Annotated[
        bool,
        typer.Option(
            "--files",
            help="Also read the image files, and list missing and changed ones.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a collection: read all of it, and report each fault and its remedy.

    Exit status: 0 if the collection is sound, 1 if it has faults, 2 if it cannot be opened.
    """
    opened = open_collection(collection)
    with progress_bar("Checking", unit="items") as bar:
        report = opened.check(files=files, progress=bar.update)

    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_check_report(report)
    if not report.sound:
        raise typer.Exit(1)


def _print_check_report(report: CheckReport) -> None:
    for fault in report.faults[: output.MAX_LISTED]:
        output.say(Text.assemble(("Fault: ", "bold red"), output.printable(str(fault))))
    if report.found > output.MAX_LISTED:
        output.say(
            f"  and {report.found - output.MAX_LISTED:,} more; "
            f"--json lists {min(report.found, len(report.faults)):,} of them"
        )

    contents = [
        output.plural(report.images, "image"),
        output.plural(report.failures, "failure"),
    ]
    for space, count in report.spaces.items():
        contents.append(
            f"{output.plural(count, 'vector')} in {output.printable(space)}"
        )
    for stored_map in report.maps:
        method = stored_map["method"]
        contents.append(f"the {method} map of {output.printable(stored_map['space'])}")
    verdict = "Sound" if report.sound else output.plural(report.found, "fault")
    version = f"version {report.version} of {output.printable(report.collection)}"
    output.say(Text.assemble((verdict, "bold"), f": {version}: {', '.join(contents)}."))

    for part in report.unchecked:
        output.say(f"Not checked: {output.printable(part)}.")
    if report.files is not None:
        _print_file_check(report, report.files)


def _print_file_check(report: CheckReport, counts: dict[str, int]) -> None:
    states = [f"{count:,} {state}" for state, count in counts.items()]
    output.say(f"Image files: {', '.join(states)}.")
    if not report.differing:
        return

    lines = [f"{state}: {uri}" for uri, state in report.differing]
    output.print_list(lines, total=sum(counts.values()) - counts["same"])
    output.say(
        "The collection is intact. Index the folder again to bring it up to date."
    )
