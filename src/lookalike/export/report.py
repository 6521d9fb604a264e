"""The demo's report: one page with the whole story and its images."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.drawing.palette import palette
from lookalike.evaluation.scores import TITLES, Evaluation, SpaceScores
from lookalike.export.rendering import render
from lookalike.io.files import atomic_write
from lookalike.projection.map import Map
from lookalike.sources import display_name
from lookalike.store.table import Table
from lookalike.types import Matches

__all__ = ["Answer", "Story", "write_report"]

_NEIGHBORS = 6  # shown of each answer
_BAR_WIDTH = 90  # CSS pixels of a score of 1
_METRICS = (
    "map",
    "mean_class_map",
    "r_precision",
    "precision_at_1",
    "precision_at_5",
    "precision_at_10",
)
_METHODS = {"tsne": "t-SNE", "pca": "principal components", "umap": "UMAP"}


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
    map, map_picture, map_page
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
    map_picture: Path
    map_page: Path
    commands: Sequence[str]


def write_report(story: Story, path: Path) -> Path:
    """Write the report as one HTML file, which links to the map's page beside it."""
    collection = story.collection
    page = render(
        "report.html",
        story=story,
        count=collection.count(),
        neighbors=_NEIGHBORS,
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


def _data_uri(image: bytes, kind: str = "jpeg") -> str:
    text = base64.b64encode(image).decode()
    return f"data:image/{kind};base64,{text}"


def _thumbnails(collection: Table, ids: Iterable[int]) -> list[str]:
    """Return the thumbnails of some rows as data URIs."""
    rows = collection.take(list(ids), ["thumbnail"])
    images = rows["thumbnail"].to_pylist()
    return [_data_uri(image) for image in images]


# ---- images -------------------------------------------------------------------------------------


def _figure(image: str, title: str, note: str, style: str = "") -> dict[str, str]:
    return {"image": image, "title": title, "note": note, "style": style}


def _describe_classes(story: Story) -> list[dict[str, str]]:
    """Return an image of each class, with the number of its images."""
    ids = [row_id for _, row_id in story.examples.values()]
    images = _thumbnails(story.collection, ids)
    figures = []
    for image, label in zip(images, story.examples, strict=True):
        count, _ = story.examples[label]
        title = label or "unlabeled"
        figures.append(_figure(image, title, f"{count:,}"))
    return figures


def _describe_answer(collection: Table, answer: Answer) -> dict[str, Any]:
    """Return a query's image, and the images found in each Space."""
    [image] = _thumbnails(collection, [answer.id])
    spaces = []
    for matches in answer.matches:
        kind = "pixel space" if matches.space == "pixels" else "feature space"
        figures = _describe_matches(collection, matches, answer.label)
        spaces.append({"heading": f"{matches.space} ({kind})", "figures": figures})
    title = answer.label or answer.name
    query = _figure(image, title, answer.name)
    return {"query": query, "spaces": spaces}


def _describe_matches(
    collection: Table, matches: Matches, label: str | None
) -> list[dict[str, str]]:
    images = _thumbnails(collection, matches.ids[:_NEIGHBORS].tolist())
    figures = []
    for image, match in zip(images, matches, strict=False):
        title = match.label or display_name(match.uri)
        style = ""
        if label is not None:
            style = "same" if match.label == label else "other"
        figures.append(_figure(image, title, f"{match.distance:,.4g}", style))
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
        "spaces": [scores.space for scores in evaluation.spaces],
        "metrics": metrics,
        "classes": _describe_class_scores(evaluation.spaces),
    }


def _describe_class_scores(spaces: Sequence[SpaceScores]) -> list[dict[str, Any]]:
    """Return each class's average precision in each Space, the best of the first Space first."""
    first = spaces[0].classes
    labels = sorted(first, key=lambda label: -first[label].map)
    rows = []
    for label in labels:
        values = [scores.classes[label].map for scores in spaces]
        bars = []
        for value in values:
            width = round(value * _BAR_WIDTH)
            bars.append({"value": value, "width": width})
        rows.append({"label": label, "bars": bars})
    return rows


def _describe_map(story: Story) -> dict[str, Any]:
    figure = story.map_picture
    return {
        "space": story.map.space,
        "method": _METHODS[story.map.method],
        "trustworthiness": story.map.fidelity.get("trustworthiness"),
        "page": story.map_page.name,
        "image": _data_uri(figure.read_bytes(), figure.suffix.removeprefix(".")),
        "alt": f"Map of {len(story.map):,} images by {story.map.method}",
    }
