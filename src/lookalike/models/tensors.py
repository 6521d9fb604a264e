"""Read the tensors of a weights file without running code from the file.

A ``.safetensors`` or ``.h5`` file is plain data. A ``.pth`` file is a pickle, which is a program.
This reader knows the few globals that tensors need and refuses all others by name, so a crafted
file cannot call anything. No declaration in a file makes it use more memory than the file's size.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt
from safetensors import numpy as safetensors

from lookalike.errors import WeightsError

__all__ = ["Tensor", "read_tensors"]

Tensor = npt.NDArray[Any]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # PyTorch's format before version 1.6
_MAX_DIMENSIONS = 64  # NumPy's limit
_MAX_INTEGER = 1 << 62

_STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "BoolStorage": np.dtype("?"),
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by name.

    Parameters
    ----------
    path
        A ``.safetensors`` file; a ``.pth`` file in PyTorch's zip format or the older plain one; or
        a Keras ``.h5`` file (needs h5py: ``pip install lookalike[keras]``). The names of a Keras
        file become ``layer/part``, such as ``conv2d_1/kernel``.

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
    if suffix == ".safetensors" or begins_as_json:
        return "safetensors", safetensors.load_file
    begins_as_hdf5 = head.startswith(_HDF5_MAGIC)
    if suffix in {".h5", ".hdf5"} or begins_as_hdf5:
        return "Keras", _read_keras
    if zipfile.is_zipfile(path):
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


# The objects of a PyTorch pickle


@dataclass(frozen=True, slots=True)
class _Storage:
    """A flat array that tensors are views of, before it is read."""

    key: str
    dtype: np.dtype[Any]
    count: int

    @property
    def byte_count(self) -> int:
        """The size in bytes."""
        itemsize = self.dtype.itemsize
        return self.count * itemsize


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor of the pickle: offset, shape and strides within a storage, in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_array(self, storages: Mapping[str, Tensor]) -> Tensor:
        key = self.storage.key
        numbers = storages[key]
        count = len(numbers)
        shape = self.shape
        if not self._fits(count):
            raise WeightsError(
                f"a tensor of shape {shape} reaches outside its {count} numbers."
            )
        size = numbers.itemsize
        byte_strides = [stride * size for stride in self.strides]
        # A view, not a copy: a short file may refer to its numbers any number of times.
        start = numbers[self.offset :]
        return np.lib.stride_tricks.as_strided(start, shape, byte_strides)

    def _fits(self, count: int) -> bool:
        """Return whether every element is one of the `count` numbers of the storage."""
        offset = self.offset
        shape = self.shape
        strides = self.strides
        declared = (offset, *shape, *strides)
        if min(declared) < 0:
            return False
        # With a stride of 0, one number could stand for any number of elements.
        elements = math.prod(shape)
        if elements > count:
            return False
        last = offset
        for side, stride in zip(shape, strides, strict=True):
            steps = side - 1
            last += steps * stride
        if elements == 0:
            return True
        return last < count


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> _View:
    _check_integer(offset)
    _check_integers(shape)
    _check_integers(strides)
    return _View(storage, offset, shape, strides)


def _rebuild_parameter(data: _View, *_: object) -> _View:
    return data


def _ordered_dict(items: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    ordered: OrderedDict[Any, Any] = OrderedDict()
    for key, value in items:
        _check_key(key)
        ordered[key] = value
    return ordered


def _check_integers(values: tuple[int, ...]) -> None:
    if not isinstance(values, tuple) or len(values) > _MAX_DIMENSIONS:
        raise WeightsError(
            f"a tensor has a shape or strides other than a tuple of at most {_MAX_DIMENSIONS} "
            "numbers."
        )
    for value in values:
        _check_integer(value)


def _check_integer(value: int) -> None:
    if isinstance(value, int) and abs(value) < _MAX_INTEGER:
        return
    raise WeightsError(
        "a tensor has a shape, strides or an offset other than whole numbers of 8 bytes."
    )


def _check_key(value: Any) -> None:
    # Nested lists could take a few bytes here and exponential time to compare or print.
    if not isinstance(value, str | int | float | None):
        raise WeightsError(
            "it names something by a value that is neither a text nor a number."
        )


_ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
}

# Opcodes that tensors do not need. The second row makes sets, whose members are compared, and
# dictionaries of any keys. The third row allocates memory of any size.
_REFUSED_OPCODES = [
    *(pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID),
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.DICT),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
]


# The base is Python's own unpickler. The one in C allocates its memo for the largest index that
# the file names.
class _TensorUnpickler(pickle._Unpickler):
    """Unpickles tensors in dictionaries and nothing else."""

    stack: list[Any]

    def skip_state(self) -> None:
        """Drop the state that an object would get after its creation: tensors do not need it."""
        self.stack.pop()

    def set_item(self) -> None:
        """Add one entry to a dictionary."""
        stack = self.stack
        value = stack.pop()
        key = stack.pop()
        target = stack[-1]
        _check_key(key)
        target[key] = value

    def set_items(self) -> None:
        """Add entries to a dictionary."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        # The stack has keys and values in turn.
        keys = items[::2]
        values = items[1::2]
        target = self.stack[-1]
        for key, value in zip(keys, values, strict=True):
            _check_key(key)
            target[key] = value

    def refuse(self) -> None:
        """Stop at an opcode that tensors do not need."""
        raise WeightsError("it is a pickle with more in it than tensors need.")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: skip_state,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        **dict.fromkeys([opcode[0] for opcode in _REFUSED_OPCODES], refuse),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise WeightsError(
                f"it asks for the global {module}.{name}, and only tensors are allowed. "
                "Use a file that holds a plain state dict, best as .safetensors."
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        # The fourth entry is the device, such as "cpu". Old files have a sixth.
        kind, dtype, key, _location, count = pid[:5]
        _check_key(kind)
        is_storage = kind == "storage" and isinstance(dtype, np.dtype)
        if not is_storage:
            raise WeightsError(f"it holds a reference of the unknown kind {kind!r}.")
        _check_key(key)
        _check_integer(count)
        return _Storage(str(key), dtype, count)


# PyTorch's files


def _read_legacy(path: Path) -> dict[str, Tensor]:
    """Read the format before PyTorch 1.6: five pickles, then the numbers of each storage."""
    with path.open("rb") as file:
        magic = _unpickle(file)
        if magic != _LEGACY_MAGIC:
            raise WeightsError("it does not begin as a PyTorch file does.")
        for _header in ("protocol version", "system"):
            _unpickle(file)
        state = _unpickle(file)
        views = _check_state_dict(state)
        by_key = _storages_by_key(views)

        # The storages lie in the order of these keys.
        keys = _unpickle(file)
        storages = {}
        for key in keys:
            _check_key(key)
            name = str(key)
            storage = by_key[name]
            storages[name] = _read_storage(file, storage)
    return _to_arrays(views, storages)


def _unpickle(file: BinaryIO) -> Any:
    return _TensorUnpickler(file).load()


def _read_storage(file: BinaryIO, storage: _Storage) -> Tensor:
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
        state = _unpickle(stream)
        views = _check_state_dict(state)
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


def _storages_by_key(views: Mapping[str, _View]) -> dict[str, _Storage]:
    storages = {}
    for view in views.values():
        storage = view.storage
        storages[storage.key] = storage
    return storages


def _to_arrays(
    views: Mapping[str, _View], storages: Mapping[str, Tensor]
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


def _check_state_dict(state: Any) -> dict[str, _View]:
    if not isinstance(state, dict):
        raise WeightsError(
            f"it holds a {type(state).__name__}, expected a state dict of named tensors."
        )
    # Other values, such as the number of an epoch, are left out.
    views = {}
    for name, value in state.items():
        if isinstance(value, _View):
            views[str(name)] = value
    if not views:
        raise WeightsError(
            "it holds no named tensors; expected a plain state dict, not a checkpoint that "
            "contains one."
        )
    return views


def _to_numbers(data: bytes, storage: _Storage) -> Tensor:
    count = storage.count
    available = len(data)
    is_short = available < storage.byte_count
    if count < 0 or is_short:
        raise WeightsError(
            f"it ends early: a storage of {count} numbers has only {available} bytes."
        )
    return np.frombuffer(data, storage.dtype, count)
