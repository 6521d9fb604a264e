"""The ``dataset`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import JsonOption, command
from lookalike.errors import InputError


@command("Example: lookalike dataset caltech101 --to data")
def dataset(
    name: Annotated[
        Literal["caltech101", "sample"],
        typer.Argument(help="Caltech 101, or the sample that is drawn here."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder to put it in.", show_default="the dataset's name"
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="DIR|ZIP", help="Use this copy of Caltech 101; nothing is downloaded."
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help="Caltech 101's classes: seed (nine of them), all, or names with commas between."
        ),
    ] = "seed",
    test: Annotated[float, typer.Option(help="The share of each class to test with.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides which pictures are drawn to test with.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Get a dataset, and split it into training and testing sets: a manifest as CSV and as Parquet."""
    from lookalike.datasets import caltech101, manifest, sample

    folder = to or Path(name)
    if name == "sample":
        if source is not None or classes != "seed":
            raise InputError(
                "The sample is drawn here and has its own nine classes: leave out --from and --classes."
            )
        root = sample.write_sample(folder / "images")
        classes_of = {c: sorted((root / c).glob(f"{c}_*.jpg")) for c in sample.CLASSES}
        table = manifest.stratify(classes_of, test=test, seed=seed)
    else:
        chosen = classes if classes in {"seed", "all"} else classes.split(",")
        with output.downloading("Downloading Caltech 101") as progress:
            root = caltech101.fetch(folder, source=source, classes=chosen, progress=progress)
        table = caltech101.split(root, classes=chosen, test=test, seed=seed)
    paths = manifest.write_manifest(table, folder)
    counts = {part: table["split"].to_pylist().count(part) for part in ("train", "test")}
    if as_json:
        output.print_json({"root": str(root), "manifest": [str(path) for path in paths], **counts})
        return
    output.say(f"{table.num_rows:,} pictures under {output.printable(str(root))}")
    output.say(
        f"{counts['train']:,} to train and {counts['test']:,} to test: {' and '.join(map(str, paths))}"
    )
