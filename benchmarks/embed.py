"""Time indexing, from files to committed rows, beside a plain loop on the same files; its parts; its quality.

The plain loop is what one writes first: decode a batch with Pillow, run the network on it, and so on in turn. The
network is the same, run by ONNX Runtime on all cores.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

import inception
import lookalike
from lookalike.errors import LookalikeError
from lookalike.evaluation.evaluate import evaluate
from lookalike.imaging import MAX_PIXELS
from lookalike.indexing.run import IndexSettings
from lookalike.indexing.worker import Task, Worker
from lookalike.io.processors import cores
from lookalike.models import embedder, graphs, registry, tensors, weights
from lookalike.models.cache import EmbedderCache
from lookalike.sources import LocalSource
from lookalike.store.table import Table
from lookalike.types import Model
from measuring import Report, alternate, parser, spread
from vectors_made import PHOTOGRAPHS, add_source, files, pictures

# The network in float32, and with each suffix that this Lookalike may know for another precision.
NETWORK = "efficientnet-lite0"
PRECISIONS = ("", "-int8")
PLAIN = "plain loop"
PLAIN_BATCH = 32
RATIO, SHARE, LOSS = 2.0, 0.85, 0.005


def main() -> int:
    arguments = _arguments()
    report = Report("embed", arguments, ["pillow", "onnxruntime", "openvino", "pylance"])
    report.measure_limits()
    with tempfile.TemporaryDirectory() as place:
        folder = pictures(arguments.data, arguments.images, Path(place), arguments.seed)
        models = known(report, arguments.model or [NETWORK + suffix for suffix in PRECISIONS])
        collections = _race(report, folder, models, Path(place), arguments)
        _quality(report, collections)
        _tell(report)
        if arguments.keras:
            chosen = pictures(
                folder, arguments.inception_images, Path(place, "inception"), arguments.seed
            )
            inception.measure(report, chosen, Path(place), known, arguments)
    return report.close()


def _arguments() -> argparse.Namespace:
    options = parser("embed", "Time indexing beside a plain loop, and InceptionV3 beside Keras.")
    add_source(options)
    options.add_argument("--images", type=int, default=PHOTOGRAPHS, help="how many (default: 3079)")
    options.add_argument("--rounds", type=int, default=3, help="how often each is run (default: 3)")
    options.add_argument(
        "--parts", type=int, default=500, help="images to measure the parts on (default: 500)"
    )
    options.add_argument(
        "--model",
        nargs="+",
        metavar="REF",
        help=f"the first is compared (default: {NETWORK} in every precision)",
    )
    options.add_argument(
        "--no-keras", dest="keras", action="store_false", help="leave InceptionV3 and Keras out"
    )
    options.add_argument(
        "--inception-images", type=int, default=512, help="how many for InceptionV3 (default: 512)"
    )
    return options.parse_args()


def known(report: Report, references: Sequence[str]) -> list[Model]:
    """Return the models that this Lookalike knows and can run here, and say which it cannot."""
    found = []
    for reference in references:
        try:
            model = registry.resolve(reference)
            embedder.load(model)  # what is built or calibrated but once is so now
        except LookalikeError as error:
            report.skip(Path(reference).name, str(error).partition(". ")[0])
        else:
            found.append(model)
    return found


def index_fresh(folder: Path, model: Model, path: Path) -> None:
    """Index a folder into a collection that is not there yet, and see that all of it is in."""
    shutil.rmtree(path, ignore_errors=True)
    done = lookalike.index(folder, path, models=[model])
    assert done.failed == 0, done.failures[:3]


def _race(
    report: Report, folder: Path, models: list[Model], place: Path, arguments: argparse.Namespace
) -> dict[str, Path]:
    """Let the plain loop, each model's indexing and its parts take turns; return the last collection of each."""
    paths = files(folder)
    plain = _plain_loop(registry.resolve(NETWORK))
    plain(paths[:64])
    collections = {model.name: place / model.name for model in models}
    contestants: dict[str, Callable[[], object]] = {PLAIN: lambda: plain(paths)}
    parts: dict[str, list[tuple[float, float]]] = {model.name: [] for model in models}
    for model in models:
        contestants[model.name] = lambda model=model: index_fresh(
            folder, model, collections[model.name]
        )
        # Beside each run, so that a machine that slows down does so for both.
        contestants[f"parts of {model.name}"] = lambda model=model: parts[model.name].append(
            _parts(folder, model, arguments.parts)
        )
    seconds = alternate(contestants, arguments.rounds)
    report.figures["images"] = len(paths)
    rates = {name: [len(paths) / s for s in seconds[name]] for name in [PLAIN, *collections]}
    runs = report.figures["runs"] = {
        name: {**spread(rate)._asdict(), "rates": rate} for name, rate in rates.items()
    }
    for name, measured in parts.items():
        loading, inference = (spread(costs).median for costs in zip(*measured, strict=True))
        allowed = cores() / (loading + inference)
        runs[name] |= {"loading_cpu_s": loading, "inference_cpu_s": inference}
        runs[name] |= {"allowed": allowed, "share": runs[name]["median"] / allowed}
    return collections


