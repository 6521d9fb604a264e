"""The ``calibrate`` command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli import output
from lookalike.cli.calibrations import describe_rates
from lookalike.cli.command import CollectionOption, JsonOption, command, open_collection
from lookalike.cli.progress import progress_bar

if TYPE_CHECKING:
    from lookalike.retrieval.confidence import SpaceCalibration

# Labels that are named because their images are answered although they are held out.
_MOST_LABELS = 5
_NOTABLE = 0.05

_SpacesToCalibrate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A Space to calibrate; may be repeated.",
        show_default="all",
    ),
]


@command(
    "calibrate", examples=["lookalike calibrate", "lookalike calibrate -c shop --json"]
)
def calibrate_command(
    collection: CollectionOption = None,
    space: _SpacesToCalibrate = None,
    as_json: JsonOption = False,
) -> None:
    """Measure when an answer means something: then every match of a search has a confidence.

    The distance of each image to its nearest other image is stored with the collection. Where
    images have labels, each label is held out in turn, to measure how often an image of a kind that
    is not here is answered. `index` does the same from 100 images on, and again when the collection
    has changed by half.
    """
    opened = open_collection(collection)
    spaces = space or opened.spaces
    rows = len(opened) * len(spaces)
    with progress_bar("Calibrating", unit="items", total=rows) as bar:
        calibrations = opened.calibrate(spaces=spaces, progress=bar.advance)

    if as_json:
        data = [calibration.to_dict() for calibration in calibrations]
        output.print_json({"spaces": data})
        return
    for calibration in calibrations:
        _print_calibration(calibration)


def _print_calibration(calibration: SpaceCalibration) -> None:
    images = output.plural(calibration.rows, "image")
    measured = len(calibration.distances)
    if measured < calibration.rows:
        images = f"{measured:,} of {images}"
    summary = f": {images} compared with all others in {calibration.seconds:.1f} s."
    output.say_with_heading(output.printable(calibration.space), summary)
    output.say(describe_rates(calibration))
    output.say(f"Alike is what is at most {calibration.limit:.4f} away.")

    notable = [rate for rate in calibration.labels if rate.answered > _NOTABLE]
    if not notable:
        return
    output.say("Answered although no image of the label is there:")
    rows = []
    for rate in notable[:_MOST_LABELS]:
        match = f"taken for {rate.match}" if rate.match else ""
        rows.append([f"  {rate.answered:.0%}", rate.label, match])
    output.print_table(rows, right=(0,))
    left_out = len(notable) - _MOST_LABELS
    if left_out > 0:
        output.say(f"  and {left_out:,} more labels")
