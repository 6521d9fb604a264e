"""A loaded Model: prepared images in, vectors out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lookalike import vectors
from lookalike.errors import ModelError
from lookalike.io.reasons import first_line
from lookalike.models import devices, onnx_files
from lookalike.models.graph_cache import find_graph
from lookalike.models.learned import LearnedEmbedder, network_model
from lookalike.models.sessions.cuda import CUDA_ARITHMETICS, CudaArithmetic, CudaSession
from lookalike.models.sessions.session import (
    IMAGES_AT_ONCE,
    GraphPort,
    GraphSession,
    graph_name,
    open_session,
)
from lookalike.tracing import span
from lookalike.types import Layout, Model, VectorsF32, Weights

__all__ = [
    "MAX_DIFFERENCE",
    "Embedder",
    "OnnxEmbedder",
    "PixelEmbedder",
    "describe_onnx",
    "finish_vectors",
    "load",
    "load_for_query",
]

# Collections store float16.
_MAX_VALUE = float(np.finfo(np.float16).max)

# The vectors of a GPU differ from the processor's by at most this share of their length. It is the
# precision of float16 numbers, in which collections store vectors.
MAX_DIFFERENCE = 2.0**-10

# The images that a GPU's vectors are compared on, and the sides of their colored squares.
_COMPARED_IMAGES = 4
_COMPARED_SQUARES = 8

# The largest fixed batch that a graph may demand.
_MAX_BATCH = 1024

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)

_PreparedImages = npt.NDArray[np.uint8]


class Embedder(Protocol):
    """A loaded Model."""

    model: Model

    def embed(self, images: npt.NDArray[np.uint8]) -> VectorsF32:
        """Embed uint8 ``[n, height, width, 3]`` from `lookalike.imaging.prepare`.

        Returns
        -------
        array
            float32 ``[n, dim]``.
        """
        ...


def load(
    model: Model, *, threads: int = 0, device: devices.Device = "cpu", batch: int = 1
) -> Embedder:
    """Load a Model.

    Parameters
    ----------
    model
        Its description.
    threads
        The number of threads that one batch may use on the processor; 0 for one per core.
    device
        ``cuda`` runs a network on the GPU, and ``auto`` does if the GPU gives the processor's
        vectors within `MAX_DIFFERENCE`.
    batch
        The number of images that a GPU computes at once. Fewer take as long.

    Raises
    ------
    ModelError
        If the graph cannot be run, or the Model names another graph than the one found, or the
        device is ``cuda`` and the GPU cannot run it.
    WeightsError
        If the weights are missing or their hash does not match.
    """
    if model.learned is not None:
        below = network_model(model)
        network = load(below, threads=threads, device=device, batch=batch)
        return LearnedEmbedder(model, network)
    if model.architecture == "pixels":
        return PixelEmbedder(model)
    with span(f"load {model.name}"):
        graph, digest = find_graph(model)
        loaded = replace(model, graph=digest)
        if model.image_input is not None and isinstance(graph, Path):
            graph = onnx_files.extract_part(graph, [model.image_input], model.output)
        if devices.choose(model, device) == "cuda":
            try:
                return _load_on_gpu(loaded, graph, model.batch or batch)
            except ModelError:
                if device == "cuda":
                    raise
        return OnnxEmbedder(loaded, graph, threads=threads)


def load_for_query(model: Model) -> Embedder:
    """Load a Model for the queries of this process, on the device that is asked for."""
    device = devices.requested_for_query()
    return load(model, device=device)


def _load_on_gpu(model: Model, graph: Path | bytes, batch: int) -> OnnxEmbedder:
    """Load the fastest arithmetic of the GPU that gives the processor's vectors."""
    images = _images_to_compare(model)
    on_processor = OnnxEmbedder(model, graph)
    expected = on_processor.embed(images)
    faults = []
    for arithmetic in CUDA_ARITHMETICS:
        try:
            embedder = _open_on_gpu(model, graph, arithmetic, batch)
            found = embedder.embed(images)
        # The errors of a runtime and of the conversion share no base class.
        except Exception as error:  # noqa: BLE001
            reason = first_line(error)
            faults.append(f"{arithmetic}: {reason}")
            continue
        difference = _difference(found, expected)
        if difference <= MAX_DIFFERENCE:
            return embedder
        faults.append(f"{arithmetic}: its vectors differ by {difference:.2g}")
    listed = "; ".join(faults)
    raise ModelError(
        f"The model {model.name!r} cannot run on the GPU ({listed}). "
        "With the device auto or cpu it runs on the processor."
    )


