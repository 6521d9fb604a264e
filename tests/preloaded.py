"""Everything that a command or a server imports, for the process from which others are forked."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import warnings

from lookalike.cli.command import store_imported

# The store starts its threads when it is first used, and that never happens in this process.
warnings.filterwarnings("ignore", message="lance is not fork-safe")

_PACKAGES = (
    "cli",
    "collection",
    "indexing",
    "maintenance",
    "projection",
    "retrieval",
    "server",
    "sources",
)


def _import_all() -> None:
    for package in _PACKAGES:
        module = importlib.import_module(f"lookalike.{package}")
        folders = getattr(module, "__path__", ())
        for found in pkgutil.walk_packages(folders, f"{module.__name__}."):
            importlib.import_module(found.name)


with store_imported():
    _import_all()
# The first app takes longer than those after it.
importlib.import_module("lookalike.server.app").make_app([])
gc.collect()
gc.freeze()
