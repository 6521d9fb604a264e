"""Lookalike, an image search engine: give it an image, get the images like it.

>>> import lookalike
>>> lookalike.index(["Pictures"], "pictures.lookalike")        # doctest: +SKIP
>>> lookalike.search("pictures.lookalike", "query.jpg", k=5)   # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike.collection import Collection as Collection
    from lookalike.errors import LookalikeError as LookalikeError
    from lookalike.shortcuts import backup as backup
    from lookalike.shortcuts import check as check
    from lookalike.shortcuts import index as index
    from lookalike.shortcuts import optimize as optimize
    from lookalike.shortcuts import restore as restore
    from lookalike.shortcuts import search as search
    from lookalike.shortcuts import search_many as search_many
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

# Names are imported on first use: `import lookalike` must load neither the store nor the
# inference runtime.
_MODULE_OF = {
    "Collection": "lookalike.collection",
    "LookalikeError": "lookalike.errors",
    "Matches": "lookalike.types",
    "backup": "lookalike.shortcuts",
    "check": "lookalike.shortcuts",
    "index": "lookalike.shortcuts",
    "optimize": "lookalike.shortcuts",
    "restore": "lookalike.shortcuts",
    "search": "lookalike.shortcuts",
    "search_many": "lookalike.shortcuts",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'lookalike' has no attribute {name!r}")
    module = import_module(_MODULE_OF[name])
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
