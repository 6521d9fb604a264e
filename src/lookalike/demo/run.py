"""The whole story from start to end, on photographs or on the drawn sample: what ``scripts/demo`` runs."""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pyarrow as pa

from lookalike import imaging
from lookalike.datasets import caltech101, manifest, sample
from lookalike.drawing.map import draw_map
from lookalike.drawing.matches import draw_matches
from lookalike.drawing.scores import draw_evaluation
from lookalike.errors import DownloadError, InputError, LookalikeError
from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.scores import TITLES, Evaluation
from lookalike.export.map_page import write_map_page
from lookalike.export.report import Answer, Story, write_report
from lookalike.indexing.run import index
from lookalike.models import registry, weights
from lookalike.projection.map import Map, make_map
from lookalike.retrieval.query import as_queries
from lookalike.retrieval.search import Searcher, SearchRequest
from lookalike.sources import display_name, display_path, read_uri, to_uri
from lookalike.store.table import Table

__all__ = ["Pictures", "find_pictures", "run"]

_INCEPTIONS = ("inception-v3", "inception-v3-torchvision", "inception-v3-keras")
_QUERIES = 4
_K = 10
_TOLD = ("map", "mean_class_map", "precision_at_1")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What the story is told of: folders of pictures, each labelled by the folder it lies in.

    Every source has a collection of its own, by its name: one story must not hold another's pictures.
    """

    name: str
    paths: list[Path]
    source: str
    credit: str = ""


def find_pictures(folder: Path | None, data: Path | None, output: Path) -> Pictures:
    """Return the user's folder, or Caltech 101's nine classes where they can be had, or else the drawn sample."""
    if folder is not None:
        digest = hashlib.sha256(to_uri(folder).encode()).hexdigest()[:6]
        return Pictures(f"folder-{digest}", [folder], f"what lies under {folder}")
    cache = Path(platformdirs.user_cache_dir("lookalike", appauthor=False), "caltech101")
    try:
        if data is None:
            tell("Looking for Caltech 101 (131 MB, downloaded once; --data names a copy)")
        root = caltech101.fetch(cache, source=data, progress=_percent())
    except DownloadError as error:
        tell(f"  It cannot be had: {error}")
        tell(
            f"Drawing a sample instead: {len(sample.CLASSES)} classes of pictures, into {output / 'sample'}"
        )
        return Pictures(
            "sample",
            [sample.write_sample(output / "sample")],
            "nine classes drawn by Lookalike itself",
        )
    return Pictures(
        "caltech101",
        [root / label for label in caltech101.NINE_CLASSES],
        "photographs of nine classes of Caltech 101",
        "Photographs: Li, Andreeto, Ranzato, Perona: Caltech 101 (2022), CaltechDATA, CC BY 4.0.",
    )


def run(pictures: Pictures, output: Path) -> Path:
    """Index, split, search, evaluate, map; return the path of the report that shows it all.

    Raises
    ------
    LookalikeError
        If any of it cannot be done.
    """
    collection = _index(pictures, output)
    split = _split(collection, output)
    answers = list(_answers(collection, split, output))
    evaluation = _evaluate(collection, split, output)
    plane = _map(collection, output)
    parts = split["split"].to_pylist()
    story = Story(
        source=pictures.source,
        credit=pictures.credit,
        collection=collection,
        examples=_examples(collection, split),
        parts=(parts.count("train"), parts.count("test")),
        answers=answers,
        evaluation=evaluation,
        map=plane,
        map_picture=output / "map.png",
        map_page=output / "map.html",
        commands=_commands(pictures, collection, answers, output),
    )
    report = write_report(story, output / "report.html")
    serve = [Path(sys.executable).with_name("lookalike"), "serve", "-c", collection.path, "--open"]
    tell(f"\nTo search and look around in it: {shlex.join(map(str, serve))}")
    return report


def tell(line: str) -> None:
    """Print a line at once, so that whoever waits sees how far it is."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _index(pictures: Pictures, output: Path) -> Table:
    inception = next(
        (name for name in _INCEPTIONS if weights.is_available(registry.resolve(name))), None
    )
    models = [registry.DEFAULT, *([inception] if inception else []), "pixels"]
    path = output / f"collection-{pictures.name}"
    tell(f"Indexing {pictures.source} into {path}: {', '.join(models)}")
    if inception is None:
        tell(
            "  (without InceptionV3, whose weights are not at hand: lookalike models says how to get them)"
        )
    report = index(pictures.paths, path, models=models)
    tell(
        f"  {report.images:,} images, {report.added:,} of them new, {report.failed:,} failed, {report.seconds:.1f} s"
    )
    return Table.open(path)


