"""Read the tensors of a weights file without running anything that the file says.

A ``.safetensors`` or ``.h5`` file is plain data. A ``.pth`` file is a pickle: a program. The reader here knows the few
globals that tensors need and refuses every other by name, so a crafted file cannot call anything; and nothing that a
file declares takes more memory than the file itself.
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

__all__ = ["read_tensors"]

Tensor = npt.NDArray[Any]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_DIMENSIONS = 64  # what NumPy takes
_DTYPES = {
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
    """Return the tensors of a weights file by their names.

    Parameters
    ----------
    path
        A ``.safetensors`` file; a ``.pth`` file, PyTorch's zip format or the older plain one; or a Keras ``.h5`` file
        (needs h5py: ``pip install lookalike[keras]``), whose names become ``layer/part``, as ``conv2d_1/kernel``.

    Raises
    ------
    WeightsError
        If the file is no such file, is damaged, or asks for anything but tensors.
    """
    kind = "weights"
    try:
        kind, read = _format(path)
        return read(path)
    except WeightsError as error:
        raise WeightsError(f"The weights {path} were refused: {error}") from error
    # A damaged pickle, zip or HDF5 file leads its reader to any error at all.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise WeightsError(
            f"The weights {path} cannot be read as a {kind} file ({reason})."
        ) from error


def _format(path: Path) -> tuple[str, Callable[[Path], dict[str, Tensor]]]:
    """Return what the file is, by its first bytes or its suffix, and what reads it."""
    with path.open("rb") as file:
        head = file.read(9)
    if (
        path.suffix == ".safetensors" or head[8:] == b"{"
    ):  # after the length of the JSON that it begins with
        return "safetensors", safetensors.load_file
    if path.suffix in {".h5", ".hdf5"} or head.startswith(_HDF5_MAGIC):
        return "Keras", _read_keras
    return "PyTorch", _read_zip if zipfile.is_zipfile(path) else _read_legacy


def _read_keras(path: Path) -> dict[str, Tensor]:
    """Read ``conv2d_1/conv2d_1/kernel:0``, or ``conv2d_1/conv2d_1_W_1:0`` of older days, as ``conv2d_1/kernel``."""
    try:
        import h5py
    except ImportError as error:
        raise WeightsError(
            "a Keras file needs h5py; install it with: pip install 'lookalike[keras]'."
        ) from error
    datasets = {}

    def keep(name: str, node: Any) -> None:
        *_, layer, part = ("", *name.split("/"))
        part = re.sub(r"(_\d+)?(:\d+)?$", "", part).removeprefix(f"{layer}_")
        if isinstance(node, h5py.Dataset):
            datasets[f"{layer}/{'kernel' if part == 'W' else part}"] = node

    with h5py.File(path, "r") as file:
        file.visititems(keep)
        if any(node.is_virtual or node.external for node in datasets.values()):
            raise WeightsError("it takes numbers from other files, as no file of Keras does.")
        # Compressed, never written, or shared: Keras writes each number once, as it is.
        if sum(node.nbytes or 0 for node in datasets.values()) > path.stat().st_size:
            raise WeightsError("it declares more numbers than it holds.")
        return {name: np.asarray(node) for name, node in datasets.items()}


@dataclass(frozen=True, slots=True)
class _Storage:
    """A flat run of numbers that tensors look into, named before it is read."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor as the pickle gives it: a window on a storage, not yet filled."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def fill(self, storages: Mapping[str, Tensor]) -> Tensor:
        numbers = storages[self.storage.key]
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        inside = (
            self.offset >= 0
            and all(n >= 0 for n in self.shape)
            and all(step >= 0 for step in self.strides)
        )
        # A step of 0 would let one number stand for any number of them.
        if (
            not inside
            or math.prod(self.shape) > len(numbers)
            or (0 not in self.shape and last >= len(numbers))
        ):
            raise WeightsError(
                f"a tensor of shape {self.shape} reaches outside its {len(numbers)} numbers."
            )
        steps = tuple(step * numbers.itemsize for step in self.strides)
        # No copy: a short file may name its numbers any number of times.
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)


