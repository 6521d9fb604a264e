"""The map of a collection: a place in the plane for every row of a Space, near where the vectors are near."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError, ReadOnlyError, SpaceError
from lookalike.projection.layouts import FEWEST, METHODS, Method, Recipe, lay_out, place, principal
from lookalike.projection.quality import fidelity
from lookalike.store import maps
from lookalike.store.table import Table
from lookalike.tracing import span

__all__ = ["METHODS", "REFIT_SHARE", "Map", "kept_map", "make_map", "placer"]

Places = npt.NDArray[np.float32]
# Above this share of rows that were placed and not fitted, a map says little of them as a whole.
REFIT_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A 2-D place for every row of a Space.

    Attributes
    ----------
    ids
        int64 ``[n]``, the rows' ids in the collection, rising.
    xy
        float32 ``[n, 2]``, in the method's own units.
    fitted
        bool ``[n]``: whether the row took part in making the map, or was placed on it later.
    space, method, seed
        What was mapped, and how: ``tsne``, ``pca`` or ``umap``.
    parameters
        What decided the places, as plain data.
    fidelity
        How well neighbourhoods are kept; see `lookalike.projection.quality.fidelity`.
    kept
        Whether the collection keeps it; one that may only be read cannot.
    """

    ids: npt.NDArray[np.int64]
    xy: Places
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
        return float(1 - self.fitted.mean())

    @property
    def worn(self) -> bool:
        """Whether so many rows were placed later that the map should be made afresh."""
        return self.placed_share > REFIT_SHARE

    @property
    def title(self) -> str:
        """What was mapped and how, for people."""
        return f"{METHODS[self.method]} map of {self.space}"

    @property
    def summary(self) -> str:
        """How many images there are and how faithful the map is, in one line for people."""
        parts = [f"{len(self):,} {'image' if len(self) == 1 else 'images'}"]
        if self.fidelity["trustworthiness"] is not None:
            kept = round(100 * self.fidelity["preservation"])
            parts.append(f"trustworthiness {self.fidelity['trustworthiness']:.3f}")
            parts.append(f"{kept} % of the {self.fidelity['k']} nearest neighbours kept")
        if not self.fitted.all():
            parts.append(f"{np.count_nonzero(~self.fitted):,} placed later")
        return " · ".join(parts)

    def unit_square(
        self, others: npt.NDArray[np.floating[Any]] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the places ``[n, 2]`` within the unit square, y downwards, both axes at one scale, in the middle.

        Or where `others`, ``[m, 2]`` in the method's own units, lie among them: perhaps outside of the square.
        """
        places = self.xy.astype(np.float64) * (1, -1)
        low, high = places.min(axis=0), places.max(axis=0)
        extent = float((high - low).max()) or 1.0
        asked = places if others is None else others.astype(np.float64) * (1, -1)
        unit: npt.NDArray[np.float64] = (asked - (low + high) / 2) / extent + 0.5
        return unit

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain data, its points in columns: what ``lookalike map --json`` prints."""
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
    fresh: bool = False,
) -> Map:
    """Return the map of a Space; it is kept with the collection, and made only where the kept one does not do.

    A kept map made with the same seed and perplexity is returned as it is while the rows are the same. Rows that are
    new, or whose picture has changed, are placed on it without moving any other; rows that are gone leave it. An
    interrupt leaves the kept map as it was.

    Parameters
    ----------
    collection
        Where the vectors are.
    space
        Which Space; None for the collection's first.
    method
        ``tsne`` (t-SNE of the 50 first principal components), ``pca`` (the first two) or ``umap`` (needs umap-learn).
    seed
        Of all that is random: the same seed and rows give the same map.
    perplexity
        Neighbours that t-SNE holds a row near to, at least 1, at most a third of the other rows; ``auto`` is 30.
    fresh
        Whether to make the map anew although one is kept.

    Raises
    ------
    InputError
        If an argument has no meaning, or umap-learn is asked for and not installed.
    SpaceError
        If the collection has no such Space, or no vector in it.
    CollectionError
        If the collection or its kept map cannot be read, or the map not be written. In a collection that may only be
        read, the map is made and not kept.

    References
    ----------
    van der Maaten, Hinton: Visualizing Data using t-SNE, JMLR 2008. Kobak, Berens: The art of using t-SNE for
    single-cell transcriptomics, Nature Communications 2019 (start from PCA, learning rate n / 12). Poličar, Stražar,
    Zupan: Embedding to reference t-SNE space, Machine Learning 2021 (rows placed later). McInnes, Healy, Melville:
    UMAP, arXiv:1802.03426.
    """
    recipe = _recipe(method, seed, perplexity)
    name = collection.space(space)
    ids, halves = collection.vectors(name)
    if not len(ids):
        raise SpaceError(
            f"The Space {name!r} of {collection.path} is empty: there is nothing to map. "
            f"Fill it with: lookalike index FOLDER -c {collection.path} --model {name}"
        )
    digests = _digests(halves)
    kept = None if fresh else maps.read(collection.path, name, method)
    if kept is not None and kept.facts["asked"] == recipe.asked():
        same = _same(kept, ids, digests)
        if (same >= 0).all() and len(kept.ids) == len(ids):
            return _as_map(kept, name, method)
        updated = _update(kept, same, halves.astype(np.float32), recipe)
    else:
        updated = None
    xy, fitted, parameters = updated or _make(halves.astype(np.float32), recipe)
    with span("map fidelity"):
        measured = fidelity(halves, xy, seed=seed)
    facts = {"asked": recipe.asked(), "parameters": parameters, "fidelity": measured}
    kept = maps.StoredMap(ids, xy, fitted, digests, facts)
    return _keep(collection, kept, name, method)


