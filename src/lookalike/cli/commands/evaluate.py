"""The ``evaluate`` command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.absent import print_absent
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar
from lookalike.cli.texts import check_text, print_texts
from lookalike.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lookalike.evaluation.scores import Counts, Estimate, Evaluation, SpaceScores

__all__ = ["print_evaluation"]

_MAX_CONFUSED = 5

_Spaces = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="A Space to evaluate; may be repeated.", show_default="all"
    ),
]
_Split = Annotated[
    Path | None,
    typer.Option(
        metavar="MANIFEST",
        help="Search for its test images among its training images.",
        show_default="leave one out",
    ),
]
_Rankings = Annotated[
    list[str] | None,
    typer.Option(
        "--rank",
        metavar="NAME",
        help="A ranking to evaluate: plain, centered, or context; may be repeated.",
        show_default="plain",
    ),
]
_Fused = Annotated[
    bool,
    typer.Option(
        "--fused",
        help="Also measure all Spaces together, as a search in several of them answers.",
    ),
]
_Absent = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Hold out N labels at a time instead, and measure how often their images are "
        "answered although nothing here is like them.",
    ),
]
_EvaluatedText = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="labels",
        help="Search by the names of the labels instead, and measure how well words find their "
        "images, in each Space that knows words.",
    ),
]
_SaveScores = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Draw the scores to a .png, .jpg, or .webp file."
    ),
]


@command(
    "evaluate",
    examples=[
        "lookalike evaluate --save scores.png",
        "lookalike evaluate --space efficientnet-lite0-int8 --space pixels",
        "lookalike evaluate --rank plain --rank context",
        "lookalike evaluate --fused",
        "lookalike evaluate --split data/manifest.csv",
        "lookalike evaluate --absent 1",
        "lookalike evaluate --text labels",
    ],
)
def evaluate_command(
    collection: CollectionOption = None,
    space: _Spaces = None,
    split: _Split = None,
    rank: _Rankings = None,
    fused: _Fused = False,
    absent: _Absent = None,
    text: _EvaluatedText = None,
    save: _SaveScores = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how well each Space groups images by label: mAP, precision, and recall.

    Every labeled image is a query in turn, and all other images are the gallery. Each score has a
    95% confidence interval.
    """
    if text is not None:
        check_text(text, absent, split, save, rank, fused)
        print_texts(collection, space or [], as_json=as_json)
        return
    if absent is not None:
        if split is not None or rank or fused or save is not None:
            raise InputError(
                "--absent was given with --split, --rank, --fused or --save. It measures the plain "
                "ranking of all images; leave the others out."
            )
        print_absent(collection, space or [], absent, as_json=as_json)
        return
    if save is not None:
        from lookalike.drawing.style import output_path

        # A file that cannot be drawn to is an error before the work begins.
        output_path(save)

    opened = open_collection(collection)
    spaces = opened.spaces
    if space:
        spaces = [opened.table.space(name) for name in space]
    rankings = rank or ["plain"]
    orders = len(spaces) + int(fused)
    queries = len(opened) * orders * len(rankings)
    with progress_bar("Ranking", unit="items", total=queries) as bar:
        evaluation = opened.evaluate(
            spaces=spaces,
            split=split,
            rankings=rankings,
            fused=fused,
            progress=bar.advance,
        )
    if save is not None:
        from lookalike.drawing.scores import draw_evaluation

        draw_evaluation(evaluation, save)

    if as_json:
        output.print_json(evaluation.to_dict())
        return
    print_evaluation(evaluation)
    if save is not None:
        output.print_saved(save)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the scores of all Spaces side by side, then by class, then the confused classes."""
    counts = evaluation.counts
    if evaluation.leave_one_out:
        others = counts.gallery - 1
        output.say(
            f"{counts.queries:,} queries, each among the other {others:,} images."
        )
    else:
        output.say(
            f"{counts.queries:,} test images as queries, among {counts.gallery:,} training images."
        )

    _print_scores(evaluation.spaces)
    if len(evaluation.spaces) > 2:
        _print_differences(evaluation.spaces)
    _print_scores_by_class(evaluation.spaces)
    for scores in evaluation.spaces:
        _print_confused_classes(scores)
    _print_unused_images(counts)


def _print_scores(spaces: Sequence[SpaceScores]) -> None:
    """Print a row for each metric. Two Spaces fit beside the difference between them."""
    from lookalike.evaluation.scores import METRICS, TITLES

    header = ["", *_names(spaces)]
    differences = spaces[1].differences if len(spaces) == 2 else {}
    if differences:
        header.append("difference from the first")

    rows = [header]
    for name in METRICS:
        row = [TITLES[name]]
        for scores in spaces:
            estimate = scores.metrics[name]
            row.append(str(estimate))
        if differences:
            difference = differences[name]
            cell = _difference_with_interval(difference)
            row.append(cell)
        rows.append(row)

    output.say()
    output.print_table(rows, styles=("bold",))
    note = "In brackets: bootstrap 95% intervals."
    if differences:
        note += " *: the interval of the difference excludes 0."
    output.say(note)


def _print_differences(spaces: Sequence[SpaceScores]) -> None:
    from lookalike.evaluation.scores import METRICS, TITLES

    first, *others = spaces
    title = f"difference from {first.title}"
    header = [title, *_names(others)]
    rows = [header]
    for name in METRICS:
        row = [TITLES[name]]
        for scores in others:
            difference = scores.differences[name]
            cell = _difference_with_interval(difference)
            row.append(cell)
        rows.append(row)

    output.say()
    output.print_table(rows, styles=("bold",))
    output.say("*: the interval of the difference excludes 0.")


def _print_scores_by_class(spaces: Sequence[SpaceScores]) -> None:
    """Print the mAP of each class, in the order of the first Space's scores."""
    classes = spaces[0].classes

    def first_map(label: str) -> float:
        scores = classes[label]
        return scores.map

    header = ["mAP by class", "queries", *_names(spaces)]
    rows = [header]
    for label in sorted(classes, key=first_map, reverse=True):
        queries = classes[label].queries
        row = [label, str(queries)]
        for scores in spaces:
            class_scores = scores.classes[label]
            row.append(f"{class_scores.map:.3f}")
        rows.append(row)

    output.say()
    numbers = range(1, len(header))
    output.print_table(rows, styles=("bold",), right=numbers)


