"""The search for duplicates as a user runs it: without the pairs that verdicts have dismissed."""

from __future__ import annotations

from typing import Any

from lookalike.duplicates.find import OnProgress, find_duplicates
from lookalike.duplicates.groups import Duplicates, DuplicateSettings
from lookalike.duplicates.verdicts import read_verdicts
from lookalike.store.view import View

__all__ = ["search_duplicates"]


def search_duplicates(
    view: View, on_progress: OnProgress | None = None, **settings: Any
) -> Duplicates:
    """Return the groups of duplicates, without the pairs that verdicts have dismissed.

    Parameters
    ----------
    view, on_progress
        As for `lookalike.duplicates.find.find_duplicates`, with the same errors.
    settings
        The attributes of `DuplicateSettings`.
    """
    chosen = DuplicateSettings(**settings)
    rejected = read_verdicts(view)
    return find_duplicates(view, chosen, on_progress, rejected=rejected)
