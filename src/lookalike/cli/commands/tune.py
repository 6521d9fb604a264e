"""The ``tune`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lookalike.cli import output
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.evaluation.scores import Estimate
    from lookalike.learning.report import Gains, TuneReport

_Purpose = Annotated[
    Literal["these-classes", "anything"],
    typer.Option(
        "--for",
        help="these-classes: all images have one of these labels. anything: images of other "
        "labels are searched as well.",
    ),
]
_NewSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The name of the new Space.",
        show_default="these-classes or anything",
    ),
]
_BaseSpace = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The Space to learn from.", show_default="the first"
    ),
]


@command(
    "tune",
    examples=[
        "lookalike tune --for these-classes",
        "lookalike tune --for anything --name tuned -c shop --json",
        "lookalike search query.jpg --space these-classes",
    ],
)
def tune_command(
    purpose: _Purpose,
    collection: CollectionOption = None,
    name: _NewSpace = None,
    space: _BaseSpace = None,
    seed: Annotated[
        int, typer.Option(help="The same seed leaves out the same images.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Learn a new Space from the labels, and add it if it is better.

    It is computed from the stored vectors of another Space, in seconds: no image is read. First it
    is measured on images and on labels that were left out. A Space whose gain is not sure is not
    stored. New images are indexed in it, and searched by, as in any other Space.

    Exit status: 0 if the Space was stored, 1 if it was not, 2 if it could not be learned.
    """
    opened = open_collection(collection)
    with progress_bar("Reading vectors", unit="items") as bar:

        def show(step: str, done: int, total: int) -> None:
            bar.describe(step)
            bar.update(done, total)

        report = opened.tune(purpose, name=name, space=space, seed=seed, progress=show)
    if as_json:
        output.print_json(report.to_dict())
    else:
        _print_report(report)
    if not report.is_stored:
        raise typer.Exit(1)


def _print_report(report: TuneReport) -> None:
    labels = output.plural(len(report.labels), "label")
    images = output.plural(report.images, "image")
    output.say(f"Learned from {images} of {labels} in {output.printable(report.base)}.")
    if report.new_images is not None:
        _print_gains(report.new_images, report.new_labels)
    if report.is_stored:
        vectors = output.plural(report.filled, "vector")
        text = f": {vectors} computed, {report.seconds:.1f} s in all."
        output.say_with_heading(output.printable(report.space), text)
    output.say(report.verdict)


def _print_gains(new_images: Gains, new_labels: Gains | None) -> None:
    rows = [["mean of class mAPs", "plain", "centered", "tuned", "gain"]]
    new_image_row = _gains_row("new images of these labels", new_images)
    rows.append(new_image_row)
    if new_labels is not None:
        new_label_row = _gains_row("images of labels left out", new_labels)
        rows.append(new_label_row)
    output.print_table(rows, styles=("bold",), right=(1, 2, 3))
    output.say("In brackets: the bootstrap 95% interval of the gain over plain.")


def _gains_row(title: str, gains: Gains) -> list[str]:
    row = [title]
    for estimate in (gains.plain, gains.centered, gains.tuned):
        row.append(f"{estimate.value:.3f}")
    row.append(_with_sign(gains.gain))
    return row


def _with_sign(estimate: Estimate) -> str:
    value, low, high = estimate
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
