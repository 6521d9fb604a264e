"""Indexing and maintenance on a Ray cluster; see docs/cluster.md. Ray is loaded when it is used."""

from lookalike.cluster.engine import RayEngine
from lookalike.cluster.executor import COMMIT_ROWS, COMMIT_SECONDS, RayExecutor

__all__ = ["COMMIT_ROWS", "COMMIT_SECONDS", "RayEngine", "RayExecutor"]
