"""Index many images in a separate process and measure whether its memory stays level."""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import lookalike
from measuring import Report, Watch, parser
from vectors_made import PHOTOGRAPHS, add_source, files, sample_images

MOST = 50.0
MB = 1e6


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(_index_and_sample(*arguments.child)))
        return 0
    report = Report("memory", arguments, ["onnxruntime", "pylance", "pillow"])
    with tempfile.TemporaryDirectory() as place:
        folder = sample_images(
            arguments.data,
            min(arguments.images, PHOTOGRAPHS),
            Path(place),
            arguments.seed,
        )
        many = _write_copies(files(folder), Path(place, "many"), arguments.images)
        command = [
            sys.executable,
            __file__,
            "--child",
            str(many),
            str(Path(place, "collection")),
        ]
        samples = json.loads(
            subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
        )
    _print_figures(report, samples, arguments.level)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser(
        "memory", "Index many images and measure whether memory stays level."
    )
    add_source(options)
    options.add_argument(
        "--images", type=int, default=9000, help="number of images (default: 9000)"
    )
    options.add_argument(
        "--level",
        type=int,
        default=1000,
        help="number of images after which memory must be level (default: 1000)",
    )
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if not arguments.child and not 0 < arguments.level < arguments.images:
        options.error(
            f"--level {arguments.level}: expected a number from 1 to below --images "
            f"({arguments.images})."
        )
    return arguments


def _write_copies(originals: list[Path], place: Path, count: int) -> Path:
    """Write `count` copies of the originals, each with a number at its end."""
    place.mkdir()
    for number, path in zip(range(count), itertools.cycle(originals), strict=False):
        copy = place / f"{number:06}{path.suffix}"
        copy.write_bytes(path.read_bytes() + number.to_bytes(4))
    return place


def _index_and_sample(folder: str, collection: str) -> list[tuple[int, int]]:
    """Index a folder and return samples: the images done so far, and the resident bytes."""
    with Watch(0) as watch:

        def progress(count: int) -> None:
            watch.mark += count

        report = lookalike.index(folder, collection, progress=progress)
    assert report.added == watch.mark, (
        f"{report.added} of {watch.mark} were indexed: {report.failures[:3]}"
    )
    return watch.samples


def _print_figures(
    report: Report, samples: list[tuple[int, int]], level_at: int
) -> None:
    progress = [count for count, _ in samples]
    at = min(bisect.bisect_left(progress, level_at), len(samples) - 1)
    levels = [bytes_ / MB for _, bytes_ in samples]
    level, highest = (
        statistics.median(levels[max(0, at - 10) : at + 11]),
        max(levels[at:]),
    )
    marks = sorted(
        {0, *(round(progress[-1] * tenth / 10) for tenth in range(1, 11)), level_at}
    )
    curve = [
        (mark, levels[min(bisect.bisect_left(progress, mark), len(levels) - 1)])
        for mark in marks
    ]
    report.figures.update(
        images=progress[-1],
        samples=len(samples),
        level_mb=level,
        highest_mb=highest,
        curve=curve,
    )
    rows = [(f"after {mark:,} images", megabytes) for mark, megabytes in curve]
    report.print_table(
        "Resident memory", ["", "MB"], [*rows, (f"highest after {level_at:,}", highest)]
    )
    report.aim(f"MB more than at {level_at:,} images", highest - level, most=MOST)


if __name__ == "__main__":
    sys.exit(main())
