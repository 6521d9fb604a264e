"""From what a user writes (a name, a ``.onnx`` file, a ``.toml`` description) to a Model."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from lookalike.errors import ModelError
from lookalike.models import schema
from lookalike.models.schema import short_repr
from lookalike.types import Model, Weights

__all__ = ["DEFAULT", "catalog", "resolve"]

DEFAULT = "efficientnet-lite0-int8"

# A thousand keys joined by full stops take their reader minutes.
_MOST_BYTES = 1 << 13


@cache
def catalog() -> Mapping[str, Model]:
    """Return every known model by its name."""
    return {name: _describe(name, entry, "the catalogue") for name, entry in _entries().items()}


@cache
def _entries() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("lookalike.models").joinpath("catalog.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def resolve(reference: str | Path | Model) -> Model:
    """Return the Model that a reference names.

    Parameters
    ----------
    reference
        A Model, ``"auto"``, a name of the catalogue, a path to an ``.onnx`` file, or a path to a ``.toml``
        description with the keys of a catalogue entry.

    Raises
    ------
    ModelError
        If there is no such name or file, or a description is wrong.
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
        raise ModelError(_unknown(name))
    if not path.is_file():
        raise ModelError(
            f"There is no model file {path}. Give a .onnx file, a .toml description, or a name."
        )
    return _from_toml(path) if path.suffix == ".toml" else _from_onnx(path)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), catalog(), n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(catalog())}."
    return f"There is no model {name!r}. {hint} A path to a .onnx file or a .toml description is taken too."


def _from_toml(path: Path) -> Model:
    try:
        with path.open("rb") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise ModelError(
                f"The description {path} is longer than any: {_MOST_BYTES:,} bytes. Give another file."
            )
        entry = tomllib.loads(text.decode())
    except OSError as error:
        raise ModelError(
            f"The description {path} cannot be read: {error.strerror or error}."
        ) from error
    # Beside TOML's own error: text that is no UTF-8, numbers without end, and brackets without end.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"The description {path} is not valid TOML: {error}.") from error
    model = _describe(path.stem.replace(".", "-"), entry, str(path))
    for part in schema.FILE_FIELDS:
        file: Weights | None = getattr(model, part)
        if file is not None and (path.parent / file.file).is_file():
            model = _pin(model, part, path.parent / file.file)
    return model


def _from_onnx(path: Path) -> Model:
    from lookalike.models import embedder

    _accept(path, name=path.stem.replace(".", "-"))
    model = embedder.inspect(path)
    _accept(path, size=model.size, dim=model.dim)
    return _pin(model, "weights", path)


def _accept(path: Path, **values: Any) -> None:
    fault = schema.find_fault(values)
    if fault is not None:
        raise ModelError(
            f"The graph {path} gives {fault}. Describe it in a .toml file, or give another graph."
        )


def _pin(model: Model, part: str, file: Path) -> Model:
    """Return the Model with one of its files named by its whole path and held to its present hash."""
    from lookalike.models import weights

    old: Weights = getattr(model, part)
    pinned = replace(old, file=str(file.resolve()), sha256=old.sha256 or weights.sha256_of(file))
    changes: dict[str, Any] = {part: pinned}
    return replace(model, **changes)


def _based(name: str, entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry with all that it leaves out taken from the one that it names as its base."""
    own = {key: value for key, value in entry.items() if key != "base"}
    if "base" not in entry:
        return own
    base = entry["base"]
    if not isinstance(base, str) or base not in _entries():
        known = ", ".join(_entries())
        raise ModelError(
            f"The model {name!r} in {where} has base = {short_repr(base)}; expected one of {known}."
        )
    inherited = _based(base, _entries()[base], "the catalogue")
    if own.get("precision", "int8") != "int8":
        inherited.pop("calibration", None)
    return {**inherited, **own}


def _describe(name: str, entry: Mapping[str, Any], where: str) -> Model:
    """Check one entry of a TOML file and return its Model."""
    entry = {"name": name, "title": name, **_based(name, entry, where)}
    known = {f.name for f in fields(Model)} - {"graph"} | {"base"}
    for key in entry:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = (
                f" Did you mean {near[0]!r}?"
                if near
                else f" The keys are {', '.join(sorted(known))}."
            )
            raise ModelError(
                f"The model {name!r} in {where} has the unknown key {short_repr(key)}.{hint}"
            )
    for key in schema.REQUIRED_FIELDS:
        if key not in entry:
            raise ModelError(f"The model {name!r} in {where} lacks the key {key!r}.")
    fault = schema.find_fault(entry)
    if fault is not None:
        raise ModelError(f"The model {name!r} in {where} has {fault}.")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    for part in set(schema.FILE_FIELDS) & set(entry):
        values[part] = Weights(**entry[part])
    model = Model(**values)
    _check_together(model, where)
    return model


def _check_together(model: Model, where: str) -> None:
    """Refuse keys that are right by themselves, and of which one would say nothing beside the other."""
    precision, given = model.precision, f"The model {model.name!r} in {where} has"
    if precision == "bf16" and model.runtime != "openvino":
        raise ModelError(
            f"{given} precision = 'bf16', in which only OpenVINO computes. Add runtime = 'openvino'."
        )
    if precision == "int8" and model.architecture in {"onnx", "pixels"}:
        raise ModelError(
            f"{given} precision = 'int8' and architecture = {model.architecture!r}; only a network that is built here "
            "is made an 8-bit one. An .onnx file may hold one already: leave precision out."
        )
    if precision == "int8" and model.calibration is None:
        raise ModelError(
            f"{given} precision = 'int8' and no [calibration], whose file says how large its numbers get. "
            "Make one with: scripts/calibrate MODEL FOLDER --output FILE"
        )
    if precision != "int8" and model.calibration is not None:
        raise ModelError(f"{given} a [calibration] and precision = {precision!r}; expected 'int8'.")
