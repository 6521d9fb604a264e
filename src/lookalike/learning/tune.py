"""Tune a Space: learn a map from labels, measure it, and fill a new Space by it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, get_args

import numpy as np

from lookalike.errors import InputError, SpaceError
from lookalike.evaluation.nearest import read_labels
from lookalike.learning.report import TuneReport
from lookalike.learning.validation import (
    LabeledVectors,
    TuneProgress,
    learn_map,
    measure_gains,
)
from lookalike.learning.verdict import is_worth_storing, verdict
from lookalike.maintenance import optimize
from lookalike.models.learned import VectorMap, encode_array
from lookalike.models.learned_schema import MAX_BASE_DIM
from lookalike.models.schema import FIELD_RULES, short_repr
from lookalike.store.schema import column_vectors, quote, vector_clause
from lookalike.store.table import Table
from lookalike.store.view import View
from lookalike.tracing import span
from lookalike.types import LearnedMap, Model, Places, Purpose, VectorsF16
from lookalike.vectors.centering import Center

__all__ = ["MIN_IMAGES", "PURPOSES", "read_labeled", "tune_space"]

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

# A label is learned from if it has so many different images: two in each of three parts.
MIN_IMAGES = 6
# What a purpose needs: ``anything`` must be measured on labels that are left out.
_LEAST_LABELS: Mapping[Purpose, int] = {"these-classes": 2, "anything": 3}
# Rows that are filled in one commit.
_COMMIT_ROWS = 10_000


def tune_space(
    table: Table,
    purpose: Purpose,
    *,
    name: str | None = None,
    space: str | None = None,
    seed: int = 0,
    progress: TuneProgress | None = None,
) -> TuneReport:
    """Learn a Space from the labels of a collection, and add it where it is better.

    The vectors of the Space are computed from those of another one: no image is read. The map is
    measured first on images and on labels that it is not learned from, and the Space is added only
    if the 95 % interval of its gain is above 0. Its Model holds the map, so that new images and
    queries are mapped as well.

    If the Space exists already, was learned for the same purpose from the same Space, and lacks
    vectors, they are filled in: an earlier run was interrupted.

    Parameters
    ----------
    table
        The collection's table.
    purpose
        ``these-classes``: a ridge regression of the labels beside the centered vector, for
        collections whose images all have one of these labels. ``anything``: whitening of the
        differences between images of one label, which other images gain from too.
    name
        The name of the new Space; by default that of the purpose.
    space
        The Space whose vectors are mapped; by default the first.
    seed
        The seed of the parts that are left out, and of the bootstrap.
    progress
        Called with the step that runs, and the queries ranked or vectors computed in it: those
        done, and their total.

    Returns
    -------
    report
        The gains and the verdict. Nothing is stored unless `TuneReport.is_stored`.

    Raises
    ------
    InputError
        If too few labels have six different images or more, or the seed is below 0.
    SpaceError
        If the collection has no such Space or it was learned itself, or the name is taken.
    CollectionError
        If the collection cannot be read or written; `ReadOnlyError` if it is read-only.
    """
    start = time.perf_counter()
    base = table.space(space)
    new_name = purpose if name is None else name
    _check_request(purpose, new_name, seed)
    run = _Tuning(table, base, purpose, new_name, seed, progress)
    exists = new_name in table.schema.names
    report = run.resume() if exists else run.learn()
    seconds = time.perf_counter() - start
    return replace(report, seconds=round(seconds, 3))


def _check_request(purpose: str, name: str, seed: int) -> None:
    if purpose not in PURPOSES:
        listed = " or ".join(PURPOSES)
        raise InputError(f"The purpose is {purpose!r}; expected {listed}.")
    rule = FIELD_RULES["name"]
    if not rule.accepts(name):
        raise InputError(
            f"The Space cannot be named {short_repr(name)}; expected {rule.expected}."
        )
    if seed < 0:
        raise InputError(f"The seed is {seed}; expected a whole number from 0 on.")


@dataclass(frozen=True, slots=True)
class _Tuning:
    """One run of `tune`, with its arguments."""

    table: Table
    base: str
    purpose: Purpose
    name: str
    seed: int
    progress: TuneProgress | None

    def learn(self) -> TuneReport:
        """Learn and measure a map, and store the Space if it is better."""
        base_model = self.table.models[self.base]
        _check_base(base_model)
        data, counts = read_labeled(self.table, self.base)
        self._check_labels(counts)
        learn = partial(learn_map, purpose=self.purpose)
        with span("measure gains"):
            new_images, new_labels = measure_gains(
                data, learn, seed=self.seed, progress=self.progress
            )
        is_stored = is_worth_storing(self.purpose, new_images, new_labels)
        report = TuneReport(
            space=self.name,
            base=self.base,
            purpose=self.purpose,
            labels=counts,
            images=len(data.rows),
            new_images=new_images,
            new_labels=new_labels,
            is_stored=is_stored,
            filled=0,
            verdict=verdict(self.purpose, self.base, new_images, new_labels),
            seed=self.seed,
            seconds=0.0,
        )
        if not is_stored:
            return report
        with span("learn"):
            axes = learn(data).axes
        provenance = _provenance(report)
        model = _tuned_model(base_model, self.name, data.center, axes, self.purpose)
        model = _with_provenance(model, provenance)
        self.table.add_space(model)
        return replace(report, filled=self._fill(model))

    def resume(self) -> TuneReport:
        """Fill in the vectors that a Space of this name lacks, if it was learned alike."""
        table = self.table
        model = table.models.get(self.name)
        missing = 0
        learned = None if model is None else model.learned
        if learned is not None:
            is_alike = (learned.base, learned.purpose) == (self.base, self.purpose)
            if is_alike:
                missing = table.count_where(self._lacking_clause())
        if model is None or learned is None or not missing:
            raise SpaceError(
                f"The collection {table.path} has a Space or a column {self.name!r} already, and "
                "nothing was changed. Give the new Space another name: --name NAME"
            )
        provenance = learned.provenance
        return TuneReport(
            space=self.name,
            base=self.base,
            purpose=self.purpose,
            labels=provenance.get("labels", {}),
            images=provenance.get("images", 0),
            new_images=None,
            new_labels=None,
            is_stored=True,
            filled=self._fill(model),
            verdict=provenance.get("verdict", ""),
            seed=provenance.get("seed", 0),
            seconds=0.0,
        )

    def _check_labels(self, counts: Mapping[str, int]) -> None:
        """Refuse to learn from too few labels."""
        least = _LEAST_LABELS[self.purpose]
        if len(counts) >= least:
            return
        path = self.table.path
        raise InputError(
            f"The purpose {self.purpose} needs {least} labels with {MIN_IMAGES} different images "
            f"or more; the Space {self.base!r} of {path} has {len(counts)}. The label of an image "
            "is the name of its folder; set it with: "
            f"lookalike index FOLDER -c {path} --labels folder"
        )

    def _lacking_clause(self) -> str:
        """Return the clause of the rows with a vector in the base Space, and none in the new."""
        name = quote(self.name)
        return f"{vector_clause(self.base)} AND NOT array_has(spaces, {name})"

    def _fill(self, model: Model) -> int:
        """Compute the vectors that the Space lacks, and return their number."""
        vector_map = VectorMap.of(model)
        total = self.table.count_where(self._lacking_clause())
        filled = 0
        self._report_filled(filled, total)
        step = partial(self._fill_some, vector_map)
        with span("fill"):
            while count := self.table.transaction(step):
                filled += count
                self._report_filled(filled, total)
        optimize.maintain(self.table)
        return filled

    def _report_filled(self, filled: int, total: int) -> None:
        if self.progress is not None:
            self.progress("Computing vectors", filled, total)

    def _fill_some(self, vector_map: VectorMap) -> int:
        """Fill in some of the rows, read in the same transaction, and return their number.

        Rows that others have changed or deleted meanwhile are as they are now.
        """
        names = ["uri", "spaces", self.base]
        clause = self._lacking_clause()
        uris: list[str] = []
        filled_spaces: list[list[str]] = []
        parts: list[VectorsF16] = []
        for batch in self.table.scan(names, clause):
            uris += batch["uri"].to_pylist()
            filled_spaces += batch["spaces"].to_pylist()
            parts.append(column_vectors(batch[self.base]))
            if len(uris) >= _COMMIT_ROWS:
                break
        if not uris:
            return 0
        order = list(self.table.models)
        columns: dict[str, Any] = {"uri": uris, "spaces": []}
        for spaces in filled_spaces:
            present = {*spaces, self.name}
            in_order = [space for space in order if space in present]
            columns["spaces"].append(in_order)
        columns[self.name] = vector_map.apply(np.concatenate(parts))
        self.table.update(columns)
        return len(uris)


def _check_base(model: Model) -> None:
    if model.learned is not None:
        raise SpaceError(
            f"The Space {model.name!r} was learned from labels itself. Tune the Space that it was "
            f"learned from: --space {model.learned.base}"
        )
    if model.dim > MAX_BASE_DIM:
        raise SpaceError(
            f"The vectors of the Space {model.name!r} have {model.dim:,} numbers; a Space can be "
            f"tuned whose vectors have at most {MAX_BASE_DIM:,}. Name another with --space."
        )


def read_labeled(view: View, base: str) -> tuple[LabeledVectors, dict[str, int]]:
    """Return the vectors of labels with enough different images, and the images of each label."""
    labeled = read_labels(view, base)
    ids, vectors_f16 = view.vectors(base)
    places = np.searchsorted(ids, labeled.ids)
    matrix = vectors_f16[places]
    center = Center.of(matrix)
    contents = _content_numbers(matrix)

    # The labels to learn from.
    labels = labeled.labels
    different: dict[str, set[int]] = {}
    for label, content in zip(labels, contents.tolist(), strict=True):
        if label is not None:
            different.setdefault(label, set()).add(content)
    names = sorted(
        name for name, found in different.items() if len(found) >= MIN_IMAGES
    )
    number_of: dict[str | None, int] = {}
    for name in names:
        number_of[name] = len(number_of)

    # The images that have one of them.
    numbers = [number_of.get(label, -1) for label in labels]
    classes = np.array(numbers, np.intp)
    chosen = np.flatnonzero(classes >= 0)
    counted = Counter(labels)
    counts = {name: counted[name] for name in names}
    data = LabeledVectors(matrix[chosen], classes[chosen], contents[chosen], center)
    return data, counts


def _content_numbers(matrix: VectorsF16) -> Places:
    """Return the same number for rows with the same vector, intp ``[n]``."""
    number_of: dict[bytes, int] = {}
    numbers = []
    for row in matrix:
        content = row.tobytes()
        number = number_of.setdefault(content, len(number_of))
        numbers.append(number)
    return np.array(numbers, np.intp)


def _tuned_model(
    base: Model, name: str, center: Center, axes: VectorsF16, purpose: Purpose
) -> Model:
    """Return the Model of the tuned Space: that of its base, followed by the map."""
    learned = LearnedMap(
        base=base.name,
        base_dim=base.dim,
        base_unit_length=base.unit_length,
        purpose=purpose,
        center=encode_array(center.mean),
        axes=encode_array(axes),
    )
    vector_map = VectorMap(center, axes, purpose)
    aim = purpose.replace("-", " ")
    return replace(
        base,
        name=name,
        title=f"{base.title}, tuned for {aim}",
        dim=vector_map.dim,
        unit_length=True,
        learned=learned,
    )


def _with_provenance(model: Model, provenance: Mapping[str, Any]) -> Model:
    assert model.learned is not None  # noqa: S101 (for the type checker)
    learned = replace(model.learned, provenance=provenance)
    return replace(model, learned=learned)


def _provenance(report: TuneReport) -> dict[str, Any]:
    """Return where a map comes from, as its Model holds it."""
    now = datetime.now(UTC)
    fields = report.to_dict()
    kept = ("labels", "images", "seed", "new_images", "new_labels", "verdict")
    provenance = {name: fields[name] for name in kept}
    provenance["date"] = now.isoformat(timespec="seconds")
    return provenance