def _plain_loop(model: Model) -> Callable[[Sequence[Path]], np.ndarray]:
    graph = graphs.build(model, tensors.read_tensors(weights.find(model)))
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    height, width = model.size

    def decoded(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(
                image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            )

    def run(paths: Sequence[Path]) -> np.ndarray:
        vectors = []
        for start in range(0, len(paths), PLAIN_BATCH):
            batch = np.stack([decoded(path) for path in paths[start : start + PLAIN_BATCH]])
            vectors.append(session.run(None, {"images": batch})[0])
        return np.concatenate(vectors)

    return run


def _parts(folder: Path, model: Model, most: int) -> tuple[float, float]:
    """Return the seconds of one core that loading and inference cost an image, each alone."""
    items = list(LocalSource([folder]))
    chosen = [items[at] for at in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]
    with tempfile.TemporaryDirectory() as place:
        contents = Table.create(Path(place, "empty"), [model]).content_index()
    worker = Worker({model.name: model}, contents, MAX_PIXELS, EmbedderCache())
    start = time.thread_time()
    images = [worker.load(Task(item)) for item in chosen]
    loading = (time.thread_time() - start) / len(images)
    prepared = np.stack([image.inputs[model.name] for image in images])
    runner, size = embedder.load(model, threads=1), IndexSettings().batch
    runner.embed(prepared[:size])
    start = time.process_time()
    for first in range(0, len(prepared), size):
        runner.embed(prepared[first : first + size])
    return loading, (time.process_time() - start) / len(prepared)


def _quality(report: Report, collections: dict[str, Path]) -> None:
    for name, path in collections.items():
        (scores,) = evaluate(Table.open(path), resamples=1).spaces
        report.figures["runs"][name]["map"] = scores.metrics["map"].value


def _tell(report: Report) -> None:
    runs = report.figures["runs"]
    plain = runs[PLAIN]["median"]
    ours = {name: figures for name, figures in runs.items() if name != PLAIN}
    first = next(iter(ours.values()), {})
    rows = []
    for name, figures in runs.items():
        figures["ratio"] = figures["median"] / plain
        rates = f"{figures['median']:,.1f} ({figures['low']:,.1f}-{figures['high']:,.1f})"
        loss = figures["map"] - first["map"] if figures is not first and "map" in figures else None
        rows.append([name, rates, figures["ratio"], figures.get("map"), loss])
        if loss is not None:
            figures["map_difference"] = loss
    title = f"Files to committed rows, {report.figures['images']:,} images"
    report.print_table(title, ["", "images/s", "x plain loop", "mAP", "difference"], rows)
    keys = ("loading_cpu_s", "inference_cpu_s", "allowed", "share")
    headers = ["", "loading, CPU ms", "inference, CPU ms", "allowed, images/s", "reached"]
    parts = [
        [figures[key] * (1e3 if key.endswith("cpu_s") else 1) for key in keys]
        for figures in ours.values()
    ]
    report.print_table(
        "The parts of an image",
        headers,
        [[name, *part] for name, part in zip(ours, parts, strict=True)],
    )
    fastest = max(ours, key=lambda name: ours[name]["ratio"])
    report.aim(f"fastest ({fastest}) / plain loop", ours[fastest]["ratio"], least=RATIO)
    for name, figures in ours.items():
        report.aim(f"{name}, share of what its parts allow", figures["share"], least=SHARE)
        if "map_difference" in figures:
            report.aim(
                f"{name}, mAP away from {next(iter(ours))}'s",
                abs(figures["map_difference"]),
                most=LOSS,
            )


if __name__ == "__main__":
    sys.exit(main())
