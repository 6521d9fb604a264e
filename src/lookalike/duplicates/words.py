"""The reasons of duplicates in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.duplicates.groups import Duplicate, Evidence, Relation, Tier

__all__ = ["TIER_WORDS", "describe_counts", "describe_figures", "explain_copy"]

# What a reader sees for each tier.
TIER_WORDS: dict[Tier, str] = {
    "identical": "identical",
    "copy": "edited copy",
    "similar": "similar",
}
_PLURALS: dict[Tier, str] = {**TIER_WORDS, "copy": "edited copies"}

_OF_RELATION: dict[Relation, str] = {
    "burst": "another frame of the same burst",
    "raw and developed": "raw and developed files of one photograph",
}
_OF_EVIDENCE: dict[Evidence, str] = {
    "content": "the same file, byte for byte",
    "pixels": "the same pixels in another file",
    "pdq": "the same image with small changes",
    "points": "the same image, cropped, turned or recolored",
    "cosine": "an image with the same content",
}


def explain_copy(copy: Duplicate) -> str:
    """Return why an image belongs to its group, such as "the same file, byte for byte"."""
    reason = copy.reason
    if reason is None:
        return ""
    if reason.relation is not None:
        return _OF_RELATION[reason.relation]
    words = _OF_EVIDENCE[reason.evidence]
    if reason.is_mirrored:
        words = f"{words}, mirrored"
    return words


def describe_figures(copy: Duplicate) -> str:
    """Return the figures behind a tier, such as "84 matching points, correlation 0.97"."""
    reason = copy.reason
    if reason is None:
        return ""
    parts = []
    distance = reason.pdq_distance
    if distance is not None:
        parts.append(f"PDQ distance {distance} of 256")
    inliers = reason.inliers
    if inliers is not None:
        parts.append(f"{inliers} matching points")
    correlation = reason.correlation
    if correlation is not None:
        parts.append(f"correlation {correlation:.2f}")
    cosine = reason.cosine
    if cosine is not None:
        parts.append(f"cosine {cosine:.2f}")
    return ", ".join(parts)


def describe_counts(counts: Mapping[Tier, int]) -> str:
    """Return the number of copies of each tier, such as "6 identical, 1 edited copy"."""
    parts = []
    for tier, count in counts.items():
        if not count:
            continue
        words = _PLURALS[tier]
        if count == 1:
            words = TIER_WORDS[tier]
        part = f"{count:,} {words}"
        parts.append(part)
    return ", ".join(parts)
