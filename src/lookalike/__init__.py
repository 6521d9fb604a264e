"""Lookalike: give it a picture, get the pictures like it.

>>> import lookalike
>>> lookalike.index(["Pictures"], "pictures.lookalike")        # doctest: +SKIP
>>> lookalike.search("pictures.lookalike", "query.jpg", k=5)   # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.backups import backup as backup
    from lookalike.backups import restore as restore
    from lookalike.checking import check as check
    from lookalike.errors import LookalikeError as LookalikeError
    from lookalike.indexing import index as index
    from lookalike.optimizing import optimize as optimize
    from lookalike.searching import search as search
    from lookalike.searching import search_many as search_many
    from lookalike.store.collection import Collection as Collection
    from lookalike.types import Matches as Matches

__all__ = [
    "Collection",
    "LookalikeError",
    "Matches",
    "backup",
    "check",
    "index",
    "optimize",
    "restore",
    "search",
    "search_many",
]

__version__ = "0.1.0"

# Looked up when first used: `import lookalike` must load neither the store nor the inference runtime.
_HOMES = {
    "Collection": "lookalike.store.collection",
    "LookalikeError": "lookalike.errors",
    "Matches": "lookalike.types",
    "backup": "lookalike.backups",
    "check": "lookalike.checking",
    "index": "lookalike.indexing",
    "optimize": "lookalike.optimizing",
    "restore": "lookalike.backups",
    "search": "lookalike.searching",
    "search_many": "lookalike.searching",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
