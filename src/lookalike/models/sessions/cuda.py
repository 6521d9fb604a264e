"""ONNX Runtime on an NVIDIA GPU, behind the interface of a session on the processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import numpy.typing as npt
import onnxruntime as ort

from lookalike.errors import ModelError
from lookalike.models.devices import CPU_PROVIDER, CUDA_PROVIDER

__all__ = ["CUDA_ARITHMETICS", "CudaArithmetic", "CudaSession"]

# The arithmetic of a session, the fastest first: 16-bit floats; 32-bit floats whose products have
# 10 binary digits, as 16-bit floats have (TensorFloat-32); 32-bit floats.
CudaArithmetic = Literal["f16", "tf32", "f32"]
CUDA_ARITHMETICS: Final[tuple[CudaArithmetic, ...]] = ("f16", "tf32", "f32")

_LOG_NOTHING = 4
# Batches on the GPU at the same time: one is copied and started while another is computed.
_CONCURRENT_BATCHES = 2


class CudaSession:
    """A graph on the GPU.

    Parameters
    ----------
    source
        The ``.onnx`` file or its content.
    arithmetic
        How the GPU computes.
    batch
        The number of images of every batch. A GPU plans its convolutions for one number of images,
        and planning for another one takes most of a second.

    Raises
    ------
    ModelError
        If ONNX Runtime does not start on the GPU.
    """

    def __init__(
        self, source: Path | bytes, arithmetic: CudaArithmetic, batch: int
    ) -> None:
        graph = source if isinstance(source, bytes) else str(source)
        if arithmetic == "f16":
            graph = _to_f16(source)
        options = ort.SessionOptions()
        options.log_severity_level = _LOG_NOTHING
        # The provider reports each plan that it tries in vain to the logger of the process.
        ort.set_default_logger_severity(_LOG_NOTHING)
        settings = {
            "use_tf32": str(int(arithmetic == "tf32")),
            "cudnn_conv_algo_search": "HEURISTIC",
            # Take as much memory as a batch needs, not the next power of two.
            "arena_extend_strategy": "kSameAsRequested",
        }
        providers = [(CUDA_PROVIDER, settings), CPU_PROVIDER]
        session = ort.InferenceSession(graph, options, providers=providers)
        if CUDA_PROVIDER not in session.get_providers():
            raise ModelError("ONNX Runtime could not start its CUDA provider")
        self.batch = batch
        self._session = session
        # Each thread that runs a session has buffers of its own on the GPU, so few do.
        self._threads = ThreadPoolExecutor(_CONCURRENT_BATCHES, "cuda")

    def get_inputs(self) -> Sequence[Any]:
        """Return the graph's inputs."""
        inputs: Sequence[Any] = self._session.get_inputs()
        return inputs

    def get_outputs(self) -> Sequence[Any]:
        """Return the graph's outputs."""
        outputs: Sequence[Any] = self._session.get_outputs()
        return outputs

    def run(
        self, outputs: Sequence[str], inputs: Mapping[str, npt.NDArray[Any]]
    ) -> Sequence[Any]:
        """Return the named outputs; several threads may ask at the same time."""
        future = self._threads.submit(self._session.run, outputs, dict(inputs))
        try:
            results: Sequence[Any] = future.result()
        except Exception as error:
            message = str(error)
            if "memory" not in message:
                raise
            raise ModelError(
                "the GPU's memory is full; end other programs that use it, or use the device cpu"
            ) from error
        return results


def _to_f16(source: Path | bytes) -> bytes:
    """Return a graph that computes in 16-bit floats; its inputs and outputs stay as they are."""
    import onnx
    from onnxruntime.transformers import float16

    proto = onnx.ModelProto()
    if isinstance(source, bytes):
        proto.ParseFromString(source)
    else:
        proto = onnx.load(source)
    # The first operator of a built graph reads uint8 images.
    kept = [*float16.DEFAULT_OP_BLOCK_LIST, "DequantizeLinear"]
    half = float16.convert_float_to_float16(
        proto, keep_io_types=True, op_block_list=kept
    )
    content = half.SerializeToString()
    return bytes(content)
