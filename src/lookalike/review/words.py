"""A review in plain words: one section for each part, for people who read or look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lookalike.review.results import (
    Clusters,
    DiverseImage,
    DiverseImages,
    DoubtfulLabel,
    DoubtfulLabels,
    Outlier,
    Outliers,
    Review,
    ReviewImage,
    ReviewPart,
)

__all__ = ["ImageGroup", "Section", "explain_image", "sections"]


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """Images of a section that belong together.

    Attributes
    ----------
    title
        The name of a cluster; empty where a section has one group.
    images
        The images, the most telling first.
    """

    title: str
    images: tuple[ReviewImage, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a review.

    Attributes
    ----------
    part, title
        The part, and its title.
    summary
        A sentence with the figures of the part.
    groups
        The images.
    has_rest
        Whether the last group is that of the images in no cluster.
    lists_groups
        Whether the part is a list of groups, or of the images of its only group.
    """

    part: ReviewPart
    title: str
    summary: str
    groups: tuple[ImageGroup, ...]
    has_rest: bool = False
    lists_groups: bool = False


def sections(review: Review) -> Iterator[Section]:
    """Yield the parts of a review that were asked for."""
    if review.clusters is not None:
        yield _cluster_section(review.clusters)
    if review.outliers is not None:
        yield _outlier_section(review.outliers)
    if review.labels is not None:
        yield _label_section(review.labels)
    if review.diverse is not None:
        yield _diverse_section(review.diverse)


def explain_image(image: ReviewImage) -> str:
    """Return why an image is in its section; empty for an image of a cluster."""
    if isinstance(image, Outlier):
        return f"distance {image.distance:.3f}"
    if isinstance(image, DoubtfulLabel):
        return (
            f"{image.label} or {image.suggested}? score {image.score:.2f}; "
            f"{image.agreeing} of {image.neighbors} nearest images are {image.suggested}"
        )
    if isinstance(image, DiverseImage):
        return f"nearest to {_image_count(image.represents)}"
    return ""


def _cluster_section(clusters: Clusters) -> Section:
    groups = []
    for cluster in clusters.groups:
        group = ImageGroup(cluster.name, cluster.images)
        groups.append(group)
    found = len(groups)
    noun = "cluster" if found == 1 else "clusters"
    summary = f"{found:,} {noun}"
    unclustered = clusters.unclustered
    if unclustered:
        rest = ImageGroup("in no cluster", unclustered)
        groups.append(rest)
        summary += f"; {_image_count(len(unclustered))} in none"
    return Section(
        "clusters",
        "Clusters",
        f"{summary}.",
        tuple(groups),
        has_rest=bool(unclustered),
        lists_groups=True,
    )


def _outlier_section(outliers: Outliers) -> Section:
    above = 0
    for image in outliers.images:
        above += image.distance > outliers.threshold
    summary = (
        f"{_image_count(above)} farther than {outliers.threshold:.3f} from the "
        f"{_ordinal(outliers.neighbor)} nearest image; the median is {outliers.median:.3f}."
    )
    return _list_section("outliers", "Outliers", summary, outliers.images)


def _label_section(labels: DoubtfulLabels) -> Section:
    found = len(labels.images)
    verb = "fit"
    if found == 1:
        verb = "fits"
    summary = (
        f"{found:,} of {labels.checked:,} labels {verb} worse than another one, "
        f"by a score above {labels.threshold:g}."
    )
    return _list_section("labels", "Doubtful labels", summary, labels.images)


def _diverse_section(diverse: DiverseImages) -> Section:
    found = len(diverse.images)
    summary = (
        f"{_image_count(found)}; every image is at most {diverse.radius:.3f} from one of them, "
        f"{diverse.mean:.3f} on average"
    )
    if diverse.all_labels:
        summary += f"; {diverse.labels:,} of {diverse.all_labels:,} labels"
    return _list_section("diverse", "Diverse images", f"{summary}.", diverse.images)


def _list_section(
    part: ReviewPart, title: str, summary: str, images: tuple[ReviewImage, ...]
) -> Section:
    """Return a section whose images are one group without a title."""
    group = ImageGroup("", images)
    return Section(part, title, summary, (group,))


def _image_count(count: int) -> str:
    noun = "images"
    if count == 1:
        noun = "image"
    return f"{count:,} {noun}"


def _ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd`` or ``10th``; numbers here are at most 10."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = endings.get(number, "th")
    return f"{number}{ending}"
