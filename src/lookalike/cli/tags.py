"""How the command line shows tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lookalike.cli import output

if TYPE_CHECKING:
    from lookalike.indexing.tags import TagReport

__all__ = ["print_tag_report"]

_MOST_WORDS = 8


def print_tag_report(report: TagReport) -> None:
    """Print how many images have tags, and the most frequent ones."""
    images = output.plural(report.images, "image")
    tagged = f"Tagged {report.tagged:,} of {images}"
    duration = f"in {report.seconds:.1f} s"
    changed = f"{report.changed:,} changed"
    output.say(f"{tagged} {duration}, {changed}.")
    words = report.words
    if not words:
        return
    listed = []
    for word, uses in words.most_common(_MOST_WORDS):
        listed.append(f"{word} {uses:,}")
    left_out = len(words) - _MOST_WORDS
    if left_out > 0:
        listed.append(f"and {left_out:,} more")
    names = ", ".join(listed)
    output.say(f"The most frequent tags: {names}.")
