"""Measure models on a user's own images, and recommend one.

A sample of the images is indexed with one model after another into a temporary collection. The
labels, which are the names of the folders, say which images should be near each other.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import InputError, LookalikeError, ModelError
from lookalike.evaluation.evaluate import evaluate
from lookalike.evaluation.scores import Counts, Estimate, Evaluation, SpaceScores
from lookalike.indexing.run import IndexSettings, index
from lookalike.models import registry, weights
from lookalike.sources import Source, open_source
from lookalike.sources.combined import CombinedSource
from lookalike.store.table import Table
from lookalike.types import Item, Model

__all__ = ["ModelComparison", "ModelScores", "available_models", "compare_models"]

# The vectors of a collection are float16.
_BYTES_PER_VALUE = 2

# The sample's Spaces are compared row by row, whatever their number.
_NEVER = 10**9

# Seconds; a sample of known images takes less.
_SHORTEST = 1e-6


@dataclass(frozen=True, slots=True)
class ModelScores:
    """The quality, speed and size of one model.

    Attributes
    ----------
    model
        The name of the model.
    scores
        The scores of its Space on the sample.
    images_per_second
        The images decoded and embedded in a second, once the model is loaded.
    bytes_per_image
        The size of a vector in the collection.
    """

    model: str
    scores: SpaceScores
    images_per_second: float
    bytes_per_image: int

    @property
    def map(self) -> Estimate:
        """The mean average precision over all queries."""
        metrics = self.scores.metrics
        return metrics["map"]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Models measured on the same images.

    Attributes
    ----------
    models
        The measured models, the one with the highest mAP first. The differences in their scores
        are those to the first.
    recommended
        The fastest of the models whose mAP is not measurably below the highest one.
    counts
        The number of images by their role.
    failures
        The reason for each model that could not be run, by its name.
    """

    models: tuple[ModelScores, ...]
    recommended: ModelScores
    counts: Counts
    failures: dict[str, str]

    @property
    def verdict(self) -> str:
        """The recommendation and its reason, in one sentence."""
        best = self.models[0]
        name = self.recommended.model
        if len(self.models) == 1:
            return f"Use {name}: no other model that can run here was measured."
        if self.recommended is not best:
            return (
                f"Use {name}: it is the fastest of the models whose mAP is not measurably below "
                f"the highest, that of {best.model}."
            )
        equals = [other for other in self.models[1:] if _is_equal(other)]
        if equals:
            return f"Use {name}: it has the highest mAP, and no equal model is faster."
        return f"Use {name}: its mAP is measurably above that of every other model."

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data, as ``lookalike models --json`` prints it."""
        listed = []
        for measured in self.models:
            entry = {
                "name": measured.model,
                "images_per_second": round(measured.images_per_second, 1),
                "bytes_per_image": measured.bytes_per_image,
                **measured.scores.to_dict(),
            }
            listed.append(entry)
        return {
            "models": listed,
            "recommended": self.recommended.model,
            "verdict": self.verdict,
            "queries": self.counts.queries,
            "failures": self.failures,
        }


def available_models() -> list[Model]:
    """Return the models of the catalog that run without a download."""
    catalog = registry.catalog()
    models = []
    for model in catalog.values():
        if weights.is_available(model):
            models.append(model)
    return models


def compare_models(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    models: Sequence[str | Path | Model] = (),
    *,
    images: int = 1000,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> ModelComparison:
    """Measure models on a sample of labeled images, and recommend one.

    Each image of the sample is a query among the others; see `lookalike.evaluation.evaluate`. The
    recommended model is the fastest of those whose mAP is not measurably below the highest: the
    interval of the paired difference holds 0.

    Parameters
    ----------
    paths
        Folders with an image folder for each label, or anything else that can be indexed.
    models
        The models; all of the catalog that run without a download by default.
    images
        The most images to measure. More are drawn at random.
    seed
        The seed of that draw, and of the intervals.
    progress
        Called with the number of images embedded since the last call, by one model after another.

    Raises
    ------
    InputError
        If `images` is below 2, there are no two labels, or no label has two images.
    SourceError
        If a path does not exist or holds no images.
    ModelError
        If a model is unknown, or none of the models can be run.
    """
    if images < 2:
        raise InputError(f"images = {images} cannot be compared; expected 2 or more.")
    chosen = [registry.resolve(model) for model in models]
    if not chosen:
        chosen = available_models()
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    source = open_source(paths)
    items = _draw(source, images, seed)
    sample = _Sample(source, items)
    with tempfile.TemporaryDirectory(prefix="lookalike-models-") as folder:
        collection = Path(folder, "collection")
        rates, failures = _index_by_each(sample, collection, chosen, progress)
        if not rates:
            reasons = " ".join(failures.values())
            raise ModelError(f"No model could be measured. {reasons}")
        table = Table.open(collection)
        evaluation = _evaluate_best_first(table, rates, seed)
        measured = _join(evaluation, table.models, rates)
    fastest = _choose(measured)
    return ModelComparison(tuple(measured), fastest, evaluation.counts, failures)


class _Sample(CombinedSource):
    """Some images of a source. Others are neither read nor taken for missing."""

    def __init__(self, source: Source, items: list[Item]) -> None:
        super().__init__([source])
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def count(self) -> int:
        """Return the number of images in the sample."""
        return len(self._items)

    def completed(self) -> dict[str, int]:
        """Return no root: images outside the sample were not looked for."""
        return {}


def _draw(source: Source, count: int, seed: int) -> list[Item]:
    """Return up to `count` labeled images, each with the same chance.

    This is reservoir sampling: the source may be long, and is read once.
    """
    generator = np.random.default_rng(seed)
    chosen: list[Item] = []
    seen = 0
    for item in source:
        if item.label is None:
            continue
        seen += 1
        if len(chosen) < count:
            chosen.append(item)
            continue
        place = generator.integers(seen)
        if place < count:
            chosen[place] = item
    if not chosen:
        raise InputError(
            "No image has a label. Give a folder that has a folder of images for each label."
        )
    return chosen


def _index_by_each(
    sample: _Sample,
    collection: Path,
    models: Iterable[Model],
    progress: Callable[[int], None] | None,
) -> tuple[dict[str, float], dict[str, str]]:
    """Index the sample with each model, and return their images per second and the failures."""
    rates = {}
    failures = {}
    settings = IndexSettings(min_rows=_NEVER)
    for model in models:
        watch = _Watch(progress)
        try:
            index(
                sample,
                collection,
                models=[model],
                settings=settings,
                progress=watch.advance,
            )
        except LookalikeError as error:
            failures[model.name] = str(error)
            continue
        rates[model.name] = watch.rate()
    return rates, failures


class _Watch:
    """Times the images after the first report, when the model is loaded."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self._progress = progress
        start = time.perf_counter()
        self._times = [start]
        self._counts = [0]

    def advance(self, count: int) -> None:
        now = time.perf_counter()
        self._times.append(now)
        self._counts.append(count)
        if self._progress is not None:
            self._progress(count)

    def rate(self) -> float:
        """Return the images per second; with the time to load the model if all came at once."""
        times = self._times
        counts = self._counts
        first = 1 if len(times) > 2 else 0
        seconds = times[-1] - times[first]
        count = sum(counts[first + 1 :])
        return count / max(seconds, _SHORTEST)


