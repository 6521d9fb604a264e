"""Calibrations of Spaces, stored as text in the table itself: a copy or a backup has them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookalike.store.table import Table
    from lookalike.store.view import View

__all__ = ["read_text", "write_text"]


def read_text(view: View, space: str, kind: str) -> str | None:
    """Return the stored calibration of a Space for a kind of query, or None."""
    with view.translate_read_errors():
        config = view.lance_dataset.config()
    key = _config_key(space, kind)
    text: str | None = config.get(key)
    return text


def write_text(table: Table, space: str, kind: str, text: str) -> None:
    """Store the calibration of a Space in place of the previous one, in one commit.

    Raises
    ------
    CollectionError
        If the table cannot be written; `ReadOnlyError` if the collection is read-only.
    """
    key = _config_key(space, kind)
    table.record_config(key, text)


def _config_key(space: str, kind: str) -> str:
    return f"lookalike.calibrated.{kind}.{space}"
