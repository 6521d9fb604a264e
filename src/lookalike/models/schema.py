"""The valid values of a Model's fields, for descriptions from a user's file or a collection.

Each rule has a predicate and words, because an error shows the given value, the expected one and
the next step. docs/decisions/0026-libraries.md compares this with validation libraries.
"""

from __future__ import annotations

import base64
import json
import reprlib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeGuard, get_args

from lookalike import types
from lookalike.errors import ModelError
from lookalike.models.learned_schema import is_learned_map
from lookalike.types import Model, TextTower, Weights

__all__ = [
    "FIELD_RULES",
    "FILE_FIELDS",
    "REQUIRED_FIELDS",
    "TOWER_FILE_FIELDS",
    "find_fault",
    "lacks_calibration",
    "parse_model",
    "short_repr",
]

REQUIRED_FIELDS = ("architecture", "size", "dim")
FILE_FIELDS = ("weights", "calibration", "data")
TOWER_FILE_FIELDS = ("graph", "tokenizer", "projection")

_MAX_SIDE = 4096
_MAX_DIM = 65536
_MAX_NUMBER = 1e9
_MAX_SIZE = 1 << 40
_MAX_IMAGES_AT_ONCE = 1024
_MAX_TOKENS = 4096
_MAX_TOKEN_ID = 10_000_000
_MAX_TEMPLATE = 400
# In characters, about 20 times the calibration of Inception-v3.
_MAX_CONTENT = 1 << 22

# Control characters and surrogates.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs"})

_NAME_SEPARATORS = frozenset("./\\`")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_FILE_KEYS = frozenset(field.name for field in fields(Weights))
_MODEL_KEYS = frozenset(field.name for field in fields(Model))
_REQUIRED_MODEL_KEYS = {"name", "title", *REQUIRED_FIELDS}
_TOWER_KEYS = frozenset(field.name for field in fields(TextTower))
_KNOWN_TOWER_KEYS = ", ".join(sorted(_TOWER_KEYS))
_REQUIRED_TOWER_KEYS = ("graph", "tokenizer", "context")

_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxstring = _SHORT_REPR.maxother = _SHORT_REPR.maxlong = 100


@dataclass(frozen=True, slots=True)
class FieldRule:
    """The values that a field accepts, and the words for them in an error."""

    accepts: Callable[[Any], bool]
    expected: str


def lacks_calibration(model: Model) -> bool:
    """Return whether a Model is an 8-bit network whose activations were not measured yet."""
    return model.precision == "int8" and model.calibration is None


def find_fault(entry: Mapping[str, Any]) -> str | None:
    """Return the first invalid value as ``dim = 0; expected ...``, or None if all are valid."""
    for key, value in entry.items():
        if key == "text" and isinstance(value, dict):
            fault = _find_tower_fault(value)
        else:
            fault = _find_value_fault(key, value, FIELD_RULES[key])
        if fault is not None:
            return fault
    return None


def _find_tower_fault(table: Mapping[str, Any]) -> str | None:
    """Return the first fault of a text tower, whose keys are shown as ``text.context``."""
    for key in _REQUIRED_TOWER_KEYS:
        if key not in table:
            required = ", ".join(_REQUIRED_TOWER_KEYS)
            return f"a [text] without the key {key!r}; expected at least {required}"
    for key, value in table.items():
        if key not in _TOWER_KEYS:
            shown = short_repr(key)
            return f"the unknown key {shown} in [text]; expected {_KNOWN_TOWER_KEYS}"
        rule = _TOWER_RULES[key]
        fault = _find_value_fault(f"text.{key}", value, rule)
        if fault is not None:
            return fault
    return None


def _find_value_fault(key: str, value: object, rule: FieldRule) -> str | None:
    if rule.accepts(value):
        return None
    given = short_repr(value)
    expected = rule.expected
    return f"{key} = {given}; expected {expected}"


# A table's Models are read often, and a learned map is long.
@lru_cache(maxsize=64)
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

    # Any other value has none of the required fields.
    given: dict[str, Any] = {}
    if isinstance(entry, dict):
        given = _without_nulls(entry)
    given_keys = set(given)
    if not _REQUIRED_MODEL_KEYS <= given_keys <= _MODEL_KEYS:
        raise ModelError(
            "the description of a model lacks a field or has an unknown one"
        )
    for name in FILE_FIELDS:
        table = given.get(name)
        if isinstance(table, dict):
            given[name] = _read_file_table(table)
    tower = given.get("text")
    if isinstance(tower, dict):
        given["text"] = _read_tower_table(tower)

    fault = find_fault(given)
    if fault is not None:
        raise ModelError(f"the description of a model has {fault}")
    checked_text = json.dumps(given)
    return Model.from_json(checked_text)


