"""Read the pickles of PyTorch's files as plain data: tensors, and the modules that hold them.

A pickle is a program. This reader knows the few globals that tensors need and refuses all others by
name, so a crafted file cannot call anything. A TorchScript archive names a class for each of its
modules: such a class stands for nothing here but a dictionary of the module's parts.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from lookalike.errors import WeightsError

__all__ = ["Storage", "Tensor", "TensorView", "check_key", "named_views", "unpickle"]

Tensor = npt.NDArray[Any]

_MAX_DIMENSIONS = 64  # NumPy's limit
# Of the modules of a TorchScript archive, and of the name of a tensor in it.
_MAX_NESTING = 32
_MAX_NAME_LENGTH = 1000
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


_SCRIPT_LISTS = [
    "build_intlist",
    "build_doublelist",
    "build_boollist",
    "build_tensorlist",
    "restore_type_tag",
]


@dataclass(frozen=True, slots=True)
class Storage:
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
class TensorView:
    """A tensor of the pickle: offset, shape and strides within a storage, in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def to_array(self, storages: Mapping[str, Tensor]) -> Tensor:
        """Return the tensor as a view of its storage's numbers.

        Raises
        ------
        WeightsError
            If it reaches outside of them.
        """
        key = self.storage.key
        numbers = storages[key]
        count = len(numbers)
        shape = self.shape
        fits = self._fits(count)
        if not fits:
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
    storage: Storage,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    *_: object,
) -> TensorView:
    _check_integer(offset)
    _check_integers(shape)
    _check_integers(strides)
    return TensorView(storage, offset, shape, strides)


def _rebuild_parameter(data: TensorView, *_: object) -> TensorView:
    return data


def _ordered_dict(items: Iterable[tuple[Any, Any]] = ()) -> OrderedDict[Any, Any]:
    ordered: OrderedDict[Any, Any] = OrderedDict()
    for key, value in items:
        check_key(key)
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


def check_key(value: Any) -> None:
    """Refuse a name that is neither a text nor a number.

    Raises
    ------
    WeightsError
        If it is anything else.
    """
    # Nested lists could take a few bytes here and exponential time to compare or print.
    if not isinstance(value, str | int | float | None):
        raise WeightsError(
            "it names something by a value that is neither a text nor a number."
        )


class ScriptModule:
    """A module of a TorchScript archive: its tensors, modules and other parts by name."""

    def __init__(self) -> None:
        self.parts: dict[str, Any] = {}


def _unmarked(value: Any, *_: object) -> Any:
    return value


_ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _STORAGE_DTYPES.items()},
    # TorchScript marks lists and dictionaries with the types of their items.
    **{("torch.jit._pickle", name): _unmarked for name in _SCRIPT_LISTS},
}

# Opcodes that tensors do not need. The second row makes sets, whose members are compared, and
# dictionaries of any keys. The third row allocates memory of any size.
_REFUSED_OPCODES = [
    pickle.OBJ,
    pickle.NEWOBJ_EX,
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.PERSID,
    pickle.EMPTY_SET,
    pickle.ADDITEMS,
    pickle.FROZENSET,
    pickle.DICT,
    pickle.BYTEARRAY8,
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,
]


