"""The networks of a process, each loaded once."""

from __future__ import annotations

import threading

from lookalike.models import embedder
from lookalike.types import Model

__all__ = ["EmbedderCache"]


class EmbedderCache:
    """Models made ready to run, for many threads: one thread a batch, so that as many run at once as there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str | None], embedder.Embedder] = {}

    def get(self, model: Model) -> embedder.Embedder:
        """Return a Model ready to run; it is loaded when it is first asked for.

        Raises
        ------
        ModelError, WeightsError
            As `lookalike.models.embedder.load`.
        """
        key = model.fingerprint, model.graph
        with self._lock:
            if key not in self._loaded:
                network = embedder.load(model, threads=1)
                # It may be asked for by the graph that it was found to have, too.
                self._loaded[key] = self._loaded[network.model.fingerprint, network.model.graph] = (
                    network
                )
            return self._loaded[key]
