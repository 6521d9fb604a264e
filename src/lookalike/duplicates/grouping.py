"""From compared contents to groups of images."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from lookalike.duplicates.comparison import Comparison
from lookalike.duplicates.files import FileFacts, pixel_hash, read_facts
from lookalike.duplicates.groups import (
    TIERS,
    Duplicate,
    DuplicateGroup,
    Evidence,
    Reason,
    Relation,
    Tier,
)
from lookalike.duplicates.keeper import Rank, keeper_rank
from lookalike.duplicates.rows import ImageContent, ImageRow
from lookalike.duplicates.stars import Edges, complete, join_stars

__all__ = ["MIN_SIMILAR_COSINE", "ComparePairs", "Grouping", "Pair"]

# The places of two contents, the smaller one first.
Pair = tuple[int, int]
ComparePairs = Callable[[list[Pair]], dict[Pair, Comparison]]

# Pixels are compared of images whose hashes are this near: those of equal images differ by the
# rounding of a smaller decoding only.
_PIXEL_PDQ = 12
# Copies mostly correlate as much; two frames of a burst, or two prints of one design, do not.
_STRONG_CORRELATION = 0.93
# Images with a cosine of at least this are similar.
MIN_SIMILAR_COSINE = 0.9
# Frames of one burst are at most this far apart, in time and in the numbers of their names.
_BURST_SECONDS = 5.0
_BURST_FRAMES = 10
_NUMBERED = re.compile(r"(.*?)(\d{1,9})")


class ContentMatch(NamedTuple):
    """How a content compares with the one to keep.

    Attributes
    ----------
    tier
        The tier.
    reason
        The figures behind it.
    """

    tier: Tier
    reason: Reason

    @property
    def order(self) -> tuple[float, ...]:
        """The stronger of two matches is the smaller one."""
        reason = self.reason
        strictness = TIERS.index(self.tier)
        distance = reason.pdq_distance or 0
        correlation = reason.correlation or 0.0
        cosine = reason.cosine or 0.0
        if reason.evidence == "points":
            return strictness, 1, -correlation, -cosine
        return strictness, 0, distance, -cosine


class Grouping:
    """Groups contents that were compared.

    Parameters
    ----------
    contents
        The contents.
    comparisons
        The comparisons of pairs of them.
    tier
        The loosest tier to group by.
    rejected
        Pairs that are known not to be duplicates.
    """

    def __init__(
        self,
        contents: list[ImageContent],
        comparisons: dict[Pair, Comparison],
        tier: Tier,
        rejected: set[Pair],
    ) -> None:
        self._contents = contents
        strictness = TIERS.index(tier)
        self._tiers = TIERS[: strictness + 1]
        self._rejected = rejected
        self._comparisons: dict[Pair, Comparison] = {}
        for pair, comparison in comparisons.items():
            is_rejected = pair in rejected
            if not is_rejected:
                self._comparisons[pair] = comparison
        self._facts: dict[int, FileFacts] = {}
        self._pixels: dict[int, bytes | None] = {}
        # The contents with the same pixels stand for each other: the leader of each.
        self._leaders: dict[int, int] = {}
        self._find_same_pixels()

    # Groups of a whole collection

    def groups(self, compare: ComparePairs) -> list[DuplicateGroup]:
        """Return the groups of all contents.

        Parameters
        ----------
        compare
            Compares more pairs.
        """
        classes = self._classes()
        wants_copies = "copy" in self._tiers
        strong = self._edges(self._is_strong_copy) if wants_copies else {}
        ranks = self._ranks(classes)

        def matches(pairs: list[Pair]) -> list[bool]:
            wanted = [pair for pair in pairs if pair not in self._rejected]
            self._comparisons |= compare(wanted)
            return [self._is_strong_copy(pair) for pair in pairs]

        complete(strong, ranks, matches)
        centers = join_stars(strong, ranks)
        # What matches weakly joins alone: it never brings its own copies along.
        for tier in self._tiers[1:]:
            weaker = self._edges(partial(self._has_tier, tier), without=set(centers))
            anchored = frozenset(centers.values())
            centers |= join_stars(weaker, self._ranks(classes), anchored)

        members: dict[int, list[int]] = defaultdict(list)
        for member, center in centers.items():
            members[center].append(member)
        groups = []
        for leader, places in classes.items():
            count = sum(len(self._contents[place].images) for place in places)
            if leader in members or (leader not in centers and count > 1):
                groups.append(self._group(leader, members[leader], classes))
        return groups

    def _classes(self) -> dict[int, list[int]]:
        """Return the contents with the same pixels, by their leader."""
        classes: dict[int, list[int]] = defaultdict(list)
        count = len(self._contents)
        for place in range(count):
            leader = self._leaders.get(place, place)
            members = classes[leader]
            members.append(place)
        return classes

    def _edges(
        self, is_wanted: Callable[[Pair], bool], without: Iterable[int] = ()
    ) -> Edges:
        """Return the pairs that are wanted, between the leaders of both."""
        edges: Edges = defaultdict(set)
        for pair in list(self._comparisons):
            first, second = (self._leaders.get(place, place) for place in pair)
            if first == second or first in without or second in without:
                continue
            if not is_wanted(pair):
                continue
            leaders = (min(first, second), max(first, second))
            self._comparisons.setdefault(leaders, self._comparisons[pair])
            edges[first].add(second)
            edges[second].add(first)
        return edges

    def _ranks(self, classes: dict[int, list[int]]) -> list[int]:
        """Return the rank of each content as a number; the best image of a class counts."""
        best: dict[int, Rank] = {}
        for leader, places in classes.items():
            ranks = []
            for place, image in self._images(places):
                rank = self._rank(place, image)
                ranks.append(rank)
            best[leader] = min(ranks)
        order = sorted(best, key=best.__getitem__)
        count = len(self._contents)
        numbers = [0] * count
        for number, leader in enumerate(order):
            numbers[leader] = number
        return numbers

    def _group(
        self, leader: int, members: list[int], classes: dict[int, list[int]]
    ) -> DuplicateGroup:
        """Return the group around a content: the best image, and all others."""
        own = list(self._images(classes[leader]))
        place, keeper = min(own, key=lambda entry: self._rank(*entry))
        copies = []
        for other_place, image in own:
            if image is not keeper:
                evidence: Evidence = "content" if other_place == place else "pixels"
                match = ContentMatch("identical", Reason(evidence))
                copies.append(self._described(other_place, image, match))
        for member in members:
            found = self._match((min(leader, member), max(leader, member)))
            for other_place, image in self._images(classes[member]):
                copies.append(self._described(other_place, image, found))
        copies.sort(key=_copy_order)
        return DuplicateGroup(self._described(place, keeper, None), tuple(copies))

    # Groups across two parts

    def groups_across(self) -> list[DuplicateGroup]:
        """Return the images of the second part that match one of the first, by its best match."""
        best: dict[int, tuple[int, ContentMatch]] = {}
        for place, content in enumerate(self._contents):
            if content.has_part(0) and content.has_part(1):
                best[place] = (place, ContentMatch("identical", Reason("content")))
        for pair in self._comparisons:
            match = self._match(pair)
            if match is None:
                continue
            for first, second in (pair, pair[::-1]):
                is_first = self._contents[first].has_part(0)
                if not is_first or not self._contents[second].has_part(1):
                    continue
                if second not in best or match.order < best[second][1].order:
                    best[second] = (first, match)

        matches: dict[int, list[tuple[int, ContentMatch]]] = defaultdict(list)
        for second, (first, match) in best.items():
            matches[first].append((second, match))
        return [self._group_across(first, found) for first, found in matches.items()]

    def _group_across(
        self, first: int, matches: list[tuple[int, ContentMatch]]
    ) -> DuplicateGroup:
        """Return the group of a content of the first part."""
        images = [image for image in self._contents[first].images if image.part == 0]
        keeper = min(images, key=lambda image: self._rank(first, image))
        copies = []
        for second, match in matches:
            content = self._contents[second]
            for image in content.images:
                if image.part != 1:
                    continue
                copy = self._described(second, image, match)
                copies.append(copy)
        copies.sort(key=_copy_order)
        return DuplicateGroup(self._described(first, keeper, None), tuple(copies))

    # Comparisons

    def _find_same_pixels(self) -> None:
        """Give contents with the same pixels one leader."""
        leader_of: dict[bytes, int] = {}
        for pair, comparison in self._comparisons.items():
            distance = comparison.pdq_distance
            if distance is None or distance > _PIXEL_PDQ:
                continue
            sizes = set()
            for place in pair:
                image = self._contents[place].first
                size = (image.width, image.height)
                sizes.add(size)
            has_one_size = len(sizes) == 1
            if not has_one_size:
                continue
            for place in pair:
                pixels = self._pixel_hash(place)
                if pixels is None:
                    continue
                leader = leader_of.setdefault(pixels, place)
                self._leaders[place] = leader

    def _pixel_hash(self, place: int) -> bytes | None:
        if place in self._pixels:
            return self._pixels[place]
        content = self._contents[place]
        uri = content.first.uri
        pixels = pixel_hash(uri)
        self._pixels[place] = pixels
        return pixels

    def _tier(self, pair: Pair) -> Tier | None:
        """Return the tier of two contents with other pixels; None if they do not match."""
        comparison = self._comparisons.get(pair)
        if comparison is None:
            return None
        if comparison.is_copy:
            is_apart, _ = self._told_apart(pair)
            return "similar" if is_apart else "copy"
        cosine = comparison.cosine
        if cosine is not None and cosine >= MIN_SIMILAR_COSINE:
            return "similar"
        return None

    def _has_tier(self, tier: Tier, pair: Pair) -> bool:
        found = self._tier(pair)
        return found == tier

    def _is_strong_copy(self, pair: Pair) -> bool:
        """Return whether two contents are copies beyond doubt."""
        if self._tier(pair) != "copy":
            return False
        comparison = self._comparisons[pair]
        alignment = comparison.alignment
        if comparison.is_copy_by_hash or alignment is None:
            return True
        return alignment.correlation >= _STRONG_CORRELATION

    def _match(self, pair: Pair) -> ContentMatch | None:
        """Return the tier of a pair and the figures behind it; None if it does not match."""
        first, second = (self._leaders.get(place, place) for place in pair)
        if first == second:
            return ContentMatch("identical", Reason("pixels"))
        tier = self._tier(pair)
        if tier is None or tier not in self._tiers:
            return None
        reason = self._reason(self._comparisons[pair])
        if tier == "similar":
            _, relation = self._told_apart(pair)
            reason = replace(reason, relation=relation)
        return ContentMatch(tier, reason)

    def _reason(self, comparison: Comparison) -> Reason:
        """Return the figures of a comparison."""
        reason = Reason(
            "cosine", pdq_distance=comparison.pdq_distance, cosine=comparison.cosine
        )
        if comparison.is_copy_by_hash:
            return replace(reason, evidence="pdq")
        alignment = comparison.alignment
        if alignment is None:
            return reason
        return replace(
            reason,
            evidence="points" if alignment.is_copy else "cosine",
            inliers=alignment.inliers,
            correlation=alignment.correlation,
            is_mirrored=alignment.is_mirrored if alignment.is_copy else None,
        )

    def _told_apart(self, pair: Pair) -> tuple[bool, Relation | None]:
        """Return whether two contents are separate photographs, and how they belong together."""
        first, second = (self._contents[place].first for place in pair)
        if first.stem == second.stem and first.is_raw != second.is_raw:
            return True, "raw and developed"
        captured = [self._read_facts(place).captured for place in pair]
        if captured[0] is not None and captured[1] is not None:
            apart = abs((captured[0] - captured[1]).total_seconds())
            is_burst = 0 < apart <= _BURST_SECONDS
            return apart > 0, "burst" if is_burst else None
        # Without times of capture, those of the files say only how similar images belong together.
        times = [first.mtime_ns, second.mtime_ns]
        is_together = _are_consecutive(first, second) and captured == [None, None]
        if is_together and times[0] is not None and times[1] is not None:
            seconds = abs(times[0] - times[1]) / 1e9
            if seconds <= _BURST_SECONDS:
                return False, "burst"
        return False, None

    def _read_facts(self, place: int) -> FileFacts:
        known = self._facts.get(place)
        if known is not None:
            return known
        content = self._contents[place]
        uri = content.first.uri
        facts = read_facts(uri)
        self._facts[place] = facts
        return facts

    # Images

    def _images(self, places: Iterable[int]) -> Iterator[tuple[int, ImageRow]]:
        for place in places:
            content = self._contents[place]
            for image in content.images:
                yield place, image

    def _rank(self, place: int, image: ImageRow) -> Rank:
        """Return the rank of an image. Only files of matching contents have been read."""
        facts = self._facts.get(place)
        if facts is None:
            facts = FileFacts()
        tags = facts.exif_tags
        return keeper_rank(image, tags)

    def _described(
        self, place: int, image: ImageRow, match: ContentMatch | None
    ) -> Duplicate:
        """Return an image of a group; without a match, the image to keep."""
        image_format = image.image_format
        return Duplicate(
            id=image.id,
            uri=image.uri,
            sha256=self._contents[place].sha256.hex(),
            width=image.width,
            height=image.height,
            bytes=image.size,
            format=None if image_format is None else image_format.name,
            label=image.label,
            tier=None if match is None else match.tier,
            reason=None if match is None else match.reason,
            is_protected=image.is_protected,
        )


def _are_consecutive(first: ImageRow, second: ImageRow) -> bool:
    """Return whether a camera may have named two files one after the other."""
    first_folder, first_stem = first.stem
    second_folder, second_stem = second.stem
    if first_folder != second_folder:
        return False
    first_name = _NUMBERED.fullmatch(first_stem)
    if first_name is None:
        return False
    second_name = _NUMBERED.fullmatch(second_stem)
    if second_name is None:
        return False
    first_prefix, first_number = first_name.groups()
    second_prefix, second_number = second_name.groups()
    if first_prefix != second_prefix:
        return False
    first_frame = int(first_number)
    second_frame = int(second_number)
    steps = abs(first_frame - second_frame)
    return steps <= _BURST_FRAMES


def _copy_order(copy: Duplicate) -> tuple[int, str]:
    tier = copy.tier
    if tier is None:
        return 0, copy.uri
    strictness = TIERS.index(tier)
    return strictness, copy.uri
