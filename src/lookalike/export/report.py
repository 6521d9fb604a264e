"""The demo's report: one page with the whole story and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.drawing.palette import palette
from lookalike.evaluation.scores import TITLES, Evaluation, SpaceScores
from lookalike.export.rendering import data_uri, render_template
from lookalike.io.files import atomic_write
from lookalike.projection.map import Map
from lookalike.sources import display_name
from lookalike.store.table import Table
from lookalike.types import Matches

__all__ = ["Answer", "Story", "write_report"]

_SHOWN_NEIGHBORS = 6  # shown of each answer
_BAR_WIDTH = 90  # CSS pixels of a score of 1
_METRICS = (
    "map",
    "mean_class_map",
    "r_precision",
    "precision_at_1",
    "precision_at_5",
    "precision_at_10",
)
_METHOD_TITLES = {"tsne": "t-SNE", "pca": "principal components", "umap": "UMAP"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A query of the collection and the matches of each Space."""

    id: int
    name: str
    label: str | None
    matches: Sequence[Matches]


@dataclass(frozen=True, slots=True)
class Story:
    """The contents of the report.

    Attributes
    ----------
    source, credit
        A phrase that describes the images, and their authors.
    collection
        The indexed images.
    examples
        For each label, the number of its images and the id of one.
    parts
        The number of training images and of test images.
    answers
        Queries with the matches of each Space.
    evaluation
        Test images searched in the training images; None with fewer than two labels.
    map, map_image, map_page
        The map, and its two files beside the report.
    commands
        Commands with which a reader does the same.
    """

    source: str
    credit: str
    collection: Table
    examples: Mapping[str | None, tuple[int, int]]
    parts: tuple[int, int]
    answers: Sequence[Answer]
    evaluation: Evaluation | None
    map: Map
    map_image: Path
    map_page: Path
    commands: Sequence[str]


def write_report(story: Story, path: Path) -> Path:
    """Write the report as one HTML file, which links to the map's page beside it."""
    collection = story.collection
    page = render_template(
        "report.html",
        story=story,
        count=collection.count(),
        neighbors=_SHOWN_NEIGHBORS,
        colors=palette()["distinct"],
        classes=_describe_classes(story),
        spaces=collection.models,
        answers=[_describe_answer(collection, answer) for answer in story.answers],
        evaluation=_describe_evaluation(story.evaluation),
        map=_describe_map(story),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _thumbnails(collection: Table, ids: Sequence[int]) -> list[str]:
    """Return the thumbnails of some rows as data URIs."""
    rows = collection.take(ids, ["thumbnail"])
    uris = []
    images = rows["thumbnail"].to_pylist()
    for image in images:
        uri = data_uri(image, "jpeg")
        uris.append(uri)
    return uris


# ---- images -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Figure:
    """An image and the texts below it; the style is the class of its frame."""

    image: str
    title: str
    note: str
    style: str = ""


def _describe_classes(story: Story) -> list[_Figure]:
    """Return an image of each class, with the number of its images."""
    ids = [row_id for _, row_id in story.examples.values()]
    images = _thumbnails(story.collection, ids)
    figures = []
    for image, (label, (count, _)) in zip(images, story.examples.items(), strict=True):
        title = label or "unlabeled"
        note = f"{count:,}"
        figure = _Figure(image, title, note)
        figures.append(figure)
    return figures


def _describe_answer(collection: Table, answer: Answer) -> dict[str, Any]:
    """Return a query's image, and the images found in each Space."""
    name = answer.name
    label = answer.label
    ids = [answer.id]
    [image] = _thumbnails(collection, ids)
    title = label or name
    query = _Figure(image, title, name)
    spaces = []
    for matches in answer.matches:
        space = matches.space
        is_of_pixels = space == "pixels"
        kind = "pixel" if is_of_pixels else "feature"
        heading = f"{space} ({kind} space)"
        figures = _describe_matches(collection, matches, label)
        entry = {"heading": heading, "figures": figures}
        spaces.append(entry)
    return {"query": query, "spaces": spaces}


def _describe_matches(
    collection: Table, matches: Matches, label: str | None
) -> list[_Figure]:
    """Return the nearest images; frames show which ones have the query's label."""
    ids = matches.ids[:_SHOWN_NEIGHBORS]
    images = _thumbnails(collection, ids.tolist())
    figures = []
    for image, match in zip(images, matches, strict=False):
        title = match.label or display_name(match.uri)
        note = f"{match.distance:,.4g}"
        figure = _Figure(image, title, note)
        if label is not None:
            is_same = match.label == label
            figure.style = "same" if is_same else "other"
        figures.append(figure)
    return figures


# ---- scores and map -----------------------------------------------------------------------------


def _describe_evaluation(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Return the scores of each metric and of each class, one column a Space."""
    if evaluation is None:
        return None
    metrics = []
    for key in _METRICS:
        estimates = [scores.metrics[key] for scores in evaluation.spaces]
        metrics.append({"title": TITLES[key], "estimates": estimates})
    return {
        "counts": evaluation.counts,
        "spaces": [scores.title for scores in evaluation.spaces],
        "metrics": metrics,
        "classes": _describe_class_scores(evaluation.spaces),
    }


def _describe_class_scores(spaces: Sequence[SpaceScores]) -> list[dict[str, Any]]:
    """Return each class's average precision in each Space, the best of the first Space first."""
    first = spaces[0]
    classes = first.classes
    labels = sorted(classes, key=lambda label: -classes[label].map)
    rows = []
    for label in labels:
        bars = []
        for scores in spaces:
            score = scores.classes[label]
            value = score.map
            width = round(value * _BAR_WIDTH)
            bar = {"value": value, "width": width}
            bars.append(bar)
        row = {"label": label, "bars": bars}
        rows.append(row)
    return rows


def _describe_map(story: Story) -> dict[str, Any]:
    map_ = story.map
    file = story.map_image
    content = file.read_bytes()
    kind = file.suffix.removeprefix(".")
    return {
        "space": map_.space,
        "method": _METHOD_TITLES[map_.method],
        "trustworthiness": map_.fidelity.get("trustworthiness"),
        "page": story.map_page.name,
        "image": data_uri(content, kind),
        "alt": f"Map of {len(map_):,} images by {map_.method}",
    }