def _open_on_gpu(
    model: Model, graph: Path | bytes, arithmetic: CudaArithmetic, batch: int
) -> OnnxEmbedder:
    session = CudaSession(graph, arithmetic, batch)
    return OnnxEmbedder(model, graph, session=session, batch=batch)


def _images_to_compare(model: Model) -> _PreparedImages:
    """Return images of colored squares and noise, the same for each call."""
    height, width = model.size
    count = _COMPARED_IMAGES
    squares = _COMPARED_SQUARES
    generator = np.random.default_rng(0)
    colors = generator.integers(0, 224, (count, squares, squares, 3))
    noise = generator.integers(0, 32, (count, height, width, 3))
    # The square of each row and of each column.
    row_squares = _stretch(squares, height)
    column_squares = _stretch(squares, width)
    stretched_rows = colors[:, row_squares]
    images = stretched_rows[:, :, column_squares]
    images += noise
    return images.astype(np.uint8)


def _stretch(count: int, length: int) -> npt.NDArray[np.intp]:
    """Return, for each of `length` places, which of `count` equal parts it lies in."""
    places = np.arange(length)
    scaled = places * count
    return scaled // length


def _difference(found: VectorsF32, expected: VectorsF32) -> float:
    """Return the largest difference of two vectors as a share of the expected one's length."""
    errors = found - expected
    error_lengths = np.linalg.norm(errors, axis=1)
    lengths = np.linalg.norm(expected, axis=1)
    # A vector of zeros has no direction to compare.
    smallest = np.finfo(np.float32).tiny
    divisors = np.maximum(lengths, smallest)
    shares = error_lengths / divisors
    largest = shares.max()
    return float(largest)


class PixelEmbedder:
    """Pixel space: the vector is the prepared image itself, row by row, R G B."""

    def __init__(self, model: Model) -> None:
        height, width = model.size
        pixels = height * width
        expected = pixels * 3
        dim = model.dim
        if dim != expected:
            raise ModelError(
                f"The model {model.name!r} has dim = {dim}; "
                f"pixels of {height} x {width} in RGB give {expected}."
            )
        self.model = model

    def embed(self, images: npt.NDArray[np.uint8]) -> VectorsF32:
        """Return float32 ``[n, height * width * 3]``."""
        model = self.model
        count = len(images)
        pixels = _normalize(model, images)
        rows = pixels.reshape(count, model.dim)
        return finish_vectors(model, rows)


