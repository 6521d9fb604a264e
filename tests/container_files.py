"""Archives and Parquet files for tests, with small images in them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(number: int) -> bytes:
    """Return one of 256 images; each has its own content."""
    file = io.BytesIO()
    color = (number % 256, 255 - number % 256, 90)
    Image.new("RGB", (24, 18), color).save(file, "PNG")
    return file.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """Write a tar archive; ``w:gz`` compresses it, ``a`` appends to it."""
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            add_to_tar(archive, name, data)
    return path


def add_to_tar(
    archive: tarfile.TarFile, name: str, data: bytes = b"", **header: Any
) -> None:
    """Add a member with any fields of its header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in header.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(data))


def write_zip(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """Write a zip archive of compressed members, or append to it."""
    with zipfile.ZipFile(path, mode, zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (2020, 1, 1, 12, 0, 0))
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    *,
    labels: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    plain: bool = False,
    **options: Any,
) -> Path:
    """Write a column ``image`` as Hugging Face's datasets do, or plain bytes.

    Labels are a column ``label``; with `names` they are numbers of classes.
    """
    cells: list[Any] = list(images)
    if not plain:
        cells = [
            None if data is None else {"bytes": data, "path": None} for data in images
        ]
    features: dict[str, Any] = {} if plain else {"image": {"_type": "Image"}}
    kind = pa.binary()
    if not plain:
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns = {"image": pa.array(cells, kind)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    if names is not None:
        features["label"] = {"_type": "ClassLabel", "names": list(names)}
    table = pa.table(columns)
    if features:
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path
