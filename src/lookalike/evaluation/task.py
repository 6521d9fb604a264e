"""The task of an evaluation: which images are queries, and which are the gallery."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lookalike.datasets.manifest import SCHEMA, read_manifest
from lookalike.errors import InputError, SpaceError
from lookalike.evaluation.scores import Counts
from lookalike.store.view import View
from lookalike.types import Ids

__all__ = ["EvaluationTask", "Split", "make_task", "read_split"]

PlacesOrClasses = npt.NDArray[np.intp]

_SPLIT_PARTS = {"train", "test"}


@dataclass(frozen=True, slots=True)
class Split:
    """The content of a manifest.

    Attributes
    ----------
    name
        The name of the manifest in messages.
    rows
        The label and the part, ``train`` or ``test``, of each uri.
    """

    name: str
    rows: dict[str, tuple[str | None, str]]


class LabeledImage(NamedTuple):
    """An image that may take part, in ``train``, ``test`` or, in leave-one-out, ``both``."""

    id: int
    label: str
    part: str
    spaces: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationTask:
    """Which rows are compared with which.

    Attributes
    ----------
    ids
        int64 ``[n]``, the ids of the images that take part, ascending.
    labels
        The names of the classes, sorted.
    queries, gallery
        intp ``[q]`` and ``[g]``, places in `ids`.
    query_classes, gallery_classes
        intp ``[q]`` and ``[g]``, places in `labels`.
    relevant
        intp ``[q]``, the number of images in the gallery with the label of each query.
    leave_one_out
        Whether each query is compared with all images except itself.
    counts
        The number of images by their role.
    """

    ids: Ids
    labels: list[str]
    queries: PlacesOrClasses
    query_classes: PlacesOrClasses
    gallery: PlacesOrClasses
    gallery_classes: PlacesOrClasses
    relevant: PlacesOrClasses
    leave_one_out: bool
    counts: Counts


def read_split(split: str | os.PathLike[str] | pa.Table) -> Split:
    """Read a manifest. One that is given as a table is checked as far as it is used.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    if isinstance(split, pa.Table):
        name = "The manifest"
        table = split
        _check_columns(table)
    else:
        name = f"The manifest {os.fspath(split)}"
        path = Path(split).expanduser()
        table = read_manifest(path)

    uris = table["uri"].to_pylist()
    labels = table["label"].to_pylist()
    parts = table["split"].to_pylist()
    rows = {}
    for uri, label, part in zip(uris, labels, parts, strict=True):
        rows[uri] = label, part
    return Split(name, rows)


def _check_columns(table: pa.Table) -> None:
    if set(SCHEMA.names) <= set(table.column_names):
        parts = table["split"].to_pylist()
        if set(parts) <= _SPLIT_PARTS:
            return
    raise InputError(
        f"The manifest has the columns {table.column_names}; expected {SCHEMA.names}, with train "
        "or test as split."
    )


def make_task(view: View, spaces: Sequence[str], split: Split | None) -> EvaluationTask:
    """Choose the queries and the gallery among the images that have a vector in every Space.

    Raises
    ------
    InputError
        If no image has a label, or fewer than two labels or no query are left.
    SpaceError
        If no labeled image has a vector in every Space.
    """
    images, unlabeled = _labeled_images(view, split)
    complete = [image for image in images if image.spaces.issuperset(spaces)]
    complete.sort()
    if not complete:
        raise SpaceError(
            f"No labeled image of {view.path} has a vector in {' and in '.join(spaces)}. "
            f"Fill the Spaces with: lookalike index FOLDER -c {view.path}"
        )

    # The class of each image, and its role.
    image_labels = [image.label for image in complete]
    labels, classes = _number_labels(image_labels)
    in_gallery = [image.part != "test" for image in complete]
    gallery = np.flatnonzero(in_gallery)
    is_eligible = [image.part != "train" for image in complete]
    eligible = np.flatnonzero(is_eligible)

    # The images of each query's class in the gallery, without the query itself.
    gallery_classes = classes[gallery]
    class_sizes = np.bincount(gallery_classes, minlength=len(labels))
    eligible_classes = classes[eligible]
    relevant = class_sizes[eligible_classes]
    if split is None:
        relevant -= 1
    has_relevant = relevant > 0
    queries = eligible[has_relevant]

    gallery_labels = np.count_nonzero(class_sizes)
    if gallery_labels < 2 or not len(queries):
        name = split.name if split else view.path
        raise InputError(
            f"{name} gives {len(gallery):,} images to search among (labels: {gallery_labels:,}), "
            f"and {len(queries):,} queries that share their label with another of them; expected "
            f"two labels and a query at least. {_advice(view, split)}"
        )

    absent = 0
    if split is not None:
        found = len(images) + unlabeled
        absent = len(split.rows) - found
    counts = Counts(
        queries=len(queries),
        gallery=len(gallery),
        skipped=len(eligible) - len(queries),
        unlabelled=unlabeled,
        left_out=len(images) - len(complete),
        absent=absent,
    )
    ids = [image.id for image in complete]
    return EvaluationTask(
        ids=np.array(ids, np.int64),
        labels=labels,
        queries=queries,
        query_classes=classes[queries],
        gallery=gallery,
        gallery_classes=gallery_classes,
        relevant=relevant[has_relevant],
        leave_one_out=split is None,
        counts=counts,
    )


def _number_labels(image_labels: Sequence[str]) -> tuple[list[str], PlacesOrClasses]:
    """Return the labels, sorted, and the place of each image's label among them."""
    labels = sorted(set(image_labels))
    number_of = {label: number for number, label in enumerate(labels)}
    numbers = [number_of[label] for label in image_labels]
    classes = np.array(numbers, np.intp)
    return labels, classes


def _labeled_images(view: View, split: Split | None) -> tuple[list[LabeledImage], int]:
    """Return the images that may take part, and the number of other images without a label."""
    images = []
    unlabeled = 0
    for batch in view.scan(["uri", "label", "spaces"]):
        names = ("_rowid", "uri", "label", "spaces")
        columns = [batch[name].to_pylist() for name in names]
        for row_id, uri, own_label, own_spaces in zip(*columns, strict=True):
            if split is None:
                label, part = own_label, "both"
            elif uri in split.rows:
                label, part = split.rows[uri]
            else:
                continue
            if label is None:
                unlabeled += 1
                continue
            spaces = frozenset(own_spaces or ())
            image = LabeledImage(row_id, label, part, spaces)
            images.append(image)

    if not images and split is not None:
        raise InputError(
            f"{split.name} lists {len(split.rows):,} images, and {view.path} holds none of them "
            "under these uris. Index the folder that the manifest describes, or write the "
            "manifest again."
        )
    if not images:
        raise InputError(
            f"{view.path} holds no image with a label, and {unlabeled:,} without. "
            f"{_advice(view, split)}"
        )
    return images, unlabeled


def _advice(view: View, split: Split | None) -> str:
    if split is not None:
        return "Write the manifest again with more classes in both of its splits."
    return (
        "The label of an image is the name of its folder: put the images of each class into a "
        f"folder of their own, then run: lookalike index FOLDER -c {view.path} --labels folder"
    )
