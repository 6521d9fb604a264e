"""Time new processes: help, the import, and one search with the parts of its time.

A search by a word, and by a phrase if the extra ``words`` is installed, are timed beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lookalike
from lookalike.models.graph_cache import find_graph
from lookalike.models.registry import resolve
from lookalike.models.text import phrases
from measuring import Report, alternate, parser, spread
from vectors_made import PHOTOGRAPHS, add_source, files, sample_images

COMMAND = [sys.executable, "-m", "lookalike"]
ALONE = "python alone"
PARTS_ALONE = "NumPy, ONNX Runtime, Lance, network"
# What a search of an image cannot do without.
LOAD_PARTS = """
import sys
import numpy
import onnxruntime
import lance

onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def main() -> int:
    options = parser("start", "Time new processes: help, the import, and one search.")
    add_source(options)
    options.add_argument(
        "--images",
        type=int,
        default=PHOTOGRAPHS,
        help="number of images in the collection (default: 3079)",
    )
    options.add_argument(
        "--rounds", type=int, default=7, help="runs of each command (default: 7)"
    )
    arguments = options.parse_args()
    report = Report("start", arguments, ["pylance", "onnxruntime", "typer"])
    with tempfile.TemporaryDirectory() as place:
        folder = sample_images(
            arguments.data, arguments.images, Path(place), arguments.seed
        )
        collection = Path(place, "collection")
        indexed = lookalike.index(folder, collection)
        search = [*COMMAND, "search", str(files(folder)[0]), "-c", str(collection)]
        network = Path(place, "network.onnx")
        graph, _ = find_graph(resolve("auto"))
        network.write_bytes(graph if isinstance(graph, bytes) else graph.read_bytes())
        commands = {
            ALONE: [sys.executable, "-c", ""],
            PARTS_ALONE: [sys.executable, "-c", LOAD_PARTS, str(network)],
            "import lookalike": [sys.executable, "-c", "import lookalike"],
            "lookalike --help": [*COMMAND, "--help"],
            f"lookalike search, {indexed.images:,} images": search,
        }
        by_text = [*COMMAND, "search", "-c", str(collection), "--text"]
        by_words = {"lookalike search, a word": [*by_text, "car"]}
        if phrases.are_available():
            by_words["lookalike search, a phrase"] = [*by_text, "Boeing 747"]
        _measure(report, {**commands, **by_words}, arguments.rounds)
        _parts(report, search, arguments.rounds)
    seconds = {
        name: figures["median"] for name, figures in report.figures["seconds"].items()
    }
    *_, help_name, search_name = commands
    report.aim("import lookalike, seconds", seconds["import lookalike"], most=0.2)
    report.aim(f"{help_name}, seconds", seconds[help_name], most=0.8)
    report.aim(f"{search_name}, seconds", seconds[search_name], most=0.8)
    ratio = seconds[search_name] / seconds[PARTS_ALONE]
    report.aim("search, times its libraries and network alone", ratio, most=1.5)
    return report.close()


def _measure(report: Report, commands: dict[str, list[str]], rounds: int) -> None:
    for command in commands.values():
        _run(command)  # The first start reads files that later ones find in memory.
    runs = alternate(
        {
            name: lambda command=command: _run(command)
            for name, command in commands.items()
        },
        rounds,
    )
    spreads = {name: spread(seconds) for name, seconds in runs.items()}
    report.figures["seconds"] = {
        name: {**figures._asdict(), "runs": runs[name]}
        for name, figures in spreads.items()
    }
    rows = [
        (name, figures.format(3), figures.median - spreads[ALONE].median)
        for name, figures in spreads.items()
    ]
    report.print_table(
        f"New processes, {rounds} of each", ["", "seconds", "beyond Python's own"], rows
    )


def _parts(report: Report, search: Sequence[str], rounds: int) -> None:
    """Print the steps of a search from its own trace. Some steps contain others."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for milliseconds, step in re.findall(
            r"^trace\s+([\d.]+) ms  (.*)$", _run(search, trace="1"), re.MULTILINE
        ):
            found.setdefault(step, []).append(float(milliseconds))
    spreads = {step: spread(milliseconds) for step, milliseconds in found.items()}
    report.figures["parts_ms"] = {
        step: figures._asdict() for step, figures in spreads.items()
    }
    report.print_table(
        "The search's parts",
        ["step", "ms"],
        [(step, figures.format()) for step, figures in spreads.items()],
    )


def _run(command: Sequence[str], *, trace: str = "") -> str:
    """Run a command and return its standard error."""
    environment = {**os.environ, "LOOKALIKE_TRACE": trace}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stderr


if __name__ == "__main__":
    sys.exit(main())
