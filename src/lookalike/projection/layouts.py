"""Layouts of a map: from vectors to places in the plane, by t-SNE, UMAP or principal components."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError
from lookalike.vectors import k_nearest

__all__ = ["FEWEST", "METHODS", "Method", "Recipe", "lay_out", "place", "principal", "tsne"]

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.float64]
Method = Literal["tsne", "pca", "umap"]

METHODS = {"tsne": "t-SNE", "pca": "PCA", "umap": "UMAP"}

_COMPONENTS = 50
_PERPLEXITY = 30.0
_UMAP_NEIGHBOURS = 15
# Fewer rows have no neighbourhoods that t-SNE or UMAP could keep.
FEWEST = 8
# Fewer rows are mapped sooner by one thread; the places are the same.
_MANY = 1500
# Beyond so many rows approximate neighbours (Annoy) and FIt-SNE overtake exact neighbours and Barnes-Hut.
_LARGE = 20_000


class Recipe(NamedTuple):
    """How a map is to be made: what `make_map` was given."""

    method: str
    seed: int
    perplexity: float | Literal["auto"]

    def asked(self) -> dict[str, Any]:
        """Return what must be the same for a kept map to do."""
        return {"seed": self.seed, "perplexity": self.perplexity}


def principal(fitted: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Return the projection of rows ``[m, dim]`` on the principal components of some, ``[m, 50]`` or fewer."""
    from sklearn.decomposition import PCA

    count = min(_COMPONENTS, *fitted.shape)
    # Rows that are all the same have no variance to take shares of.
    with np.errstate(invalid="ignore", divide="ignore"):
        components = PCA(count, random_state=seed).fit(fitted)

    def project(rows: Floats) -> Floats:
        projected = components.transform(rows).astype(np.float32)
        return projected if count > 1 else np.pad(projected, ((0, 0), (0, 1)))

    return project


def lay_out(components: Floats, recipe: Recipe) -> tuple[Places, dict[str, Any]]:
    """Return a place for each row, ``[n, 2]``, and what decided it as plain data.

    Fewer than `FEWEST` rows lie by their first two components, whatever the method.

    Raises
    ------
    InputError
        If UMAP is asked for and umap-learn is not installed.
    """
    method = recipe.method if len(components) >= FEWEST else "pca"
    places, parameters = _MAKERS[method](components, recipe)
    return places, {"layout": method, "components": components.shape[1], **parameters}


def place(news: Floats, anchors: Floats, places: Places, method: str) -> Places:
    """Return places ``[m, 2]`` for new rows among others that keep theirs.

    Parameters
    ----------
    news, anchors
        The components of the new rows ``[m, 50]`` and of those that have a place ``[n, 50]``.
    places
        ``[n, 2]``, what `lay_out` gave the others.
    method
        The one by which it did.
    """
    return _PLACERS[method](anchors, places, news)


def tsne(x: Floats, recipe: Recipe) -> tuple[Places, dict[str, Any]]:
    """Return the t-SNE of components ``[n, 2 or more]``: places ``[n, 2]``, and what decided them."""
    from openTSNE import TSNE, affinity, nearest_neighbors

    asked = _PERPLEXITY if recipe.perplexity == "auto" else recipe.perplexity
    perplexity = min(asked, (len(x) - 1) / 3)
    k = min(len(x) - 1, int(3 * perplexity))
    jobs = _jobs(len(x))
    if len(x) <= _LARGE:
        index = nearest_neighbors.PrecomputedNeighbors(*k_nearest(x, x, k, own=np.arange(len(x))))
    else:
        # In one thread: several would grow the trees in an order that the seed does not decide.
        index = nearest_neighbors.Annoy(x, k, n_jobs=1, random_state=recipe.seed)
    affinities = affinity.PerplexityBasedNN(knn_index=index, perplexity=perplexity, n_jobs=jobs)
    gradient = _gradient(len(x))
    start = _start(x, recipe.seed)
    optimiser = TSNE(
        n_jobs=jobs, random_state=recipe.seed, negative_gradient_method=_descent(gradient)
    )
    embedding = optimiser.fit(affinities=affinities, initialization=start)
    return np.asarray(embedding), {
        "perplexity": perplexity,
        "start": "pca",
        "gradient": gradient,
        "library": f"openTSNE {version('openTSNE')}",
    }


def _gradient(rows: int) -> str:
    return "bh" if rows <= _LARGE else "fft"


