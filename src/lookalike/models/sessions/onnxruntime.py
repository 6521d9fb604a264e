"""ONNX Runtime, the default runtime."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

__all__ = ["open_onnxruntime"]

_LOG_ERRORS_ONLY = 4


def open_onnxruntime(
    source: Path | bytes, threads: int, *, fold: bool = True
) -> ort.InferenceSession:
    """Load a graph for the CPU.

    Parameters
    ----------
    source
        The ``.onnx`` file or its content.
    threads
        The number of threads that one batch uses; 0 for one per core.
    fold
        Whether what depends on no input is computed when the graph is loaded, instead of in each
        run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Decoding shares the cores: a thread that waits for work must not spin.
    spinning = "session.intra_op.allow_spinning"
    options.add_session_config_entry(spinning, "0")
    graph = source if isinstance(source, bytes) else str(source)
    providers = ["CPUExecutionProvider"]
    disabled = [] if fold else ["ConstantFolding"]
    return ort.InferenceSession(
        graph, options, providers=providers, disabled_optimizers=disabled
    )
