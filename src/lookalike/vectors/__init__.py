"""Arithmetic and exact search over blocks of vectors."""

from lookalike.vectors.arithmetic import combine, to_float32, unit_length
from lookalike.vectors.knn import distance_blocks, k_nearest, k_nearest_ids

__all__ = [
    "combine",
    "distance_blocks",
    "k_nearest",
    "k_nearest_ids",
    "to_float32",
    "unit_length",
]
