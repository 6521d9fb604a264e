"""Graphs that are built once and kept in the user's cache folder."""

from __future__ import annotations

import glob
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import platformdirs

from lookalike.errors import ModelError
from lookalike.io.files import atomic_write
from lookalike.models import onnx_files, tensors, weights
from lookalike.models.held_calibration import open_calibration
from lookalike.tracing import span
from lookalike.types import Model, Weights

__all__ = ["build_graph", "find_graph"]

# Increased whenever the same tensors would give another graph, so that the cache ignores old ones.
_GRAPH_VERSION = 2

_PARTS: Final[tuple[Literal["weights"], Literal["calibration"]]] = (
    "weights",
    "calibration",
)


def find_graph(model: Model) -> tuple[Path | bytes, str]:
    """Return the Model's graph, as a file or its content, and its sha256.

    Raises
    ------
    ModelError
        If the Model names a graph, the one that filled its Space, and this is another one.
    WeightsError
        If the weights are missing or their hash does not match.
    """
    if model.architecture == "onnx":
        path = weights.find_graph_file(model)
        digest = onnx_files.sha256_with_data(path)
        if model.graph not in {None, digest}:
            raise ModelError(
                f"The graph {path} has other external data than the graph that filled the Space "
                f"of the model {model.name!r}, so its vectors could differ. Restore the files, or "
                "index into a new collection."
            )
        return path, digest

    graph, digest = _load_or_build(model)
    if model.graph not in {None, digest}:
        raise ModelError(
            f"The graph of the model {model.name!r} is {digest[:12]} here, but "
            f"{str(model.graph)[:12]} filled its Space, so the vectors could differ. Use the "
            "version of Lookalike that filled it, or index into a new collection."
        )
    return graph, digest


def build_graph(model: Model) -> bytes:
    """Build the Model's graph from its weights; the same tensors always give the same bytes."""
    # Imported only here: importing onnx takes longer than loading a cached graph.
    from lookalike.models import graphs
    from lookalike.models.graphs.quantization import quantize

    path = weights.find(model)
    numbers = tensors.read_tensors(path)
    proto = graphs.build(model, numbers)
    is_quantized = model.precision == "int8"
    if is_quantized:
        calibration = open_calibration(model)
        proto = quantize(proto, calibration)
    content = proto.SerializeToString(deterministic=True)
    return bytes(content)


def _load_or_build(model: Model) -> tuple[bytes, str]:
    """Return the Model's graph and its sha256, from the cache if it has an undamaged copy.

    A cached graph is named after its own hash, which reveals damage. A cache that cannot be read
    or written only costs time.
    """
    name = model.name
    key = _cache_key(model)
    cache = platformdirs.user_cache_dir("lookalike", appauthor=False)
    folder = Path(cache, "graphs")

    # Look for a copy.
    wanted_digest = _short_digest(model.graph) if model.graph else "*"
    escaped_name = glob.escape(name)
    pattern = f"{escaped_name}-{key}-{wanted_digest}.onnx"
    with suppress(OSError):
        for path in folder.glob(pattern):
            graph = path.read_bytes()
            digest = _sha256(graph)
            _, _, named_digest = path.stem.rpartition("-")
            if digest.startswith(named_digest):
                return graph, digest

    # Build the graph, and add a copy to the cache.
    step = f"build {name}"
    with span(step):
        graph = build_graph(model)
        digest = _sha256(graph)
        short_digest = _short_digest(digest)
        path = folder / f"{name}-{key}-{short_digest}.onnx"
        with suppress(OSError), atomic_write(path) as temporary:
            temporary.write_bytes(graph)
    return graph, digest


def _sha256(content: bytes) -> str:
    digest = hashlib.sha256(content)
    return digest.hexdigest()


def _short_digest(digest: str) -> str:
    """Return the part of a graph's hash that the name of its copy holds."""
    return digest[:16]


def _cache_key(model: Model) -> str:
    """Return a hash of everything that decides the graph."""
    text = f"{model.fingerprint} {_GRAPH_VERSION}"
    for part in _PARTS:
        file: Weights | None = getattr(model, part)
        if file is None:
            continue
        is_in_fingerprint = file.sha256 or file.md5
        if is_in_fingerprint:
            continue
        # A file that the description names without a hash may be another one next time.
        path = weights.find(model, part)
        text += weights.sha256_of(path)
    content = text.encode()
    digest = _sha256(content)
    return digest[:12]