def short_repr(value: object) -> str:
    """Return a value as an error shows it, shortened if it is long."""
    try:
        return _SHORT_REPR.repr(value)
    except ValueError:  # Python does not print integers of more than 4,300 digits
        return "a number of very many digits"


def _read_file_table(table: Mapping[str, Any]) -> dict[str, Any]:
    given = _without_nulls(table)
    # Collections of early development versions use the British spelling.
    if "licence" in given:
        given["license"] = given.pop("licence")
    return given


def _read_tower_table(table: Mapping[str, Any]) -> dict[str, Any]:
    given = _without_nulls(table)
    for name in TOWER_FILE_FIELDS:
        file = given.get(name)
        if isinstance(file, dict):
            given[name] = _without_nulls(file)
    return given


def _without_nulls(entry: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(entry)
    for key, value in entry.items():
        if value is None:
            del given[key]
    return given


def _is_text(value: object) -> bool:
    """Return whether terminals, files and JSON can hold the text."""
    if not isinstance(value, str):
        return False
    categories = map(unicodedata.category, value)
    return _REFUSED_CATEGORIES.isdisjoint(categories)


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or value == "":
        return False
    if not _is_text(value):
        return False
    return _NAME_SEPARATORS.isdisjoint(value)


def _is_integer(value: object) -> bool:
    if not _is_whole(value):
        return False
    return bool(abs(value) < _MAX_NUMBER)


def _is_whole(value: object) -> TypeGuard[int]:
    # In Python, booleans are integers.
    if isinstance(value, bool):
        return False
    return isinstance(value, int)


def _is_number(value: object) -> bool:
    # TOML has nan, inf and integers of any size.
    if isinstance(value, float):
        return abs(value) < _MAX_NUMBER
    return _is_integer(value)


def _is_between(value: Any, low: int, high: int) -> bool:
    if not _is_whole(value):
        return False
    return low <= value <= high


def _is_list(value: object, length: int) -> bool:
    if not isinstance(value, list | tuple):
        return False
    actual_length = len(value)
    return actual_length == length


def _is_dim(value: Any) -> bool:
    return _is_between(value, 1, _MAX_DIM)


def _is_template(value: object) -> bool:
    if not isinstance(value, str):
        return False
    length = len(value)
    places = value.count("{}")
    is_short = length <= _MAX_TEMPLATE
    has_one_place = places == 1
    return is_short and has_one_place and _is_text(value)


def _is_size(value: Any) -> bool:
    if not _is_list(value, 2):
        return False
    height, width = value
    if not _is_side(height):
        return False
    return _is_side(width)


def _is_side(value: Any) -> bool:
    return _is_between(value, 1, _MAX_SIDE)


def _is_mean(value: Any) -> bool:
    if not _is_list(value, 3):
        return False
    are_numbers = map(_is_number, value)
    return all(are_numbers)


def _is_std(value: Any) -> bool:
    if not _is_mean(value):
        return False
    return 0 not in value


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _are_options(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    for key, item in value.items():
        if not _is_text(key):
            return False
        parts = item if isinstance(item, list | tuple) else [item]
        are_plain = map(_is_plain, parts)
        if not all(are_plain):
            return False
    return True


def _is_plain(value: object) -> bool:
    if _is_flag(value) or _is_text(value):
        return True
    return _is_number(value)


def _is_hash(value: str, digits: int) -> bool:
    if len(value) != digits:
        return False
    return _HEX_DIGITS.issuperset(value)


def _is_sha256(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return _is_hash(value, 64)


def _is_file(value: object) -> bool:
    """Return whether a value is a table that `Weights` can hold."""
    if not isinstance(value, dict):
        return False
    if "file" not in value:
        return False
    for key, text in value.items():
        is_valid = _is_file_entry(key, text)
        if not is_valid:
            return False
    return True


def _is_file_entry(key: object, value: object) -> bool:
    if key == "size":
        return _is_between(value, 0, _MAX_SIZE)
    if not isinstance(value, str):
        return False
    return _is_file_text(key, value)


def _is_file_text(key: object, text: str) -> bool:
    match key:
        case "file":
            # Any other character can be in a path.
            return text != "" and "\0" not in text
        case "sha256":
            return _is_hash(text, 64)
        case "md5":
            return _is_hash(text, 32)
        case "content":
            return len(text) <= _MAX_CONTENT and _is_base64(text)
        case "package" | "extra":
            # Looking up a package whose name has full stops would import the outer package.
            return text.isidentifier()
        case _:
            return key in _FILE_KEYS and _is_text(text)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _whole_number(low: int, high: int, meaning: str) -> FieldRule:
    expected = f"{meaning}, {low} to {high}"

    def accepts(value: object) -> bool:
        return _is_between(value, low, high)

    return FieldRule(accepts, expected)


def _one_of(choices: object) -> FieldRule:
    names = get_args(choices)
    listed = ", ".join(names)
    expected = f"one of {listed}"

    def accepts(value: object) -> bool:
        return value in names

    return FieldRule(accepts, expected)


_TEXT_RULE = FieldRule(_is_text, "a text")
_FLAG_RULE = FieldRule(_is_flag, "true or false")
_NUMBER_RULE = FieldRule(_is_number, "a number")
_FILE_RULE = FieldRule(
    _is_file,
    "a table of texts with the key file and optionally "
    f"{', '.join(sorted(_FILE_KEYS - {'file'}))}; a sha256 has 64 hexadecimal digits, an md5 32, "
    "size is a number of bytes, package and extra are plain names, and content is base64",
)
_POOLING_RULE = _one_of(types.Pooling)

FIELD_RULES: Mapping[str, FieldRule] = {
    "name": FieldRule(_is_name, "a text without full stops, slashes and backquotes"),
    "title": _TEXT_RULE,
    "architecture": _TEXT_RULE,
    "output": _TEXT_RULE,
    "size": FieldRule(_is_size, f"[height, width] in pixels, 1 to {_MAX_SIDE}"),
    "dim": FieldRule(_is_dim, f"a whole number from 1 to {_MAX_DIM}"),
    "mean": FieldRule(_is_mean, "three numbers, for R, G and B on the scale 0 to 255"),
    "std": FieldRule(
        _is_std, "three numbers other than 0, for R, G and B on the scale 0 to 255"
    ),
    "unit_length": _FLAG_RULE,
    "options": FieldRule(
        _are_options, "a table of numbers, texts, true and false, or lists of them"
    ),
    "resize": _one_of(types.Resize),
    "filter": _one_of(types.Filter),
    "layout": _one_of(types.Layout),
    "pooling": _POOLING_RULE,
    "precision": _one_of(types.Precision),
    "runtime": _one_of(types.Runtime),
    "weights": _FILE_RULE,
    "calibration": _FILE_RULE,
    "data": _FILE_RULE,
    "graph": FieldRule(_is_sha256, "a sha256 in 64 hexadecimal digits"),
    "crop_side": _whole_number(1, _MAX_SIDE, "a number of pixels"),
    "image_input": _TEXT_RULE,
    "batch": _whole_number(1, _MAX_IMAGES_AT_ONCE, "a number of images"),
    # A table is checked by the rules of its keys.
    "text": FieldRule(lambda _: False, "a table with graph, tokenizer and context"),
    "learned": FieldRule(is_learned_map, "a table that lookalike tune has made"),
}

_TOWER_RULES: Mapping[str, FieldRule] = {
    "graph": _FILE_RULE,
    "tokenizer": _FILE_RULE,
    "projection": _FILE_RULE,
    "context": _whole_number(1, _MAX_TOKENS, "a number of tokens"),
    "output": _TEXT_RULE,
    "pooling": _POOLING_RULE,
    "padding": _whole_number(0, _MAX_TOKEN_ID, "the id of a token"),
    "lower_case": _FLAG_RULE,
    "strip_punctuation": _FLAG_RULE,
    "template": FieldRule(
        _is_template,
        f"a text of at most {_MAX_TEMPLATE} characters with {{}} once, for the words",
    ),
    "alphabet": _one_of(types.Alphabet),
    "logit_scale": _NUMBER_RULE,
    "logit_bias": _NUMBER_RULE,
}
