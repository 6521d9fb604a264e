"""A review as files: a table for programs, and a page for people."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookalike.export.rendering import data_uri, render_template
from lookalike.io.files import atomic_write
from lookalike.review.results import (
    DiverseImage,
    DoubtfulLabel,
    Outlier,
    Review,
    ReviewImage,
)
from lookalike.review.words import ImageGroup, explain_image, sections
from lookalike.sources import browser_link, display_folder, display_name
from lookalike.store.view import View

__all__ = ["write_review_page", "write_review_table"]

_REVIEW_HEADER = (
    "part",
    "group",
    "uri",
    "label",
    "suggested",
    "score",
    "distance",
    "represents",
)
# The images of a group on a page. A table has all of them.
_MOST_OF_CLUSTER = 12
_MOST_OF_LIST = 120

_Cell = str | int | float | None


def write_review_table(review: Review, path: Path) -> Path:
    """Write a CSV file with one line for each image of each part."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_REVIEW_HEADER)
        lines = _table_lines(review)
        writer.writerows(lines)
    return path


def _table_lines(review: Review) -> Iterator[list[_Cell]]:
    for section in sections(review):
        for group in section.groups:
            for image in group.images:
                figures = _figures(image)
                yield [section.part, group.title, image.uri, image.label, *figures]


def _figures(image: ReviewImage) -> Sequence[_Cell]:
    """Return the suggested label, the score, the distance, and the number of images."""
    if isinstance(image, DoubtfulLabel):
        label = image.suggested
        score = image.score
        return label, score, None, None
    if isinstance(image, Outlier):
        return None, None, image.distance, None
    if isinstance(image, DiverseImage):
        distance = image.distance
        represented = image.represents
        return None, None, distance, represented
    return None, None, None, None


@dataclass(frozen=True, slots=True)
class _ImageFigure:
    """An image of the page, and the texts below it."""

    image: str
    name: str
    folder: str
    link: str
    label: str
    explanation: str


@dataclass(frozen=True, slots=True)
class _GroupFigures:
    """A group of the page; `left_out` images of it are not shown."""

    title: str
    total: int
    left_out: int
    images: list[_ImageFigure]


def write_review_page(review: Review, view: View, path: Path) -> Path:
    """Write one HTML file that shows a review; it needs no other file and no network.

    Parameters
    ----------
    review
        The review.
    view
        The collection, whose thumbnails are shown.
    path
        The file.
    """
    shown = []
    for section in sections(review):
        groups = []
        for group in section.groups:
            figures = _group_figures(group, view)
            groups.append(figures)
        shown.append((section, groups))
    page = render_template(
        "review.html", review=review, sections=shown, collection=view.path
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _group_figures(group: ImageGroup, view: View) -> _GroupFigures:
    title = group.title
    most = _MOST_OF_LIST
    if title:
        most = _MOST_OF_CLUSTER
    all_images = group.images
    images = all_images[:most]
    total = len(all_images)
    shown = len(images)
    left_out = total - shown

    ids = [image.id for image in images]
    columns = ["thumbnail"]
    rows = view.take(ids, columns)
    column = rows["thumbnail"]
    thumbnails = column.to_pylist()
    figures = []
    for image, thumbnail in zip(images, thumbnails, strict=True):
        figure = _image_figure(image, thumbnail)
        figures.append(figure)
    return _GroupFigures(title=title, total=total, left_out=left_out, images=figures)


def _image_figure(image: ReviewImage, thumbnail: bytes | None) -> _ImageFigure:
    source = ""
    if thumbnail:
        source = data_uri(thumbnail, "jpeg")
    uri = image.uri
    return _ImageFigure(
        image=source,
        name=display_name(uri),
        folder=display_folder(uri),
        link=browser_link(uri),
        label=image.label or "",
        explanation=explain_image(image),
    )
