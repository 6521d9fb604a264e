"""Resolve a user's reference (a name, an ``.onnx`` or a ``.toml`` file) to a Model."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from lookalike.errors import ModelError
from lookalike.models import schema
from lookalike.models.schema import short_repr
from lookalike.types import Model, TextTower, Weights

__all__ = ["DEFAULT", "catalog", "resolve"]

DEFAULT = "efficientnet-lite0-int8"

# A thousand keys joined by full stops take tomllib minutes.
_MAX_DESCRIPTION_BYTES = 1 << 13

_CATALOG_LABEL = "the catalog"

_Described = TypeVar("_Described", Model, TextTower)

# A description names neither its graph's hash nor a learned map: a collection adds these.
_DESCRIPTION_KEYS = {field.name for field in fields(Model)}
_DESCRIPTION_KEYS = (_DESCRIPTION_KEYS - {"graph", "learned"}) | {"base"}


@cache
def catalog() -> Mapping[str, Model]:
    """Return the models of the catalog by name."""
    entries = _catalog_entries()
    models = {}
    for name, entry in entries.items():
        model = _parse_entry(name, entry, _CATALOG_LABEL)
        models[name] = model
    return models


@cache
def _catalog_entries() -> Mapping[str, Mapping[str, Any]]:
    package = resources.files("lookalike.models")
    file = package / "catalog.toml"
    text = file.read_text(encoding="utf-8")
    return tomllib.loads(text)


def resolve(reference: str | Path | Model) -> Model:
    """Return the Model that a reference names.

    Parameters
    ----------
    reference
        A Model, ``"auto"``, a name of the catalog, the path of an ``.onnx`` file, or the path of a
        ``.toml`` description with the keys of a catalog entry.

    Raises
    ------
    ModelError
        If the name or file does not exist, or the description is invalid.
    """
    if isinstance(reference, Model):
        return reference
    name = str(reference)
    if name == "auto":
        return catalog()[DEFAULT]
    if name in catalog():
        return catalog()[name]
    path = Path(name).expanduser()
    if path.suffix not in {".onnx", ".toml"}:
        raise ModelError(_unknown_name_message(name))
    if not path.is_file():
        raise ModelError(
            f"There is no model file {path}. Give a .onnx file, a .toml description, or a name."
        )
    return _load_toml(path) if path.suffix == ".toml" else _load_onnx(path)


def _unknown_name_message(name: str) -> str:
    known = catalog()
    similar = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    if similar:
        suggested = " or ".join(similar)
        hint = f"Did you mean {suggested}?"
    else:
        listed = ", ".join(known)
        hint = f"The known models are: {listed}."
    return (
        f"There is no model {name!r}. {hint} "
        "A path to a .onnx file or a .toml description is accepted too."
    )


def _load_toml(path: Path) -> Model:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_DESCRIPTION_BYTES + 1)
        if len(content) > _MAX_DESCRIPTION_BYTES:
            raise ModelError(
                f"The description {path} is longer than {_MAX_DESCRIPTION_BYTES:,} bytes, the most "
                "that a description may have. Give another file."
            )
        entry = tomllib.loads(content.decode())
    except OSError as error:
        raise ModelError(
            f"The description {path} cannot be read: {error.strerror or error}."
        ) from error
    # Invalid TOML or UTF-8, numbers with too many digits, and brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The description {path} is not valid TOML: {error}."
        ) from error

    name = _name_from(path)
    model = _parse_entry(name, entry, str(path))
    model = _pin_local_files(model, schema.FILE_FIELDS, path.parent)
    tower = model.text
    if tower is not None:
        tower = _pin_local_files(tower, schema.TOWER_FILE_FIELDS, path.parent)
    return replace(model, text=tower)


def _load_onnx(path: Path) -> Model:
    from lookalike.models import embedder

    name = _name_from(path)
    _check_graph_values(path, {"name": name})
    model = embedder.describe_onnx(path)
    sizes = {"size": model.size, "dim": model.dim}
    _check_graph_values(path, sizes)
    return _pin_file(model, "weights", path)


def _name_from(path: Path) -> str:
    """Return a file's name without its suffix and full stops, which no name of a Model has."""
    stem = path.stem
    return stem.replace(".", "-")


def _check_graph_values(path: Path, values: Mapping[str, Any]) -> None:
    fault = schema.find_fault(values)
    if fault is not None:
        raise ModelError(
            f"The graph {path} gives {fault}. Describe it in a .toml file, or give another graph."
        )


def _pin_local_files(
    owner: _Described, parts: Sequence[str], folder: Path
) -> _Described:
    """Pin the files that lie on this computer; a relative path starts at the folder."""
    for part in parts:
        file: Weights | None = getattr(owner, part)
        if file is None:
            continue
        path = folder / file.file
        if path.is_file():
            owner = _pin_file(owner, part, path)
    return owner


