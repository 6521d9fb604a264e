"""The Models of an index run, as they fill the Spaces of a table: loaded, and calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lookalike.indexing.network_calibration import CalibratedNetwork, Calibrator
from lookalike.models.cache import EmbedderCache
from lookalike.models.schema import lacks_calibration
from lookalike.store.table import Table
from lookalike.types import Model

__all__ = ["SpaceMaker"]


class SpaceMaker:
    """Loads the new models of a run, calibrates those that need it, and adds their Spaces.

    Parameters
    ----------
    embedders
        The embedders of the run.
    calibrator
        What calibrates.
    """

    def __init__(self, embedders: EmbedderCache, calibrator: Calibrator) -> None:
        self._embedders = embedders
        self._calibrator = calibrator

    @property
    def calibrated(self) -> list[CalibratedNetwork]:
        """The networks that were calibrated."""
        return self._calibrator.calibrated

    def load_new(
        self, models: Sequence[Model], existing_models: Mapping[str, Model]
    ) -> list[Model]:
        """Return the models as they fill their Spaces.

        Loading a new one shows that it runs, and states the graph it runs by.
        """
        ready_models = []
        for model in models:
            ready_model = model
            if model.name not in existing_models:
                ready_model = self._load(model)
            ready_models.append(ready_model)
        return ready_models

    def add(
        self, table: Table, models: Sequence[Model], ready_models: Sequence[Model]
    ) -> None:
        """Add the Spaces that a table lacks.

        Parameters
        ----------
        table
            The table.
        models, ready_models
            The models of the run, as they were given and as `load_new` returned them.
        """
        present = table.models
        for model, ready_model in zip(models, ready_models, strict=True):
            added = ready_model
            if model.name in present:
                # Of two processes that calibrate a network, the first one decides.
                added = _with_known_calibration(model, present[model.name])
            table.add_space(added)

    def _load(self, model: Model) -> Model:
        if lacks_calibration(model):
            model = self._calibrator.calibrate(model)
        embedder = self._embedders.get(model)
        return embedder.model


def _with_known_calibration(model: Model, present: Model) -> Model:
    """Return a Model, with the calibration of the one that fills its Space if it has none."""
    if not lacks_calibration(model):
        return model
    return replace(model, calibration=present.calibration)
