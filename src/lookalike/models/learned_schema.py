"""The valid values of a learned map, in a Model that comes from a collection."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

import numpy as np

from lookalike.types import LearnedMap, Purpose

__all__ = ["MAX_BASE_DIM", "is_learned_map"]

# The longest vectors that a map is learned for. The time to learn grows with the cube.
MAX_BASE_DIM = 8192

_PROVENANCE = {"labels": dict, "images": int, "date": str, "verdict": str}
_MAP_KEYS = {field.name for field in fields(LearnedMap)}


def is_learned_map(value: object) -> bool:
    """Return whether a value is a table that `LearnedMap` can hold, with arrays that fit."""
    if not isinstance(value, dict):
        return False
    if set(value) != _MAP_KEYS:
        return False
    base_dim = value["base_dim"]
    is_length = isinstance(base_dim, int) and not isinstance(base_dim, bool)
    if not is_length or not 1 <= base_dim <= MAX_BASE_DIM:
        return False
    if not _has_plain_fields(value):
        return False
    center = _finite_numbers(value["center"], np.float32)
    axes = _finite_numbers(value["axes"], np.float16)
    if center is None or axes is None:
        return False
    return len(center) == base_dim and len(axes) > 0 and len(axes) % base_dim == 0


def _has_plain_fields(table: Mapping[str, Any]) -> bool:
    base = table["base"]
    if not isinstance(base, str) or base == "":
        return False
    if not isinstance(table["base_unit_length"], bool):
        return False
    purposes = get_args(Purpose)
    if table["purpose"] not in purposes:
        return False
    return _is_provenance(table["provenance"])


def _is_provenance(value: object) -> bool:
    """Return whether a value has what `lookalike info` prints."""
    if not isinstance(value, dict):
        return False
    return all(isinstance(value.get(name), kind) for name, kind in _PROVENANCE.items())


def _finite_numbers(text: object, dtype: type[np.floating[Any]]) -> Any:
    """Return the finite numbers of a text, or None."""
    if not isinstance(text, str):
        return None
    try:
        content = base64.b64decode(text, validate=True)
        numbers = np.frombuffer(content, dtype)
    except (binascii.Error, ValueError):
        return None
    if not np.isfinite(numbers).all():
        return None
    return numbers
