"""The command line: its words are those of the Python API."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

import lookalike
from lookalike.cli import collecting, console, finding, keeping, serving, studying  # noqa: F401 (each registers its commands)
from lookalike.cli.command import app

__all__ = ["app", "main"]


def _version(value: bool) -> None:
    if value:
        console.say(f"lookalike {lookalike.__version__}")
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
    console.tell_warnings()
    app()
