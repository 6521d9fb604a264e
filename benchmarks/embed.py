"""Time indexing from files to committed rows, beside a plain loop; its parts; its quality.

The plain loop is the first version anyone writes: decode a batch with Pillow, run the network on
it, repeat. It runs the same network with ONNX Runtime on all cores.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from vectors_made import PHOTOGRAPHS, add_source, files, sample_images

# The network in float32, and its suffix for each other precision.
NETWORK = "efficientnet-lite0"
PRECISIONS = ("", "-int8")

PLAIN = "plain loop"
PLAIN_BATCH = 32

# The aims: times the plain loop, share of the speed that the parts allow, difference in mAP.
MIN_RATIO = 2.0
MIN_SHARE = 0.85
MAX_LOSS = 0.005


def main() -> int:
    arguments = parse_arguments()
    report = Report(
        "embed", arguments, ["pillow", "onnxruntime", "openvino", "pylance"]
    )
    report.measure_limits()
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder)
        images = sample_images(
            arguments.data, arguments.images, temporary, arguments.seed
        )
        references = arguments.model or [NETWORK + suffix for suffix in PRECISIONS]
        models = load_models(report, references)
        collections = race(report, images, models, temporary, arguments)
        measure_quality(report, collections)
        print_results(report)
        if arguments.keras:
            count = arguments.inception_images
            chosen = sample_images(
                images, count, temporary / "inception", arguments.seed
            )
            inception.measure(report, chosen, temporary, load_models, arguments)
    return report.close()


def parse_arguments() -> argparse.Namespace:
    options = parser(
        "embed", "Time indexing beside a plain loop, and InceptionV3 beside Keras."
    )
    add_source(options)
    options.add_argument(
        "--images",
        type=int,
        default=PHOTOGRAPHS,
        help="the number of images (default: 3079)",
    )
    options.add_argument(
        "--rounds", type=int, default=3, help="the number of rounds (default: 3)"
    )
    options.add_argument(
        "--parts",
        type=int,
        default=500,
        help="images for measuring the parts (default: 500)",
    )
    options.add_argument(
        "--model",
        nargs="+",
        metavar="REF",
        help=f"the models; the first is the reference (default: {NETWORK} in every precision)",
    )
    options.add_argument(
        "--no-keras",
        dest="keras",
        action="store_false",
        help="skip InceptionV3 and Keras",
    )
    options.add_argument(
        "--inception-images",
        type=int,
        default=512,
        help="images for InceptionV3 (default: 512)",
    )
    return options.parse_args()


def load_models(report: Report, references: Sequence[str]) -> list[Model]:
    """Return the models that can run here, and report the others as skipped."""
    models = []
    for reference in references:
        try:
            model = registry.resolve(reference)
            # Builds and caches the graph, so that no round does.
            embedder.load(model)
        except LookalikeError as error:
            reason = str(error).partition(". ")[0]
            report.skip(Path(reference).name, reason)
        else:
            models.append(model)
    return models


def index_fresh(folder: Path, model: Model, path: Path) -> None:
    """Index a folder into a new collection and check that no image failed."""
    shutil.rmtree(path, ignore_errors=True)
    report = lookalike.index(folder, path, models=[model])
    assert report.failed == 0, report.failures[:3]


def race(
    report: Report,
    folder: Path,
    models: list[Model],
    temporary: Path,
    arguments: argparse.Namespace,
) -> dict[str, Path]:
    """Run the plain loop, each model's indexing and its parts in turns.

    Returns
    -------
    dict
        The last collection of each model.
    """
    paths = files(folder)
    plain_loop = make_plain_loop(registry.resolve(NETWORK))
    plain_loop(paths[:64])
    collections = {model.name: temporary / model.name for model in models}
    parts: dict[str, list[tuple[float, float]]] = {model.name: [] for model in models}

    def run_index(model: Model) -> None:
        index_fresh(folder, model, collections[model.name])

    def run_parts(model: Model) -> None:
        parts[model.name].append(measure_parts(folder, model, arguments.parts))

    contestants: dict[str, Callable[[], object]] = {PLAIN: lambda: plain_loop(paths)}
    for model in models:
        contestants[model.name] = lambda model=model: run_index(model)
        # Next to each run, so that a machine that slows down does so for both.
        contestants[f"parts of {model.name}"] = lambda model=model: run_parts(model)
    seconds = alternate(contestants, arguments.rounds)

    report.figures["images"] = len(paths)
    runs: dict[str, dict[str, Any]] = {}
    report.figures["runs"] = runs
    for name in [PLAIN, *collections]:
        rates = [len(paths) / duration for duration in seconds[name]]
        runs[name] = {**spread(rates)._asdict(), "rates": rates}
    for name, measured in parts.items():
        loading, inference = (
            spread(costs).median for costs in zip(*measured, strict=True)
        )
        allowed = cores() / (loading + inference)
        runs[name]["loading_cpu_s"] = loading
        runs[name]["inference_cpu_s"] = inference
        runs[name]["allowed"] = allowed
        runs[name]["share"] = runs[name]["median"] / allowed
    return collections


def make_plain_loop(model: Model) -> Callable[[Sequence[Path]], np.ndarray]:
    proto = graphs.build(model, tensors.read_tensors(weights.find(model)))
    session = ort.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    height, width = model.size

    def load_image(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize(
                (width, height), Image.Resampling.BICUBIC
            )
            return np.asarray(resized)

    def run(paths: Sequence[Path]) -> np.ndarray:
        vectors = []
        for start in range(0, len(paths), PLAIN_BATCH):
            batch = [load_image(path) for path in paths[start : start + PLAIN_BATCH]]
            (output,) = session.run(None, {"images": np.stack(batch)})
            vectors.append(output)
        return np.concatenate(vectors)

    return run


def measure_parts(folder: Path, model: Model, most: int) -> tuple[float, float]:
    """Return the seconds of one core that loading and inference take per image, each alone."""
    items = list(LocalSource([folder]))
    count = min(most, len(items))
    positions = np.linspace(0, len(items) - 1, count).astype(int)
    with tempfile.TemporaryDirectory() as temporary:
        contents = Table.create(Path(temporary, "empty"), [model]).content_index()
    worker = Worker({model.name: model}, contents, MAX_PIXELS, EmbedderCache())

    start = time.thread_time()
    images = [worker.load(Task(items[at]), items[at].read) for at in positions]
    loading = (time.thread_time() - start) / count

    inputs = np.stack([image.inputs[model.name] for image in images])
    loaded = embedder.load(model, threads=1)
    batch = IndexSettings().batch
    loaded.embed(inputs[:batch])
    start = time.process_time()
    for first in range(0, count, batch):
        loaded.embed(inputs[first : first + batch])
    inference = (time.process_time() - start) / count
    return loading, inference


def measure_quality(report: Report, collections: dict[str, Path]) -> None:
    for name, path in collections.items():
        (scores,) = evaluate(Table.open(path), resamples=1).spaces
        report.figures["runs"][name]["map"] = scores.metrics["map"].value


def print_results(report: Report) -> None:
    runs = report.figures["runs"]
    plain = runs[PLAIN]["median"]
    own_runs = {name: run for name, run in runs.items() if name != PLAIN}
    reference = next(iter(own_runs), None)
    rows = []
    for name, run in runs.items():
        run["ratio"] = run["median"] / plain
        rates = f"{run['median']:,.1f} ({run['low']:,.1f}-{run['high']:,.1f})"
        is_compared = name not in {PLAIN, reference}
        if is_compared:
            run["map_difference"] = run["map"] - own_runs[reference]["map"]
        rows.append(
            [name, rates, run["ratio"], run.get("map"), run.get("map_difference")]
        )
    title = f"Files to committed rows, {report.figures['images']:,} images"
    report.print_table(
        title, ["", "images/s", "x plain loop", "mAP", "difference"], rows
    )

    parts = []
    for name, run in own_runs.items():
        loading_ms = run["loading_cpu_s"] * 1e3
        inference_ms = run["inference_cpu_s"] * 1e3
        parts.append([name, loading_ms, inference_ms, run["allowed"], run["share"]])
    headers = [
        "",
        "loading, CPU ms",
        "inference, CPU ms",
        "allowed, images/s",
        "reached",
    ]
    report.print_table("The parts of an image", headers, parts)

    fastest = max(own_runs, key=lambda name: own_runs[name]["ratio"])
    report.aim(
        f"fastest ({fastest}) / plain loop", own_runs[fastest]["ratio"], least=MIN_RATIO
    )
    for name, run in own_runs.items():
        report.aim(
            f"{name}, share of the speed of its parts", run["share"], least=MIN_SHARE
        )
        if "map_difference" in run:
            difference = abs(run["map_difference"])
            report.aim(
                f"{name}, mAP difference from {reference}", difference, most=MAX_LOSS
            )


if __name__ == "__main__":
    sys.exit(main())
