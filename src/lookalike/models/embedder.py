"""A Model made ready to run: prepared images in, vectors out."""

from __future__ import annotations

import glob
import hashlib
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import platformdirs

from lookalike import vectors
from lookalike.errors import LookalikeError, ModelError
from lookalike.io.files import atomic_write
from lookalike.models import onnx_files, tensors, weights
from lookalike.tracing import span
from lookalike.types import Layout, Model, Runtime, Weights

__all__ = ["Embedder", "OnnxEmbedder", "PixelEmbedder", "inspect", "load"]

# Raised whenever the same tensors would give another graph, so that no stale one is taken from the cache.
_GRAPH_VERSION = 2

_PARTS: Final[tuple[Literal["weights"], Literal["calibration"]]] = ("weights", "calibration")

# Collections keep float16.
_LARGEST = float(np.finfo(np.float16).max)

# The most images that a graph may ask for at once.
_MOST_IMAGES = 1024

# How many images at a time are fastest. ONNX Runtime goes through them layer by layer: what lies between the layers of
# a few stays in a core's cache.
_IMAGES_AT_ONCE: Final[dict[Runtime, int]] = {"onnxruntime": 2, "openvino": 8}

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)


class Embedder(Protocol):
    """A loaded Model."""

    model: Model

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 ``[n, dim]`` for uint8 ``[n, height, width, 3]`` as `lookalike.imaging.prepare` makes them."""
        ...


def load(model: Model, *, threads: int = 0) -> Embedder:
    """Make a Model ready to run.

    Parameters
    ----------
    model
        Its description.
    threads
        How many threads one batch may use; 0 for one a core.

    Raises
    ------
    ModelError
        If the graph cannot be run, gives vectors of another length than the Model says, or is another one than the
        Model's, where that names one.
    WeightsError
        If the weights are not here or are not the promised ones.
    """
    if model.architecture == "pixels":
        return PixelEmbedder(model)
    with span(f"load {model.name}"):
        source, digest = _source(model)
        return OnnxEmbedder(replace(model, graph=digest), source, threads=threads)


class PixelEmbedder:
    """Pixel space: the vector is the prepared picture itself, row by row, R G B."""

    def __init__(self, model: Model) -> None:
        height, width = model.size
        if model.dim != height * width * 3:
            raise ModelError(
                f"The model {model.name!r} has dim = {model.dim}; "
                f"pixels of {height} x {width} in RGB give {height * width * 3}."
            )
        self.model = model

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 ``[n, height * width * 3]``."""
        return _finish(self.model, _normalise(self.model, images).reshape(len(images), -1))