def _descent(gradient: str) -> Any:
    """Return what openTSNE takes for a gradient; an interrupt would find Barnes-Hut's tree half made, and crash."""
    if gradient != "bh":
        return gradient
    from openTSNE.tsne import kl_divergence_bh

    def step(*args: Any, **kwargs: Any) -> Any:
        with _interrupts_wait():
            return kl_divergence_bh(*args, **kwargs)

    return step


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C take effect only once the block has ended."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield  # only the main thread is ever interrupted
        return
    caught: list[Any] = []
    signal.signal(signal.SIGINT, lambda *arguments: caught.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if caught:
        usual(*caught[0])


def _jobs(rows: int) -> int:
    """Return how many threads to use, -1 for one a core: for few rows they would only wait for one another."""
    return -1 if rows > _MANY else 1


def _start(x: Floats, seed: int) -> Places:
    """Return the first two components, small (1e-4) as t-SNE wants them, a little scattered to part equal rows."""
    spread = float(x[:, 0].std()) or 1.0
    scatter = np.random.default_rng(seed).standard_normal((len(x), 2))
    return 1e-4 * (x[:, :2] / spread + 0.01 * scatter)


def _place_tsne(anchors: Floats, places: Places, news: Floats) -> Places:
    """Let new rows find their places among fitted ones that stay, each for itself."""
    from openTSNE import PartialTSNEEmbedding, TSNEEmbedding, affinity
    from scipy.sparse import csr_matrix

    perplexity, jobs = min(5.0, len(anchors) / 3), _jobs(len(anchors))
    near, distances = k_nearest(news, anchors, min(len(anchors), int(3 * perplexity)))
    pull = affinity.joint_probabilities_nn(
        near, distances, [perplexity], symmetrize=False, normalization="point-wise",
        n_reference_samples=len(anchors), n_jobs=jobs,
    )  # fmt: skip
    # openTSNE centres what it places upon; nothing pulls at that, so it has no affinities of its own.
    centre = (places.max(axis=0) + places.min(axis=0)) / 2
    none = affinity.PrecomputedAffinities(csr_matrix((len(anchors), len(anchors))), normalize=False)
    settings = {"negative_gradient_method": _descent(_gradient(len(anchors))), "n_jobs": jobs}
    fixed = TSNEEmbedding(places - centre, none, **settings)
    start = np.median(fixed[near], axis=1)
    partial = PartialTSNEEmbedding(start, fixed, P=pull, **fixed.gradient_descent_params)
    # What `TSNEEmbedding.transform` does by default.
    partial.optimize(
        250, inplace=True, learning_rate=0.1, exaggeration=1.5, momentum=0.8, max_grad_norm=0.25
    )
    placed: Places = np.asarray(partial) + centre
    return placed


def _pca(x: Floats, _: Recipe) -> tuple[Places, dict[str, Any]]:
    return x[:, :2].astype(np.float64), {"library": f"scikit-learn {version('scikit-learn')}"}


def _place_pca(anchors: Floats, places: Places, news: Floats) -> Places:
    """Carry on the linear map that took the fitted rows to their places."""
    solution, *_ = np.linalg.lstsq(np.pad(anchors, ((0, 0), (0, 1)), constant_values=1), places)
    placed: Places = np.pad(news, ((0, 0), (0, 1)), constant_values=1) @ solution
    return placed


def _umap(x: Floats, recipe: Recipe) -> tuple[Places, dict[str, Any]]:
    with warnings.catch_warnings():
        # UMAP speaks of TensorFlow, which is for another kind of UMAP.
        warnings.simplefilter("ignore", ImportWarning)
        try:
            from umap import UMAP
        except ImportError as error:
            raise InputError(
                "method = 'umap' needs the package umap-learn, which is not installed. "
                "Install it with: pip install lookalike[umap] - or use 'tsne'."
            ) from error
    count = min(_UMAP_NEIGHBOURS, len(x) - 1)
    start = _start(x, recipe.seed) * 1e5
    places = UMAP(n_neighbors=count, init=start, random_state=recipe.seed, n_jobs=1).fit_transform(
        x
    )
    return np.asarray(places, np.float64), {
        "neighbours": count,
        "start": "pca",
        "library": f"umap-learn {version('umap-learn')}",
    }


def _place_umap(anchors: Floats, places: Places, news: Floats) -> Places:
    """Put each new row amid its nearest fitted ones, where UMAP itself would begin to look for its place."""
    near, _ = k_nearest(news, anchors, min(len(anchors), _UMAP_NEIGHBOURS))
    middle: Places = np.median(places[near], axis=1)
    return middle


_MAKERS = MappingProxyType({"tsne": tsne, "pca": _pca, "umap": _umap})
_PLACERS = MappingProxyType({"tsne": _place_tsne, "pca": _place_pca, "umap": _place_umap})