class OnnxEmbedder:
    """A network run by ONNX Runtime, or by OpenVINO if its Model says so.

    Several threads may call `embed` at the same time. A graph built here takes uint8
    ``[n, height, width, 3]`` and normalizes it. A user's graph takes floats in the Model's layout,
    which are normalized before.

    Parameters
    ----------
    model, graph
        The description, and the ``.onnx`` file or its content.
    threads
        The number of threads that one batch may use; 0 for one per core.
    session
        The loaded graph, if it does not run on the processor.
    batch
        The number of images of every batch; None for the fastest one of the runtime.
    """

    def __init__(
        self,
        model: Model,
        graph: Path | bytes,
        *,
        threads: int = 0,
        session: GraphSession | None = None,
        batch: int | None = None,
    ) -> None:
        name = graph_name(graph, model)
        if session is None:
            session = open_session(graph, model, threads=threads)
        self.model = model
        self._graph_name = name
        self._session = session
        self._batch = batch
        self._input = _image_input(session, name)
        self._output = _output_name(model, session, name)
        self._normalizes = self._input.type == "tensor(uint8)"

    def embed(self, images: npt.NDArray[np.uint8]) -> VectorsF32:
        """Return float32 ``[n, dim]``."""
        values = self._run_in_batches(images, self._embed_batch)
        with np.errstate(over="ignore", invalid="ignore"):
            return finish_vectors(self.model, values)

    def feature_map(self, images: npt.NDArray[np.uint8]) -> VectorsF32:
        """Return the features before pooling, float32 ``[n, rows, columns, dim]``.

        Raises
        ------
        ModelError
            If the graph has none: it pools them itself, or its output is a sequence of tokens.
        """
        return self._run_in_batches(images, self._map_batch)

    def _run_in_batches(
        self, images: _PreparedImages, run: Callable[[_PreparedImages], VectorsF32]
    ) -> VectorsF32:
        """Return the results of `run` for all images, in batches that the graph accepts."""
        runtime = self.model.runtime
        size = self.model.batch or IMAGES_AT_ONCE[runtime]
        padded = images
        # A graph exported for a fixed number of images gets that number.
        exported = _fixed_batch(self._input)
        fixed = exported or self._batch
        if fixed is not None:
            size = fixed
            padded = _pad_to_multiple(images, fixed)

        parts = []
        batches = _batches_of(padded, size)
        for batch in batches:
            part = run(batch)
            parts.append(part)
        values = np.concatenate(parts)
        # Leave out the results of the padding.
        count = len(images)
        return values[:count]

    def _map_batch(self, images: _PreparedImages) -> VectorsF32:
        """Run the graph once and return its output as a feature map with the channels last."""
        values = self._run_graph(images)
        model = self.model
        is_built = self._normalizes
        is_averaged = is_built or model.pooling == "mean"
        is_map = values.ndim == 4
        if not is_map or not is_averaged:
            shape = list(values.shape)
            raise ModelError(
                f"The graph {self._graph_name} gives an array of shape {shape}; expected a feature "
                "map of four dimensions, whose cells pooling averages. Name an output before the "
                'pooling in a .toml description, with pooling = "mean".'
            )
        has_channels_first = is_built or model.layout == "NCHW"
        if has_channels_first:
            values = values.transpose(0, 2, 3, 1)
        return values.astype(np.float32)

    def _embed_batch(self, images: _PreparedImages) -> VectorsF32:
        """Run the graph once and return its pooled output, before normalization to unit length."""
        model = self.model
        values = self._run_graph(images)
        # A graph that is built here pools its output itself.
        needs_pooling = not self._normalizes and values.ndim >= 2
        if needs_pooling:
            values = _pool(model, values)
        count = len(images)
        dim = model.dim
        shape = list(values.shape)
        expected = [count, dim]
        is_expected = shape == expected
        if not is_expected:
            raise ModelError(
                f"The graph {self._graph_name} gave an array of shape {shape} for "
                f"{count} images; expected {expected}. "
                "Set dim, output and pooling in a .toml description."
            )
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32)

    def _run_graph(self, images: _PreparedImages) -> npt.NDArray[Any]:
        inputs: npt.NDArray[Any] = images
        if not self._normalizes:
            inputs = self._prepare_floats(images)
        outputs = [self._output]
        named_inputs = {self._input.name: inputs}
        try:
            (output,) = self._session.run(outputs, named_inputs)
        # The errors of a runtime share no base class.
        except Exception as error:
            reason = first_line(error)
            raise ModelError(
                f"The graph {self._graph_name} failed: {reason}"
            ) from error
        values = np.asarray(output)
        dtype = values.dtype
        if dtype.kind not in "fiub":
            raise ModelError(
                f"The graph {self._graph_name} gave {dtype} values, not numbers. "
                "Set another output."
            )
        return values

    def _prepare_floats(self, images: _PreparedImages) -> npt.NDArray[Any]:
        """Return normalized images in the layout and the number type of the graph's input."""
        model = self.model
        floats = _normalize(model, images)
        if model.layout == "NCHW":
            planes = floats.transpose(0, 3, 1, 2)
            floats = np.ascontiguousarray(planes)
        input_type = self._input.type
        is_half = input_type == "tensor(float16)"
        if is_half:
            return floats.astype(np.float16)
        return floats


def describe_onnx(path: Path) -> Model:
    """Describe a bare ``.onnx`` file: sizes from the graph, with ImageNet's normalization.

    Raises
    ------
    ModelError
        If the file is not a graph from images to vectors, or does not fix the image size.
    """
    onnx_files.data_files(path)
    session = open_session(path, threads=1)
    remedy = (
        "Describe it in a .toml file (keys size, layout, output, dim, …) "
        f"whose [weights] file is {path.name}."
    )
    image_shape = _image_shape(path, session.get_inputs(), remedy)
    layout: Layout = "NHWC" if image_shape[3] == 3 else "NCHW"
    if layout == "NHWC":
        _, height, width, channels = image_shape
    else:
        _, channels, height, width = image_shape
    if isinstance(channels, int) and channels != 3:
        raise ModelError(
            f"The graph {path} takes {channels} channels ({image_shape}); "
            "expected 3: R, G and B. Give another graph."
        )

    # Prefer the output that is most like vectors [n, dim].
    outputs = session.get_outputs()
    output = min(outputs, key=lambda port: abs(len(port.shape) - 2))
    dim = None
    rank = len(output.shape)
    if rank == 2:
        dim = output.shape[1]
    elif rank == 4:
        channel_axis = 3 if layout == "NHWC" else 1
        dim = output.shape[channel_axis]
    if not (
        isinstance(height, int) and isinstance(width, int) and isinstance(dim, int)
    ):
        raise ModelError(
            f"The graph {path} leaves open its image size ({image_shape}) "
            f"or its vector length ({output.shape}). {remedy}"
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
        pooling="mean" if rank == 4 else "none",
        weights=Weights(file=str(path)),
    )


