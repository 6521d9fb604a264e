"""Commands that study a collection: datasets, evaluation, the map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lookalike.cli import console
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
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
        with console.downloading("Downloading Caltech 101") as progress:
            root = caltech101.fetch(folder, source=source, classes=chosen, progress=progress)
        table = caltech101.split(root, classes=chosen, test=test, seed=seed)
    paths = manifest.write_manifest(table, folder)
    counts = {part: table["split"].to_pylist().count(part) for part in ("train", "test")}
    if as_json:
        console.print_json({"root": str(root), "manifest": [str(path) for path in paths], **counts})
        return
    console.say(f"{table.num_rows:,} pictures under {console.printable(str(root))}")
    console.say(
        f"{counts['train']:,} to train and {counts['test']:,} to test: {' and '.join(map(str, paths))}"
    )


@command("Example: lookalike evaluate --space efficientnet-lite0-int8 --space pixels")
def evaluate(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A Space to evaluate; may be repeated.", show_default="all"
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST",
            help="Query with its test pictures, in its training pictures.",
            show_default="leave one out",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the figures into a .png, .jpg or .webp."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well each Space brings together the pictures of one label: mAP, precision, recall.

    Every labelled picture is a query in turn; the others are the gallery. Each figure has a 95 % interval.
    """
    from lookalike.evaluation.evaluate import evaluate as measure

    if picture is not None:
        from lookalike.drawing.style import target

        target(picture)
    table = open_collection(collection)
    spaces = [table.space(name) for name in space or ()] or list(table.models)
    with console.ranking(table.count() * len(spaces)) as progress:
        result = measure(table, spaces=spaces, split=split, progress=progress)
    if picture is not None:
        from lookalike.drawing.scores import draw_evaluation

        draw_evaluation(result, picture)
    if as_json:
        console.print_json(result.to_dict())
        return
    console.print_evaluation(result)
    if picture is not None:
        console.say(f"Drawn into {console.printable(str(picture))}")


@command("Example: lookalike map --output map.html", name="map")
def make_map(
    collection: CollectionOption = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Space to map.", show_default="the first")
    ] = None,
    method: Annotated[
        Literal["tsne", "pca", "umap"], typer.Option(help="How places are found.")
    ] = "tsne",
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="A .png (also .jpg, .webp), or a .html page to move about in."
        ),
    ] = Path("map.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same map.")] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Make it anew, although one is kept.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Map a collection: a place on a plane for every picture, like near like.

    The map is kept with the collection: new pictures are placed on it without moving the others.
    """
    from lookalike.projection import map as mapping

    table = open_collection(collection)
    with console.waiting(f"Mapping {table.count():,} pictures"):
        plane = mapping.make_map(table, space=space, method=method, seed=seed, fresh=fresh)
        if output.suffix.lower() in {".html", ".htm"}:
            from lookalike.export.map_page import write_map_page as draw
        else:
            from lookalike.drawing.map import draw_map as draw
        draw(plane, table, output)
    if as_json:
        console.print_json({**plane.to_dict(), "output": str(output)})
    else:
        console.print_map(plane, str(output))
