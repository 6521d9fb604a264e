"""The errors of a request that violates its schema, by the names of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic_core

__all__ = ["field_errors", "json_errors"]

# The reasons in words of JSON, where pydantic speaks of Python.
_REASONS = {
    "missing": "a value is required",
    "extra_forbidden": "there is no such field",
    "model_type": "expected an object",
    "model_attributes_type": "expected an object",
    "dict_type": "expected an object",
    "list_type": "expected an array",
    "string_type": "expected a string",
    "int_type": "expected an integer",
    "int_parsing": "expected an integer",
    "int_from_float": "expected an integer",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "finite_number": "expected a finite number",
}

# The keys that lead from the top of a request to a part of it.
_Path = tuple[str | int, ...]


@dataclass(slots=True)
class _FieldError:
    """An error at a field; `option` names the member of a union that it comes from."""

    path: _Path
    kind: str
    reason: str
    union: _Path | None = None
    option: str = ""


@dataclass(slots=True)
class _UnionErrors:
    """The errors of each member of a union, at one place of a request."""

    path: _Path
    options: dict[str, list[_FieldError]] = field(default_factory=dict)


def field_errors(errors: Iterable[Any]) -> list[dict[str, str]]:
    """Return the errors of parameters, as FastAPI lists them, as ``{"where", "reason"}`` each."""
    listed = []
    for error in errors:
        # The first key is "query" or "path".
        path = tuple(error["loc"][1:])
        where = _format_path(path)
        reason = _reason(error)
        entry = {"where": where, "reason": reason}
        listed.append(entry)
    return listed


def json_errors(errors: Sequence[Any], body: bytes) -> list[dict[str, str]]:
    """Return the errors of a JSON body, as pydantic lists them, as ``{"where", "reason"}`` each.

    Parameters
    ----------
    errors
        From `pydantic.ValidationError.errors`.
    body
        The JSON. It shows which keys of an error are fields, and which name a member of a union.
    """
    try:
        content = pydantic_core.from_json(body)
    except ValueError:
        content = None
    located = [_locate(error, content) for error in errors]
    listed = []
    for error in _join_unions(located):
        where = _format_path(error.path)
        listed.append({"where": where, "reason": error.reason})
    return listed


def _locate(error: Mapping[str, Any], content: Any) -> _FieldError:
    """Return an error whose path has only the keys of the request's own objects and arrays."""
    kind = error["type"]
    keys = error["loc"]
    last = len(keys) - 1
    path: _Path = ()
    union: _Path | None = None
    option = ""
    value = content
    for number, key in enumerate(keys):
        child = _child(value, key)
        is_absent_field = kind == "missing" and number == last
        if child is not None:
            (value,) = child
            path = (*path, key)
        elif is_absent_field:
            path = (*path, key)
        else:
            # The request does not have the key: it names a member of a union.
            union = path
            option = str(key)
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        discriminator = error["ctx"]["discriminator"].strip("'")
        path = (*path, discriminator)
    reason = _reason(error)
    return _FieldError(path, kind, reason, union, option)


def _child(value: Any, key: str | int) -> tuple[Any] | None:
    """Return the value under a key in a tuple, or None if it lacks the key."""
    if isinstance(value, dict) and key in value:
        return (value[key],)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return (value[key],)
    return None


def _join_unions(errors: Sequence[_FieldError]) -> list[_FieldError]:
    """Replace the errors of all members of a union by those of the member that was meant."""
    joined: list[_FieldError | _UnionErrors] = []
    unions: dict[_Path, _UnionErrors] = {}
    for error in errors:
        if error.union is None:
            joined.append(error)
            continue
        union = unions.get(error.union)
        if union is None:
            union = _UnionErrors(error.union)
            unions[error.union] = union
            joined.append(union)
        option = union.options.setdefault(error.option, [])
        option.append(error)

    results: list[_FieldError] = []
    for part in joined:
        if isinstance(part, _UnionErrors):
            results += _union_errors(part)
        else:
            results.append(part)
    return results


def _union_errors(union: _UnionErrors) -> list[_FieldError]:
    absent = []
    for errors in union.options.values():
        names = [str(error.path[-1]) for error in errors if error.kind == "missing"]
        if not names:
            # A member without an absent field is the one that was meant.
            return errors
        absent += names
    if len(union.options) == 1:
        (errors,) = union.options.values()
        return errors
    # Names in the order of the schema, each once.
    expected = ", ".join(dict.fromkeys(absent))
    reason = f"expected one of {expected}"
    return [_FieldError(union.path, "union", reason)]


def _reason(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind == "union_tag_invalid":
        tags = error["ctx"]["expected_tags"].replace("'", "")
        return f"expected one of {tags}"
    if kind == "union_tag_not_found":
        return _REASONS["missing"]
    message = str(error["msg"])
    # pydantic begins its sentences with a capital.
    first = message[:1].lower()
    sentence = first + message[1:] if message[1:2].islower() else message
    return _REASONS.get(kind, sentence)


def _format_path(path: _Path) -> str:
    """Return a path as ``positive[0].id``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}"
    return text.removeprefix(".")
