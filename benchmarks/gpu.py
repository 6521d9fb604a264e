"""Time networks on the GPU beside the processor and PyTorch; compare their vectors.

It says at the start what is missing here, and measures the rest. InceptionV3 and ViT-B/16 have
random weights. The rows ``files`` read, hash and decode images and embed them, without a table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from lookalike import imaging
from lookalike.indexing.executor import ThreadExecutor
from lookalike.indexing.loaders import LoaderExecutor
from lookalike.indexing.worker import Task, Worker
from lookalike.models import devices, embedder, graphs, registry
from lookalike.models.cache import EmbedderCache
from lookalike.models.graph_cache import find_graph
from lookalike.models.sessions.cuda import CUDA_ARITHMETICS, CudaSession
from lookalike.store.diff import ContentIndex
from lookalike.types import Item, Model
from measuring import Report, parser, timed
from vit_graph import VitBuilder

# A GPU may differ from the processor by this share of a vector's length; see docs/gpu.md.
MAX_DIFFERENCE = embedder.MAX_DIFFERENCE
# How many callers embed at the same time, as while a collection is indexed.
CALLERS = 4
MEASURED_SECONDS = 0.7


@dataclass
class Network:
    """A network to measure: its graph, prepared images, and the same network of PyTorch."""

    model: Model
    graph: Path | bytes
    images: np.ndarray
    torch_network: Any


def main() -> int:
    arguments = parse_arguments()
    packages = ["onnxruntime", "onnxruntime-gpu", "torch", "pillow"]
    report = Report("gpu", arguments, packages)
    has_gpu = describe_machine(report)
    files = read_files(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        networks = make_networks(report, files, Path(folder), arguments.seed)
        for network in networks:
            measure_network(report, network, arguments.batches, has_gpu)
        for network in networks:
            # The processor takes minutes for the larger networks.
            has_processor = network is networks[0]
            places = ["GPU"] * has_gpu + ["processor"] * has_processor
            measure_files(report, network, files, arguments.files, places)
    return report.close()


def parse_arguments() -> argparse.Namespace:
    options = parser("gpu", "Time networks on a GPU beside the processor and PyTorch.")
    options.add_argument(
        "--data", type=Path, required=True, help="a folder of JPEG images"
    )
    options.add_argument(
        "--files",
        type=int,
        default=12_000,
        help="images to index, repeated (default: 12000)",
    )
    options.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[4, 64, 256],
        help="the sizes of a batch (default: 4 64 256)",
    )
    return options.parse_args()


def describe_machine(report: Report) -> bool:
    """Print what can be measured here, and return whether a GPU can be used."""
    fault = devices.cuda_fault()
    if fault is not None:
        report.skip("the GPU", fault)
    if find_spec("torch") is None:
        report.skip("PyTorch", "it is not installed")
    else:
        import torch

        if torch.cuda.is_available():
            name = torch.cuda.get_device_name(0)
            report.figures["gpu"] = name
            print(name)
    return fault is None


def read_files(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("*.jpg"))
    if not paths:
        raise SystemExit(f"The folder {folder} has no .jpg files.")
    return paths


def make_networks(
    report: Report, files: list[Path], folder: Path, seed: int
) -> list[Network]:
    networks = []
    lite = registry.resolve("efficientnet-lite0")
    graph, _ = find_graph(lite)
    lite_torch = make_torch("timm", "efficientnet_lite0", seed)
    networks.append(Network(lite, graph, prepare(files, lite), lite_torch))

    inception_torch = make_torch("torchvision", "inception_v3", seed)
    if inception_torch is None:
        report.skip("InceptionV3", "its random weights come from torchvision")
    else:
        inception = registry.resolve("inception-v3-torchvision")
        tensors = {
            name: tensor.numpy()
            for name, tensor in inception_torch.state_dict().items()
        }
        graph = graphs.build(inception, tensors).SerializeToString()
        images = prepare(files, inception)
        networks.append(Network(inception, graph, images, inception_torch))

    path = folder / "vit-b16.onnx"
    VitBuilder(seed).write(path)
    vit = replace(registry.resolve(path), pooling="none")
    vit_torch = make_torch("torchvision", "vit_b_16", seed)
    networks.append(Network(vit, path, prepare(files, vit), vit_torch))
    return networks


def make_torch(package: str, name: str, seed: int) -> Any:
    """Return a network of PyTorch with random weights; None if it is not installed."""
    if find_spec("torch") is None or find_spec(package) is None:
        return None
    import torch

    torch.manual_seed(seed)
    if package == "timm":
        import timm

        network = timm.create_model(name, pretrained=False, num_classes=0)
    else:
        from torchvision import models

        network = getattr(models, name)(weights=None)
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(part.weight)
    return network.eval()


def prepare(files: list[Path], model: Model) -> np.ndarray:
    """Return up to 256 prepared images."""
    prepared = []
    for path in files[:256]:
        image = imaging.decode(path.read_bytes())
        prepared.append(imaging.prepare(image, model))
    return np.stack(prepared)


def measure_network(
    report: Report, network: Network, batches: list[int], has_gpu: bool
) -> None:
    """Print images per second for each arithmetic and batch, and the difference of vectors."""
    name = network.model.name
    processor = embedder.OnnxEmbedder(network.model, network.graph)
    compared = network.images[:64]
    expected = processor.embed(compared)
    seconds = timed(lambda: processor.embed(compared))
    rows: list[list[object]] = [
        ["processor", len(compared) / seconds, None, None, None]
    ]
    arithmetics = CUDA_ARITHMETICS if has_gpu else ()
    for arithmetic in arithmetics:
        rates = []
        for batch in batches:
            session = CudaSession(network.graph, arithmetic, batch)
            on_gpu = embedder.OnnxEmbedder(
                network.model, network.graph, session=session, batch=batch
            )
            vectors = on_gpu.embed(compared)
            rates.append(rate(on_gpu.embed, repeat(network.images, batch)))
        difference = relative_difference(vectors, expected)
        rows.append([arithmetic, *rates, float(difference.max())])
        report.figures[f"{name} {arithmetic}"] = {
            "images_per_second": dict(zip(map(str, batches), rates, strict=True)),
            "difference_max": float(difference.max()),
            "difference_mean": float(difference.mean()),
        }
    rows[0][1:] = [rows[0][1], *[None] * (len(batches) - 1), None]
    for label, rates in torch_rates(network, batches):
        rows.append([label, *rates, None])
        report.figures[f"{name} {label}"] = rates
    headers = [name, *[f"batch {batch}" for batch in batches], "difference"]
    report.print_table(f"{name}, images a second", headers, rows)
    if has_gpu:
        start = time.perf_counter()
        embedder._load_on_gpu(network.model, network.graph, devices.INDEX_BATCH)
        print(f"chosen and loaded in {time.perf_counter() - start:.1f} s")


def repeat(images: np.ndarray, count: int) -> np.ndarray:
    return images[np.arange(count) % len(images)]


def relative_difference(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    errors = np.linalg.norm(found - expected, axis=1)
    return errors / np.linalg.norm(expected, axis=1)


def rate(embed: Callable[[np.ndarray], object], images: np.ndarray) -> float:
    """Return the images per second of several callers at the same time."""
    embed(images)
    counts = [0] * CALLERS
    end = time.perf_counter() + MEASURED_SECONDS

    def call(number: int) -> None:
        while time.perf_counter() < end:
            embed(images)
            counts[number] += len(images)

    start = time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    return sum(counts) / (time.perf_counter() - start)


def torch_rates(
    network: Network, batches: list[int]
) -> Iterator[tuple[str, list[float]]]:
    """Yield the images per second of plain PyTorch on the GPU: one caller, channels last."""
    if network.torch_network is None:
        return
    import torch

    if not torch.cuda.is_available():
        return
    torch.backends.cudnn.benchmark = True
    module = network.torch_network.cuda().to(memory_format=torch.channels_last)
    for arithmetic in CUDA_ARITHMETICS:
        allowed = arithmetic != "f32"
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed

        def run(images: np.ndarray, is_half: bool = arithmetic == "f16") -> None:
            with (
                torch.inference_mode(),
                torch.autocast("cuda", torch.float16, enabled=is_half),
            ):
                planes = torch.from_numpy(images).cuda().permute(0, 3, 1, 2)
                floats = planes.float().sub_(127.0).div_(128.0)
                module(floats).float().cpu()

        rates = []
        for batch in batches:
            images = repeat(network.images, batch)
            for _ in range(3):
                run(images)
            start = time.perf_counter()
            count = 0
            while time.perf_counter() - start < MEASURED_SECONDS:
                run(images)
                count += batch
            rates.append(count / (time.perf_counter() - start))
        yield f"PyTorch {arithmetic}", rates
    network.torch_network.cpu()


class Kept(EmbedderCache):
    """Gives one embedder, which is loaded already."""

    def __init__(self, kept: embedder.Embedder) -> None:
        self._kept = kept

    def get(self, model: Model) -> embedder.Embedder:  # noqa: ARG002
        return self._kept


def measure_files(
    report: Report, network: Network, files: list[Path], count: int, places: list[str]
) -> None:
    """Print images per second from files to vectors, by threads and by processes."""
    tasks = []
    for number, path in enumerate(islice(cycle(files), count)):
        item = Item(f"{path}-{number}", path.stat().st_size, 0, None, path.read_bytes)
        tasks.append(Task(item))
    model = network.model
    batch = devices.INDEX_BATCH
    rows = []
    for name in places:
        if name == "GPU":
            share = tasks
            loaded = embedder._load_on_gpu(model, network.graph, batch)
        else:
            share = tasks[: max(count // 4, 1)]
            loaded = embedder.OnnxEmbedder(model, network.graph, threads=1)
        for how, executor in (
            ("threads", ThreadExecutor(batch=batch)),
            ("processes", LoaderExecutor(batch=batch)),
        ):
            worker = Worker(
                {model.name: model}, ContentIndex.of([], []), 10**9, Kept(loaded)
            )
            chunks = [share[at : at + 1024] for at in range(0, len(share), 1024)]
            start = time.perf_counter()
            done = sum(map(len, executor.run(worker, chunks)))
            images_per_second = done / (time.perf_counter() - start)
            rows.append([f"{name}, {how}", images_per_second])
            report.figures[f"{model.name} files, {name}, {how}"] = images_per_second
    report.print_table(f"{model.name}, files to vectors", ["", "images/s"], rows)


if __name__ == "__main__":
    sys.exit(main())