def _image_shape(path: Path, inputs: Sequence[GraphPort], remedy: str) -> Sequence[Any]:
    """Return the shape of a graph's only input, which must be a float tensor of images."""
    float_types = {"tensor(float)", "tensor(float16)"}
    if len(inputs) == 1:
        (images,) = inputs
        shape = images.shape
        if len(shape) == 4 and images.type in float_types:
            return shape
    descriptions = []
    for port in inputs:
        description = f"{port.name} {port.type} {port.shape}"
        descriptions.append(description)
    described = ", ".join(descriptions)
    raise ModelError(
        f"The graph {path} takes {described}; expected one float tensor [n, 3, height, width] "
        f"or [n, height, width, 3]. {remedy}"
    )


def _image_input(session: GraphSession, name: str) -> GraphPort:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(port.name for port in inputs) or "nothing"
        raise ModelError(
            f"The graph {name} takes {names}; expected one tensor of images. Give another graph."
        )
    (images,) = inputs
    batch = _fixed_batch(images)
    if batch is not None and not 1 <= batch <= _MAX_BATCH:
        raise ModelError(
            f"The graph {name} takes {batch} images at once; expected 1 to {_MAX_BATCH:,}, or any "
            "number. Export it for fewer."
        )
    return images


def _fixed_batch(port: GraphPort) -> int | None:
    """Return the number of images that a graph demands, or None if it takes any number."""
    if not port.shape:
        return None
    count = port.shape[0]
    if not isinstance(count, int):
        return None
    return count


def _pad_to_multiple(images: _PreparedImages, batch: int) -> _PreparedImages:
    """Repeat the last image until the number of images is a multiple of `batch`."""
    count = len(images)
    missing = -count % batch
    if missing == 0:
        return images
    last = images[-1:]
    padding = np.repeat(last, missing, axis=0)
    return np.concatenate([images, padding])


def _batches_of(images: _PreparedImages, size: int) -> Iterator[_PreparedImages]:
    """Yield the images in batches; without images, one empty batch that has their columns."""
    count = max(len(images), 1)
    for start in range(0, count, size):
        stop = start + size
        yield images[start:stop]


def _output_name(model: Model, session: GraphSession, graph: str) -> str:
    outputs = session.get_outputs()
    names = [port.name for port in outputs]
    # The output of a built graph is a block, which has a single output tensor.
    wanted = model.output
    if model.architecture != "onnx" or not wanted:
        return names[0]
    if wanted not in names:
        listed = ", ".join(names)
        raise ModelError(
            f"The graph {graph} has no output {wanted!r}; it has {listed}."
        )
    return wanted


def _normalize(model: Model, images: _PreparedImages) -> VectorsF32:
    mean = np.asarray(model.mean, np.float32)
    std = np.asarray(model.std, np.float32)
    floats = images.astype(np.float32)
    centered = floats - mean
    normalized: VectorsF32 = centered / std
    return normalized


def _pool(model: Model, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce a network's output to one vector per image."""
    if model.pooling == "first":
        values = values[:, 0]
    else:
        axes = _averaged_axes(model, values.ndim)
        if axes:
            values = values.mean(axis=axes, dtype=np.float32)
    # The remaining axes become one. NumPy cannot infer its size without images.
    count, *sides = values.shape
    dim = math.prod(sides)
    return values.reshape(count, dim)


def _averaged_axes(model: Model, rank: int) -> tuple[int, ...]:
    """Return the axes that pooling averages: the tokens of a sequence, or the cells of a map."""
    if model.pooling != "mean":
        return ()
    if rank == 3:
        return (1,)
    if rank != 4:
        return ()
    if model.layout == "NCHW":
        return (2, 3)
    return (1, 2)


def finish_vectors(model: Model, values: VectorsF32) -> VectorsF32:
    """Scale vectors to unit length if the Model says so, and refuse values that cannot be stored.

    Raises
    ------
    ModelError
        If a value is not finite, or beyond those of float16.
    """
    finished = vectors.unit_length(values) if model.unit_length else values
    # An infinite value hides in a scaled vector, so the values before scaling are checked as well.
    is_finite = np.isfinite(values)
    is_small = np.abs(finished) <= _MAX_VALUE
    if not (is_finite.all() and is_small.all()):
        raise ModelError(
            f"The model {model.name!r} gave numbers that are not finite or beyond "
            f"{_MAX_VALUE:,.0f}, the most that a collection can store. Check its mean and std, or "
            "set unit_length = true in its description."
        )
    return finished
