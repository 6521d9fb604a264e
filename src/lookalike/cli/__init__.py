"""The command line. Its words are those of the Python API."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import INTERRUPTED, app
from lookalike.io import requests

__all__ = ["app", "main"]

# Each module registers its own command. The help lists the commands in this order.
_COMMANDS = (
    "demo",
    "index",
    "search",
    "explain",
    "info",
    "remove",
    "trash",
    "move",
    "evaluate",
    "calibrate",
    "tag",
    "tune",
    "map",
    "duplicates",
    "review",
    "serve",
    "models",
    "optimize",
    "check",
    "backup",
    "restore",
    "dataset",
)
for _name in _COMMANDS:
    importlib.import_module(f"lookalike.cli.commands.{_name}")


def _print_version(value: bool) -> None:
    if value:
        output.say(f"lookalike {lookalike.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    streams = (sys.stdout, sys.stderr)
    for stream in streams:
        # A file name that the terminal's encoding cannot represent must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    output.outlive_readers()
    output.show_warnings()
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED and requests.are_pending():
            # Python would wait for their answers.
            for stream in streams:
                stream.flush()
            os._exit(INTERRUPTED)
        raise
