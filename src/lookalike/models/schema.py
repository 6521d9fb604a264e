"""The valid values of a Model's fields, for descriptions from a user's file or a collection.

The rules are predicates beside the words for what they expect, because an error shows the given
value, the expected one and the next step. docs/decisions compares this with libraries.
"""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from lookalike import types
from lookalike.errors import ModelError
from lookalike.types import Model, Weights

__all__ = [
    "FIELD_RULES",
    "FILE_FIELDS",
    "REQUIRED_FIELDS",
    "find_fault",
    "parse_model",
    "short_repr",
]

REQUIRED_FIELDS = ("architecture", "size", "dim")
FILE_FIELDS = ("weights", "calibration")

_MAX_SIDE = 4096
_MAX_DIM = 65536
_MAX_NUMBER = 1e9

_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")

_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxstring = _SHORT_REPR.maxother = _SHORT_REPR.maxlong = 100


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The values that a field accepts, and the words for them in an error."""

    accepts: Callable[[Any], bool]
    expected: str


def find_fault(entry: Mapping[str, Any]) -> str | None:
    """Return the first invalid value as ``dim = 0; expected ...``, or None if all are valid."""
    for key, value in entry.items():
        rule = FIELD_RULES[key]
        if not rule.accepts(value):
            return f"{key} = {short_repr(value)}; expected {rule.expected}"
    return None


def parse_model(text: str) -> Model:
    """Parse the output of `Model.to_json`, which may come from an untrusted collection.

    Raises
    ------
    ModelError
        If the text is anything else. The message is the reason alone.
    """
    try:
        entry = json.loads(text)
    # Other text, numbers with too many digits, and brackets nested too deeply.
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the description of a model is not JSON ({error})") from error

    given = _without_nulls(entry) if isinstance(entry, dict) else {}
    known = {field.name for field in fields(Model)}
    required = {"name", "title", *REQUIRED_FIELDS}
    if not required <= set(given) <= known:
        raise ModelError("the description of a model lacks a field or has an unknown one")
    for name in FILE_FIELDS:
        if isinstance(given.get(name), dict):
            given[name] = _without_nulls(given[name])
            # Collections of early development versions use the British spelling.
            if "licence" in given[name]:
                given[name]["license"] = given[name].pop("licence")
    fault = find_fault(given)
    if fault is not None:
        raise ModelError(f"the description of a model has {fault}")
    return Model.from_json(json.dumps(given))


def short_repr(value: object) -> str:
    """Return a value as an error shows it, shortened if it is long."""
    try:
        return _SHORT_REPR.repr(value)
    except ValueError:  # Python does not print integers of more than 4,300 digits
        return "a number of very many digits"


def _without_nulls(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _is_text(value: object) -> bool:
    """Return whether terminals, files and JSON can hold the text.

    Control characters and surrogates are not allowed.
    """
    if not isinstance(value, str):
        return False
    categories = {unicodedata.category(character) for character in value}
    return categories.isdisjoint({"Cc", "Cs"})


def _is_name(value: object) -> bool:
    return _is_text(value) and value != "" and set(str(value)).isdisjoint("./\\`")


def _is_integer(value: object) -> bool:
    # In Python, booleans are integers.
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_NUMBER


def _is_number(value: object) -> bool:
    # TOML has nan, inf and integers of any size.
    return _is_integer(value) or (isinstance(value, float) and abs(value) < _MAX_NUMBER)


def _is_dim(value: object) -> bool:
    return isinstance(value, int) and _is_integer(value) and 1 <= value <= _MAX_DIM


def _is_size(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(_is_integer(side) and 1 <= side <= _MAX_SIDE for side in value)


def _is_mean(value: Any) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    return all(_is_number(channel) for channel in value)


def _is_std(value: Any) -> bool:
    return _is_mean(value) and all(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_options(value: object) -> bool:
    if not isinstance(value, dict) or not all(_is_text(key) for key in value):
        return False
    for item in value.values():
        values = item if isinstance(item, list | tuple) else [item]
        if not all(_is_flag(part) or _is_text(part) or _is_number(part) for part in values):
            return False
    return True


def _is_hash(value: str, digits: int) -> bool:
    return len(value) == digits and set(value) <= _HEX_DIGITS


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and _is_hash(value, 64)


def _is_file(value: object) -> bool:
    """Return whether a value is a table that `Weights` can hold."""
    known = {field.name for field in fields(Weights)}
    if not isinstance(value, dict) or not {"file"} <= set(value) <= known:
        return False
    if not all(isinstance(text, str) and "\0" not in text for text in value.values()):
        return False
    # The file's name may hold any other character; the rest is printed.
    printed = [text for key, text in value.items() if key != "file"]
    if value["file"] == "" or not all(_is_text(text) for text in printed):
        return False
    # To look into a package whose name has full stops, Python would import the outer one.
    names = [value[key] for key in ("package", "extra") if key in value]
    if not all(name.isidentifier() for name in names):
        return False
    if "sha256" in value and not _is_hash(value["sha256"], 64):
        return False
    return "md5" not in value or _is_hash(value["md5"], 32)


def _one_of(choices: object) -> FieldRule:
    names = get_args(choices)
    return FieldRule(lambda value: value in names, f"one of {', '.join(names)}")


_OPTIONAL_FILE_KEYS = sorted({field.name for field in fields(Weights)} - {"file"})

_TEXT = FieldRule(_is_text, "a text")
_FILE = FieldRule(
    _is_file,
    "a table of texts with the key file and optionally "
    f"{', '.join(_OPTIONAL_FILE_KEYS)}; a sha256 has 64 hexadecimal digits, an md5 32, "
    "and package and extra are plain names",
)

FIELD_RULES: Mapping[str, FieldRule] = {
    "name": FieldRule(_is_name, "a text without full stops, slashes and backquotes"),
    "title": _TEXT,
    "architecture": _TEXT,
    "output": _TEXT,
    "size": FieldRule(_is_size, f"[height, width] in pixels, 1 to {_MAX_SIDE}"),
    "dim": FieldRule(_is_dim, f"a whole number from 1 to {_MAX_DIM}"),
    "mean": FieldRule(_is_mean, "three numbers, for R, G and B on the scale 0 to 255"),
    "std": FieldRule(_is_std, "three numbers other than 0, for R, G and B on the scale 0 to 255"),
    "unit_length": FieldRule(_is_flag, "true or false"),
    "options": FieldRule(
        _are_options, "a table of numbers, texts, true and false, or lists of them"
    ),
    "resize": _one_of(types.Resize),
    "filter": _one_of(types.Filter),
    "layout": _one_of(types.Layout),
    "pooling": _one_of(types.Pooling),
    "precision": _one_of(types.Precision),
    "runtime": _one_of(types.Runtime),
    "weights": _FILE,
    "calibration": _FILE,
    "graph": FieldRule(_is_sha256, "a sha256 in 64 hexadecimal digits"),
}
