"""Arithmetic and exact search over blocks of vectors."""

from lookalike.vectors.arithmetic import combine, distance_blocks, unit_length

__all__ = ["combine", "distance_blocks", "unit_length"]
