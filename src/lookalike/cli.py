"""The command line: its words are those of the Python API."""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import lookalike
from lookalike import console, tracing
from lookalike.errors import InputError, LookalikeError

if TYPE_CHECKING:
    from lookalike.store.collection import Collection

__all__ = ["app", "main"]

app = typer.Typer(
    name="lookalike",
    help="An image search engine: give it a picture, get the pictures like it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130

CollectionOption = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--collection",
        metavar="PATH",
        help="The collection's folder.",
        show_default="$LOOKALIKE_COLLECTION, or one in your user data folder",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs and nothing else.")]


def command(epilog: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose errors become one paragraph and exit status 2, and whose Ctrl-C is clean."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except LookalikeError as error:
                console.print_error(str(error))
                raise typer.Exit(2) from None
            except BrokenPipeError:
                raise
            except OSError as error:
                console.print_error(f"{error}. Name a file or folder that can be read and written.")
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                console.say("Interrupted. What was committed stays; run the command again to go on.", error=True)
                raise typer.Exit(_INTERRUPTED) from None
            finally:
                if tracing.enabled():
                    tracing.report()

        app.command(name, epilog=epilog)(run)
        return run

    return register


@command("Example: lookalike index ~/Pictures")
def index(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Folders, pictures, or @list.txt with a path a line.")
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
        Literal["folder", "none"], typer.Option(help="What labels a picture: the folder it lies in, or nothing.")
    ] = "folder",
    hidden: Annotated[bool, typer.Option("--hidden", help="Look into hidden files and folders too.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with status 1 if any file could not be indexed.")
    ] = False,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try files again that failed before and have not changed.")
    ] = False,
    max_megapixels: Annotated[float, typer.Option(min=0.0001, help="Larger pictures are listed as failures.")] = 200.0,
    as_json: JsonOption = False,
) -> None:
    """Index pictures: bring a collection up to date with folders and files.

    Unchanged files are skipped, so that a second run is quick; an interrupted run goes on where it stopped.
    """
    from lookalike.indexing import Settings
    from lookalike.sources import Scan
    from lookalike.store.collection import default_path

    path = collection or default_path()
    settings = Settings(max_pixels=round(max_megapixels * 1e6), retry_failures=retry_failures)
    scan = Scan(paths, labels=labels, hidden=hidden)
    with console.counting(scan, "Indexing") as progress:
        report = lookalike.index(scan, path, models=model or (), settings=settings, progress=progress)
    if as_json:
        console.print_json(report.to_dict())
    else:
        console.print_report(report, path)
    if strict and report.failed:
        raise typer.Exit(1)


@command("Example: lookalike search photo.jpg -k 20 --picture result.png")
def search(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The query picture.")],
    collection: CollectionOption = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many matches.")] = 10,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Space to measure distance in.", show_default="the first")
    ] = None,
    not_self: Annotated[bool, typer.Option("--not-self", help="Leave out the query's own row.")] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the query and its matches into a .png, .jpg or .webp.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search by a picture: print the pictures most like it, nearest first."""
    table = _open(collection)
    with tracing.span("import search"):
        find = lookalike.search
    matches = find(table, image, k=k, space=space, not_self=not_self)
    if picture is not None:
        from lookalike import images, pictures

        query = images.decode(Path(image).expanduser().read_bytes())
        with tracing.span("draw picture"):
            pictures.draw_matches(query, [matches], table, picture, name=Path(image).name)
    if as_json:
        console.print_json(matches.to_dict())
        return
    console.print_matches(matches)
    if picture is not None:
        console.say(f"Drawn into {console.printable(str(picture))}")


@command("Example: lookalike info --failures")
def info(
    collection: CollectionOption = None,
    failures: Annotated[
        bool, typer.Option("--failures", help="List the files that could not be indexed, with reasons.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a collection holds."""
    table = _open(collection)
    failed = table.failures()
    spaces = [{"name": name, "model": model.name, "dim": model.dim} for name, model in table.models.items()]
    if as_json:
        listed = {"failed": failed.to_pylist()} if failures else {}
        console.print_json({"images": table.count(), "spaces": spaces, "failures": len(failed), **listed})
        return
    rows = [["Collection", table.path], ["Images", f"{table.count():,}"], ["Failures", f"{len(failed):,}"]]
    for name, model in table.models.items():
        rows.append(["Space", f"{name}: {model.title}; {model.dim} numbers; {table.count(name):,} images"])
    console.columns(rows, styles=("dim",))
    if failures:
        for uri, error in zip(failed["uri"].to_pylist(), failed["error"].to_pylist(), strict=True):
            console.say(f"{console.printable(uri)}: {console.printable(error)}")


