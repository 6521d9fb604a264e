"""The ``index`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import lookalike
from lookalike.cli import output
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    command,
    store_imported,
)


@command("Example: lookalike index ~/Pictures")
def index(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Folders, pictures, or @list.txt with a path a line."
        ),
    ],
    collection: CollectionOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="REF",
            help="A model's name, .onnx or .toml file; may be repeated. The collection gets a Space for each.",
            show_default="those it has",
        ),
    ] = None,
    labels: Annotated[
        Literal["folder", "none"],
        typer.Option(help="What labels a picture: the folder it lies in, or nothing."),
    ] = "folder",
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .csv or .parquet whose columns are joined to the pictures by its uri.",
        ),
    ] = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Look into hidden files and folders too.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if any file could not be indexed.")
    ] = False,
    retry_failures: Annotated[
        bool,
        typer.Option(
            "--retry-failures", help="Try files again that failed before and have not changed."
        ),
    ] = False,
    max_megapixels: Annotated[
        float, typer.Option(min=0.0001, help="Larger pictures are listed as failures.")
    ] = 200.0,
    as_json: JsonOption = False,
) -> None:
    """Index pictures: bring a collection up to date with folders and files.

    Unchanged files are skipped, so that a second run is quick; an interrupted run goes on where it stopped.
    """
    with store_imported():
        from lookalike.collection import default_path
        from lookalike.indexing.run import Settings
        from lookalike.sources import Scan

    path = collection or default_path()
    settings = Settings(max_pixels=round(max_megapixels * 1e6), retry_failures=retry_failures)
    scan = Scan(paths, labels=labels, hidden=hidden)
    with output.counting(scan, "Indexing") as progress:
        report = lookalike.index(
            scan, path, models=model or (), metadata=metadata, settings=settings, progress=progress
        )
    if as_json:
        output.print_json(report.to_dict())
    else:
        output.print_report(report, path)
    if strict and report.failed:
        raise typer.Exit(1)
