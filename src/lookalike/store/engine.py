"""The protocol of engines: where the files of a large table are merged and its indices built."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["TableEngine"]


class TableEngine(Protocol):
    """Does the heavy part of upkeep elsewhere than in this process, such as on a cluster."""

    def build_index(
        self, table_uri: str, column: str, *, name: str, partitions: int, bits: int
    ) -> None:
        """Build the index of a vector column in place of the previous one, and commit it.

        It is the index of `lookalike.store.tuning.build_index`, in any number of segments.
        """
        ...

    def compact(self, table_uri: str, options: dict[str, Any]) -> None:
        """Merge small fragments by Lance's options, and commit the new ones at once."""
        ...
