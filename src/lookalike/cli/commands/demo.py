"""The ``demo`` command."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli import output
from lookalike.cli.command import command, store_imported
from lookalike.cli.given_options import refuse_options


@command(
    "demo",
    examples=[
        "lookalike demo --open",
        "lookalike demo ~/Pictures --output story",
        "lookalike demo --data caltech-101.zip",
    ],
)
def demo_command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Your images, in folders named by their class.",
            show_default="Caltech 101, or a drawn sample",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|ZIP",
            help="A copy of Caltech 101 to use instead of a download.",
        ),
    ] = None,
    target: Annotated[
        Path,
        typer.Option("--output", metavar="DIR", help="The folder for all results."),
    ] = Path("demo"),
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser at the end.")
    ] = False,
) -> None:
    """Try everything: index, search, evaluate, and map images, and write one report.

    Without a folder, it uses nine classes of Caltech 101. If they cannot be downloaded, it draws a
    sample.
    """
    if folder is not None:
        refuse_options(
            {"--data": data},
            "with a folder of your own images, and is a copy of Caltech 101. Leave out one.",
        )
    with store_imported():
        from lookalike.demo.images import find_images
        from lookalike.demo.run import run_demo

    def say(line: str) -> None:
        text = output.printable(line)
        output.say(text)

    images = find_images(folder, data, target, say)
    report = run_demo(images, target, say)
    if open_report:
        webbrowser.open(report.resolve().as_uri())
