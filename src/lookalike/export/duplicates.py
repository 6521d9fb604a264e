"""Duplicates as files: a table for programs, and a page for people."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.duplicates.groups import Duplicate, DuplicateGroup, Duplicates
from lookalike.duplicates.words import (
    TIER_WORDS,
    describe_counts,
    describe_figures,
    explain_copy,
)
from lookalike.export.rendering import data_uri, render_template
from lookalike.io.files import atomic_write
from lookalike.io.sizes import file_size
from lookalike.sources import browser_link, display_folder, display_name
from lookalike.store.view import View

__all__ = ["write_duplicates_page", "write_duplicates_table"]

_CSV_HEADER = (
    "group",
    "role",
    "uri",
    "tier",
    "reason",
    "figures",
    "width",
    "height",
    "bytes",
    "format",
    "label",
    "sha256",
    "protected",
)
# The thumbnails of a page: 12 MB once they are text in it.
_THUMBNAIL_BYTES = 9_000_000


def write_duplicates_table(duplicates: Duplicates, path: Path) -> Path:
    """Write a CSV file with one line for each image, those of a group one after the other."""
    lines: list[list[Any]] = []
    groups = enumerate(duplicates, 1)
    for number, group in groups:
        keeper = group.keeper
        copies = group.copies
        keeper_line = _line(number, keeper, "keep")
        lines.append(keeper_line)
        for copy in copies:
            copy_line = _line(number, copy, "copy")
            lines.append(copy_line)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_CSV_HEADER)
        writer.writerows(lines)
    return path


def _line(number: int, image: Duplicate, role: str) -> list[Any]:
    # A name that is not Unicode is a file:// URI, which is.
    return [
        number,
        role,
        image.uri,
        image.tier,
        explain_copy(image),
        describe_figures(image),
        image.width,
        image.height,
        image.bytes,
        image.format,
        image.label,
        image.sha256,
        "yes" if image.is_protected else "no",
    ]


@dataclass(frozen=True, slots=True)
class _GroupFigure:
    """An image of the page, and the texts below it."""

    image: str
    name: str
    folder: str
    link: str
    facts: str
    badge: str
    reason: str = ""
    figures: str = ""
    is_kept: bool = False


def write_duplicates_page(duplicates: Duplicates, view: View, path: Path) -> Path:
    """Write one HTML file that shows groups side by side; it needs no other file and no network.

    Parameters
    ----------
    duplicates
        The groups. The page shows as many as 9 MB of thumbnails allow, those with most bytes to
        save first, and says how many it leaves out.
    view
        The collection, whose thumbnails are shown.
    path
        The file.
    """
    groups = list(_described_groups(duplicates, view))
    left_out = len(duplicates) - len(groups)
    page = render_template(
        "duplicates.html",
        groups=groups,
        duplicates=duplicates,
        counts=describe_counts(duplicates.counts()),
        size=file_size(duplicates.removable_bytes),
        left_out=left_out,
        collection=view.path,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _described_groups(
    duplicates: Duplicates, view: View
) -> Iterator[list[_GroupFigure]]:
    budget = _THUMBNAIL_BYTES
    for group in duplicates:
        images = [group.keeper, *group.copies]
        ids = [image.id for image in images]
        thumbnails = view.take(ids, ["thumbnail"])["thumbnail"].to_pylist()
        budget -= sum(len(thumbnail or b"") for thumbnail in thumbnails)
        if budget < 0:
            return
        figures = []
        for image, thumbnail in zip(images, thumbnails, strict=True):
            figures.append(_figure_of(image, thumbnail, group))
        yield figures


def _figure_of(
    image: Duplicate, thumbnail: bytes | None, group: DuplicateGroup
) -> _GroupFigure:
    uri = image.uri
    is_kept = image is group.keeper
    shown_image = ""
    if thumbnail:
        shown_image = data_uri(thumbnail, "jpeg")
    badge = "keep"
    if image.tier is not None:
        badge = TIER_WORDS[image.tier]

    dimensions = f"{image.width:,} x {image.height:,}"
    facts = [dimensions]
    if image.format is not None:
        facts.append(image.format)
    if image.bytes is not None:
        size = file_size(image.bytes)
        facts.append(size)
    if image.is_protected:
        facts.append("protected")
    return _GroupFigure(
        image=shown_image,
        name=display_name(uri),
        folder=display_folder(uri),
        link=browser_link(uri),
        facts=" · ".join(facts),
        badge=badge,
        reason=explain_copy(image),
        figures=describe_figures(image),
        is_kept=is_kept,
    )