def _print_confused_classes(scores: SpaceScores) -> None:
    if not scores.confused:
        return
    rows = []
    for pair in scores.confused[:_MAX_CONFUSED]:
        share = f"{pair.share:.1%}"
        classes = f"{pair.label} taken for {pair.taken_for}"
        rows.append([share, classes])

    output.say()
    title = output.printable(scores.title)
    output.say(f"Most confused in {title} (share of the ten nearest)")
    output.print_table(rows, right=(0,))


def _print_unused_images(counts: Counts) -> None:
    reasons = {
        "without another image of their class, so not queries": counts.skipped,
        "without a label": counts.unlabelled,
        "without a vector in every Space shown": counts.left_out,
        "in the manifest but not in the collection": counts.absent,
    }
    unused = [f"{count:,} {reason}" for reason, count in reasons.items() if count]
    if unused:
        listed = "; ".join(unused)
        output.say()
        output.say(f"Not used: {listed}.")


def _names(spaces: Sequence[SpaceScores]) -> list[str]:
    return [scores.title for scores in spaces]


def _difference_with_interval(estimate: Estimate) -> str:
    """Write a difference with its sign, and a star if its interval excludes 0."""
    value, low, high = estimate
    interval = f"[{low:+.3f}, {high:+.3f}]"
    text = f"{value:+.3f} {interval}"
    same_signs = low * high > 0
    if same_signs:
        text += " *"
    return text
