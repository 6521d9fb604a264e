"""The ``check`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

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
    _print_faults(report)

    verdict = "Sound"
    if not report.sound:
        verdict = output.plural(report.found, "fault")
    collection = output.printable(report.collection)
    version = f"version {report.version} of {collection}"
    contents = _describe_contents(report)
    output.say_with_heading(verdict, f": {version}: {contents}.")

    for part in report.unchecked:
        name = output.printable(part)
        output.say(f"Not checked: {name}.")
    if report.files is not None:
        _print_file_check(report, report.files)


def _print_faults(report: CheckReport) -> None:
    for fault in report.faults[: output.MAX_LISTED]:
        text = output.printable(str(fault))
        output.say_with_heading("Fault: ", text, style="bold red")

    left_out = report.found - output.MAX_LISTED
    if left_out > 0:
        in_json = min(report.found, len(report.faults))
        output.say(f"  and {left_out:,} more; --json lists {in_json:,} of them")


def _describe_contents(report: CheckReport) -> str:
    """Return the numbers of images, failures and vectors, and the maps."""
    images = output.plural(report.images, "image")
    failures = output.plural(report.failures, "failure")
    contents = [images, failures]
    for name, count in report.spaces.items():
        vectors = output.plural(count, "vector")
        space = output.printable(name)
        contents.append(f"{vectors} in {space}")
    for stored_map in report.maps:
        method = stored_map["method"]
        space = output.printable(stored_map["space"])
        contents.append(f"the {method} map of {space}")
    if report.trash:
        rows = output.plural(report.trash, "row")
        contents.append(f"{rows} in the trash")
    return ", ".join(contents)


def _print_file_check(report: CheckReport, counts: dict[str, int]) -> None:
    states = [f"{count:,} {state}" for state, count in counts.items()]
    listed = ", ".join(states)
    output.say(f"Image files: {listed}.")
    if not report.differing:
        return

    lines = [f"{state}: {uri}" for uri, state in report.differing]
    checked = sum(counts.values())
    differing = checked - counts["same"]
    output.print_list(lines, total=differing)
    output.say(
        "The collection is intact. Index the folder again to bring it up to date."
    )
