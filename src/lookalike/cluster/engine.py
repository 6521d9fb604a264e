"""Build indices and merge fragments on a Ray cluster, through lance-ray."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType
from typing import Any

from lookalike.cluster.connection import connected, import_ray
from lookalike.errors import ClusterError

__all__ = ["RayEngine"]


class RayEngine:
    """A `lookalike.store.engine.TableEngine` on a Ray cluster.

    Every node reads and writes the table at its own path or URL.

    Parameters
    ----------
    address, workers
        As those of `lookalike.cluster.RayExecutor`.

    Raises
    ------
    ClusterError
        If Ray or lance-ray is not installed.
    """

    def __init__(self, address: str = "auto", workers: int = 0) -> None:
        import_ray()
        # It is imported when it is used. A run of days should not end because it is missing.
        if find_spec("lance_ray") is None:
            raise _without_lance_ray("not installed")
        self._address = address
        self._workers = workers

    def build_index(
        self, table_uri: str, column: str, *, name: str, partitions: int, bits: int
    ) -> None:
        """Build an IVF_RQ index, one segment for each worker with fragments of its own."""
        lance_ray = _import_lance_ray()
        with connected(self._address) as ray:
            lance_ray.create_index(
                table_uri,
                column,
                "IVF_RQ",
                name=name,
                metric="l2",
                num_partitions=partitions,
                num_bits=bits,
                num_workers=self._worker_count(ray),
                replace=True,
            )

    def compact(self, table_uri: str, options: dict[str, Any]) -> None:
        """Merge small fragments, each new one by a worker."""
        lance_ray = _import_lance_ray()
        with connected(self._address) as ray:
            lance_ray.compact_files(
                table_uri,
                compaction_options=options,
                num_workers=self._worker_count(ray),
            )

    def _worker_count(self, ray: ModuleType) -> int:
        resources = ray.cluster_resources()
        cluster_cores = int(resources.get("CPU", 0))
        return self._workers or max(1, cluster_cores)


def _import_lance_ray() -> ModuleType:
    try:
        import lance_ray
    except ImportError as error:
        raise _without_lance_ray(str(error)) from error
    module: ModuleType = lance_ray
    return module


def _without_lance_ray(reason: str) -> ClusterError:
    return ClusterError(
        f"Upkeep on a Ray cluster needs the package lance-ray ({reason}). "
        "Install it with: pip install 'lookalike[cluster]'"
    )
