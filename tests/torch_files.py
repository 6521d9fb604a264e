"""PyTorch's files, written without it: state dicts of both formats, and TorchScript archives."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "<f4": "FloatStorage", "<f8": "DoubleStorage", "<f2": "HalfStorage", "<i8": "LongStorage",
    "<i4": "IntStorage",
    "<i2": "ShortStorage", "|u1": "ByteStorage", "|i1": "CharStorage", "|b1": "BoolStorage",
}  # fmt: skip


class Raw(bytes):
    """Pickle opcodes that are inserted unchanged."""


def name(module: str, attribute: str) -> Raw:
    return Raw(f"c{module}\n{attribute}\n".encode())


def code(value) -> bytes:
    """Return the opcodes of a value as in PyTorch's pickles, without the memo."""
    match value:
        case Raw():
            made = value
        case None | bool() | int():
            made = pickle.dumps(value, 2)[2:-1]
        case str():
            made = b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            made = b"(" + b"".join(map(code, value)) + b"t"
        case list():
            made = b"](" + b"".join(map(code, value)) + b"e"
        case dict():
            made = (
                b"}("
                + b"".join(code(key) + code(item) for key, item in value.items())
                + b"u"
            )
    return made


def pickled(value) -> bytes:
    return b"\x80\x02" + code(value) + b"."


def call(function: Raw, *arguments) -> Raw:
    return Raw(function + code(arguments) + b"R")


def tensor(
    key: str,
    kind: str,
    count: int,
    shape,
    strides,
    *,
    offset: int = 0,
    view: tuple = (),
) -> Raw:
    storage = Raw(
        code(("storage", name("torch", kind), key, "cpu", count, *view)) + b"Q"
    )
    ordered = call(name("collections", "OrderedDict"))
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        storage,
        offset,
        shape,
        strides,
        False,
        ordered,
    )


def of_array(key: str, array: np.ndarray) -> Raw:
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(key, STORAGES[array.dtype.str], array.size, array.shape, strides)


def legacy(state, storages: dict[str, np.ndarray]) -> bytes:
    """Return a file of PyTorch before 1.6: five pickles, then each storage's length and bytes."""
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    head = b"".join(map(pickled, (MAGIC, 1001, system, state, list(storages))))
    return head + b"".join(
        struct.pack("<q", array.size) + array.tobytes() for array in storages.values()
    )


def zipped(
    state, storages: dict[str, np.ndarray], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Return a file of PyTorch since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("model/data.pkl", pickled(state))
        archive.writestr("model/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"model/data/{key}", array.tobytes())
    return file.getvalue()


# TorchScript archives


def script_archive(
    tensors: Mapping[str, np.ndarray],
    *,
    compression: int = zipfile.ZIP_STORED,
    extra: Mapping[str, Raw] | None = None,
) -> bytes:
    """Return an archive of modules that hold the tensors, as ``torch.jit.save`` writes it.

    Each part of a tensor's name but the last is a module of a class of its own, whose state has
    what traced modules have beside tensors. `extra` has further parts of the outer module.
    """
    keys = {name: str(number) for number, name in enumerate(tensors)}
    tree: dict = dict(extra or {})
    for dotted, array in tensors.items():
        *modules, last = dotted.split(".")
        node = tree
        for module in modules:
            node = node.setdefault(module, {})
        node[last] = of_array(keys[dotted], array)

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(
            "net/data.pkl", b"\x80\x02" + script_module(tree, "Model") + b"."
        )
        archive.writestr("net/code/__torch__.py", "class Model(Module):\n  pass\n")
        archive.writestr("net/constants.pkl", pickled(()))
        for dotted, array in tensors.items():
            archive.writestr(f"net/data/{keys[dotted]}", array.tobytes())
        archive.writestr("net/version", "3\n")
    return file.getvalue()


def script_module(parts: Mapping, kind: str) -> Raw:
    """Return the opcodes of a module: its class, no arguments, and its parts as its state."""
    sizes = call(name("torch.jit._pickle", "build_intlist"), [1, 2])
    state = {"training": False, "_is_full_backward_hook": None, "_sizes": sizes}
    for number, (key, part) in enumerate(parts.items()):
        is_module = isinstance(part, dict)
        state[key] = script_module(part, f"Part{number}") if is_module else part
    made = name(f"__torch__.net.___torch_mangle_{len(parts)}", kind)
    return Raw(made + b")\x81" + code(state) + b"b")
