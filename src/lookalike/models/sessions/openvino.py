"""OpenVINO behind the few methods of an ONNX Runtime session that the embedder calls."""

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

_TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)", "f16": "tensor(float16)"}


class _Port(NamedTuple):
    """An input or output as ONNX Runtime describes one: an open side is None."""

    name: str
    type: str
    shape: list[int | None]


class OpenVinoSession:
    """A graph compiled by OpenVINO for this processor.

    Parameters
    ----------
    source
        The ``.onnx`` file, or its bytes.
    model
        Its precision ``bf16`` is refused where the processor does not compute in it; others are as the graph has them.
    threads
        How many threads one batch may use; 0 for one a core.

    Raises
    ------
    ModelError
        If OpenVINO is not installed, or the processor does not compute in the Model's precision.
    """

    def __init__(self, source: Path | bytes, model: Model, threads: int) -> None:
        core = _openvino(model).Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if model.precision == "bf16" and "BF16" not in able:
            raise ModelError(
                f"The model {model.name!r} computes in bf16, which this processor does not; it knows "
                f"{', '.join(sorted(able))}. Take an int8 or f32 version."
            )
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if model.precision == "bf16" else "f32"
        }
        if threads == 1:
            # So that as many batches run at once as there are cores, each in one thread.
            settings["PERFORMANCE_HINT"] = "THROUGHPUT"
        elif threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        graph = source if isinstance(source, bytes) else str(source)
        self._compiled = core.compile_model(core.read_model(graph), "CPU", settings)
        self._own = threading.local()

    def get_inputs(self) -> list[_Port]:
        """Return the graph's inputs."""
        return [_port(port) for port in self._compiled.inputs]

    def get_outputs(self) -> list[_Port]:
        """Return the graph's outputs."""
        return [_port(port) for port in self._compiled.outputs]

    def run(
        self, outputs: Sequence[str], fed: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        """Return the named outputs for the inputs; each thread has a request of its own."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer(dict(fed))
        return [np.array(found[name]) for name in outputs]


def _openvino(model: Model) -> Any:
    """Import OpenVINO without its telemetry, which would call out, fork and write into the home folder."""
    hidden = sys.modules.setdefault("openvino_telemetry", None) is None  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise ModelError(
            f"The model {model.name!r} runs on OpenVINO, which is not installed. "
            "Install it with: pip install 'lookalike[openvino]'"
        ) from error
    finally:
        if hidden:
            del sys.modules["openvino_telemetry"]
    return openvino


def _port(port: Any) -> _Port:
    shape = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
    kind = port.get_element_type().get_type_name()
    return _Port(port.get_any_name(), _TYPES.get(kind, f"tensor({kind})"), shape)