@command("Example: lookalike models")
def models(as_json: JsonOption = False) -> None:
    """List the models that can be named with --model."""
    from lookalike.models import registry, weights

    known = registry.catalog()
    if as_json:
        listed = [
            {"name": m.name, "title": m.title, "dim": m.dim, "size": list(m.size), "available": weights.available(m)}
            for m in known.values()
        ]
        console.print_json({"models": listed})
        return
    header = ["name", "numbers", "input", "weights", "what it is"]
    rows = [[m.name, str(m.dim), f"{m.size[1]} x {m.size[0]}", weights.origin(m), m.title] for m in known.values()]
    console.columns([header, *rows], styles=("bold",), right=(1,))


@command("Example: lookalike remove ~/Pictures/2019")
def remove(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="URI...", help="Pictures, or folders with all that is below them, as search prints them."
        ),
    ],
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take pictures out of a collection; the files themselves are not touched."""
    removed = _open(collection).remove(uris)
    if as_json:
        console.print_json({"removed": removed})
    else:
        console.say(f"{removed:,} removed. The files themselves are untouched; indexing their folder adds them again.")


@command("Example: lookalike dataset caltech101 --to data")
def dataset(
    name: Annotated[
        Literal["caltech101", "sample"], typer.Argument(help="Caltech 101, or the sample that is drawn here.")
    ],
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to put it in.", show_default="the dataset's name")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR|ZIP", help="Use this copy of Caltech 101; nothing is downloaded."),
    ] = None,
    classes: Annotated[
        str, typer.Option(help="Caltech 101's classes: seed (nine of them), all, or names with commas between.")
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
            raise InputError("The sample is drawn here and has its own nine classes: leave out --from and --classes.")
        root = sample.write_sample(folder / "images")
        table = manifest.stratify({c: sorted((root / c).iterdir()) for c in sample.CLASSES}, test=test, seed=seed)
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
    console.say(f"{counts['train']:,} to train and {counts['test']:,} to test: {' and '.join(map(str, paths))}")


@command("Example: lookalike evaluate --space efficientnet-lite0 --space pixels")
def evaluate(
    collection: CollectionOption = None,
    space: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A Space to evaluate; may be repeated.", show_default="all")
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
        Path | None, typer.Option(metavar="FILE", help="Draw the figures into a .png, .jpg or .webp.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well each Space brings together the pictures of one label: mAP, precision, recall.

    Every labelled picture is a query in turn; the others are the gallery. Each figure has a 95 % interval.
    """
    from lookalike.evaluation import evaluate as measure

    if picture is not None:
        from lookalike.canvas import target

        target(picture)
    table = _open(collection)
    spaces = [table.space(name) for name in space or ()] or list(table.models)
    with console.ranking(table.count() * len(spaces)) as progress:
        result = measure(table, spaces=spaces, split=split, progress=progress)
    if picture is not None:
        from lookalike.charts import draw_evaluation

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
    method: Annotated[Literal["tsne", "pca", "umap"], typer.Option(help="How places are found.")] = "tsne",
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="A .png (also .jpg, .webp), or a .html page to move about in.")
    ] = Path("map.png"),
    seed: Annotated[int, typer.Option(help="The same seed gives the same map.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make it anew, although one is kept.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Map a collection: a place on a plane for every picture, like near like.

    The map is kept with the collection: new pictures are placed on it without moving the others.
    """
    from lookalike import mapping

    table = _open(collection)
    with console.waiting(f"Mapping {table.count():,} pictures"):
        plane = mapping.make_map(table, space=space, method=method, seed=seed, fresh=fresh)
        if output.suffix.lower() in {".html", ".htm"}:
            from lookalike.atlas_page import write_map_page as draw
        else:
            from lookalike.atlas import draw_map as draw
        draw(plane, table, output)
    if as_json:
        console.print_json({**plane.to_dict(), "output": str(output)})
    else:
        console.print_map(plane, str(output))


def _open(collection: str | None) -> Collection:
    with tracing.span("import collection"):
        from lookalike.store.collection import Collection, default_path

    return Collection.open(collection or default_path())


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
    app()
