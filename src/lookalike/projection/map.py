"""The map of a collection: a position in the plane for every row of a Space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError, ReadOnlyError, SpaceError
from lookalike.projection.layouts import (
    METHODS,
    MIN_LAYOUT_ROWS,
    LayoutSettings,
    Method,
    fit_components,
    fit_layout,
    transform,
)
from lookalike.projection.quality import measure_fidelity
from lookalike.store import maps
from lookalike.store.table import Table
from lookalike.tracing import span
from lookalike.types import Ids, VectorsF16, VectorsF32

__all__ = ["METHODS", "REFIT_SHARE", "Map", "make_map", "make_placer", "read_map"]

# With more than this share of rows placed later, the map no longer represents them as a whole.
REFIT_SHARE = 0.3

# y points up on a map, and down in figures and pages.
_FLIP_Y = np.array([1, -1])


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A position in the plane for every row of a Space.

    Attributes
    ----------
    ids
        int64 ``[n]``, the ids of the rows, ascending.
    xy
        float32 ``[n, 2]``, in the method's own units.
    fitted
        bool ``[n]``, False for rows that were placed on the map after it was made.
    space, method, seed
        The Space, the method (``tsne``, ``pca`` or ``umap``) and the random seed.
    parameters
        The parameters of the layout, as plain data.
    fidelity
        How well neighborhoods are preserved; see `lookalike.projection.quality.measure_fidelity`.
    kept
        Whether the map is stored with the collection. A read-only collection stores none.
    """

    ids: Ids
    xy: VectorsF32
    fitted: npt.NDArray[np.bool_]
    space: str
    method: str
    seed: int
    parameters: dict[str, Any]
    fidelity: dict[str, Any]
    kept: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def placed_share(self) -> float:
        """The share of rows, 0 to 1, that were placed on the map after it was made."""
        fitted_share = float(self.fitted.mean())
        return 1 - fitted_share

    @property
    def needs_refit(self) -> bool:
        """Whether too many rows were placed later, so that the map should be rebuilt."""
        return self.placed_share > REFIT_SHARE

    @property
    def title(self) -> str:
        """A title that names the method and the Space."""
        method_title = METHODS[self.method]
        return f"{method_title} map of {self.space}"

    @property
    def summary(self) -> str:
        """One line with the number of images and the fidelity of the map."""
        count = len(self)
        noun = "images"
        if count == 1:
            noun = "image"
        parts = [f"{count:,} {noun}"]

        trustworthiness = self.fidelity["trustworthiness"]
        if trustworthiness is not None:
            parts.append(f"trustworthiness {trustworthiness:.3f}")
            preservation = self.fidelity["preservation"]
            percent = round(100 * preservation)
            k = self.fidelity["k"]
            parts.append(f"{percent} % of the {k} nearest neighbors preserved")

        placed = np.count_nonzero(~self.fitted)
        if placed:
            parts.append(f"{placed:,} placed later")
        return " · ".join(parts)

    def unit_square(
        self, others: npt.NDArray[np.floating[Any]] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return positions ``[n, 2]`` centered in the unit square, with y pointing down.

        Both axes have the same scale.

        Parameters
        ----------
        others
            Positions ``[m, 2]`` in the method's own units to convert instead of the map's. They
            may lie outside the square.
        """
        positions = self.xy.astype(np.float64)
        positions *= _FLIP_Y
        low = positions.min(axis=0)
        high = positions.max(axis=0)
        middle = (low + high) / 2
        sides = high - low
        longest = sides.max()
        extent = float(longest) or 1.0

        if others is not None:
            positions = others.astype(np.float64)
            positions *= _FLIP_Y
        positions -= middle
        positions /= extent
        positions += 0.5
        return positions

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain data in columns, as ``lookalike map --json`` prints it."""
        return {
            "space": self.space,
            "method": self.method,
            "seed": self.seed,
            "parameters": self.parameters,
            "fidelity": self.fidelity,
            "rows": len(self),
            "fitted_rows": int(self.fitted.sum()),
            "kept": self.kept,
            "ids": self.ids.tolist(),
            "x": self.xy[:, 0].tolist(),
            "y": self.xy[:, 1].tolist(),
            "fitted": self.fitted.tolist(),
        }


def make_map(
    collection: Table,
    *,
    space: str | None = None,
    method: Method = "tsne",
    seed: int = 0,
    perplexity: float | Literal["auto"] = "auto",
    rebuild: bool = False,
) -> Map:
    """Return the map of a Space, and store it with the collection.

    A stored map with the same seed and perplexity is used again. New rows, and rows whose image
    has changed, are placed on it; removed rows leave it; no other row moves. An interrupt leaves
    the stored map unchanged.

    Parameters
    ----------
    collection
        The collection to map.
    space
        A Space of the collection, by default its first.
    method
        ``tsne`` (of 50 principal components), ``pca`` (the first two) or ``umap`` (umap-learn).
    seed
        The random seed. The same seed and rows give the same map.
    perplexity
        t-SNE's effective number of neighbors, from 1 to a third of the other rows; 30 by default.
    rebuild
        Make a new map even if one is stored.

    Raises
    ------
    InputError
        If an argument is invalid, or umap-learn is not installed.
    SpaceError
        If the collection has no such Space, or no vector in it.
    CollectionError
        If the collection or its stored map cannot be read, or the map cannot be written. In a
        read-only collection, the map is made and not stored.

    References
    ----------
    van der Maaten, Hinton: Visualizing Data using t-SNE, JMLR 2008. Kobak, Berens: The art of
    using t-SNE for single-cell transcriptomics, Nature Communications 2019 (initialization by
    PCA, learning rate n / 12). Poličar, Stražar, Zupan: Embedding to reference t-SNE space,
    Machine Learning 2021 (rows placed later). McInnes, Healy, Melville: UMAP, arXiv:1802.03426.
    """
    settings = _check_settings(method, seed, perplexity)
    space = collection.space(space)
    ids, vectors = _read_vectors(collection, space)
    digests = _digest_vectors(vectors)

    # A stored map with the same settings may still hold, or need an update.
    layout = None
    stored = None if rebuild else _read_stored_map(collection, space, settings)
    if stored is not None:
        stored_rows = _match_rows(stored, ids, digests)
        all_match = bool((stored_rows >= 0).all())
        if all_match and len(stored.ids) == len(ids):
            return _to_map(stored, space, method)
        layout = _update(stored, stored_rows, vectors.astype(np.float32), settings)

    # Without one, all rows are laid out.
    if layout is None:
        layout = _make(vectors.astype(np.float32), settings)
    facts = _measure(vectors, layout, settings)
    new = maps.StoredMap(ids, layout.xy, layout.fitted, digests, facts)
    return _store(collection, new, space, method)


def read_map(
    collection: Table, *, space: str | None = None, method: Method = "tsne"
) -> Map | None:
    """Return the stored map of a Space, or None. It may lack rows that were added later.

    Raises
    ------
    InputError, SpaceError, CollectionError
        As for `make_map`.
    """
    space = collection.space(space)
    _check_settings(method, 0, "auto")
    path = collection.path
    stored = maps.read(path, space, method)
    if stored is None:
        return None
    return _to_map(stored, space, method)


def make_placer(
    collection: Table, map_: Map
) -> Callable[[VectorsF32], npt.NDArray[np.float64]]:
    """Return a function that gives vectors ``[m, dim]`` positions ``[m, 2]`` on a map.

    The vectors need not be rows, and the map does not change.

    Raises
    ------
    SpaceError
        If too few of the map's rows are left to place others by.
    """
    ids, vectors_f16 = collection.vectors(map_.space)
    is_stored = np.isin(map_.ids, ids)
    is_reference = is_stored & map_.fitted
    count = np.count_nonzero(is_reference)
    if count < MIN_LAYOUT_ROWS:
        raise SpaceError(
            f"The map of {map_.space} has too few rows to place others by: "
            f"{count}, expected {MIN_LAYOUT_ROWS}. Index more images, and rebuild the map."
        )

    # The reference, by whose rows others are placed.
    rows = np.searchsorted(ids, map_.ids[is_reference])
    vectors = vectors_f16[rows].astype(np.float32)
    project = fit_components(vectors, map_.seed)
    reference = project(vectors)
    xy = map_.xy[is_reference]
    positions = xy.astype(np.float64)
    method = str(map_.parameters["layout"])

    def place(new: VectorsF32) -> npt.NDArray[np.float64]:
        components = project(new)
        return transform(components, reference, positions, method)

    return place


@dataclass(frozen=True, slots=True, eq=False)
class _FittedLayout:
    """The positions of rows, whether each was fitted or placed, and the parameters."""

    xy: VectorsF32
    fitted: npt.NDArray[np.bool_]
    parameters: dict[str, Any]


def _make(vectors: VectorsF32, settings: LayoutSettings) -> _FittedLayout:
    """Lay out all rows."""
    with span("map principal components"):
        project = fit_components(vectors, settings.seed)
        components = project(vectors)
    with span("map positions"):
        positions, parameters = fit_layout(components, settings)
        xy = positions.astype(np.float32)
    fitted = np.ones(len(xy), np.bool_)
    return _FittedLayout(xy, fitted, parameters)


def _update(
    stored: maps.StoredMap,
    stored_rows: npt.NDArray[np.intp],
    vectors: VectorsF32,
    settings: LayoutSettings,
) -> _FittedLayout | None:
    """Remove rows from a stored map and place new ones on it. None if too few rows remain."""
    # The known rows stay as they are.
    count = len(stored_rows)
    is_known = stored_rows >= 0
    known_rows = stored_rows[is_known]
    fitted = np.zeros(count, np.bool_)
    fitted[is_known] = stored.fitted[known_rows]
    if fitted.sum() < MIN_LAYOUT_ROWS:
        return None
    xy = np.empty((count, 2), np.float32)
    xy[is_known] = stored.xy[known_rows]

    # The new rows are placed among the fitted ones.
    is_new = ~is_known
    if is_new.any():
        with span("place new rows"):
            fitted_vectors = vectors[fitted]
            project = fit_components(fitted_vectors, settings.seed)
            reference = project(fitted_vectors)
            positions = xy[fitted].astype(np.float64)
            new = project(vectors[is_new])
            xy[is_new] = transform(new, reference, positions, settings.method)
    parameters = dict(stored.facts["parameters"])
    return _FittedLayout(xy, fitted, parameters)


def _read_vectors(collection: Table, space: str) -> tuple[Ids, VectorsF16]:
    """Return the ids and vectors of a Space, or raise a SpaceError if it has none."""
    ids, vectors = collection.vectors(space)
    if not len(ids):
        raise SpaceError(
            f"The Space {space!r} of {collection.path} is empty: there is nothing to map. "
            f"Fill it with: lookalike index FOLDER -c {collection.path} --model {space}"
        )
    return ids, vectors


def _read_stored_map(
    collection: Table, space: str, settings: LayoutSettings
) -> maps.StoredMap | None:
    """Return the stored map of a Space, or None if it was made with other settings."""
    stored = maps.read(collection.path, space, settings.method)
    if stored is None or stored.facts["asked"] != settings.to_dict():
        return None
    return stored


def _measure(
    vectors: VectorsF16, layout: _FittedLayout, settings: LayoutSettings
) -> dict[str, Any]:
    """Return the facts that are stored with a layout, its fidelity among them."""
    with span("map fidelity"):
        fidelity = measure_fidelity(vectors, layout.xy, seed=settings.seed)
    return {
        "asked": settings.to_dict(),
        "parameters": layout.parameters,
        "fidelity": fidelity,
    }


def _match_rows(
    stored: maps.StoredMap, ids: Ids, digests: npt.NDArray[np.uint64]
) -> npt.NDArray[np.intp]:
    """Return the row of each id in a stored map, -1 for new ids and changed vectors."""
    last = len(stored.ids) - 1
    rows = np.searchsorted(stored.ids, ids)
    rows = np.minimum(rows, last)
    is_known = stored.ids[rows] == ids
    is_known &= stored.digests[rows] == digests
    rows[~is_known] = -1
    return rows


def _digest_vectors(vectors: VectorsF16) -> npt.NDArray[np.uint64]:
    """Return a hash of 64 bits of each vector."""
    rows = np.ascontiguousarray(vectors)
    digests = []
    for row in rows:
        digest = hashlib.blake2b(row, digest_size=8)
        digests.append(digest.digest())
    joined = b"".join(digests)
    little_endian = np.frombuffer(joined, "<u8")
    return little_endian.astype(np.uint64)


def _store(collection: Table, stored: maps.StoredMap, space: str, method: str) -> Map:
    """Store a map with its collection, unless that is read-only."""
    map_ = _to_map(stored, space, method)
    try:
        maps.write(collection.path, space, method, stored)
    except ReadOnlyError:
        return replace(map_, kept=False)
    return map_


def _to_map(stored: maps.StoredMap, space: str, method: str) -> Map:
    facts = stored.facts
    return Map(
        ids=stored.ids,
        xy=stored.xy,
        fitted=stored.fitted,
        space=space,
        method=method,
        seed=facts["asked"]["seed"],
        parameters=dict(facts["parameters"]),
        fidelity=dict(facts["fidelity"]),
    )


def _check_settings(
    method: str, seed: int, perplexity: float | Literal["auto"]
) -> LayoutSettings:
    """Return the settings of a layout, or raise an InputError."""
    if method not in METHODS:
        raise InputError(
            f"method = {method!r} is unknown; expected one of {', '.join(METHODS)}."
        )
    if not 0 <= seed < 2**32:
        raise InputError(
            f"seed = {seed} is out of range; expected a whole number from 0 to {2**32 - 1}."
        )
    if perplexity == "auto":
        return LayoutSettings(method, int(seed), "auto")
    if isinstance(perplexity, str) or not 1 <= perplexity < np.inf:
        raise InputError(
            f"perplexity = {perplexity!r} is invalid; expected a number from 1, or 'auto'."
        )
    if method != "tsne":
        raise InputError(
            f"perplexity = {perplexity} was given, but {METHODS[method]} has no such parameter. "
            "Leave it out."
        )
    return LayoutSettings(method, int(seed), float(perplexity))
