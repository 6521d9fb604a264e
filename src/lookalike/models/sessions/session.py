"""Load a graph into the runtime that its Model names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy.typing as npt

from lookalike.errors import LookalikeError, ModelError
from lookalike.models.sessions.onnxruntime import open_onnxruntime
from lookalike.types import Model, Runtime

__all__ = ["IMAGES_AT_ONCE", "GraphPort", "GraphSession", "graph_name", "open_session"]

# The fastest batch of each runtime. ONNX Runtime runs a batch layer by layer: with few images,
# the activations between two layers stay in a core's cache.
IMAGES_AT_ONCE: Final[dict[Runtime, int]] = {"onnxruntime": 2, "openvino": 8}


class GraphPort(Protocol):
    """An input or output of a graph."""

    @property
    def name(self) -> str:
        """Its name in the graph."""

    @property
    def type(self) -> str:
        """Its type in ONNX Runtime's words, such as ``tensor(float)``."""

    @property
    def shape(self) -> Sequence[Any]:
        """Its shape; a side that the graph leaves open is not an int."""


class GraphSession(Protocol):
    """A loaded graph, with the interface of ONNX Runtime; several threads may run it at once."""

    def get_inputs(self) -> Sequence[GraphPort]:
        """Return the graph's inputs."""
        ...

    def get_outputs(self) -> Sequence[GraphPort]:
        """Return the graph's outputs."""
        ...

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]
    ) -> Sequence[Any]:
        """Return the named outputs."""
        ...


def open_session(
    source: Path | bytes, model: Model | None = None, *, threads: int, fold: bool = True
) -> GraphSession:
    """Load a graph into its Model's runtime, or into ONNX Runtime without a Model.

    Parameters
    ----------
    source
        The ``.onnx`` file or its content.
    model
        The Model that the graph belongs to.
    threads
        The number of threads that one batch may use; 0 for one per core.
    fold
        Whether ONNX Runtime computes what depends on no input when it loads the graph. That takes
        longer than a few runs, where a graph has many 8-bit weights.

    Raises
    ------
    ModelError
        If the runtime is not installed or cannot load the graph.
    """
    try:
        if model is not None and model.runtime == "openvino":
            from lookalike.models.sessions.openvino import OpenVinoSession

            return OpenVinoSession(source, model, threads)
        session: GraphSession = open_onnxruntime(source, threads, fold=fold)
    except LookalikeError:
        raise
    # The errors of a runtime share no base class.
    except Exception as error:
        lines = str(error).splitlines()
        reason = lines[0]
        name = graph_name(source, model)
        raise ModelError(
            f"The graph {name} cannot be loaded: {reason}. Give a valid .onnx file."
        ) from error
    return session


def graph_name(source: Path | bytes, model: Model | None) -> str:
    """Return the words for a graph in an error: its path, or the Model that it was built for."""
    if model is None or isinstance(source, Path):
        return str(source)
    return f"of the model {model.name!r}"
