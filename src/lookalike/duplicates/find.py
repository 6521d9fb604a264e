"""The search for duplicates: candidates, verification, groups."""

from __future__ import annotations

from collections.abc import Callable

from lookalike.duplicates.groups import Duplicates, DuplicateSettings
from lookalike.store.view import View

__all__ = ["ContentPair", "OnProgress", "find_duplicates"]

# The sha256 of two contents, as hexadecimal digits, the smaller one first.
ContentPair = tuple[str, str]
# The step that runs, the work done of it, and its total (None if it is not known).
OnProgress = Callable[[str, int, int | None], None]


def find_duplicates(
    view: View,
    settings: DuplicateSettings | None = None,
    on_progress: OnProgress | None = None,
    *,
    rejected: frozenset[ContentPair] = frozenset(),
) -> Duplicates:
    """Return the groups of images of a collection that show the same.

    Parameters
    ----------
    view
        The collection, as one version of its table. Rows that other processes remove meanwhile
        stay in the result.
    settings
        What counts as a duplicate; None for the defaults.
    on_progress
        Called with the step that runs, the work done of it, and its total.
    rejected
        Pairs of contents that are known not to be duplicates of each other.

    Raises
    ------
    InputError
        If a folder, label or manifest of the settings names no image of the collection.
    SpaceError
        If the collection has no such Space.
    CollectionError
        If the collection cannot be read.
    """
    raise NotImplementedError
