"""Methods that lay out vectors in the plane: t-SNE, UMAP and principal components."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from lookalike.errors import InputError
from lookalike.types import VectorsF32
from lookalike.vectors import k_nearest

__all__ = [
    "METHODS",
    "MIN_LAYOUT_ROWS",
    "LayoutMethod",
    "LayoutSettings",
    "Method",
    "Pca",
    "TSne",
    "Umap",
    "fit_components",
    "fit_layout",
    "transform",
]

Positions = npt.NDArray[np.float64]
Method = Literal["tsne", "pca", "umap"]

# Fewer rows have no neighborhoods that t-SNE or UMAP could keep.
MIN_LAYOUT_ROWS = 8

_COMPONENTS = 50
_PERPLEXITY = 30.0
_UMAP_NEIGHBORS = 15

# Up to this number of rows, one thread is faster than several. The positions are the same.
_MAX_SINGLE_THREAD_ROWS = 1500

# Up to this number of rows, exact neighbors and Barnes-Hut are faster than approximate neighbors
# (Annoy) and FIt-SNE.
_MAX_EXACT_ROWS = 20_000

# Up to this number of pairs of a new row and a row of the map, comparing each pair is faster than
# both. A single query is placed in a fraction of a second instead of several.
_MAX_EXACT_PAIRS = 500_000


# Functions of umap-learn, by module, that it compiles in each process.
_SLOWLY_COMPILED = (
    ("umap_", "smooth_knn_dist"),
    ("umap_", "compute_membership_strengths"),
    ("layouts", "_nb_optimize_layout_euclidean_single_epoch"),
)


class LayoutSettings(NamedTuple):
    """The arguments of `make_map` that decide a layout."""

    method: str
    seed: int
    perplexity: float | Literal["auto"]

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that a stored map must share to be used again."""
        settings = self._asdict()
        # The method is in the name of a map's file.
        del settings["method"]
        return settings


class LayoutMethod(Protocol):
    """A method that gives each row a position in the plane."""

    title: str

    def fit(
        self, components: VectorsF32, settings: LayoutSettings
    ) -> tuple[Positions, dict[str, Any]]:
        """Return positions ``[n, 2]`` of components ``[n, 2 to 50]``, and their parameters."""
        ...

    def transform(
        self, new: VectorsF32, reference: VectorsF32, positions: Positions
    ) -> Positions:
        """Return positions ``[m, 2]`` of new components among fixed ones; see `transform`."""
        ...


def fit_components(
    vectors: VectorsF32, seed: int
) -> Callable[[VectorsF32], VectorsF32]:
    """Return the projection of vectors ``[m, dim]`` on the principal components of others.

    The projection has 50 components, or fewer where there are fewer dimensions or vectors, and at
    least 2.
    """
    from sklearn.decomposition import PCA

    count = min(_COMPONENTS, *vectors.shape)
    pca = PCA(count, random_state=seed)
    # Equal rows have no variance, of which scikit-learn computes the components' shares.
    with np.errstate(invalid="ignore", divide="ignore"):
        pca.fit(vectors)

    def project(rows: VectorsF32) -> VectorsF32:
        projected = pca.transform(rows)
        components: VectorsF32 = projected.astype(np.float32)
        if count == 1:
            components = _add_column(components, 0)
        return components

    return project


def _add_column(components: VectorsF32, value: float) -> VectorsF32:
    """Return the components with one more column, which has the same value in every row."""
    one_after = ((0, 0), (0, 1))
    return np.pad(components, one_after, constant_values=value)


def fit_layout(
    components: VectorsF32, settings: LayoutSettings
) -> tuple[Positions, dict[str, Any]]:
    """Return a position for each row, ``[n, 2]``, and the parameters as plain data.

    Fewer than `MIN_LAYOUT_ROWS` rows are laid out by their first two components with every method.

    Raises
    ------
    InputError
        If the method is UMAP and umap-learn is not installed.
    """
    method = settings.method
    if len(components) < MIN_LAYOUT_ROWS:
        method = "pca"
    layout = _LAYOUTS[method]
    positions, parameters = layout.fit(components, settings)
    common = {"layout": method, "components": components.shape[1]}
    return positions, common | parameters


