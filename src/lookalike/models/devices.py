"""The choice between the processor and a GPU, and whether CUDA can be used here."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Literal, NamedTuple

from lookalike.errors import InputError, ModelError
from lookalike.types import Model

__all__ = [
    "CPU_PROVIDER",
    "CUDA_PROVIDER",
    "INDEX_BATCH",
    "QUERY_BATCH",
    "VARIABLE",
    "Device",
    "Provider",
    "choose",
    "cuda_fault",
    "fallback_note",
    "providers",
    "requested",
    "requested_for_query",
]

Device = Literal["auto", "cpu", "cuda"]
VARIABLE = "LOOKALIKE_DEVICE"
# The images that a GPU computes at once while a collection is indexed, and for queries.
INDEX_BATCH = 64
QUERY_BATCH = 4

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
_GPU_PACKAGE = "onnxruntime-gpu"

# The libraries that ONNX Runtime's CUDA provider loads, for each major version of CUDA.
_LIBRARIES = (
    "libcudart.so.{major}",
    "libcublasLt.so.{major}",
    "libcublas.so.{major}",
    "libcurand.so.10",
    "libcudnn.so.9",
)
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

Load = Callable[[str], object]


class Provider(NamedTuple):
    """A way to run networks.

    Attributes
    ----------
    name
        ``cpu``, ``cuda`` or ``openvino``.
    fault
        Why it cannot be used here, and what to do; None if it can.
    """

    name: str
    fault: str | None


def requested(device: str | None = None) -> Device:
    """Return the device that is asked for: the given one, ``LOOKALIKE_DEVICE``, or ``auto``.

    Raises
    ------
    InputError
        If it is none of the three.
    """
    name = device or os.environ.get(VARIABLE) or "auto"
    if name == "auto":
        return "auto"
    if name == "cpu":
        return "cpu"
    if name == "cuda":
        return "cuda"
    origin = "The device" if device else VARIABLE
    raise InputError(f"{origin} is {name!r}; expected auto, cpu or cuda.")


def requested_for_query() -> Device:
    """Return the device for the queries of one process.

    ``auto`` means the processor: starting a GPU takes longer than many searches.
    """
    device = requested()
    if device == "auto":
        return "cpu"
    return device


def choose(model: Model, device: Device) -> Literal["cpu", "cuda"]:
    """Return the device that runs a Model.

    Raises
    ------
    ModelError
        If ``cuda`` is asked for and cannot run the Model.
    """
    if device == "cpu" or model.architecture == "pixels":
        return "cpu"
    fault = _model_fault(model) or cuda_fault()
    if fault is None:
        return "cuda"
    if device == "auto":
        return "cpu"
    raise ModelError(
        f"The model {model.name!r} cannot run with the device cuda: {fault}. "
        "With the device auto or cpu it runs on the processor."
    )


def fallback_note(device: Device) -> str | None:
    """Return why ``auto`` leaves an installed GPU package unused, or None if it does not."""
    if device != "auto" or not _is_installed(_GPU_PACKAGE):
        return None
    fault = cuda_fault()
    if fault is None:
        return None
    return f"CUDA cannot be used, so networks run on the processor: {fault}."


def providers() -> list[Provider]:
    """Return the ways to run networks, each with the reason if it cannot be used here."""
    openvino_fault = None
    if not _is_installed("openvino"):
        openvino_fault = (
            "it is not installed; install it with: pip install 'lookalike[openvino]'"
        )
    return [
        Provider("cpu", None),
        Provider("cuda", cuda_fault()),
        Provider("openvino", openvino_fault),
    ]


@functools.cache
def cuda_fault() -> str | None:
    """Return why CUDA cannot be used in this process, or None if it can."""
    import onnxruntime as ort

    available = ort.get_available_providers()
    fault = _build_fault(available, _is_installed(_GPU_PACKAGE))
    if fault is not None:
        return fault
    fault = _driver_fault(ctypes.CDLL)
    if fault is not None:
        return fault

    preload = getattr(ort, "preload_dlls", None)
    if preload is not None:
        # Loads the libraries of NVIDIA's Python packages. It prints what it does not find.
        with contextlib.redirect_stdout(io.StringIO()):
            preload()
    build = getattr(ort, "cuda_version", None) or "13.0"
    return _library_fault(build, ctypes.CDLL)


def _model_fault(model: Model) -> str | None:
    """Return why a Model runs on the processor only, or None if a GPU can run it."""
    if model.runtime != "onnxruntime":
        return f"its runtime is {model.runtime}, which runs on the processor only"
    if model.precision == "int8":
        return (
            "it computes in 8 bits, which a GPU rounds differently. "
            "Use its float version"
        )
    return None


def _build_fault(available: Sequence[str], is_installed: bool) -> str | None:
    """Return why ONNX Runtime has no CUDA provider, or None if it has one."""
    if CUDA_PROVIDER in available:
        return None
    if is_installed:
        # Both packages write the same files, and the one installed last wins.
        return (
            "the package onnxruntime has replaced the files of onnxruntime-gpu; run: "
            "pip install --force-reinstall --no-deps onnxruntime-gpu"
        )
    return (
        "the installed ONNX Runtime is built for the processor only; run: "
        "pip install 'lookalike[gpu]' and then "
        "pip install --force-reinstall --no-deps onnxruntime-gpu"
    )


def _driver_fault(load: Load) -> str | None:
    """Return why the NVIDIA driver gives no GPU, or None if it gives one."""
    try:
        driver: object = load(_DRIVER)
    except OSError:
        return f"no NVIDIA driver is installed ({_DRIVER} is missing); install one"
    initialize = getattr(driver, "cuInit")  # noqa: B009 (a library has any attribute)
    status = initialize(0)
    if status:
        return (
            f"the NVIDIA driver finds no GPU (CUDA error {status}); check that nvidia-smi "
            "lists one and that CUDA_VISIBLE_DEVICES does not hide it"
        )
    return None


def _library_fault(build: str, load: Load) -> str | None:
    """Return which library of CUDA or cuDNN is missing, or None if all can be loaded."""
    major = build.partition(".")[0]
    for template in _LIBRARIES:
        name = template.format(major=major)
        try:
            load(name)
        except OSError:
            return (
                f"the library {name} cannot be loaded; run: "
                "pip install 'onnxruntime-gpu[cuda,cudnn]', or install "
                f"CUDA {major} and cuDNN 9"
            )
    return None


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
