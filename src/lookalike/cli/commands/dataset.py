"""The ``dataset`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import JsonOption, command
from lookalike.cli.progress import progress_bar
from lookalike.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_DEFAULT_CLASSES = "nine"

_Name = Annotated[
    Literal["caltech101", "sample"],
    typer.Argument(help="Caltech 101, or a sample that Lookalike draws."),
]
_Target = Annotated[
    Path | None,
    typer.Option(
        "--to",
        metavar="DIR",
        help="The target folder.",
        show_default="the dataset's name",
    ),
]
_Source = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR|ZIP",
        help="A copy of Caltech 101 to use instead of a download.",
    ),
]
_Classes = Annotated[
    str,
    typer.Option(
        help="Classes of Caltech 101: nine, all, or names separated by commas."
    ),
]
_TestShare = Annotated[
    float, typer.Option("--test", help="The share of each class in the test set.")
]
_Seed = Annotated[int, typer.Option(help="Decides which images are in the test set.")]


@command(
    "dataset",
    examples=[
        "lookalike dataset sample",
        "lookalike dataset caltech101 --to data",
        "lookalike dataset caltech101 --classes brain,butterfly --test 0.25",
    ],
)
def dataset_command(
    name: _Name,
    target: _Target = None,
    source: _Source = None,
    classes: _Classes = _DEFAULT_CLASSES,
    test: _TestShare = 0.2,
    seed: _Seed = 0,
    as_json: JsonOption = False,
) -> None:
    """Get a dataset and split it into training and test sets.

    The split is written as a manifest, in CSV and in Parquet.
    """
    from lookalike.datasets.manifest import check_split, write_manifest

    # Before images are drawn or downloaded.
    check_split(test, seed)
    folder = target or Path(name)
    if name == "sample":
        if source is not None or classes != _DEFAULT_CLASSES:
            raise InputError(
                "The sample is drawn by Lookalike and has nine classes of its own. "
                "Leave out --from and --classes."
            )
        root, table = _write_sample(folder, test=test, seed=seed)
    else:
        root, table = _fetch_photographs(folder, source, classes, test=test, seed=seed)
    paths = write_manifest(table, folder)

    splits = table["split"].to_pylist()
    train_count = splits.count("train")
    test_count = splits.count("test")
    if as_json:
        summary = {
            "root": str(root),
            "manifest": [str(path) for path in paths],
            "train": train_count,
            "test": test_count,
        }
        output.print_json(summary)
        return
    images = output.plural(table.num_rows, "image")
    root_name = output.printable(str(root))
    output.say(f"{images} in {root_name}")
    output.say(
        f"{train_count:,} for training and {test_count:,} for testing, listed in:"
    )
    lines = [str(path) for path in paths]
    output.print_list(lines)


def _write_sample(folder: Path, *, test: float, seed: int) -> tuple[Path, pa.Table]:
    from lookalike.datasets import manifest, sample

    root = sample.write_sample(folder / "images")
    images = {}
    for label in sample.CLASSES:
        # Other files, such as the rest of an interrupted run, do not match this pattern.
        pattern = f"{label}/{label}_*.jpg"
        files = root.glob(pattern)
        images[label] = sorted(files)
    table = manifest.stratify(images, test=test, seed=seed)
    return root, table


def _fetch_photographs(
    folder: Path, source: Path | None, classes: str, *, test: float, seed: int
) -> tuple[Path, pa.Table]:
    from lookalike.datasets import caltech101

    chosen: str | list[str] = classes
    if classes not in {"nine", "all"}:
        chosen = classes.split(",")
    with progress_bar("Downloading Caltech 101", unit="bytes", visible=False) as bar:
        root = caltech101.fetch(
            folder, source=source, classes=chosen, progress=bar.update
        )
    table = caltech101.split(root, classes=chosen, test=test, seed=seed)
    return root, table