def transform(
    new: VectorsF32, reference: VectorsF32, positions: Positions, method: str
) -> Positions:
    """Return positions ``[m, 2]`` for new rows. The positions of the other rows stay fixed.

    Parameters
    ----------
    new, reference
        The components of the new rows ``[m, 50]`` and of the rows with a position ``[n, 50]``.
    positions
        ``[n, 2]``, the positions that `fit_layout` gave the reference.
    method
        The method of that layout.
    """
    layout = _LAYOUTS[method]
    return layout.transform(new, reference, positions)


def _reference_affinities(
    new: VectorsF32, reference: VectorsF32, threads: int
) -> tuple[npt.NDArray[np.intp], Any]:
    """Return the nearest reference rows of each new row, and its affinities to them."""
    from openTSNE.affinity import joint_probabilities_nn

    rows = len(reference)
    perplexity = min(5.0, rows / 3)
    k = min(rows, int(3 * perplexity))
    neighbors, distances = k_nearest(new, reference, k)
    affinities = joint_probabilities_nn(
        neighbors,
        distances,
        [perplexity],
        symmetrize=False,
        normalization="point-wise",
        n_reference_samples=rows,
        n_jobs=threads,
    )
    return neighbors, affinities


def _fixed_embedding(positions: Positions, gradient: str, threads: int) -> Any:
    """Return openTSNE's embedding of a reference that stays fixed."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PrecomputedAffinities
    from scipy.sparse import csr_matrix

    # It needs no affinities of its own.
    rows = len(positions)
    empty = csr_matrix((rows, rows))
    no_affinities = PrecomputedAffinities(empty, normalize=False)
    return TSNEEmbedding(
        positions,
        no_affinities,
        negative_gradient_method=_interruptible(gradient),
        n_jobs=threads,
    )


def _optimize_placed(
    initialization: Positions, embedding: Any, affinities: Any
) -> Positions:
    """Return the positions of new rows after gradient descent among a fixed embedding."""
    from openTSNE import PartialTSNEEmbedding

    parameters = embedding.gradient_descent_params
    partial = PartialTSNEEmbedding(
        initialization, embedding, P=affinities, **parameters
    )
    partial.optimize(
        250,
        inplace=True,
        learning_rate=0.1,
        exaggeration=1.5,
        momentum=0.8,
        max_grad_norm=0.25,
    )
    return np.asarray(partial)


class TSne:
    """t-SNE of openTSNE, started from the principal components."""

    title = "t-SNE"

    def fit(
        self, components: VectorsF32, settings: LayoutSettings
    ) -> tuple[Positions, dict[str, Any]]:
        """Fit affinities and optimize positions, as van der Maaten and Hinton (2008) describe."""
        from openTSNE import TSNE, affinity

        rows = len(components)
        threads = _layout_threads(rows)
        perplexity = _PERPLEXITY
        if settings.perplexity != "auto":
            perplexity = settings.perplexity
        highest_perplexity = (rows - 1) / 3
        perplexity = min(perplexity, highest_perplexity)

        # 1. Affinities between near rows in the Space.
        neighbors = self._neighbors(components, perplexity, settings.seed)
        affinities = affinity.PerplexityBasedNN(
            knn_index=neighbors, perplexity=perplexity, n_jobs=threads
        )

        # 2. Initial positions, and 3. gradient descent from there.
        initialization = _initialize(components, settings.seed)
        gradient = self._gradient(rows)
        optimizer = TSNE(
            n_jobs=threads,
            random_state=settings.seed,
            negative_gradient_method=_interruptible(gradient),
        )
        embedding = optimizer.fit(affinities=affinities, initialization=initialization)
        positions = np.asarray(embedding)
        return positions, {
            "perplexity": perplexity,
            "start": "pca",
            "gradient": gradient,
            "library": f"openTSNE {version('openTSNE')}",
        }

    def transform(
        self, new: VectorsF32, reference: VectorsF32, positions: Positions
    ) -> Positions:
        """Optimize each new position by itself, with openTSNE's defaults for `transform`."""
        rows = len(reference)
        threads = _layout_threads(rows)
        gradient = self._gradient(rows)
        if len(new) * rows <= _MAX_EXACT_PAIRS:
            gradient = "exact"

        # 1. Affinities of the new rows to the reference.
        neighbors, affinities = _reference_affinities(new, reference, threads)

        # openTSNE centers the reference.
        highest = positions.max(axis=0)
        lowest = positions.min(axis=0)
        center = (highest + lowest) / 2
        embedding = _fixed_embedding(positions - center, gradient, threads)

        # 2. Initial positions amid the nearest neighbors, and 3. gradient descent from there.
        initialization = np.median(embedding[neighbors], axis=1)
        placed = _optimize_placed(initialization, embedding, affinities)
        uncentered: Positions = placed + center
        return uncentered

    @staticmethod
    def _neighbors(components: VectorsF32, perplexity: float, seed: int) -> Any:
        """Return openTSNE's index of 3 x perplexity nearest neighbors, exact for fewer rows."""
        from openTSNE.nearest_neighbors import Annoy, PrecomputedNeighbors

        rows = len(components)
        wanted = int(3 * perplexity)
        k = min(wanted, rows - 1)
        if rows > _MAX_EXACT_ROWS:
            # Several threads would grow Annoy's trees in an order that the seed does not decide.
            return Annoy(components, k, n_jobs=1, random_state=seed)
        every_row = np.arange(rows)
        neighbors, distances = k_nearest(components, components, k, own=every_row)
        return PrecomputedNeighbors(neighbors, distances)

    @staticmethod
    def _gradient(rows: int) -> str:
        """Return openTSNE's name for Barnes-Hut or FIt-SNE."""
        if rows <= _MAX_EXACT_ROWS:
            return "bh"
        return "fft"


