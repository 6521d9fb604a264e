"""The values of a text column, where they are few enough to choose from."""

from __future__ import annotations

from lookalike.store.table import Table

__all__ = ["few_values"]

# More values than these are not a choice.
_MAX_VALUES = 50
_MAX_LENGTH = 100


def few_values(table: Table, column: str) -> list[str]:
    """Return the distinct values of a text column, sorted; none if there are more than 50.

    Long texts are descriptions, which nobody chooses from: they count as too many.
    """
    values: set[str] = set()
    for batch in table.scan([column]):
        cells = batch.column(column)
        present = cells.drop_null()
        distinct = present.unique()
        values |= set(distinct.to_pylist())
        if len(values) > _MAX_VALUES:
            return []
        lengths = [len(value) for value in values]
        if max(lengths, default=0) > _MAX_LENGTH:
            return []
    return sorted(values)
