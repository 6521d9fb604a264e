"""ONNX Runtime, the default runtime."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

__all__ = ["open_onnxruntime"]

_LOG_ERRORS_ONLY = 4


def open_onnxruntime(source: Path | bytes, threads: int) -> ort.InferenceSession:
    """Load a graph for the CPU, where one batch uses `threads` threads; 0 for one per core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Decoding shares the cores: a thread that waits for work must not spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = source if isinstance(source, bytes) else str(source)
    providers = ["CPUExecutionProvider"]
    return ort.InferenceSession(graph, options, providers=providers)
