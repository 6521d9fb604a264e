"""The evaluation of words, as ``lookalike evaluate --text labels`` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lookalike.cli import output
from lookalike.cli.command import open_collection
from lookalike.cli.progress import progress_bar
from lookalike.errors import InputError

if TYPE_CHECKING:
    from lookalike.collection import Collection
    from lookalike.evaluation.texts import TextEvaluation
    from lookalike.retrieval.confidence import Rate

__all__ = ["check_text", "print_texts"]


def check_text(text: str, *others: object) -> None:
    """Check the value of --text, and that no other option is given with it.

    Raises
    ------
    InputError
        If it is anything else than ``labels``, or another option was given.
    """
    if text != "labels":
        raise InputError(
            f"--text {text!r} is invalid; expected labels, whose names are searched by."
        )
    if any(others):
        raise InputError(
            "--text was given with --absent, --split, --rank, --fused or --save. It measures the "
            "plain ranking of all images; leave the others out."
        )


def print_texts(
    collection: str | None, spaces: Sequence[str], *, as_json: bool
) -> None:
    """Measure how well the names of labels find their images, and print the figures."""
    opened = open_collection(collection)
    names = spaces or _spaces_with_words(opened)
    measured = []
    with progress_bar("Searching", unit="items") as bar:
        for space in names:
            evaluation = opened.evaluate_texts(space=space, progress=bar.advance)
            measured.append(evaluation)
    if as_json:
        data = [evaluation.to_dict() for evaluation in measured]
        output.print_json({"spaces": data})
        return
    for number, evaluation in enumerate(measured):
        if number:
            output.say()
        _print_figures(evaluation)


def _spaces_with_words(collection: Collection) -> list[str]:
    """Return the Spaces that know words; the first if none does, whose error says so."""
    from lookalike.models.text.reader import reads_text

    models = collection.table.models
    names = [name for name in models if reads_text(models[name])]
    return names or collection.spaces[:1]


def _print_figures(evaluation: TextEvaluation) -> None:
    labels = output.plural(len(evaluation.texts), "label")
    images = output.plural(evaluation.images, "image")
    space = output.printable(evaluation.space)
    output.say_with_heading(space, f": {labels} as words, among {images}.")

    rows = [["words", "images", "AP", "precision@10", "chance"]]
    for score in evaluation.texts:
        row = [score.text, f"{score.images:,}"]
        row.append(f"{score.average_precision:.3f}")
        row.append(f"{score.precision:.2f}")
        row.append(f"{score.chance:.3f}")
        rows.append(row)
    average_precision = _format_rate(evaluation.average_precision)
    precision = _format_rate(evaluation.precision)
    chance = f"{evaluation.chance:.3f}"
    rows.append(["mean", "", average_precision, precision, chance])
    output.print_table(rows, styles=("bold",), right=(1,))
    output.say("In brackets: bootstrap 95% intervals, over the labels.")
    if evaluation.not_understood:
        listed = ", ".join(evaluation.not_understood)
        output.say(f"Not understood: {output.printable(listed)}.")


def _format_rate(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    value = f"{rate.value:.3f}"
    low = f"{rate.low:.3f}"
    high = f"{rate.high:.3f}"
    return f"{value} [{low}, {high}]"
