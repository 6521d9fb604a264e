"""Indexing: from the files of a source to the rows of a collection."""
