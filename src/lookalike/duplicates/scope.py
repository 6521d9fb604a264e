"""The images that a search for duplicates compares: protected ones, and the parts of a leak."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lookalike.datasets.manifest import read_manifest
from lookalike.duplicates.groups import DuplicateSettings
from lookalike.errors import InputError
from lookalike.sources import uri_prefixes
from lookalike.store.schema import quote
from lookalike.store.view import View

__all__ = ["Scope", "read_scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """The images that are compared.

    Attributes
    ----------
    protected
        The ids of images that are never offered for removal.
    parts
        The part of each image, 0 or 1, by id; None if all images are compared with each other.
    """

    protected: set[int]
    parts: dict[int, int] | None


def read_scope(view: View, settings: DuplicateSettings) -> Scope:
    """Return the images that the settings name.

    Raises
    ------
    InputError
        If a folder, label or manifest names no image of the collection, two parts share an image,
        or both `across` and `split` are given.
    """
    protected: set[int] = set()
    for folder in settings.protect:
        ids = view.ids_under(uri_prefixes(folder), images=True).tolist()
        if not ids:
            raise InputError(
                f"The protected folder {folder} has no image in the collection {view.path}. "
                "Correct its name, or leave it out."
            )
        protected.update(ids)

    if settings.across is not None and settings.split is not None:
        raise InputError(
            "Both two parts and a manifest were given. Give --across or --split, not both."
        )
    parts = None
    if settings.across is not None:
        parts = _parts_by_name(view, settings.across)
    elif settings.split is not None:
        parts = _parts_by_manifest(view, settings.split)
    return Scope(protected, parts)


def _parts_by_name(view: View, names: tuple[str, str]) -> dict[int, int]:
    parts: dict[int, int] = {}
    for number, name in enumerate(names):
        ids = _ids_of(view, name)
        shared = [row_id for row_id in ids if row_id in parts]
        if shared:
            raise InputError(
                f"{names[0]} and {names[1]} share {len(shared):,} images, so every one of them "
                "would be a leak. Name two parts that do not overlap."
            )
        parts |= dict.fromkeys(ids, number)
    return parts


def _ids_of(view: View, name: str) -> list[int]:
    """Return the ids of the images below a folder, or with a label."""
    ids: list[int] = view.ids_under(uri_prefixes(name), images=True).tolist()
    if not ids:
        ids = view.select(f"label = {quote(name)}").tolist()
    if not ids:
        raise InputError(
            f"{name} is neither a folder with images of the collection {view.path} nor a label of "
            "its images. Name two folders or two labels; lookalike info lists them."
        )
    return ids


def _parts_by_manifest(view: View, split: str) -> dict[int, int]:
    manifest = read_manifest(Path(split).expanduser())
    split_of = dict(
        zip(manifest["uri"].to_pylist(), manifest["split"].to_pylist(), strict=True)
    )
    parts: dict[int, int] = {}
    for batch in view.scan(["uri"]):
        for row in batch.to_pylist():
            part = split_of.get(row["uri"])
            if part is not None:
                parts[row["_rowid"]] = 0 if part == "train" else 1
    if len(set(parts.values())) < 2:
        counts = [list(parts.values()).count(part) for part in (0, 1)]
        raise InputError(
            f"Of the images that the manifest {split} names, the collection {view.path} has "
            f"{counts[0]:,} of train and {counts[1]:,} of test, and both are needed. "
            "Index the folders of the manifest first."
        )
    return parts