def _split(collection: Table, output: Path) -> pa.Table:
    """Split the collection's labelled images, the same way for the same files."""
    classes: dict[str, list[str]] = {}
    for batch in collection.scan(["uri", "label"], "label IS NOT NULL"):
        for uri, label in zip(batch["uri"].to_pylist(), batch["label"].to_pylist(), strict=True):
            classes.setdefault(label, []).append(uri)
    ordered = {label: sorted(classes[label], key=_path_order) for label in sorted(classes)}
    table = manifest.stratify(ordered)
    paths = manifest.write_manifest(table, output)
    tell(f"Split into training and testing sets: {paths[0]}")
    return table


def _path_order(uri: str) -> list[str]:
    """Return the key that sorts uris as the folders and files of a tree."""
    return uri.split("/")


def _answers(collection: Table, split: pa.Table, output: Path) -> Iterator[Answer]:
    """Answer the first test picture of some classes in every Space, and draw each answer."""
    first = {
        row["label"]: row["uri"] for row in reversed(split.to_pylist()) if row["split"] == "test"
    }
    labels = sorted(first)
    count = min(_QUERIES, len(labels))
    searchers = [Searcher(collection, name) for name in collection.models]
    for number in range(count):
        label = labels[(2 * number + 1) * len(labels) // (2 * count)]
        uri = first[label]
        name = display_name(uri)
        request = SearchRequest(as_queries(uri), k=_K, exclude_self=True)
        matches = [searcher.search(request) for searcher in searchers]
        picture = output / f"result-{number + 1}.png"
        query = imaging.decode(read_uri(uri))
        draw_matches(query, matches, collection, picture, label=label, name=name)
        alike = ", ".join(f"{one.labels.count(label)} in {one.space}" for one in matches)
        tell(f"Searching by {label}/{name}: of {_K} nearest, {alike} are {label}: {picture}")
        row = collection.existing_rows([uri])[uri]
        yield Answer(row.id, name, label, matches)


def _evaluate(collection: Table, split: pa.Table, output: Path) -> Evaluation | None:
    try:
        evaluation = evaluate(collection, split=split)
    except InputError as error:
        tell(f"No evaluation: {error}")
        return None
    draw_evaluation(evaluation, output / "evaluation.png")
    tell(f"Evaluating the test pictures in the training pictures: {output / 'evaluation.png'}")
    for scores in evaluation.spaces:
        found = (f"{TITLES[key]} {scores.metrics[key].value:.3f}" for key in _TOLD)
        tell(f"  {scores.space}: {', '.join(found)}")
    return evaluation


def _map(collection: Table, output: Path) -> Map:
    tell("Mapping the collection")
    plane = make_map(collection)
    draw_map(plane, collection, output / "map.png")
    write_map_page(plane, collection, output / "map.html")
    tell(f"  {output / 'map.png'} and, to move about in, {output / 'map.html'}")
    return plane


def _examples(collection: Table, split: pa.Table) -> dict[str | None, tuple[int, int]]:
    """Return for each label how many images it has and the id of its first."""
    rows = split.to_pylist()
    first = {row["label"]: row["uri"] for row in reversed(rows)}
    known = collection.existing_rows(first.values())
    labels = [row["label"] for row in rows]
    return {label: (labels.count(label), known[first[label]].id) for label in sorted(first)}


def _commands(
    pictures: Pictures, collection: Table, answers: list[Answer], output: Path
) -> list[str]:
    """Return what a reader types to do the same."""
    where = ["-c", collection.path]
    models = [word for name in collection.models for word in ("--model", name)]
    queries = collection.take([answer.id for answer in answers[:1]], ["uri"])["uri"].to_pylist()
    commands = [
        ["index", *map(str, pictures.paths), *where, *models],
        *(
            ["search", display_path(uri), *where, "--exclude-self", "--save", "result.png"]
            for uri in queries
        ),
        ["evaluate", *where, "--split", str(output / "manifest.csv")],
        ["map", *where, "--output", "map.html"],
    ]
    return [shlex.join(["lookalike", *words]) for words in commands]


def _percent() -> Callable[[int, int | None], None]:
    """Return a progress that tells each tenth of a download."""
    told = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal told
        tenths = 10 * done // total if total else 0
        if tenths > told:
            tell(f"  {tenths * 10} %")
        told = max(told, tenths)

    return progress


def main() -> None:
    """Run the demo as ``scripts/demo [FOLDER]`` does."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="pictures, in folders that name their class"
    )
    parser.add_argument("--data", type=Path, metavar="DIR|ZIP", help="a copy of Caltech 101 to use")
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), help="where everything goes (default: demo)"
    )
    parser.add_argument(
        "--open", action="store_true", help="open the report in the browser at the end"
    )
    arguments = parser.parse_args()
    try:
        report = run(
            find_pictures(arguments.folder, arguments.data, arguments.output), arguments.output
        )
    except LookalikeError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted. Run it again to go on from there.\n")
        sys.exit(130)
    tell(f"The whole story: {report.resolve()}")
    if arguments.open:
        webbrowser.open(report.resolve().as_uri())


if __name__ == "__main__":
    main()
