"""The command line: its words are those of the Python API."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Annotated

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import app

__all__ = ["app", "main"]

# Each module registers its command; help lists the commands in this order.
_COMMANDS = (
    "index",
    "info",
    "remove",
    "optimize",
    "search",
    "models",
    "check",
    "backup",
    "restore",
    "serve",
    "dataset",
    "evaluate",
    "map",
)
for _name in _COMMANDS:
    importlib.import_module(f"lookalike.cli.commands.{_name}")


def _version(value: bool) -> None:
    if value:
        output.say(f"lookalike {lookalike.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    output.tell_warnings()
    app()
