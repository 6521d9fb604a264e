"""OpenVINO, an optional runtime, behind the interface of an ONNX Runtime session."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.errors import ModelError
from lookalike.types import Model

__all__ = ["OpenVinoSession"]

_FIRST_TENSOR = threading.Lock()

_ORT_TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)", "f16": "tensor(float16)"}


class _OpenVinoPort(NamedTuple):
    """An input or output as ONNX Runtime describes it; an unknown side is None."""

    name: str
    type: str
    shape: list[int | None]


class OpenVinoSession:
    """A graph that OpenVINO has compiled for this processor.

    Parameters
    ----------
    source
        The ``.onnx`` file or its content.
    model
        Its precision ``bf16`` needs a processor that computes in it. Other precisions are a
        property of the graph.
    threads
        The number of threads that one batch may use; 0 for one per core.

    Raises
    ------
    ModelError
        If OpenVINO is not installed, or the processor lacks the Model's precision.
    """

    def __init__(self, source: Path | bytes, model: Model, threads: int) -> None:
        openvino = _import_openvino(model)
        _read_first_tensor(openvino)
        core = openvino.Core()
        precision = "f32"
        if model.precision == "bf16":
            _check_bf16(core, model)
            precision = "bf16"

        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision}
        if threads == 1:
            # Run one batch per core at the same time, each in one thread.
            settings["PERFORMANCE_HINT"] = "THROUGHPUT"
        elif threads > 1:
            settings["INFERENCE_NUM_THREADS"] = threads

        graph = source if isinstance(source, bytes) else str(source)
        network = core.read_model(graph)
        self._compiled = core.compile_model(network, "CPU", settings)
        self._thread_state = threading.local()

    def get_inputs(self) -> list[_OpenVinoPort]:
        """Return the graph's inputs."""
        inputs = self._compiled.inputs
        return [_convert_port(port) for port in inputs]

    def get_outputs(self) -> list[_OpenVinoPort]:
        """Return the graph's outputs."""
        outputs = self._compiled.outputs
        return [_convert_port(port) for port in outputs]

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Return the named outputs; each thread has an inference request of its own."""
        request = self._thread_request()
        results = request.infer(dict(inputs))
        # Copies: the next inference of this thread overwrites the results.
        copies = []
        for name in outputs:
            result = results[name]
            copy = np.array(result)
            copies.append(copy)
        return copies

    def _thread_request(self) -> Any:
        """Return the inference request of this thread."""
        state = self._thread_state
        if not hasattr(state, "request"):
            new_request = self._compiled.create_infer_request()
            state.request = new_request
        return state.request


def _import_openvino(model: Model) -> Any:
    """Import OpenVINO without its telemetry.

    Telemetry would send requests, fork, and write into the home folder.
    """
    previous = sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    is_hidden = previous is None
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"The model {model.name!r} runs on OpenVINO, which is not installed. "
            "Install it with: pip install 'lookalike[openvino]'"
        ) from error
    finally:
        if is_hidden:
            del sys.modules["openvino_telemetry"]
    return openvino


def _read_first_tensor(openvino: Any) -> None:
    """Read a tensor, so that threads may read theirs.

    OpenVINO makes a table of types in the first read of a process. It holds a lock of C++ and waits
    for the interpreter's meanwhile: two threads whose reads are the first wait for each other.
    """
    number = np.zeros(1)
    tensor = openvino.Tensor(number)
    with _FIRST_TENSOR:
        _ = tensor.data


def _check_bf16(core: Any, model: Model) -> None:
    """Raise an error if this processor does not compute in bf16."""
    supported = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" in supported:
        return
    names = sorted(supported)
    listed = ", ".join(names)
    raise ModelError(
        f"The model {model.name!r} computes in bf16, which this processor does not "
        f"support; it knows {listed}. Use an int8 or f32 version."
    )


def _convert_port(port: Any) -> _OpenVinoPort:
    shape: list[int | None] = []
    sides = port.get_partial_shape()
    for side in sides:
        length = None
        is_fixed = side.is_static
        if is_fixed:
            length = side.get_length()
        shape.append(length)
    name = port.get_any_name()
    element_type = port.get_element_type()
    type_name = element_type.get_type_name()
    other_type = f"tensor({type_name})"
    ort_type = _ORT_TYPES.get(type_name, other_type)
    return _OpenVinoPort(name, ort_type, shape)