def _rebuild(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _View:
    return _View(storage, _whole(offset), _several(shape), _several(strides))


def _several(values: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MOST_DIMENSIONS:
        raise WeightsError(
            f"a tensor has a shape or strides that are no tuple of at most {_MOST_DIMENSIONS} numbers."
        )
    return tuple(map(_whole, values))


def _whole(value: int) -> int:
    if not isinstance(value, int) or not -(1 << 62) < value < 1 << 62:
        raise WeightsError(
            "a tensor has a shape, strides or a place that are no whole numbers of 8 bytes."
        )
    return value


def _simple(value: Any) -> Any:
    # Anything else may be lists of lists of lists, which a few bytes make too many to be compared or written.
    if not isinstance(value, str | int | float | None):
        raise WeightsError("it names something by what is neither a text nor a number.")
    return value


def _ordered(items: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((_simple(key), value) for key, value in items)


def _rebuild_parameter(data: _View, *_: object) -> _View:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


# What makes objects, sets (whose members are compared), and room for any number of zeros.
_REFUSED = [
    *(
        pickle.OBJ,
        pickle.NEWOBJ,
        pickle.NEWOBJ_EX,
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
        pickle.PERSID,
    ),
    *(pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.DICT),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
]


# The reader in Python: the one in C sets aside a place for every number up to the one that a file names.
class _TensorUnpickler(pickle._Unpickler):
    """Knows tensors and nothing else."""

    stack: list[Any]

    def forget_state(self) -> None:
        """Leave out what an object would be given besides its making: tensors need none of it."""
        self.stack.pop()

    def set_item(self) -> None:
        """Put one entry into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_simple(key)] = value

    def set_items(self) -> None:
        """Put entries into a dict."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        self.stack[-1].update(_ordered(zip(items[::2], items[1::2], strict=True)))

    def refuse(self) -> None:
        """Read no further."""
        raise WeightsError("it is a pickle with more in it than tensors need.")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: forget_state,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        **dict.fromkeys([opcode[0] for opcode in _REFUSED], refuse),
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise WeightsError(
                f"it asks for the global {module}.{name}, and only tensors are allowed. "
                "Use a file that holds a plain state dict, best as .safetensors."
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count = pid[:5]
        if _simple(kind) != "storage" or not isinstance(dtype, np.dtype):
            raise WeightsError(f"it holds a reference of the unknown kind {kind!r}.")
        return _Storage(str(_simple(key)), dtype, _whole(count))


def _read_legacy(path: Path) -> dict[str, Tensor]:
    """Read the format before PyTorch 1.6: five pickles, then the numbers of each storage."""
    with path.open("rb") as file:
        return _read_pickles(file)


def _read_pickles(file: BinaryIO) -> dict[str, Tensor]:
    if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
        raise WeightsError("it does not begin as a PyTorch file does.")
    for _header in ("protocol version", "system"):
        _TensorUnpickler(file).load()
    views = _named_views(_TensorUnpickler(file).load())
    wanted = {view.storage.key: view.storage for view in views.values()}
    storages = {}
    for key in _TensorUnpickler(file).load():
        storage = wanted[str(_simple(key))]
        count = int.from_bytes(file.read(8), "little")
        if count != storage.count:
            raise WeightsError(f"a storage of {storage.count} numbers says that it has {count}.")
        storages[storage.key] = _numbers(_read(file, count * storage.dtype.itemsize), storage)
    return {name: view.fill(storages) for name, view in views.items()}


def _read(file: BinaryIO, count: int) -> bytes:
    """Read so many bytes, or those that are left: a reader sets aside memory for as many as it is asked for."""
    here = file.tell()
    left = file.seek(0, io.SEEK_END) - here
    file.seek(here)
    return file.read(min(count, left))


def _read_zip(path: Path) -> dict[str, Tensor]:
    """Read the format since PyTorch 1.6: a zip with ``data.pkl`` and one member a storage."""
    with zipfile.ZipFile(path) as archive:
        index = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if index is None:
            raise WeightsError("it is a zip without data.pkl.")
        views = _named_views(_TensorUnpickler(io.BytesIO(_member(archive, index))).load())
        folder = index.removesuffix("data.pkl") + "data/"
        wanted = {view.storage.key: view.storage for view in views.values()}
        # Each may be whole and yet all of them one: members of a zip can lie over each other.
        if sum(archive.getinfo(folder + key).file_size for key in wanted) > path.stat().st_size:
            raise WeightsError("its members are larger than itself.")
        storages = {
            key: _numbers(_member(archive, folder + key), storage)
            for key, storage in wanted.items()
        }
    return {name: view.fill(storages) for name, view in views.items()}


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a member, which PyTorch stores as it is: a small file cannot unfold into a huge one."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise WeightsError(f"its member {name} is compressed, as no file of PyTorch is.")
    return archive.read(name)


def _named_views(state: Any) -> dict[str, _View]:
    if not isinstance(state, dict):
        raise WeightsError(
            f"it holds a {type(state).__name__}, expected a state dict of named tensors."
        )
    views = {str(name): view for name, view in state.items() if isinstance(view, _View)}
    if not views:
        raise WeightsError(
            "it holds no named tensors; expected a plain state dict, not a checkpoint that nests one."
        )
    return views


def _numbers(data: bytes, storage: _Storage) -> Tensor:
    if storage.count < 0 or len(data) < storage.count * storage.dtype.itemsize:
        raise WeightsError(
            f"it ends early: a storage of {storage.count} numbers has only {len(data)} bytes."
        )
    return np.frombuffer(data, storage.dtype, storage.count)
