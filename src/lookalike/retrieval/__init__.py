"""Retrieval: from a query to its matches."""
