"""The demo from start to end, on any labeled images."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pyarrow as pa

from lookalike import imaging
from lookalike.collection import Collection
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
from lookalike.shortcuts import index as index_images
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
    collection = _index_images(images, output, say)
    split = _split_images(collection, output, say)
    answers = _search(collection, split, output, say)
    evaluation = _evaluate(collection, split, output, say)
    computed_map = _map(collection, output, say)

    parts = _part_sizes(split)
    story = Story(
        source=images.description,
        credit=images.credit,
        collection=collection.table,
        examples=_class_examples(collection, split),
        parts=parts,
        answers=answers,
        evaluation=evaluation,
        map=computed_map,
        map_image=output / "map.png",
        map_page=output / "map.html",
        commands=_commands(images, collection, answers, output),
    )
    report = write_report(story, output / "report.html")
    command = _serve_command(collection)
    report_path = report.resolve()
    say("")
    say(f"Search it in a browser: {command}")
    say(f"Read the report: {report_path}")
    return report


def _index_images(images: DemoImages, output: Path, say: Say) -> Collection:
    models = [registry.DEFAULT]
    for name in _INCEPTION_MODELS:
        model = registry.resolve(name)
        if weights.is_available(model):
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
    names = ", ".join(models)
    say(f"  Spaces: {names}")
    if len(models) == 2:
        say(
            "  InceptionV3 is left out: its weights are not on this machine (see lookalike models)"
        )
    say(f"  Collection: {path}")
    return Collection.open(path)


def _split_images(collection: Collection, output: Path, say: Say) -> pa.Table:
    """Split the labeled images into training and test images. The same files split the same way."""
    uris_by_label: dict[str, list[str]] = defaultdict(list)
    for batch in collection.table.scan(["uri", "label"], "label IS NOT NULL"):
        uris = batch["uri"].to_pylist()
        labels = batch["label"].to_pylist()
        for uri, label in zip(uris, labels, strict=True):
            uris_by_label[label].append(uri)

    # The order decides the split, so it must not depend on the order of the rows.
    classes = {}
    for label, uris in sorted(uris_by_label.items()):
        classes[label] = sorted(uris, key=_path_order)
    table = manifest.stratify(classes)
    csv_path, _ = manifest.write_manifest(table, output)
    train_count, test_count = _part_sizes(table)
    say("")
    say(f"Split: {train_count:,} training and {test_count:,} test images")
    say(f"  Manifest: {csv_path}")
    return table


def _part_sizes(split: pa.Table) -> tuple[int, int]:
    """Return the numbers of training and of test images."""
    column = split["split"]
    parts = column.to_pylist()
    train_count = parts.count("train")
    test_count = parts.count("test")
    return train_count, test_count


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
    table = collection.table
    for number in range(count):
        # Spread the queries evenly: take the class in the middle of each of `count` equal parts.
        middle = (2 * number + 1) * len(labels) // (2 * count)
        label = labels[middle]
        uri = queries[label]
        name = display_name(uri)
        matches = []
        hits = []
        for space in collection.spaces:
            found = collection.search(uri, space=space, k=_K, exclude_self=True)
            matches.append(found)
            hit_count = found.labels.count(label)
            hits.append(f"{hit_count} in {space}")

        data = read_uri(uri)
        image = imaging.decode(data)
        target = output / f"result-{number + 1}.png"
        draw_matches(image, matches, table, target, label=label, name=name)
        listed = ", ".join(hits)
        say(f"  {label} ({name}): {listed}")

        rows = table.existing_rows([uri])
        row_id = rows[uri].id
        answer = Answer(row_id, name, label, matches)
        answers.append(answer)
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
        values = []
        for name in _SHOWN_METRICS:
            title = TITLES[name]
            value = scores.metrics[name].value
            values.append(f"{title} {value:.3f}")
        listed = ", ".join(values)
        say(f"  {scores.space}: {listed}")
    target = draw_evaluation(evaluation, output / "evaluation.png")
    say(f"  Drawn in {target}")
    return evaluation


def _map(collection: Collection, output: Path, say: Say) -> Map:
    say("")
    say("Map: place every image in two dimensions, similar images together")
    computed_map = collection.map()
    table = collection.table
    image_path = output / "map.png"
    page_path = output / "map.html"
    image = draw_map(computed_map, table, image_path)
    page = write_map_page(computed_map, table, page_path)
    say(f"  Drawn in {image} and, interactively, in {page}")
    return computed_map


def _first_uris(split: pa.Table, part: str | None = None) -> dict[str, str]:
    """Return the uri of the first image of each label, in one part of the split or in both."""
    first: dict[str, str] = {}
    for row in split.to_pylist():
        label = row["label"]
        is_in_part = part is None or row["split"] == part
        if is_in_part and label not in first:
            first[label] = row["uri"]
    return first


def _class_examples(
    collection: Collection, split: pa.Table
) -> dict[str | None, tuple[int, int]]:
    """Return the number of images of each label, and the id of its first image."""
    first = _first_uris(split)
    rows = collection.table.existing_rows(first.values())
    labels = split["label"].to_pylist()
    examples: dict[str | None, tuple[int, int]] = {}
    for label, uri in sorted(first.items()):
        count = labels.count(label)
        examples[label] = count, rows[uri].id
    return examples


def _commands(
    images: DemoImages, collection: Collection, answers: list[Answer], output: Path
) -> list[str]:
    """Return the command lines that do the same."""
    where = ["-c", collection.path]
    paths = [str(path) for path in images.paths]
    index = ["index", *paths, *where]
    for space in collection.spaces:
        index += ["--model", space]
    commands = [index]

    if answers:
        first_id = answers[0].id
        rows = collection.table.take([first_id], ["uri"])
        (uri,) = rows["uri"].to_pylist()
        query = display_path(uri)
        search = ["search", query, *where, "--exclude-self", "--save", "result.png"]
        commands.append(search)

    manifest_path = str(output / "manifest.csv")
    evaluate = ["evaluate", *where, "--split", manifest_path]
    commands.append(evaluate)
    make_map = ["map", *where, "--output", "map.html"]
    commands.append(make_map)
    return [shlex.join(["lookalike", *words]) for words in commands]


def _serve_command(collection: Collection) -> str:
    """Return the command line that serves the collection."""
    beside_python = Path(sys.executable).with_name("lookalike")
    program = str(beside_python)
    if shutil.which("lookalike") == program:
        program = "lookalike"
    words = [program, "serve", "-c", collection.path, "--open"]
    return shlex.join(words)