class Pca:
    """The first two principal components."""

    title = "PCA"

    def fit(
        self, components: VectorsF32, settings: LayoutSettings
    ) -> tuple[Positions, dict[str, Any]]:
        """Return the first two components themselves."""
        del settings
        first_two = components[:, :2]
        positions = first_two.astype(np.float64)
        library = f"scikit-learn {version('scikit-learn')}"
        return positions, {"library": library}

    def transform(
        self, new: VectorsF32, reference: VectorsF32, positions: Positions
    ) -> Positions:
        """Apply the affine map that takes the reference to its positions."""
        # A column of ones, whose coefficients are the map's offset.
        known = _add_column(reference, 1)
        solution = np.linalg.lstsq(known, positions)
        affine = solution[0]
        placed: Positions = _add_column(new, 1) @ affine
        return placed


def _import_umap() -> Any:
    """Return the module of umap-learn, an optional package."""
    with warnings.catch_warnings():
        # UMAP warns that TensorFlow is missing, which only parametric UMAP needs.
        warnings.simplefilter("ignore", ImportWarning)
        try:
            import umap
        except ImportError as error:
            raise InputError(
                "method = 'umap' needs the package umap-learn, which is not installed. "
                "Install it with: pip install lookalike[umap] - or use 'tsne'."
            ) from error
    return umap


def _cache_compiled(umap: Any) -> None:
    """Let Numba store what it compiles for a map of UMAP, which takes most of a small map's time.

    It is stored beside umap-learn, or in the user's cache where that folder is read-only.
    """
    for module, name in _SLOWLY_COMPILED:
        functions = getattr(umap, module)
        function = getattr(functions, name, None)
        if function is None:
            continue
        # Neither folder can be written: it is compiled in each process.
        with suppress(RuntimeError):
            function.enable_caching()


