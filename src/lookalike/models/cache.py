"""The embedders of a process, each loaded once."""

from __future__ import annotations

import threading

from lookalike.models import embedder
from lookalike.models.devices import Device
from lookalike.models.learned import LearnedEmbedder, network_model
from lookalike.types import Model

__all__ = ["EmbedderCache"]

# A Model's fingerprint, and the hash of its graph if it names one.
_Key = tuple[str, str | None]


class EmbedderCache:
    """Loaded embedders that many threads share; each thread embeds its own batches.

    Parameters
    ----------
    device, batch
        As `lookalike.models.embedder.load`.
    """

    def __init__(self, device: Device = "cpu", batch: int = 1) -> None:
        self._device = device
        self._batch = batch
        self._lock = threading.Lock()
        self._embedders: dict[_Key, embedder.Embedder] = {}

    def get(self, model: Model) -> embedder.Embedder:
        """Return the embedder of a Model, and load it at the first request.

        Raises
        ------
        ModelError, WeightsError
            As `lookalike.models.embedder.load`.
        """
        with self._lock:
            return self._get(model)

    def _get(self, model: Model) -> embedder.Embedder:
        requested = _embedder_key(model)
        embedders = self._embedders
        is_loaded = requested in embedders
        if not is_loaded:
            loaded = self._load(model)
            # Loading adds the hash of the graph; later requests may name it.
            loaded_model = loaded.model
            actual = _embedder_key(loaded_model)
            embedders[requested] = loaded
            embedders[actual] = loaded
        return embedders[requested]

    def _load(self, model: Model) -> embedder.Embedder:
        if model.learned is None:
            return embedder.load(
                model, threads=1, device=self._device, batch=self._batch
            )
        # Several Spaces may have the same network below them.
        below = network_model(model)
        network = self._get(below)
        return LearnedEmbedder(model, network)


def _embedder_key(model: Model) -> _Key:
    return (model.fingerprint, model.graph)
