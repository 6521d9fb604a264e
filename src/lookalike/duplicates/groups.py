"""The result of a search for duplicates: groups of images, each around the image to keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lookalike.errors import InputError

__all__ = [
    "TIERS",
    "Duplicate",
    "DuplicateGroup",
    "DuplicateSettings",
    "Duplicates",
    "Evidence",
    "Reason",
    "Relation",
    "Tier",
]

Tier = Literal["identical", "copy", "similar"]
Evidence = Literal["content", "pixels", "pdq", "points", "cosine"]
Relation = Literal["burst", "raw and developed"]

# From the strictest to the loosest.
TIERS: tuple[Tier, ...] = ("identical", "copy", "similar")
# The version of the JSON that `Duplicates.to_json` writes.
_JSON_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an image belongs to a group: how it compares with the image to keep.

    Attributes
    ----------
    evidence
        The comparison that decided. ``content``: the same bytes. ``pixels``: the same decoded
        pixels. ``pdq``: a small PDQ distance. ``points``: points of interest that match by one
        shift, rotation and scale. ``cosine``: a large cosine alone.
    pdq_distance
        The smallest Hamming distance, 0 to 256, of the PDQ hashes over the 8 orientations; None
        if it was not computed.
    inliers
        The number of matching points; None if none were looked for.
    correlation
        The normalized cross-correlation, -1 to 1, of the overlap; None without one.
    is_mirrored
        Whether one image is the mirror image of the other; None if that is not known.
    cosine
        The cosine of the vectors; None if one of the images has none.
    relation
        How images that are not edits of each other belong together: frames of a ``burst``, or a
        camera's ``raw and developed`` files of one photograph. None for all others.
    """

    evidence: Evidence
    pdq_distance: int | None = None
    inliers: int | None = None
    correlation: float | None = None
    is_mirrored: bool | None = None
    cosine: float | None = None
    relation: Relation | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One image of a group.

    Attributes
    ----------
    id, uri
        The row's id, and its uri.
    sha256
        The sha256 of the file's content, as 64 hexadecimal digits.
    width, height
        Pixels of the upright image.
    bytes
        The size of the file; None if it is not known.
    format
        The name of the format, such as ``JPEG``, by the extension; None if that says nothing.
    label
        The label; None without one.
    tier
        How the image compares with the image to keep; None for the image to keep itself.
    reason
        The figures behind the tier; None for the image to keep itself.
    is_protected
        Whether the image lies in a protected folder, and must never be removed.
    """

    id: int
    uri: str
    sha256: str
    width: int
    height: int
    bytes: int | None
    format: str | None
    label: str | None
    tier: Tier | None = None
    reason: Reason | None = None
    is_protected: bool = False


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """An image to keep, and the images that were compared with it and match it.

    Each copy matches the image to keep itself, so a group never joins images by way of others. An
    image belongs to one group at most.

    Attributes
    ----------
    keeper
        The image to keep: the one with the most pixels; see `lookalike.duplicates.keeper`.
    copies
        The others, the strictest tier first. Protected images among them are not removed.
    """

    keeper: Duplicate
    copies: tuple[Duplicate, ...]

    @property
    def removable(self) -> tuple[Duplicate, ...]:
        """The copies that are not protected."""
        offered = [copy for copy in self.copies if not copy.is_protected]
        return tuple(offered)

    @property
    def removable_bytes(self) -> int:
        """The bytes of the copies that are not protected."""
        total = 0
        for copy in self.removable:
            size = copy.bytes or 0
            total += size
        return total


@dataclass(frozen=True, slots=True)
class DuplicateSettings:
    """What counts as a duplicate.

    Attributes
    ----------
    tier
        The loosest tier that is looked for; the stricter ones are included.
    space
        The Space whose nearest images are candidates; None for the first.
    protect
        Folders whose images are never offered for removal, as paths or uris.
    across
        Two parts of the collection, each a folder or a label. Only images of the second part that
        match an image of the first are found. None compares all images with each other.
    split
        A manifest whose train and test images take the place of `across`; None without one.
    limit
        The largest number of groups; None for all. The groups with most to save come first.
    processes
        The number of processes that compare images; None for one for each processor.
    """

    tier: Tier = "copy"
    space: str | None = None
    protect: tuple[str, ...] = ()
    across: tuple[str, str] | None = None
    split: str | None = None
    limit: int | None = None
    processes: int | None = None


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The groups of duplicates of a collection.

    Attributes
    ----------
    groups
        Those with most bytes to save first.
    images
        The number of images that were compared.
    skipped
        The number of images without a thumbnail or a vector; only the same content is found of
        them.
    version
        The version of the collection that was read.
    thresholds
        The thresholds that decided, by name.
    settings
        The settings of the search.
    notes
        Sentences for the user about what this search could not do, such as a missing package.
    """

    groups: tuple[DuplicateGroup, ...]
    images: int
    version: int
    settings: DuplicateSettings = field(default_factory=DuplicateSettings)
    skipped: int = 0
    thresholds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.groups)

    def __iter__(self) -> Iterator[DuplicateGroup]:
        return iter(self.groups)

    @property
    def copies(self) -> int:
        """The number of images beside those to keep."""
        total = 0
        for group in self.groups:
            count = len(group.copies)
            total += count
        return total

    @property
    def removable_bytes(self) -> int:
        """The bytes of the copies that are not protected."""
        total = 0
        for group in self.groups:
            total += group.removable_bytes
        return total

    def counts(self) -> dict[Tier, int]:
        """Return the number of copies of each tier."""
        counts = dict.fromkeys(TIERS, 0)
        for group in self.groups:
            for copy in group.copies:
                if copy.tier is not None:
                    counts[copy.tier] += 1
        return counts

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, as ``lookalike duplicates --json`` prints it."""
        groups = []
        for group in self.groups:
            entry = asdict(group)
            entry["removable_bytes"] = group.removable_bytes
            groups.append(entry)
        return {
            "format": _JSON_FORMAT,
            "version": self.version,
            "images": self.images,
            "skipped": self.skipped,
            "copies": self.copies,
            "tiers": self.counts(),
            "removable_bytes": self.removable_bytes,
            "groups": groups,
            "thresholds": self.thresholds,
            "settings": asdict(self.settings),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return the result as JSON that `from_json` reads."""
        values = self.to_dict()
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Duplicates:
        """Return the result that `to_json` wrote.

        Raises
        ------
        InputError
            If the text is something else.
        """
        try:
            values = json.loads(text)
            return _from_dict(values)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The text is not a result of a search for duplicates: {error}. "
                "Give the output of: lookalike duplicates --json"
            ) from error


def _from_dict(values: dict[str, Any]) -> Duplicates:
    """Return the result that `Duplicates.to_dict` describes."""
    if values["format"] != _JSON_FORMAT:
        raise ValueError(f"its format is {values['format']!r}")

    groups = []
    for entry in values["groups"]:
        keeper = _duplicate(entry["keeper"])
        copies = tuple(map(_duplicate, entry["copies"]))
        group = DuplicateGroup(keeper, copies)
        groups.append(group)

    settings = dict(values["settings"])
    settings["protect"] = tuple(settings["protect"])
    across = settings["across"]
    if across is not None:
        first, second = across
        settings["across"] = (first, second)
    return Duplicates(
        groups=tuple(groups),
        images=values["images"],
        version=values["version"],
        settings=DuplicateSettings(**settings),
        skipped=values["skipped"],
        thresholds=dict(values["thresholds"]),
        notes=tuple(values["notes"]),
    )


def _duplicate(values: dict[str, Any]) -> Duplicate:
    """Return the image that a plain dictionary describes."""
    fields = dict(values)
    reason = fields["reason"]
    if reason is not None:
        fields["reason"] = Reason(**reason)
    return Duplicate(**fields)
