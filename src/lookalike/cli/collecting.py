"""Commands that fill a collection, tell what it holds, and take out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import lookalike
from lookalike.cli import console
from lookalike.cli.command import (
    CollectionOption,
    JsonOption,
    WhereOption,
    command,
    open_collection,
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
        from lookalike.indexing.run import Settings
        from lookalike.sources import Scan
        from lookalike.store.table import default_path

    path = collection or default_path()
    settings = Settings(max_pixels=round(max_megapixels * 1e6), retry_failures=retry_failures)
    scan = Scan(paths, labels=labels, hidden=hidden)
    with console.counting(scan, "Indexing") as progress:
        report = lookalike.index(
            scan, path, models=model or (), metadata=metadata, settings=settings, progress=progress
        )
    if as_json:
        console.print_json(report.to_dict())
    else:
        console.print_report(report, path)
    if strict and report.failed:
        raise typer.Exit(1)


@command("Example: lookalike info --failures")
def info(
    collection: CollectionOption = None,
    where: WhereOption = None,
    failures: Annotated[
        bool,
        typer.Option("--failures", help="List the files that could not be indexed, with reasons."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a collection holds."""
    from lookalike.store import filters

    table = open_collection(collection)
    matching = None if where is None else len(table.select(where))
    failed = table.failures()
    if as_json:
        named = ("dim", "precision", "runtime")
        spaces = [
            {"name": name, "model": model.name, **{key: getattr(model, key) for key in named}}
            for name, model in table.models.items()
        ]
        counts = {"images": table.count(), **({} if matching is None else {"matching": matching})}
        columns = [{"name": name, "type": kind} for name, kind in table.metadata.items()]
        listed = {"failed": failed.to_pylist()} if failures else {}
        console.print_json(
            {**counts, "spaces": spaces, "columns": columns, "failures": len(failed), **listed}
        )
        return
    rows = [["Table", table.path], ["Images", f"{table.count():,}"]]
    rows += [] if matching is None else [["Matching", f"{matching:,}"]]
    rows.append(["Failures", f"{len(failed):,}"])
    for name, model in table.models.items():
        by = "" if model.architecture == "pixels" else f" ({model.precision}, {model.runtime})"
        rows.append(
            [
                "Space",
                f"{name}: {model.title}{by}; {model.dim} numbers; {table.count(name):,} images",
            ]
        )
    for name, kind in table.metadata.items():
        written = filters.Column(name, kind).written
        rows.append(
            ["Column", f"{written}: {kind}; {len(table.select(f'{written} is not null')):,} images"]
        )
    console.columns(rows, styles=("dim",))
    if failures:
        for uri, error in zip(failed["uri"].to_pylist(), failed["error"].to_pylist(), strict=True):
            console.say(f"{console.printable(uri)}: {console.printable(error)}")


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
        console.print_json({"removed": removed})
    else:
        console.say(
            f"{removed:,} removed. The files themselves are untouched; indexing their folder adds them again."
        )


@command("Example: lookalike optimize --recall 0.995")
def optimize(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space", metavar="NAME", help="A Space to tune; may be repeated.", show_default="all"
        ),
    ] = None,
    recall: Annotated[
        float,
        typer.Option(help="The share of the ten nearest that an approximate search must find."),
    ] = 0.99,
    keep_days: Annotated[
        float, typer.Option(help="Older versions of the table are removed.")
    ] = 1.0,
    min_rows: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Spaces of fewer pictures get no index.", show_default="20000"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a collection quick to search: gather its files, index and tune its Spaces, remove old versions.

    A large Space is then searched approximately, with settings whose recall is measured here and told with each answer.
    """
    from lookalike.store.ann import THRESHOLD
    from lookalike.store.table import default_path

    path = collection or default_path()
    least = THRESHOLD if min_rows is None else min_rows
    with console.stepping("Optimizing") as progress:
        report = lookalike.optimize(
            path,
            spaces=space or (),
            recall=recall,
            keep_days=keep_days,
            min_rows=least,
            progress=progress,
        )
    if as_json:
        console.print_json(report.to_dict())
    else:
        console.print_optimized(report)
