"""Indexing: plan the work of a source, do it in workers, and write the results to a table."""
