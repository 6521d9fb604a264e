"""Check an ``.onnx`` file and its external data before a runtime opens them."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lookalike.errors import ModelError
from lookalike.models import weights

__all__ = ["data_files", "extract_part", "sha256_with_data"]


def data_files(path: Path) -> list[Path]:
    """Return the files from which an ``.onnx`` file takes tensors: its external data.

    Raises
    ------
    ModelError
        If the file cannot be read or is not an ``.onnx`` file; if a data file is outside its
        folder, is missing, or is too short for a tensor.
    """
    if path.suffix.lower() != ".onnx":
        raise ModelError(
            f"The graph {path} does not end in .onnx. Give a valid .onnx file."
        )
    try:
        if not _may_have_data_files(path):
            return []
        # A dictionary keeps the order, in which the files are hashed.
        found: dict[Path, None] = {}
        proto = _parse(path)
        for tensor in _all_tensors(proto):
            data_file = _external_data_file(path, tensor)
            if data_file is not None:
                found[data_file] = None
    except OSError as error:
        raise ModelError(
            f"The graph {path} cannot be read: {error.strerror or error}."
        ) from error
    return list(found)


def sha256_with_data(path: Path) -> str:
    """Return the hash that identifies an ``.onnx`` file together with its external data.

    Without external data, it is the file's own sha256.
    """
    files = data_files(path)
    own_hash = weights.sha256_of(path)
    if not files:
        return own_hash
    # The hash of the hashes, joined to one text.
    joined = own_hash
    for file in files:
        joined += weights.sha256_of(file)
    content = joined.encode()
    digest = hashlib.sha256(content)
    return digest.hexdigest()


def extract_part(path: Path, inputs: Collection[str], output: str) -> bytes:
    """Return the part of an ``.onnx`` file between some of its inputs and one output.

    A file with two towers needs the inputs of both, and computes both, whatever is wanted.

    Raises
    ------
    ModelError
        If the file is not an ``.onnx`` file or has no such output, or the output needs another
        input.
    """
    proto = _parse(path)
    graph = proto.graph
    outputs = _entry_names(graph.output)
    if output not in outputs:
        listed = ", ".join(outputs)
        raise ModelError(f"The graph {path} has no output {output!r}; it has {listed}.")
    needed, places = _needed_for(graph, output)

    # Older files name their constants as inputs too.
    constants = _entry_names(graph.initializer)
    given = {*inputs, *constants}
    others = needed.intersection(_entry_names(graph.input)) - given
    if others:
        listed = ", ".join(sorted(others))
        raise ModelError(
            f"The output {output!r} of the graph {path} needs {listed} too. Name another output."
        )
    _drop_others(graph.input, needed)
    _drop_others(graph.initializer, needed)
    _drop_others(graph.output, {output})
    for place in reversed(range(len(graph.node))):
        if place not in places:
            del graph.node[place]
    # The shapes of values that are not there any more.
    del graph.value_info[:]
    content = proto.SerializeToString()
    return bytes(content)


def _entry_names(entries: Any) -> list[str]:
    return [entry.name for entry in entries]


def _drop_others(entries: Any, names: Collection[str]) -> None:
    """Remove all entries with other names."""
    for place in reversed(range(len(entries))):
        name = entries[place].name
        if name not in names:
            del entries[place]


def _needed_for(graph: Any, output: str) -> tuple[set[str], set[int]]:
    """Return the names of all values that an output needs, and the places of their nodes."""
    needed = {output}
    places = set()
    nodes = graph.node
    count = len(nodes)
    # Each node comes after those that make its inputs.
    for place in reversed(range(count)):
        node = nodes[place]
        if needed.isdisjoint(node.output):
            continue
        places.add(place)
        needed.update(node.input)
        inner_names = _inner_names(node)
        needed.update(inner_names)
    return needed, places


def _inner_names(node: Any) -> Iterator[str]:
    """Yield the names that a node's subgraphs read, which may be those of the graph around."""
    for attribute in node.attribute:
        subgraphs = [attribute.g, *attribute.graphs]
        for subgraph in subgraphs:
            # An output of a subgraph may be a value of the graph around.
            yield from _entry_names(subgraph.output)
            for inner in subgraph.node:
                yield from inner.input
                yield from _inner_names(inner)


def _may_have_data_files(path: Path) -> bool:
    """Search the file for a word that all external data needs; importing onnx takes much longer."""
    with path.open("rb") as file:
        status = path.stat()
        size = status.st_size
        is_empty = size == 0
        if is_empty:
            return False
        descriptor = file.fileno()
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as content:
            position = content.find(b"location")
            return position >= 0


def _parse(path: Path) -> Any:
    import onnx

    try:
        return onnx.load_model(path, load_external_data=False)
    # The error class belongs to protobuf, a dependency of onnx alone.
    except Exception as error:
        raise ModelError(
            f"The graph {path} cannot be loaded: {error}. Give a valid .onnx file."
        ) from error


def _all_tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a protobuf message: in attributes, subgraphs and functions too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        is_single_message = hasattr(value, "ListFields")
        for part in [value] if is_single_message else value:
            if field.message_type.name == "TensorProto":
                yield part
            else:
                yield from _all_tensors(part)


def _external_data_file(path: Path, tensor: Any) -> Path | None:
    """Return the file that holds a tensor's data, or None if the graph itself holds them."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not entries:
        return None
    location = entries.get("location", "")
    data_file: Path = path.parent / location
    if not data_file.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(
            f"The graph {path} is refused: it takes numbers from {location!r}, outside of its "
            "folder. Give a graph whose data files are beside it."
        )
    if not data_file.is_file():
        raise ModelError(
            f"The graph {path} takes numbers from {location!r}, which does not exist. "
            "Put the file there."
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", 0))
    except ValueError:
        offset = length = -1
    end = offset + length
    is_positive = offset >= 0 and length >= 0
    if not is_positive or end > data_file.stat().st_size:
        raise ModelError(
            f"The graph {path} takes numbers from {location!r} that are not in it. "
            "Give the right file."
        )
    return data_file
