"""The evaluation of absent labels, as ``lookalike evaluate --absent`` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lookalike.cli import output
from lookalike.cli.command import open_collection
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.evaluation.absent import AbsentScores

__all__ = ["print_absent"]


def print_absent(
    collection: str | None, spaces: Sequence[str], count: int, *, as_json: bool
) -> None:
    """Measure how often images of absent labels are answered, and print the rates."""
    opened = open_collection(collection)
    names = spaces or opened.spaces
    rows = len(opened) * len(names)
    measured = []
    with progress_bar("Comparing", unit="items", total=rows) as bar:
        for space in names:
            scores = opened.evaluate_absent(
                space=space, count=count, progress=bar.advance
            )
            measured.append(scores)

    if as_json:
        output.print_json({"spaces": [scores.to_dict() for scores in measured]})
        return
    for number, scores in enumerate(measured):
        if number:
            output.say()
        _print_rates(scores, count)


def _print_rates(scores: AbsentScores, count: int) -> None:
    choices = output.plural(len(scores.choices), "choice")
    labels = output.plural(count, "label")
    summary = (
        f": {scores.queries:,} of {output.plural(scores.rows, 'image')} as queries, "
        f"{choices} of {labels} held out."
    )
    output.say_with_heading(output.printable(scores.space), summary)

    kept = scores.kept
    title = f"confidence {scores.min_confidence} or more"
    rows = [["", title]]
    interval = f"[{kept.low:.3f}, {kept.high:.3f}]"
    rows.append(["images like those here", f"{kept.value:.3f} {interval}"])
    answered = scores.answered
    if answered is not None:
        interval = f"[{answered.low:.3f}, {answered.high:.3f}]"
        rows.append(["images of absent labels", f"{answered.value:.3f} {interval}"])
    worst = scores.worst
    if worst is not None:
        names = ", ".join(worst.labels)
        rows.append(["  the worst choice", f"{worst.answered:.3f} ({names})"])
    output.print_table(rows, styles=("bold",))
    output.say("In brackets: bootstrap 95% intervals, over images and over labels.")

    header = ["absent label", "images", "answered", "nearest label"]
    rows = [header]
    for rate in scores.labels:
        answered_share = f"{rate.answered:.3f}"
        rows.append([rate.label, str(rate.images), answered_share, rate.match or "-"])
    output.say()
    output.print_table(rows, styles=("bold",), right=(1, 2))
