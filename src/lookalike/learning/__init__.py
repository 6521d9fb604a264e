"""Tuned Spaces: maps that are learned from labels, measured before they are stored."""
