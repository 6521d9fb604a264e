"""Evaluation: how good the answers of a collection are."""