def kept_map(collection: Table, *, space: str | None = None, method: Method = "tsne") -> Map | None:
    """Return the map of a Space that the collection keeps, as it was last made; None if there is none.

    Raises
    ------
    InputError, SpaceError, CollectionError
        As for `make_map`.
    """
    name = collection.space(space)
    kept = maps.read(collection.path, name, _recipe(method, 0, "auto").method)
    return None if kept is None else _as_map(kept, name, method)


def placer(collection: Table, plane: Map) -> Callable[[Places], npt.NDArray[np.float64]]:
    """Return what gives vectors ``[m, dim]`` that are no rows a place ``[m, 2]`` on a map, which itself stays as it is.

    Raises
    ------
    SpaceError
        If so few of the map's rows are left that no place can be told by them.
    """
    ids, halves = collection.vectors(plane.space)
    there = np.isin(plane.ids, ids) & plane.fitted
    if there.sum() < FEWEST:
        raise SpaceError(
            f"The map of {plane.space} has too few rows to place others by: {there.sum()}, expected {FEWEST}. "
            "Index more pictures, and make it anew."
        )
    vectors = halves[np.searchsorted(ids, plane.ids[there])].astype(np.float32)
    project = principal(vectors, plane.seed)
    anchors, places = project(vectors), plane.xy[there].astype(np.float64)
    layout = str(plane.parameters["layout"])
    return lambda news: place(project(news), anchors, places, layout)


def _recipe(method: str, seed: int, perplexity: float | Literal["auto"]) -> Recipe:
    if method not in METHODS:
        raise InputError(f"method = {method!r} is not known; expected one of {', '.join(METHODS)}.")
    if not 0 <= seed < 2**32:
        raise InputError(
            f"seed = {seed} is out of range; expected a whole number from 0 to {2**32 - 1}."
        )
    if perplexity == "auto":
        return Recipe(method, int(seed), "auto")
    if isinstance(perplexity, str) or not 1 <= perplexity < np.inf:
        raise InputError(
            f"perplexity = {perplexity!r} is not possible; expected a number from 1, or 'auto'."
        )
    if method != "tsne":
        raise InputError(
            f"perplexity = {perplexity} was given, but {METHODS[method]} has none. Leave it out."
        )
    return Recipe(method, int(seed), float(perplexity))


def _keep(collection: Table, kept: maps.StoredMap, space: str, method: str) -> Map:
    """Keep a map with the collection, if that can be written."""
    made = _as_map(kept, space, method)
    try:
        maps.write(collection.path, space, method, kept)
    except ReadOnlyError:
        return replace(made, kept=False)
    return made


def _as_map(kept: maps.StoredMap, space: str, method: str) -> Map:
    facts = kept.facts
    seed, parameters, measured = (
        facts["asked"]["seed"],
        dict(facts["parameters"]),
        dict(facts["fidelity"]),
    )
    return Map(kept.ids, kept.xy, kept.fitted, space, method, seed, parameters, measured)


def _digests(halves: npt.NDArray[np.float16]) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each vector that differ whenever it does."""
    hashes = (hashlib.blake2b(row, digest_size=8).digest() for row in np.ascontiguousarray(halves))
    return np.frombuffer(b"".join(hashes), "<u8").astype(np.uint64)


def _same(
    kept: maps.StoredMap, ids: npt.NDArray[np.int64], digests: npt.NDArray[np.uint64]
) -> npt.NDArray[np.intp]:
    """Return for each row of the collection its row in the kept map; -1 if it is new or has changed."""
    at = np.minimum(np.searchsorted(kept.ids, ids), len(kept.ids) - 1)
    known = (kept.ids[at] == ids) & (kept.digests[at] == digests)
    return np.where(known, at, -1)


def _make(vectors: Places, recipe: Recipe) -> tuple[Places, npt.NDArray[np.bool_], dict[str, Any]]:
    """Make a map of all rows."""
    with span("map principal components"):
        components = principal(vectors, recipe.seed)(vectors)
    with span("map places"):
        xy, parameters = lay_out(components, recipe)
    return xy.astype(np.float32), np.ones(len(vectors), np.bool_), parameters


def _update(
    kept: maps.StoredMap, same: npt.NDArray[np.intp], vectors: Places, recipe: Recipe
) -> tuple[Places, npt.NDArray[np.bool_], dict[str, Any]] | None:
    """Drop from a kept map what is gone and place on it what is new; None if too little of it is left."""
    known = same >= 0
    fitted = np.zeros(len(same), np.bool_)
    fitted[known] = kept.fitted[same[known]]
    if fitted.sum() < FEWEST:
        return None
    xy = np.empty((len(same), 2), np.float32)
    xy[known] = kept.xy[same[known]]
    if not known.all():
        with span("place new rows"):
            project = principal(vectors[fitted], recipe.seed)
            anchors, places = project(vectors[fitted]), xy[fitted].astype(np.float64)
            xy[~known] = place(project(vectors[~known]), anchors, places, recipe.method)
    return xy, fitted, dict(kept.facts["parameters"])
