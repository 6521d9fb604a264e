"""Empty Lance tables that replace no other table."""

from __future__ import annotations

import lance
import pyarrow as pa

__all__ = ["make_empty_table"]


def make_empty_table(uri: str, schema: pa.Schema) -> lance.LanceDataset:
    """Make a table without rows.

    ``lance.write_dataset(mode="create")`` looks for a table first. One that another process makes
    afterwards, it replaces by an empty version. This commit may only become version 1.

    Raises
    ------
    OSError
        If there is a table, even one that another process makes at the same moment.
    """
    content = lance.LanceOperation.Overwrite(schema, [])
    return lance.LanceDataset.commit(
        uri,
        content,
        read_version=0,
        # With retries, Lance commits it as the next version of whatever table it finds.
        max_retries=0,
        enable_stable_row_ids=True,
    )
