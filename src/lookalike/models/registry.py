"""From what a user writes (a name, a ``.onnx`` file, a ``.toml`` description) to a Model."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from lookalike import types
from lookalike.errors import ModelError
from lookalike.types import Model, Weights

__all__ = ["DEFAULT", "catalog", "resolve"]

DEFAULT = "efficientnet-lite0-int8"

_REQUIRED = ("architecture", "size", "dim")
_FILES = {"weights", "calibration"}


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
        raise ModelError(f"There is no model file {path}. Give a .onnx file, a .toml description, or a name.")
    return _from_toml(path) if path.suffix == ".toml" else _from_onnx(path)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), catalog(), n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(catalog())}."
    return f"There is no model {name!r}. {hint} A path to a .onnx file or a .toml description is taken too."


def _from_toml(path: Path) -> Model:
    try:
        entry = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"The description {path} is not valid TOML: {error}.") from error
    model = _describe(path.stem.replace(".", "-"), entry, str(path))
    for part in _FILES:
        file: Weights | None = getattr(model, part)
        if file is not None and (path.parent / file.file).is_file():
            model = _pin(model, part, path.parent / file.file)
    return model


def _from_onnx(path: Path) -> Model:
    from lookalike.models import embedder

    return _pin(embedder.inspect(path), "weights", path)


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
    if base not in list(_entries()):
        raise ModelError(f"The model {name!r} in {where} has base = {base!r}; expected one of {', '.join(_entries())}.")
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
            hint = f" Did you mean {near[0]!r}?" if near else f" The keys are {', '.join(sorted(known))}."
            raise ModelError(f"The model {name!r} in {where} has the unknown key {key!r}.{hint}")
    for key in _REQUIRED:
        if key not in entry:
            raise ModelError(f"The model {name!r} in {where} lacks the key {key!r}.")
    _check_values(name, entry, where)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    for part in _FILES & set(entry):
        values[part] = _describe_file(name, part, entry[part], where)
    model = Model(**values)
    _check_together(model, where)
    return model


def _check_values(name: str, entry: Mapping[str, Any], where: str) -> None:
    for key, value in entry.items():
        valid, expected = _VALID.get(key, (lambda _: True, ""))
        if not valid(value):
            raise ModelError(f"The model {name!r} in {where} has {key} = {value!r}; expected {expected}.")


def _check_together(model: Model, where: str) -> None:
    """Refuse keys that are right by themselves, and of which one would say nothing beside the other."""
    precision, given = model.precision, f"The model {model.name!r} in {where} has"
    if precision == "bf16" and model.runtime != "openvino":
        raise ModelError(f"{given} precision = 'bf16', in which only OpenVINO computes. Add runtime = 'openvino'.")
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


def _numbers(value: object, kind: _Kind, count: int) -> bool:
    return isinstance(value, list | tuple) and len(value) == count and all(_number(x, kind) for x in value)


def _number(value: object, kind: _Kind) -> bool:
    # Python counts true and false among the whole numbers, and TOML knows nan, inf and numbers without end.
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) < 1e9


def _describe_file(name: str, part: str, entry: Any, where: str) -> Weights:
    known = {f.name for f in fields(Weights)}
    texts = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
    if not texts or "file" not in entry or not set(entry) <= known:
        expected = f"a table of texts with the key file and, if need be, {', '.join(sorted(known - {'file'}))}"
        raise ModelError(f"The model {name!r} in {where} has {part} = {entry!r}; expected {expected}.")
    return Weights(**entry)


def _one_of(choices: object) -> _Check:
    names = get_args(choices)
    return (lambda value: value in names), f"one of {', '.join(names)}"


_Check = tuple[Callable[[Any], bool], str]
_Kind = type[int] | tuple[type[int], type[float]]

_TEXT: _Check = (lambda value: isinstance(value, str)), "a text"
_RGB = "for R, G and B on the scale 0 to 255"
_VALID: dict[str, _Check] = {
    "name": (
        lambda value: isinstance(value, str) and value != "" and not set(value) & set("./\\`"),
        "a text without full stops, slashes and backquotes",
    ),
    "title": _TEXT,
    "architecture": _TEXT,
    "output": _TEXT,
    "size": (
        lambda value: _numbers(value, int, 2) and all(1 <= side <= 4096 for side in value),
        "[height, width] in pixels, 1 to 4096",
    ),
    "dim": (lambda value: _number(value, int) and 1 <= value <= 65536, "a whole number from 1 to 65536"),
    "mean": (lambda value: _numbers(value, (int, float), 3), f"three numbers, {_RGB}"),
    "std": (lambda value: _numbers(value, (int, float), 3) and all(value), f"three numbers other than 0, {_RGB}"),
    "unit_length": (lambda value: isinstance(value, bool), "true or false"),
    "options": (lambda value: isinstance(value, dict), "a table"),
    "resize": _one_of(types.Resize),
    "filter": _one_of(types.Filter),
    "layout": _one_of(types.Layout),
    "pooling": _one_of(types.Pooling),
    "precision": _one_of(types.Precision),
    "runtime": _one_of(types.Runtime),
}
