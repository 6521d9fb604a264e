"""What the fields of a Model's description may hold, wherever it comes from: a file or a collection's table."""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, get_args

from lookalike import types
from lookalike.errors import ModelError
from lookalike.types import Model, Weights

__all__ = ["FILE_FIELDS", "REQUIRED_FIELDS", "find_fault", "parse_model", "short_repr"]

REQUIRED_FIELDS = ("architecture", "size", "dim")
FILE_FIELDS = ("weights", "calibration")

_Check = tuple[Callable[[Any], bool], str]
_Kind = type[int] | tuple[type[int], type[float]]

_REAL = (int, float)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100


def find_fault(entry: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first value that cannot be: ``dim = 0; expected …``; None if all can be."""
    for key, value in entry.items():
        valid, expected = _VALID[key]
        if not valid(value):
            return f"{key} = {short_repr(value)}; expected {expected}"
    return None


def parse_model(text: str) -> Model:
    """Read what `Model.to_json` wrote, trusting none of it.

    Raises
    ------
    ModelError
        If it is anything else: the message is the reason alone.
    """
    try:
        entry = json.loads(text)
    # Text of another kind, numbers without end, and brackets without end.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the description of a model is no JSON ({error})") from error
    names = {field.name for field in fields(Model)}
    given = (
        {key: value for key, value in entry.items() if value is not None}
        if isinstance(entry, dict)
        else {}
    )
    if not {"name", "title", *REQUIRED_FIELDS} <= set(given) <= names:
        raise ModelError("the description of a model lacks a field, or has one that is not known")
    for part in FILE_FIELDS:
        if isinstance(given.get(part), dict):
            given[part] = {key: value for key, value in given[part].items() if value is not None}
            # Collections of early development versions have the British spelling.
            if "licence" in given[part]:
                given[part]["license"] = given[part].pop("licence")
    fault = find_fault(given)
    if fault is not None:
        raise ModelError(f"the description of a model has {fault}")
    return Model.from_json(json.dumps(given))


def short_repr(value: object) -> str:
    """Return a value as an error shows it: never long, however much is in it."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of very many digits"


def _is_text(value: object) -> bool:
    """Tell whether a value is a text that a terminal, a file and JSON can hold: no control characters or surrogates."""
    return isinstance(value, str) and not any(
        unicodedata.category(x) in {"Cc", "Cs"} for x in value
    )


def _is_number(value: object, kind: _Kind) -> bool:
    # Python counts true and false among the whole numbers, and TOML knows nan, inf and numbers without end.
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) < 1e9


def _are_numbers(value: object, kind: _Kind, count: int) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == count
        and all(_is_number(x, kind) for x in value)
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, bool) or _is_text(value) or _is_number(value, _REAL)


def _are_options(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    each = [
        x for item in value.values() for x in (item if isinstance(item, list | tuple) else [item])
    ]
    return all(map(_is_text, value)) and all(map(_is_plain, each))


def _is_hash(value: str, digits: int) -> bool:
    return len(value) == digits and set(value) <= set("0123456789abcdefABCDEF")


def _is_file(value: object) -> bool:
    known = {field.name for field in fields(Weights)}
    if not isinstance(value, dict) or not {"file"} <= set(value) <= known:
        return False
    if not all(isinstance(text, str) and "\0" not in text for text in value.values()):
        return False
    # A package whose name holds a full stop would be imported to look into it.
    names = value.get("package", "_").isidentifier() and value.get("extra", "_").isidentifier()
    hashes = _is_hash(value.get("sha256", "0" * 64), 64) and _is_hash(
        value.get("md5", "0" * 32), 32
    )
    return bool(
        names
        and hashes
        and value["file"]
        and all(_is_text(value[key]) for key in set(value) - {"file"})
    )


def _one_of(choices: object) -> _Check:
    names = get_args(choices)
    return (lambda value: value in names), f"one of {', '.join(names)}"


_TEXT: _Check = (_is_text, "a text")
_RGB = "for R, G and B on the scale 0 to 255"
_FILE: _Check = (
    _is_file,
    "a table of texts with the key file and, if need be, "
    f"{', '.join(sorted({field.name for field in fields(Weights)} - {'file'}))}; a sha256 has 64 hexadecimal digits, "
    "an md5 32, and package and extra are plain names",
)
_VALID: dict[str, _Check] = {
    "name": (
        lambda value: _is_text(value) and value != "" and not set(value) & set("./\\`"),
        "a text without full stops, slashes and backquotes",
    ),
    "title": _TEXT,
    "architecture": _TEXT,
    "output": _TEXT,
    "size": (
        lambda value: _are_numbers(value, int, 2) and all(1 <= side <= 4096 for side in value),
        "[height, width] in pixels, 1 to 4096",
    ),
    "dim": (
        lambda value: _is_number(value, int) and 1 <= value <= 65536,
        "a whole number from 1 to 65536",
    ),
    "mean": (lambda value: _are_numbers(value, _REAL, 3), f"three numbers, {_RGB}"),
    "std": (
        lambda value: _are_numbers(value, _REAL, 3) and all(value),
        f"three numbers other than 0, {_RGB}",
    ),
    "unit_length": (lambda value: isinstance(value, bool), "true or false"),
    "options": (_are_options, "a table of numbers, texts, true and false, or lists of them"),
    "resize": _one_of(types.Resize),
    "filter": _one_of(types.Filter),
    "layout": _one_of(types.Layout),
    "pooling": _one_of(types.Pooling),
    "precision": _one_of(types.Precision),
    "runtime": _one_of(types.Runtime),
    "weights": _FILE,
    "calibration": _FILE,
    "graph": (
        lambda value: isinstance(value, str) and _is_hash(value, 64),
        "a sha256 in 64 hexadecimal digits",
    ),
}
