"""The demo from start to end, on any labeled images."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import pyarrow as pa

from lookalike import imaging
from lookalike.collection import Collection
from lookalike.collection import index as index_images
from lookalike.datasets import manifest
from lookalike.demo.images import DemoImages, Say
from lookalike.drawing.map import draw_map
from lookalike.drawing.matches import draw_matches
from lookalike.drawing.scores import draw_evaluation
from lookalike.errors import InputError
from lookalike.evaluation.scores import TITLES, Evaluation
from lookalike.export.map_page import write_map_page
from lookalike.export.report import Answer, Story, write_report
from lookalike.models import registry, weights
from lookalike.projection.map import Map
from lookalike.sources import display_name, display_path, read_uri

__all__ = ["run_demo"]

# The first of these whose weights are on this machine fills a Space too.
_INCEPTION_MODELS = ("inception-v3", "inception-v3-torchvision", "inception-v3-keras")

_QUERY_COUNT = 4
_K = 10
_SHOWN_METRICS = ("map", "mean_class_map", "precision_at_1")


def run_demo(images: DemoImages, output: Path, say: Say) -> Path:
    """Index, split, search, evaluate, and map images, and write a report that shows all of it.

    Parameters
    ----------
    images
        The images, from `find_images`.
    output
        The folder for the collection, the drawings, and the report. A second run updates it.
    say
        Called with each line of text for the user.

    Returns
    -------
    Path
        The report, one HTML file.

    Raises
    ------
    LookalikeError
        If a step fails.
    """
    collection = _index(images, output, say)
    split = _split(collection, output, say)
    answers = _search(collection, split, output, say)
    evaluation = _evaluate(collection, split, output, say)
    computed_map = _map(collection, output, say)

    splits = split["split"].to_pylist()
    story = Story(
        source=images.description,
        credit=images.credit,
        collection=collection.table,
        examples=_class_examples(collection, split),
        parts=(splits.count("train"), splits.count("test")),
        answers=answers,
        evaluation=evaluation,
        map=computed_map,
        map_picture=output / "map.png",
        map_page=output / "map.html",
        commands=_commands(images, collection, answers, output),
    )
    report = write_report(story, output / "report.html")
    say("")
    say(f"Search it in a browser: {_serve_command(collection)}")
    say(f"Read the report: {report.resolve()}")
    return report


def _index(images: DemoImages, output: Path, say: Say) -> Collection:
    models = [registry.DEFAULT]
    for name in _INCEPTION_MODELS:
        if weights.is_available(registry.resolve(name)):
            models.append(name)
            break
    models.append("pixels")

    path = output / f"collection-{images.name}"
    say(f"Index: {images.description}")
    report = index_images(images.paths, path, models=models)
    say(
        f"  {report.images:,} images, {report.added:,} of them new, {report.failed:,} failed, "
        f"{report.seconds:.1f} s"
    )
    say(f"  Spaces: {', '.join(models)}")
    if len(models) == 2:
        say(
            "  InceptionV3 is left out: its weights are not on this machine (see lookalike models)"
        )
    say(f"  Collection: {path}")
    return Collection.open(path)


def _split(collection: Collection, output: Path, say: Say) -> pa.Table:
    """Split the labeled images into training and test images. The same files split the same way."""
    uris_by_label: dict[str, list[str]] = {}
    for batch in collection.table.scan(["uri", "label"], "label IS NOT NULL"):
        uris, labels = batch["uri"].to_pylist(), batch["label"].to_pylist()
        for uri, label in zip(uris, labels, strict=True):
            uris_by_label.setdefault(label, []).append(uri)

    # The order decides the split, so it must not depend on the order of the rows.
    classes = {}
    for label in sorted(uris_by_label):
        classes[label] = sorted(uris_by_label[label], key=_path_order)
    table = manifest.stratify(classes)
    csv_path, _ = manifest.write_manifest(table, output)
    splits = table["split"].to_pylist()
    say("")
    say(
        f"Split: {splits.count('train'):,} training and {splits.count('test'):,} test images"
    )
    say(f"  Manifest: {csv_path}")
    return table


def _path_order(uri: str) -> list[str]:
    """Return the key that sorts uris as the folders and files of a tree."""
    return uri.split("/")


def _search(
    collection: Collection, split: pa.Table, output: Path, say: Say
) -> list[Answer]:
    """Search every Space for the first test image of some classes, and draw the results."""
    queries = _first_uris(split, "test")
    labels = sorted(queries)
    count = min(_QUERY_COUNT, len(labels))
    if not count:
        return []

    say("")
    say(
        f"Search: {count} test images as queries, and the matches of their class among {_K}"
    )
    answers = []
    for number in range(count):
        # Spread the queries evenly over the classes.
        label = labels[(2 * number + 1) * len(labels) // (2 * count)]
        uri = queries[label]
        name = display_name(uri)
        matches = [
            collection.search(uri, space=space, k=_K, exclude_self=True)
            for space in collection.spaces
        ]
        image = imaging.decode(read_uri(uri))
        target = output / f"result-{number + 1}.png"
        draw_matches(image, matches, collection.table, target, label=label, name=name)

        hits = [f"{found.labels.count(label)} in {found.space}" for found in matches]
        say(f"  {label} ({name}): {', '.join(hits)}")
        row = collection.table.existing_rows([uri])[uri]
        answers.append(Answer(row.id, name, label, matches))
    say(f"  Drawn in {output / 'result-1.png'} to result-{count}.png")
    return answers


def _evaluate(
    collection: Collection, split: pa.Table, output: Path, say: Say
) -> Evaluation | None:
    say("")
    say("Evaluate: search for every test image among the training images")
    try:
        evaluation = collection.evaluate(split=split)
    except InputError as error:
        say(f"  No evaluation: {error}")
        return None

    for scores in evaluation.spaces:
        values = [
            f"{TITLES[name]} {scores.metrics[name].value:.3f}"
            for name in _SHOWN_METRICS
        ]
        say(f"  {scores.space}: {', '.join(values)}")
    target = draw_evaluation(evaluation, output / "evaluation.png")
    say(f"  Drawn in {target}")
    return evaluation


def _map(collection: Collection, output: Path, say: Say) -> Map:
    say("")
    say("Map: place every image in two dimensions, similar images together")
    computed_map = collection.map()
    image = draw_map(computed_map, collection.table, output / "map.png")
    page = write_map_page(computed_map, collection.table, output / "map.html")
    say(f"  Drawn in {image} and, interactively, in {page}")
    return computed_map


def _first_uris(split: pa.Table, part: str | None = None) -> dict[str, str]:
    """Return the uri of the first image of each label, in one part of the split or in both."""
    first: dict[str, str] = {}
    for row in split.to_pylist():
        if part is None or row["split"] == part:
            first.setdefault(row["label"], row["uri"])
    return first


def _class_examples(
    collection: Collection, split: pa.Table
) -> dict[str | None, tuple[int, int]]:
    """Return the number of images of each label, and the id of its first image."""
    first = _first_uris(split)
    rows = collection.table.existing_rows(first.values())
    labels = split["label"].to_pylist()
    return {
        label: (labels.count(label), rows[first[label]].id) for label in sorted(first)
    }


def _commands(
    images: DemoImages, collection: Collection, answers: list[Answer], output: Path
) -> list[str]:
    """Return the command lines that do the same."""
    where = ["-c", collection.path]
    index = ["index", *map(str, images.paths), *where]
    for space in collection.spaces:
        index += ["--model", space]
    commands = [index]

    if answers:
        rows = collection.table.take([answers[0].id], ["uri"])
        query = display_path(rows["uri"][0].as_py())
        commands.append(
            ["search", query, *where, "--exclude-self", "--save", "result.png"]
        )

    commands.append(["evaluate", *where, "--split", str(output / "manifest.csv")])
    commands.append(["map", *where, "--output", "map.html"])
    return [shlex.join(["lookalike", *words]) for words in commands]


def _serve_command(collection: Collection) -> str:
    """Return the command line that serves the collection."""
    program = Path(sys.executable).with_name("lookalike")
    if shutil.which("lookalike") == str(program):
        program = Path("lookalike")
    return shlex.join([str(program), "serve", "-c", collection.path, "--open"])