def _evaluate_best_first(table: Table, spaces: Iterable[str], seed: int) -> Evaluation:
    """Evaluate Spaces. The best one is the first, so that the differences are those to it."""
    names = list(spaces)
    # The order needs the means alone, so one resample is enough.
    unordered = evaluate(table, spaces=names, seed=seed, resamples=1)
    ordered = sorted(unordered.spaces, key=_map_of, reverse=True)
    names = [scores.space for scores in ordered]
    return evaluate(table, spaces=names, seed=seed)


def _join(
    evaluation: Evaluation, models: Mapping[str, Model], rates: Mapping[str, float]
) -> list[ModelScores]:
    """Return the quality, speed and size of each model."""
    measured = []
    for scores in evaluation.spaces:
        name = scores.space
        size = models[name].dim * _BYTES_PER_VALUE
        entry = ModelScores(name, scores, rates[name], size)
        measured.append(entry)
    return measured


def _choose(measured: Sequence[ModelScores]) -> ModelScores:
    """Return the fastest of the best model and its equals."""
    fastest, *others = measured
    for other in others:
        is_faster = other.images_per_second > fastest.images_per_second
        if is_faster and _is_equal(other):
            fastest = other
    return fastest


def _map_of(scores: SpaceScores) -> float:
    estimate = scores.metrics["map"]
    return estimate.value


def _is_equal(other: ModelScores) -> bool:
    """Return whether a model's mAP is not measurably below the best one's."""
    difference = other.scores.differences["map"]
    return difference.high >= 0
