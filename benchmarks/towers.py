"""Index and search with a network of SigLIP 2's shapes, and measure the memory of each process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lookalike
from lookalike.retrieval.query import TextQuery
from measuring import Report, Watch, parser
from towers_made import write_towers
from vectors_made import add_source, files, sample_images

MODELS = ("efficientnet-lite0-int8", "SigLIP 2's shapes")
MOST_MB = {"index": 1200.0, "image query": 1200.0, "text query": 1200.0}


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        step, *words = arguments.child
        print(json.dumps(_measure(step, words)))
        return 0
    report = Report("towers", arguments, ["onnxruntime", "onnx", "tokenizers"])
    with tempfile.TemporaryDirectory() as place:
        folder = sample_images(
            arguments.data, arguments.images, Path(place), arguments.seed
        )
        description = write_towers(Path(place, "towers"), arguments.seed)
        sizes = [
            (path.name, path.stat().st_size / 1e6)
            for path in sorted(description.parent.iterdir())
        ]
        report.figures["file_mb"] = dict(sizes)
        report.print_table("Files", ["", "MB"], sizes)
        images = [str(path) for path in files(folder)[:2]]
        for name, model in zip(MODELS, (MODELS[0], str(description)), strict=True):
            collection = str(Path(place, f"collection-{len(name)}"))
            figures = {
                "index": _run("index", model, str(folder), collection),
                "image query": _run("images", collection, *images),
            }
            if name != MODELS[0]:
                texts = ("a red car", "a blue sailboat")
                figures["text query"] = _run("texts", collection, *texts)
            report.figures[name] = figures
    _print_figures(report)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("towers", "Measure a network of two towers of SigLIP 2's shapes.")
    add_source(options)
    options.add_argument(
        "--images", type=int, default=90, help="number of images to index (default: 90)"
    )
    options.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return options.parse_args()


def _run(*words: str) -> dict[str, float]:
    """Run one step in a new process and return its figures."""
    command = [sys.executable, __file__, "--child", *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _measure(step: str, words: list[str]) -> dict[str, float]:
    """Run one step here, and return its seconds, its figures and the peak of its memory."""
    figures = {}
    start = time.perf_counter()
    with Watch(0) as watch:
        if step == "index":
            model, folder, collection = words
            report = lookalike.index([folder], collection, models=[model])
            figures["images"] = report.added
        else:
            path, *queries = words
            collection = lookalike.Collection.open(path)
            for query in queries:
                again = time.perf_counter()
                collection.search(TextQuery(query) if step == "texts" else query, k=5)
            figures["again_s"] = time.perf_counter() - again
    figures["seconds"] = time.perf_counter() - start
    figures["peak_mb"] = max(resident for _, resident in watch.samples) / 1e6
    return figures


def _print_figures(report: Report) -> None:
    rows = []
    for name in MODELS:
        for step, figures in report.figures[name].items():
            rate = None
            if "images" in figures:
                rate = figures["images"] / figures["seconds"]
            again = figures.get("again_s")
            rows.append(
                (f"{name}: {step}", figures["peak_mb"], figures["seconds"], again, rate)
            )
    headers = ["new process", "peak MB", "seconds", "next query s", "images/s"]
    report.print_table("Memory and time", headers, rows)
    for step, most in MOST_MB.items():
        peak = report.figures[MODELS[1]][step]["peak_mb"]
        report.aim(f"{step}, MB", peak, most=most)


if __name__ == "__main__":
    sys.exit(main())