class OnnxEmbedder:
    """A network run by ONNX Runtime, or by OpenVINO where its Model says so; several threads may run it at once.

    Its graph takes either uint8 ``[n, height, width, 3]``, normalisation included (those built here), or floats
    in the Model's layout, which are normalised first (a user's file).
    """

    def __init__(self, model: Model, source: Path | bytes, *, threads: int = 0) -> None:
        self.model = model
        self._name = _named(source, model)
        self._session = _session(source, model, threads=threads)
        self._input = _pick_input(self._session, self._name)
        self._output = _pick_output(model, self._session, self._name)

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 ``[n, dim]``."""
        count = self._input.shape[0] if self._input.shape else None
        most, missing = _IMAGES_AT_ONCE[self.model.runtime], 0
        if isinstance(count, int):
            # A graph exported for a fixed number of images gets that many at a time, the last one repeated.
            most, missing = count, -len(images) % count
        padded = (
            np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images
        )
        parts = [
            self._vectors(padded[first : first + most])
            for first in range(0, max(len(padded), 1), most)
        ]
        with np.errstate(over="ignore", invalid="ignore"):
            return _finish(self.model, np.concatenate(parts)[: len(images)])

    def _vectors(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what the graph gives for as many images as it takes at a time."""
        built_here = self._input.type == "tensor(uint8)"
        fed = images if built_here else self._floats(images)
        try:
            (given,) = self._session.run([self._output], {self._input.name: fed})
        # ONNX Runtime's errors share no base class of their own.
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"The graph {self._name} failed: {reason}") from error
        values = np.asarray(given)
        if values.dtype.kind not in "fiub":
            raise ModelError(
                f"The graph {self._name} gave {values.dtype} values, not numbers. Set another output."
            )
        pooled = values if built_here or values.ndim < 2 else _pool(self.model, values)
        if pooled.shape != (len(images), self.model.dim):
            raise ModelError(
                f"The graph {self._name} gave an array of shape {list(pooled.shape)} for {len(images)} images; "
                f"expected [{len(images)}, {self.model.dim}]. Set dim, output and pooling in a .toml description."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            return pooled.astype(np.float32)

    def _floats(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        x = _normalise(self.model, images)
        if self.model.layout == "NCHW":
            x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return x.astype(np.float16) if self._input.type == "tensor(float16)" else x


def inspect(path: Path) -> Model:
    """Return a Model for a bare ``.onnx`` file: sizes from the graph, ImageNet's usual normalisation assumed.

    Raises
    ------
    ModelError
        If the file is no graph from images to vectors, or leaves its image size open.
    """
    onnx_files.data_files(path)
    session = _session(path, threads=1)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    remedy = f"Describe it in a .toml file (keys size, layout, output, dim, …) whose [weights] file is {path.name}."
    shape = inputs[0].shape if inputs else []
    if (
        len(inputs) != 1
        or len(shape) != 4
        or inputs[0].type not in {"tensor(float)", "tensor(float16)"}
    ):
        raise ModelError(
            f"The graph {path} takes {', '.join(f'{i.name} {i.type} {i.shape}' for i in inputs)}; "
            f"expected one float tensor [n, 3, height, width] or [n, height, width, 3]. {remedy}"
        )
    layout: Layout = "NHWC" if shape[3] == 3 else "NCHW"
    channels = shape[3] if layout == "NHWC" else shape[1]
    if isinstance(channels, int) and channels != 3:
        raise ModelError(
            f"The graph {path} takes {channels} channels ({shape}); expected 3: R, G and B. Give another graph."
        )
    height, width = shape[1:3] if layout == "NHWC" else shape[2:4]
    output = min(outputs, key=lambda o: abs(len(o.shape) - 2))
    last = layout == "NHWC" and len(output.shape) == 4
    dim = output.shape[3 if last else 1] if len(output.shape) in {2, 4} else None
    if not (isinstance(height, int) and isinstance(width, int) and isinstance(dim, int)):
        raise ModelError(
            f"The graph {path} leaves open its image size ({shape}) or its vector length ({output.shape}). {remedy}"
        )
    return Model(
        name=path.stem.replace(".", "-"),
        title=f"ONNX file {path.name}",
        architecture="onnx",
        size=(height, width),
        dim=dim,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        layout=layout,
        output=output.name,
        pooling="mean" if len(output.shape) == 4 else "none",
        weights=Weights(file=str(path)),
    )


def _session(source: Path | bytes, model: Model | None = None, *, threads: int) -> Any:
    try:
        if model is not None and model.runtime == "openvino":
            from lookalike.models.sessions.openvino import OpenVinoSession

            return OpenVinoSession(source, model, threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        # Decoding shares the cores: a thread that waits for work must not burn one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = source if isinstance(source, bytes) else str(source)
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except LookalikeError:
        raise
    # Neither runtime's errors share a base class of their own.
    except Exception as error:
        reason = str(error).splitlines()[0]
        name = _named(source, model)
        raise ModelError(
            f"The graph {name} cannot be loaded: {reason}. Give a valid .onnx file."
        ) from error


def _named(source: Path | bytes, model: Model | None) -> str:
    return (
        str(source) if model is None or isinstance(source, Path) else f"of the model {model.name!r}"
    )


def _pick_input(session: Any, name: str) -> Any:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs) or "nothing"
        raise ModelError(
            f"The graph {name} takes {names}; expected one tensor of images. Give another graph."
        )
    count = inputs[0].shape[0] if inputs[0].shape else None
    if isinstance(count, int) and not 1 <= count <= _MOST_IMAGES:
        raise ModelError(
            f"The graph {name} takes {count} images at once; expected 1 to {_MOST_IMAGES:,}, or any number. Export it "
            "for fewer."
        )
    return inputs[0]


def _pick_output(model: Model, session: Any, name: str) -> str:
    names = [output.name for output in session.get_outputs()]
    if model.architecture != "onnx" or not model.output:
        return str(names[0])
    if model.output not in names:
        raise ModelError(
            f"The graph {name} has no output {model.output!r}; it has {', '.join(names)}."
        )
    return model.output


def _source(model: Model) -> tuple[Path | bytes, str]:
    """Return the Model's graph, and its sha256, which must be the one that filled the Space where it is known."""
    if model.architecture == "onnx":
        path = weights.find(model)
        digest = onnx_files.sha256_of(path)
        if model.graph not in {None, digest}:
            raise ModelError(
                f"The data that the graph {path} takes from other files is not what filled the Space of the model "
                f"{model.name!r}: their vectors could differ. Put it back, or index into a new collection."
            )
        return path, digest
    graph, digest = _graph(model)
    if model.graph not in {None, digest}:
        raise ModelError(
            f"The graph of the model {model.name!r} is {digest[:12]} here, and {str(model.graph)[:12]} filled its "
            "Space: their vectors could differ. Use the Lookalike that filled it, or index into a new collection."
        )
    return graph, digest


def _graph(model: Model) -> tuple[bytes, str]:
    """Return the Model's built graph and its sha256; from the cache where it is there, whole, and the one asked for."""
    # A description that promises no hash may find another file the next time.
    parts = [(part, getattr(model, part)) for part in _PARTS]
    loose = [part for part, file in parts if file is not None and not (file.sha256 or file.md5)]
    found = "".join(weights.sha256_of(weights.find(model, part)) for part in loose)
    key = hashlib.sha256(f"{model.fingerprint} {_GRAPH_VERSION}{found}".encode()).hexdigest()[:12]
    folder = Path(platformdirs.user_cache_dir("lookalike", appauthor=False), "graphs")
    # A graph is named after its own hash, by which damage shows. A cache that cannot be used costs time, nothing else.
    with suppress(OSError):
        for path in folder.glob(
            f"{glob.escape(model.name)}-{key}-{(model.graph or '*')[:16]}.onnx"
        ):
            graph = path.read_bytes()
            digest = hashlib.sha256(graph).hexdigest()
            if digest.startswith(path.stem.rpartition("-")[2]):
                return graph, digest
    with span(f"build {model.name}"):
        graph = _build(model)
        digest = hashlib.sha256(graph).hexdigest()
        with (
            suppress(OSError),
            atomic_write(folder / f"{model.name}-{key}-{digest[:16]}.onnx") as temporary,
        ):
            temporary.write_bytes(graph)
    return graph, digest


def _build(model: Model) -> bytes:
    # Only here, where a graph is built: the import costs more than loading a cached graph.
    from lookalike.models import graphs
    from lookalike.models.graphs.quantization import quantize

    proto = graphs.build(model, tensors.read_tensors(weights.find(model)))
    if model.precision == "int8":
        proto = quantize(proto, tensors.read_tensors(weights.find(model, "calibration")))
    return bytes(proto.SerializeToString(deterministic=True))


def _normalise(model: Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    mean, std = np.asarray(model.mean, np.float32), np.asarray(model.std, np.float32)
    return (images.astype(np.float32) - mean) / std


def _pool(model: Model, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce a network's output to one vector an image."""
    axes: tuple[int, ...] = ()
    if model.pooling == "first":
        values = values[:, 0]
    elif model.pooling == "mean" and values.ndim == 3:
        axes = (1,)
    elif model.pooling == "mean" and values.ndim == 4:
        axes = (2, 3) if model.layout == "NCHW" else (1, 2)
    pooled: npt.NDArray[Any] = values.mean(axis=axes, dtype=np.float32) if axes else values
    return pooled.reshape(len(pooled), math.prod(pooled.shape[1:]))


def _finish(model: Model, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    finished = vectors.unit_length(values) if model.unit_length else values
    # Where a number is none, there is no length to divide by.
    if not (np.isfinite(values).all() and (np.abs(finished) <= _LARGEST).all()):
        raise ModelError(
            f"The model {model.name!r} gave numbers that are not finite or beyond {_LARGEST:,.0f}, the most that a "
            "collection can keep. Check its mean and std, or let its description say unit_length = true."
        )
    return finished
