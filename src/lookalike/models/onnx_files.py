"""An ``.onnx`` file and the files beside it that hold its numbers, looked at before any runtime opens them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookalike.errors import ModelError
from lookalike.models import weights

__all__ = ["data_files", "sha256_of"]


def data_files(path: Path) -> list[Path]:
    """Return the files that an ``.onnx`` file takes numbers from: its external data.

    Raises
    ------
    ModelError
        If the file cannot be read or is no ``.onnx`` file; if one of the others lies outside of its folder, is not
        there, or does not hold what the graph takes from it.
    """
    if path.suffix.lower() != ".onnx":
        raise ModelError(
            f"The graph {path} has another suffix than .onnx. Give a valid .onnx file."
        )
    try:
        if not _may_name_files(path):
            return []
        places = {
            place: None for tensor in _tensors(_parsed(path)) for place in _places(path, tensor)
        }
    except OSError as error:
        raise ModelError(f"The graph {path} cannot be read: {error.strerror or error}.") from error
    return list(places)


def sha256_of(path: Path) -> str:
    """Return what an ``.onnx`` file is known by: its sha256, and that of its external data where it has any."""
    hashes = [weights.sha256_of(file) for file in (path, *data_files(path))]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _may_name_files(path: Path) -> bool:
    """Tell whether the word is in the file that must be there: cheap, where importing onnx is not."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(b"location") >= 0


def _parsed(path: Path) -> Any:
    import onnx

    try:
        return onnx.load_model(path, load_external_data=False)
    # The error of a package that onnx brings along.
    except Exception as error:
        raise ModelError(
            f"The graph {path} cannot be loaded: {error}. Give a valid .onnx file."
        ) from error


def _tensors(message: Any) -> Iterator[Any]:
    """Give every tensor of a graph, wherever it is: in attributes, inner graphs, functions."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if hasattr(value, "ListFields") else value:
                if field.message_type.name == "TensorProto":
                    yield part
                else:
                    yield from _tensors(part)


def _places(path: Path, tensor: Any) -> Iterator[Path]:
    given = {entry.key: entry.value for entry in tensor.external_data}
    if not given:
        return
    location = given.get("location", "")
    place = path.parent / location
    if not place.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(
            f"The graph {path} is refused: it takes numbers from {location!r}, outside of its folder. Give a graph "
            "whose data lies beside it."
        )
    if not place.is_file():
        raise ModelError(
            f"The graph {path} takes numbers from {location!r}, and there is no such file. Put it there."
        )
    try:
        offset, length = int(given.get("offset", 0)), int(given.get("length", 0))
    except ValueError:
        offset = length = -1
    if min(offset, length) < 0 or offset + length > place.stat().st_size:
        raise ModelError(
            f"The graph {path} takes numbers from {location!r} that are not in it. Give the right file."
        )
    yield place
