"""A local cache of fits: arrays computed from the rows of a Space, for the next process.

A file holds the latest fit of one ranking to one Space of one collection, or the graph of its rows.
It holds a hash of each row, so that it is right whatever happened to the collection since. A file
is written under another name and renamed, and the files that were used longest ago are removed when
all of them take more than a bound.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import platformdirs
from safetensors import SafetensorError, numpy

from lookalike.io.files import atomic_write, remove_oldest
from lookalike.retrieval.fitted import FitState
from lookalike.store.view import View

__all__ = ["MOST_FIT_BYTES", "find_fit", "is_worth_keeping", "store_fit"]

# The bytes of all files together.
MOST_FIT_BYTES = 4 << 30
# Raised when a ranking computes something else, so that older files are not found.
_FIT_FORMAT = 1
# Computing the changes of fewer rows than this share takes a process less time than the file.
_LEAST_CHANGE = 0.01


def is_worth_keeping(changed_rows: int, row_count: int) -> bool:
    """Return whether a fit differs enough from the one in the cache to be written again."""
    least_rows = max(1, _LEAST_CHANGE * row_count)
    return changed_rows >= least_rows


def find_fit(view: View, space: str, fit: str) -> FitState | None:
    """Return the state of the latest fit by its name; None if its file is missing or damaged."""
    file = _file(view, space, fit)
    try:
        state = numpy.load_file(file)
        # The files that were used longest ago are removed first.
        with suppress(OSError):
            os.utime(file)
    except (OSError, SafetensorError):
        return None
    return state


def store_fit(view: View, space: str, fit: str, state: FitState) -> None:
    """Keep the state of a fit; a full disk, a read-only folder or its size may prevent it."""
    sizes = [array.nbytes for array in state.values()]
    if sum(sizes) > MOST_FIT_BYTES:
        return
    contiguous = {}
    for name, array in state.items():
        contiguous[name] = np.ascontiguousarray(array)
    file = _file(view, space, fit)
    with suppress(OSError, SafetensorError):
        with atomic_write(file) as temporary:
            numpy.save_file(contiguous, temporary)
        remove_oldest(file, MOST_FIT_BYTES)


def _file(view: View, space: str, fit: str) -> Path:
    identity = view.location.identity
    key = json.dumps([_FIT_FORMAT, identity, space, fit])
    encoded = key.encode()
    digest = hashlib.sha256(encoded)
    name = digest.hexdigest()
    caches = platformdirs.user_cache_dir("lookalike", appauthor=False)
    return Path(caches, "rankings", f"{name}.safetensors")
