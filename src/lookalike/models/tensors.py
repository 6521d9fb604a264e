"""Read the tensors of a weights file without running code from the file.

A ``.safetensors`` or ``.h5`` file is plain data. A ``.pth`` file and a TorchScript archive have a
pickle, which is a program: `lookalike.models.torch_pickles` reads it as data. No declaration in a
file makes this reader use more memory than the file's size.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import numpy as safetensors

from lookalike.errors import WeightsError
from lookalike.models.torch_pickles import (
    Storage,
    Tensor,
    TensorView,
    check_key,
    named_views,
    unpickle,
)

__all__ = ["Tensor", "read_tensors"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # PyTorch's format before version 1.6


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name.

    Parameters
    ----------
    path
        A ``.safetensors`` file; a ``.pth`` file in PyTorch's zip format or the older plain one; a
        TorchScript archive, whose code is not run; or a Keras ``.h5`` file (needs h5py: ``pip
        install lookalike[keras]``). The names of a Keras file become ``layer/part``, such as
        ``conv2d_1/kernel``.

    Raises
    ------
    WeightsError
        If the file is in another format, is damaged, or contains anything besides tensors.
    """
    format_name = "weights"
    try:
        format_name, read = _detect_format(path)
        return read(path)
    except WeightsError as error:
        raise WeightsError(f"The weights {path} were refused: {error}") from error
    # A damaged pickle, zip or HDF5 file can make its reader raise any error.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(
            f"The weights {path} cannot be read as a {format_name} file ({reason})."
        ) from error


def _detect_format(path: Path) -> tuple[str, Callable[[Path], dict[str, Tensor]]]:
    """Return the name and the reader of a file's format, by its first bytes or its suffix."""
    with path.open("rb") as file:
        head = file.read(9)
    suffix = path.suffix
    # A safetensors file begins with 8 bytes for the length of a JSON object.
    begins_as_json = head[8:] == b"{"
    is_safetensors = suffix == ".safetensors" or begins_as_json
    if is_safetensors:
        return "safetensors", safetensors.load_file
    begins_as_hdf5 = head.startswith(_HDF5_MAGIC)
    is_hdf5 = suffix in {".h5", ".hdf5"} or begins_as_hdf5
    if is_hdf5:
        return "Keras", _read_keras
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        return "PyTorch", _read_zip
    return "PyTorch", _read_legacy


# Keras


def _read_keras(path: Path) -> dict[str, Tensor]:
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            "a Keras file needs h5py; install it with: pip install 'lookalike[keras]'."
        ) from error
    datasets: dict[str, Any] = {}

    def collect(name: str, node: Any) -> None:
        is_dataset = isinstance(node, h5py.Dataset)
        if is_dataset:
            short_name = _keras_name(name)
            datasets[short_name] = node

    with h5py.File(path, "r") as file:
        file.visititems(collect)
        declared_bytes = 0
        for node in datasets.values():
            if node.is_virtual or node.external:
                raise WeightsError(
                    "it takes numbers from other files, as no file of Keras does."
                )
            declared_bytes += node.nbytes or 0
        # Compressed, shared or unwritten data would expand. Keras writes each number once.
        file_bytes = path.stat().st_size
        if declared_bytes > file_bytes:
            raise WeightsError("it declares more numbers than it holds.")
        return {name: np.asarray(node) for name, node in datasets.items()}


def _keras_name(path: str) -> str:
    """Shorten a dataset's path to ``layer/part``.

    Both ``conv2d_1/conv2d_1/kernel:0`` and the older ``conv2d_1/conv2d_1_W_1:0`` become
    ``conv2d_1/kernel``.
    """
    # A dataset outside of any group has no layer.
    folders = ["", *path.split("/")]
    layer, part = folders[-2:]
    part = re.sub(r"(_\d+)?(:\d+)?$", "", part)
    part = part.removeprefix(f"{layer}_")
    if part == "W":
        part = "kernel"
    return f"{layer}/{part}"


# PyTorch's files


def _read_legacy(path: Path) -> dict[str, Tensor]:
    """Read the format before PyTorch 1.6: five pickles, then the numbers of each storage."""
    with path.open("rb") as file:
        magic = unpickle(file)
        if magic != _LEGACY_MAGIC:
            raise WeightsError("it does not begin as a PyTorch file does.")
        for _header in ("protocol version", "system"):
            unpickle(file)
        state = unpickle(file)
        views = named_views(state)
        by_key = _storages_by_key(views)

        # The storages lie in the order of these keys.
        keys = unpickle(file)
        storages = {}
        for key in keys:
            check_key(key)
            name = str(key)
            storage = by_key[name]
            storages[name] = _read_storage(file, storage)
    return _to_arrays(views, storages)


def _read_storage(file: BinaryIO, storage: Storage) -> Tensor:
    """Read the number of a storage's numbers, which is known already, and the numbers."""
    header = file.read(8)
    count = int.from_bytes(header, "little")
    expected = storage.count
    if count != expected:
        raise WeightsError(f"a storage of {expected} numbers says that it has {count}.")
    data = _read_bytes(file, storage.byte_count)
    return _to_numbers(data, storage)


def _read_bytes(file: BinaryIO, count: int) -> bytes:
    """Read up to `count` bytes without first allocating memory for more than the file has."""
    position = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(position)
    remaining = end - position
    readable = min(count, remaining)
    return file.read(readable)


def _read_zip(path: Path) -> dict[str, Tensor]:
    """Read the format since PyTorch 1.6: a zip with ``data.pkl`` and a member for each storage."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if not pickles:
            raise WeightsError("it is a zip without data.pkl.")
        index = pickles[0]
        content = _read_member(archive, index)
        stream = io.BytesIO(content)
        state = unpickle(stream)
        views = named_views(state)
        by_key = _storages_by_key(views)

        # Each storage is a member of the folder beside the index.
        root = index.removesuffix("data.pkl")
        members = {}
        for key in by_key:
            members[key] = f"{root}data/{key}"
        # Members of a zip can overlap, so that each is as large as the whole file.
        file_bytes = path.stat().st_size
        if _total_size(archive, members.values()) > file_bytes:
            raise WeightsError("its members are larger than itself.")

        storages = {}
        for key, storage in by_key.items():
            name = members[key]
            data = _read_member(archive, name)
            storages[key] = _to_numbers(data, storage)
    return _to_arrays(views, storages)


def _total_size(archive: zipfile.ZipFile, names: Iterable[str]) -> int:
    """Return the bytes that the members of a zip declare."""
    total = 0
    for name in names:
        member = archive.getinfo(name)
        total += member.file_size
    return total


def _storages_by_key(views: Mapping[str, TensorView]) -> dict[str, Storage]:
    storages = {}
    for view in views.values():
        storage = view.storage
        storages[storage.key] = storage
    return storages


def _to_arrays(
    views: Mapping[str, TensorView], storages: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    arrays = {}
    for name, view in views.items():
        array = view.to_array(storages)
        arrays[name] = array
    return arrays


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a member. PyTorch does not compress them, so a small file cannot expand."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise WeightsError(
            f"its member {name} is compressed, as no file of PyTorch is."
        )
    return archive.read(name)


def _to_numbers(data: bytes, storage: Storage) -> Tensor:
    count = storage.count
    available = len(data)
    is_short = available < storage.byte_count
    if count < 0 or is_short:
        raise WeightsError(
            f"it ends early: a storage of {count} numbers has only {available} bytes."
        )
    return np.frombuffer(data, storage.dtype, count)