class Umap:
    """UMAP of umap-learn, an optional package, started from the principal components."""

    title = "UMAP"

    def fit(
        self, components: VectorsF32, settings: LayoutSettings
    ) -> tuple[Positions, dict[str, Any]]:
        """Optimize positions, as McInnes, Healy and Melville (2018) describe."""
        umap = _import_umap()
        _cache_compiled(umap)
        neighbors = min(_UMAP_NEIGHBORS, len(components) - 1)
        initialization = _initialize(components, settings.seed)
        # UMAP expects positions of about 10 units.
        initialization *= 1e5
        optimizer = umap.UMAP(
            n_neighbors=neighbors,
            init=initialization,
            random_state=settings.seed,
            n_jobs=1,
            precomputed_knn=self._neighbors(components, neighbors),
        )
        with warnings.catch_warnings():
            # UMAP warns that it cannot place other rows later. `transform` places them.
            warnings.filterwarnings("ignore", message="precomputed_knn")
            embedding = optimizer.fit_transform(components)
        positions = np.asarray(embedding, np.float64)
        return positions, {
            "neighbors": neighbors,
            "start": "pca",
            "library": f"umap-learn {version('umap-learn')}",
        }

    def transform(
        self, new: VectorsF32, reference: VectorsF32, positions: Positions
    ) -> Positions:
        """Return the median position of the nearest neighbors, where UMAP starts optimizing."""
        k = min(len(reference), _UMAP_NEIGHBORS)
        rows, _ = k_nearest(new, reference, k)
        neighbors = positions[rows]
        median: Positions = np.median(neighbors, axis=1)
        return median

    @staticmethod
    def _neighbors(components: VectorsF32, count: int) -> tuple[Any, ...]:
        """Return the nearest neighbors of each row and their distances, exact for fewer rows.

        UMAP finds them itself for more. Its own search is compiled first, which takes longer
        than the exact one.
        """
        rows = len(components)
        if rows > _MAX_EXACT_ROWS:
            return (None, None, None)
        every_row = np.arange(rows)
        others, distances = k_nearest(components, components, count - 1, own=every_row)
        # UMAP expects each row to be the first of its own neighbors.
        neighbors = np.column_stack([every_row, others])
        to_itself = np.zeros(rows, np.float32)
        return neighbors, np.column_stack([to_itself, distances])


_LAYOUTS: Mapping[str, LayoutMethod] = MappingProxyType(
    {"tsne": TSne(), "pca": Pca(), "umap": Umap()}
)

# The title of each method.
METHODS = {method: layout.title for method, layout in _LAYOUTS.items()}


def _layout_threads(rows: int) -> int:
    """Return the number of threads to use, -1 for one per core. Few rows need only one."""
    if rows > _MAX_SINGLE_THREAD_ROWS:
        return -1
    return 1


def _initialize(components: VectorsF32, seed: int) -> Positions:
    """Return the first two components, scaled to the small positions (1e-4) that t-SNE needs.

    A little noise separates equal rows.
    """
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal((len(components), 2))
    noise *= 0.01

    first_two = components[:, :2]
    deviation = first_two[:, 0].std()
    scale = float(deviation) or 1.0
    positions = first_two / scale
    positions = positions + noise
    positions *= 1e-4
    return positions


def _interruptible(gradient: str) -> Any:
    """Return openTSNE's gradient, protected from Ctrl-C where that would crash the process.

    An interrupt while Barnes-Hut builds its tree leaves the tree incomplete.
    """
    if gradient == "exact":
        return _exact_gradient
    if gradient != "bh":
        return gradient
    from openTSNE.tsne import kl_divergence_bh

    def compute(*args: Any, **kwargs: Any) -> Any:
        with _delay_interrupts():
            return kl_divergence_bh(*args, **kwargs)

    return compute


def _exact_gradient(
    embedding: Positions,
    affinities: Any,
    *,
    dof: float,
    reference_embedding: Positions,
    **_: Any,
) -> tuple[float, Positions]:
    """Return the gradient of new positions among fixed ones, from each pair of them.

    It takes the place of openTSNE's approximations (`kl_divergence_bh`), with their arguments and
    their scale. The divergence is not computed.
    """
    assert dof == 1  # noqa: S101 (the degrees of freedom of t-SNE; nothing here sets others)
    new = np.asarray(embedding)
    reference = np.asarray(reference_embedding)

    # The similarity of each pair on the map: a t-distribution with one degree of freedom.
    offsets = new[:, np.newaxis] - reference
    squared = (offsets**2).sum(axis=2)
    similarities = 1 / (1 + squared)

    # Repulsion from every row, attraction to the neighbors in the Space.
    totals = similarities.sum(axis=1, keepdims=True)
    repulsions = similarities**2 / totals
    attractions = affinities.multiply(similarities).toarray()
    forces = attractions - repulsions
    gradient = np.einsum("mn,mnd->md", forces, offsets)
    return 0.0, gradient


@contextmanager
def _delay_interrupts() -> Iterator[None]:
    """Handle Ctrl-C only after the block has ended."""
    handler = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    # Only the main thread is ever interrupted.
    if not is_main or not callable(handler):
        yield
        return

    # Note interrupts during the block, and handle the first one after it.
    interrupts: list[Any] = []
    signal.signal(signal.SIGINT, lambda *arguments: interrupts.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if interrupts:
        handler(*interrupts[0])
