"""The public object: a collection of images that is indexed, searched, evaluated and kept."""

from lookalike.store.table import Table as Collection

__all__ = ["Collection"]