# The base is Python's own unpickler. The one in C allocates its memo for the largest index that
# the file names.
class _TensorUnpickler(pickle._Unpickler):
    """Unpickles tensors in dictionaries and nothing else."""

    stack: list[Any]

    def make_module(self) -> None:
        """Add an empty module; no other object is made here."""
        arguments = self.stack.pop()
        kind = self.stack.pop()
        if kind is not ScriptModule or arguments != ():
            self.refuse()
        module = ScriptModule()
        self.stack.append(module)

    def set_state(self) -> None:
        """Give a module its parts. Drop the state of other objects: tensors do not need it."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, ScriptModule) and isinstance(state, dict):
            target.parts = state

    def set_item(self) -> None:
        """Add one entry to a dictionary."""
        stack = self.stack
        value = stack.pop()
        key = stack.pop()
        target = stack[-1]
        check_key(key)
        target[key] = value

    def set_items(self) -> None:
        """Add entries to a dictionary."""
        items: list[Any] = self.pop_mark()  # type: ignore[attr-defined]
        # The stack has keys and values in turn.
        keys = items[::2]
        values = items[1::2]
        target = self.stack[-1]
        for key, value in zip(keys, values, strict=True):
            check_key(key)
            target[key] = value

    def refuse(self) -> None:
        """Stop at an opcode that tensors do not need."""
        raise WeightsError("it is a pickle with more in it than tensors need.")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: set_state,
        pickle.NEWOBJ[0]: make_module,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        **dict.fromkeys([opcode[0] for opcode in _REFUSED_OPCODES], refuse),
    }

    def find_class(self, module: str, name: str) -> Any:
        # The classes of TorchScript's modules are in the archive itself, and are not read.
        outer, _, _ = module.partition(".")
        if outer == "__torch__":
            return ScriptModule
        try:
            return _ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise WeightsError(
                f"it asks for the global {module}.{name}, and only tensors are allowed. "
                "Use a file that holds a plain state dict, best as .safetensors."
            ) from None

    def persistent_load(self, pid: Any) -> Storage:
        # The fourth entry is the device, such as "cpu". Old files have a sixth.
        kind, dtype, key, _location, count = pid[:5]
        check_key(kind)
        is_storage = kind == "storage" and isinstance(dtype, np.dtype)
        if not is_storage:
            raise WeightsError(f"it holds a reference of the unknown kind {kind!r}.")
        check_key(key)
        _check_integer(count)
        return Storage(str(key), dtype, count)


def unpickle(file: BinaryIO) -> Any:
    """Return the object of the next pickle in a file; its tensors are `TensorView` objects.

    Raises
    ------
    WeightsError
        If it asks for anything that tensors do not need. Damage raises other errors too.
    """
    return _TensorUnpickler(file).load()


def named_views(state: Any) -> dict[str, TensorView]:
    """Return the tensors of a state dict by name, or those of a module and of all below it.

    Raises
    ------
    WeightsError
        If there are none.
    """
    if isinstance(state, ScriptModule):
        return _views_of_module(state)
    if not isinstance(state, dict):
        raise WeightsError(
            f"it holds a {type(state).__name__}, expected a state dict of named tensors."
        )
    # Other values, such as the number of an epoch, are left out.
    views = {}
    for name, value in state.items():
        if isinstance(value, TensorView):
            views[str(name)] = value
    if not views:
        raise WeightsError(
            "it holds no named tensors; expected a plain state dict, not a checkpoint that "
            "contains one."
        )
    return views


def _views_of_module(root: ScriptModule) -> dict[str, TensorView]:
    """Return the tensors of a module, named as in a state dict: ``layer1.0.conv1.weight``."""
    views = {}
    waiting = [("", root, 0)]
    # A module that is part of several is read once, so that no file takes longer than its length.
    seen = {id(root)}
    while waiting:
        prefix, module, depth = waiting.pop()
        for name, value in module.parts.items():
            path = f"{prefix}{name}"
            if depth > _MAX_NESTING or len(path) > _MAX_NAME_LENGTH:
                raise WeightsError(
                    f"its modules are nested more than {_MAX_NESTING} levels deep, or have names "
                    f"of more than {_MAX_NAME_LENGTH:,} characters."
                )
            if isinstance(value, TensorView):
                views[path] = value
            elif isinstance(value, ScriptModule) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{path}.", value, depth + 1))
    if not views:
        raise WeightsError(
            "it is a TorchScript archive whose modules hold no tensors. The numbers of a frozen "
            "module are in its code, which is not run. Use a file that holds a state dict, best as "
            ".safetensors."
        )
    return views