def _pin_file(owner: _Described, part: str, path: Path) -> _Described:
    """Return a Model or tower with one of its files fixed to its full path and current hash."""
    from lookalike.models import weights

    file: Weights = getattr(owner, part)
    full_path = path.resolve()
    sha256 = file.sha256
    if sha256 is None:
        sha256 = weights.sha256_of(path)
    pinned = replace(file, file=str(full_path), sha256=sha256)
    changes: dict[str, Any] = {part: pinned}
    return replace(owner, **changes)


def _parse_entry(name: str, entry: Mapping[str, Any], source: str) -> Model:
    """Check one entry of a TOML file and return its Model.

    Parameters
    ----------
    name
        The Model's name, if the entry has none.
    entry
        The keys and values as TOML gives them.
    source
        The file for error messages.
    """
    described = _merge_base(name, entry, source)
    merged = {"name": name, "title": name, **described}
    subject = f"The model {name!r} in {source}"
    _check_keys(merged, subject)
    fault = schema.find_fault(merged)
    if fault is not None:
        raise ModelError(f"{subject} has {fault}.")

    values: dict[str, Any] = {}
    for key, value in merged.items():
        values[key] = _to_field(key, value)
    model = Model(**values)
    _check_combination(model, source)
    return model


def _to_field(key: str, value: Any) -> Any:
    """Return a value of TOML as a Model holds it: tables as objects, a list as a tuple."""
    if key in schema.FILE_FIELDS:
        return Weights(**value)
    if key == "text":
        return TextTower.from_dict(value)
    if isinstance(value, list):
        return tuple(value)
    return value


def _merge_base(name: str, entry: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return an entry in which missing keys are taken from the catalog entry named by ``base``."""
    own = dict(entry)
    if "base" not in entry:
        return own
    base = own.pop("base")
    entries = _catalog_entries()
    is_known = isinstance(base, str) and base in entries
    if not is_known:
        known = ", ".join(entries)
        given = short_repr(base)
        raise ModelError(
            f"The model {name!r} in {source} has base = {given}; expected one of {known}."
        )
    base_entry = entries[base]
    inherited = _merge_base(base, base_entry, _CATALOG_LABEL)

    # Another precision needs no calibration.
    precision = own.get("precision", "int8")
    if precision != "int8":
        inherited.pop("calibration", None)
    inherited.update(own)
    return inherited


def _check_keys(entry: Mapping[str, Any], subject: str) -> None:
    for key in entry:
        if key in _DESCRIPTION_KEYS:
            continue
        shown = short_repr(key)
        hint = _key_hint(key)
        raise ModelError(f"{subject} has the unknown key {shown}. {hint}")
    for key in schema.REQUIRED_FIELDS:
        if key not in entry:
            raise ModelError(f"{subject} lacks the key {key!r}.")


def _key_hint(key: str) -> str:
    similar = difflib.get_close_matches(key, _DESCRIPTION_KEYS, n=1)
    if similar:
        suggested = similar[0]
        return f"Did you mean {suggested!r}?"
    keys = sorted(_DESCRIPTION_KEYS)
    listed = ", ".join(keys)
    return f"The keys are {listed}."


def _check_combination(model: Model, source: str) -> None:
    """Refuse values that are valid alone but contradict each other."""
    precision = model.precision
    subject = f"The model {model.name!r} in {source} has"
    if precision == "bf16" and model.runtime != "openvino":
        raise ModelError(
            f"{subject} precision = 'bf16', in which only OpenVINO computes. "
            "Add runtime = 'openvino'."
        )
    if precision == "int8" and model.architecture in {"onnx", "pixels"}:
        raise ModelError(
            f"{subject} precision = 'int8' and architecture = {model.architecture!r}; only a "
            "network that is built here can be quantized. An .onnx file may already be an 8-bit "
            "network: remove precision."
        )
    if precision != "int8" and model.calibration is not None:
        raise ModelError(
            f"{subject} a [calibration] and precision = {precision!r}; expected 'int8'."
        )
    _check_onnx_fields(model, subject)


def _check_onnx_fields(model: Model, subject: str) -> None:
    """Refuse the fields of an ``.onnx`` file for other networks, and a crop that cuts nothing."""
    for key in ("image_input", "batch", "data"):
        value = getattr(model, key)
        if value is not None and model.architecture != "onnx":
            raise ModelError(
                f"{subject} {key} and architecture = {model.architecture!r}; only "
                f"architecture = 'onnx' takes {key}. Remove it."
            )
    side = model.crop_side
    if side is None:
        return
    shorter = min(model.size)
    if model.resize != "crop" or side < shorter:
        raise ModelError(
            f"{subject} crop_side = {side}, resize = {model.resize!r} and size = "
            f"{list(model.size)}; expected resize = 'crop', and a crop_side of {shorter} or more."
        )
