"""Networks without their pooling: the features of each cell of an image, at a larger input."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from lookalike.errors import ModelError
from lookalike.models.embedder import OnnxEmbedder
from lookalike.models.graph_cache import find_graph
from lookalike.models.learned import network_model
from lookalike.tracing import span
from lookalike.types import Model

__all__ = ["CELLS_INPUT_SIDE", "CellNetworks", "load_cells"]

# The shorter side of the input in pixels. It gives EfficientNet-Lite 14 x 14 cells, four times
# those of its own input: docs/explain.md compares both.
CELLS_INPUT_SIDE = 448


def load_cells(
    model: Model, *, size: tuple[int, int] | None = None, threads: int = 0
) -> OnnxEmbedder:
    """Load the network of a Model for `OnnxEmbedder.feature_map`.

    A network that is built here runs in 32-bit floats, whatever the Model says. A user's graph runs
    as it is. A learned map is left out: it maps whole images, not cells.

    Parameters
    ----------
    model
        The Model of a Space.
    size
        Height and width of the input of a network that is built here; by default the Model's,
        scaled up to a shorter side of 448 pixels.
    threads
        The number of threads that one batch may use; 0 for one per core.

    Raises
    ------
    ModelError
        If the Model has no network, or its graph cannot be run.
    WeightsError
        If the weights are missing or their hash does not match.
    """
    if model.architecture == "pixels":
        raise ModelError(
            f"The model {model.name!r} compares pixels and has no network with cells."
        )
    network = network_model(model)
    if model.architecture != "onnx":
        input_size = size or _larger_input(model)
        network = replace(
            network,
            size=input_size,
            crop_side=_crop_side_at(model, input_size),
            pooling="none",
            precision="f32",
            calibration=None,
            runtime="onnxruntime",
            graph=None,
        )
    with span(f"load cells of {model.name}"):
        graph, _ = find_graph(network)
        return OnnxEmbedder(network, graph, threads=threads)


def _larger_input(model: Model) -> tuple[int, int]:
    height, width = model.size
    shorter = min(height, width)
    scale = max(1, CELLS_INPUT_SIDE / shorter)
    new_height = round(scale * height)
    new_width = round(scale * width)
    return new_height, new_width


def _crop_side_at(model: Model, size: tuple[int, int]) -> int | None:
    """Return the crop side of a Model for an input of another size, which shows the same area."""
    side = model.crop_side
    if side is None:
        return None
    image_side = min(size)
    model_side = min(model.size)
    scale = image_side / model_side
    return round(scale * side)


class CellNetworks:
    """The networks that were used last, each loaded once; several threads share them.

    Parameters
    ----------
    capacity
        The number of networks to keep. One of EfficientNet-Lite0 takes about 60 MB.
    threads
        The number of threads that one batch may use; 0 for one per core.
    """

    def __init__(self, capacity: int, *, threads: int = 0) -> None:
        self._capacity = capacity
        self._threads = threads
        self._lock = threading.Lock()
        self._networks: OrderedDict[str, OnnxEmbedder] = OrderedDict()

    def get(self, model: Model) -> OnnxEmbedder:
        """Return the network of a Model; the one that was unused for longest makes room.

        Raises
        ------
        ModelError, WeightsError
            As `load_cells`.
        """
        key = model.fingerprint
        networks = self._networks
        with self._lock:
            network = networks.get(key)
            if network is None:
                network = load_cells(model, threads=self._threads)
                networks[key] = network
            networks.move_to_end(key)
            is_too_full = len(networks) > self._capacity
            if is_too_full:
                networks.popitem(last=False)
        return network
