"""The public object: a collection that is indexed, searched, evaluated and maintained."""

# Each method imports the package that does its work: opening and searching a collection must load
# neither the evaluation nor the map, and `import lookalike.collection` none of them.

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import platformdirs

from lookalike.store.table import Table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from lookalike.duplicates.find import OnProgress
    from lookalike.duplicates.groups import Duplicates
    from lookalike.evaluation.absent import AbsentScores
    from lookalike.evaluation.scores import Evaluation
    from lookalike.evaluation.texts import TextEvaluation
    from lookalike.imaging import RegionInput
    from lookalike.indexing.run import IndexReport, IndexSettings
    from lookalike.indexing.tags import TagRemoval, TagReport
    from lookalike.learning.report import TuneReport
    from lookalike.maintenance.backup import BackupReport
    from lookalike.maintenance.integrity import CheckReport
    from lookalike.maintenance.move import MoveReport
    from lookalike.maintenance.optimize import OptimizeReport
    from lookalike.models.explanation import Explanation
    from lookalike.projection.layouts import Method
    from lookalike.projection.map import Map
    from lookalike.retrieval.confidence import CalibrationState, SpaceCalibration
    from lookalike.retrieval.explain import Explainer, ImageInput
    from lookalike.retrieval.query import Queries, QueryInput
    from lookalike.retrieval.request import SearchOptions
    from lookalike.retrieval.search import Searcher
    from lookalike.review.results import Review
    from lookalike.sources import Source, SourceOptions
    from lookalike.store.trash import RestoreReport
    from lookalike.types import Kind, Matches, Model, Purpose

__all__ = ["Collection", "collections_folder", "default_path"]


def default_path() -> str:
    """Return the path of the default collection.

    It is the value of ``LOOKALIKE_COLLECTION``, or else the folder ``default`` in the user's data
    folder.
    """
    named = os.environ.get("LOOKALIKE_COLLECTION")
    if named:
        return named
    return str(collections_folder() / "default")


def collections_folder() -> Path:
    """Return the folder of the collections that have a name only: the user's data folder."""
    folder = platformdirs.user_data_dir("lookalike", appauthor=False)
    return Path(folder)


class Collection:
    """A collection of images with one or more Spaces.

    It reads one version of its table until `refresh` or a change of its own moves it to a newer
    one. The first search of a Space loads its embedder and its vectors; later searches reuse them.

    Parameters
    ----------
    table
        The table that holds the images; `open` and `create` make it.

    Attributes
    ----------
    table
        The table that holds the images.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._searchers: dict[str, Searcher] = {}
        self._explainers: dict[str, Explainer] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str] | None = None) -> Collection:
        """Open an existing collection at its newest version; None opens the default one.

        Raises
        ------
        CollectionError
            If the path holds no collection, or the collection is damaged or written by a newer
            Lookalike.
        """
        if path is None:
            path = default_path()
        table = Table.open(path)
        return cls(table)

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], models: Sequence[str | Path | Model]
    ) -> Collection:
        """Create an empty collection with one Space for each model.

        Parameters
        ----------
        path
            A folder that is new or empty.
        models
            Names of the catalog, paths to ``.onnx`` or ``.toml`` files, or Models.

        Raises
        ------
        CollectionError
            If the folder already holds something or cannot be written.
        ModelError
            If a model is unknown.
        """
        from lookalike.models import registry

        resolved = []
        for model in models:
            resolved.append(registry.resolve(model))
        table = Table.create(path, resolved)
        return cls(table)

    @staticmethod
    def exists(path: str | os.PathLike[str]) -> bool:
        """Return whether a path holds a collection."""
        return Table.exists(path)

    @property
    def path(self) -> str:
        """The folder that holds the collection."""
        return self.table.path

    @property
    def version(self) -> int:
        """The number of the version that is read; each commit makes a new one."""
        return self.table.version

    @property
    def models(self) -> dict[str, Model]:
        """The Model that fills each Space, by the Space's name."""
        return self.table.models

    @property
    def spaces(self) -> list[str]:
        """The names of the Spaces; the first is the default."""
        models = self.table.models
        return list(models)

    @property
    def metadata(self) -> dict[str, Kind]:
        """The type of each metadata column, by its name."""
        return self.table.metadata

    def __len__(self) -> int:
        return self.table.count()

    def __repr__(self) -> str:
        table = self.table
        path = table.path
        version = table.version
        return f"Collection({path!r}, version={version})"

    def refresh(self) -> None:
        """Move to the newest version."""
        self.table.refresh()

    def index(
        self,
        paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
        *,
        models: Sequence[str | Path | Model] = (),
        metadata: str | os.PathLike[str] | None = None,
        settings: IndexSettings | None = None,
        progress: Callable[[int], None] | None = None,
        **options: Unpack[SourceOptions],
    ) -> IndexReport:
        """Bring the collection up to date with images; see `lookalike.indexing.run.index`."""
        from lookalike.indexing import run

        return run.index(
            paths,
            self.table,
            models=models,
            metadata=metadata,
            settings=settings,
            progress=progress,
            **options,
        )

    def search(
        self,
        query: Queries = (),
        *,
        positive: Queries = (),
        negative: Queries = (),
        text: str | Sequence[str] = (),
        k: int = 10,
        space: str | Sequence[str] | None = None,
        region: RegionInput | None = None,
        **options: Unpack[SearchOptions],
    ) -> Matches:
        """Return the k images that are nearest to the query.

        Parameters
        ----------
        query
            A path, a row's uri, the bytes of an image file, a Pillow image, uint8 ``[height,
            width(, 3 or 4)]``, a `RowQuery` or a `VectorQuery`. Or a list of them, optionally
            as `WeightedQuery`: the search then uses their weighted mean.
        positive, text
            More queries, and words to search by; each counts as if it were in `query`.
        negative
            Queries to keep away from: gamma times their weighted mean is subtracted, or times
            their weighted sum if the weights sum to less than 1. Where the Model's vectors have
            unit length, the result is scaled to unit length; see `lookalike.vectors.combine`.
        k
            The number of matches; all images if there are fewer.
        space
            The Space to measure distances in; None for the first. The answers of several are
            fused by rank; see `lookalike.retrieval.fusion`.
        region
            The part of `query`, one image, to search by: x, y, width and height as fractions of
            the upright image, or in pixels if one is above 1; None for the whole image.
        options
            ``gamma``, ``where``, ``max_distance``, ``min_confidence``, ``exclude_self``,
            ``unique``, ``exact`` and ``ranking``; see `lookalike.retrieval.request.SearchOptions`.

        Raises
        ------
        InputError
            If k is not a whole number above 0, gamma or the largest distance is below 0, the
            smallest confidence is not from 0 to 1 or there is no calibration for it, the filter
            cannot be used, a row does not exist, a weight is not above 0, a positive query is
            missing, a text is not understood, the queries cancel each other, or the region is not
            a part of one image of at least 8 pixels a side.
        FormatError
            If a query is an image of a kind that is not read.
        ImageError
            If a query cannot be decoded as an image.
        SpaceError
            If the collection has no such Space, or the Space is empty.
        ModelError, WeightsError, CollectionError
            If the Space's Model cannot be run, or the collection cannot be read.
        """
        from lookalike.retrieval.fusion import search_spaces
        from lookalike.retrieval.query import as_queries, region_query, text_queries
        from lookalike.retrieval.request import SearchRequest

        if region is not None:
            query = region_query(query, region)
        request = SearchRequest(
            positive=as_queries(query) + as_queries(positive) + text_queries(text),
            negative=as_queries(negative),
            k=k,
            **options,
        )
        names = [space] if space is None or isinstance(space, str) else space
        searchers = [self.searcher(name) for name in names]
        return search_spaces(searchers, request)

    def search_many(
        self, queries: Iterable[QueryInput], *, k: int = 10, space: str | None = None
    ) -> list[Matches]:
        """Return the k nearest images of each query by comparing every image.

        The answers equal those of `search` with ``exact=True``. All queries share one pass over
        the vectors, which costs a fraction of separate searches.
        """
        searcher = self.searcher(space)
        return searcher.search_many(queries, k=k)

    def searcher(self, space: str | None = None) -> Searcher:
        """Return the Searcher of a Space, made on first use; None is the first Space."""
        from lookalike.retrieval.search import Searcher

        searchers = self._searchers
        name = self.table.space(space)
        searcher = searchers.get(name)
        if searcher is None:
            searcher = Searcher(self.table, name)
            searchers[name] = searcher
        return searcher

    def explain(
        self, query: ImageInput, match: ImageInput, *, space: str | None = None
    ) -> Explanation:
        """Explain which parts of two images make them alike.

        See `lookalike.retrieval.explain.Explainer.explain`.
        """
        from lookalike.retrieval.explain import Explainer

        name = self.table.space(space)
        if name not in self._explainers:
            self._explainers[name] = Explainer(self.table, name)
        return self._explainers[name].explain(query, match)

    def select(self, where: str) -> npt.NDArray[np.int64]:
        """Return the ids of the images that match a filter, ascending.

        See `lookalike.store.filters`.
        """
        return self.table.select(where)

    def evaluate(
        self,
        *,
        spaces: Sequence[str] | str = (),
        split: str | os.PathLike[str] | pa.Table | None = None,
        rankings: Sequence[str] | str = "plain",
        fused: bool = False,
        seed: int = 0,
        resamples: int = 1000,
        progress: Callable[[int], None] | None = None,
    ) -> Evaluation:
        """Measure how near Spaces place images of one label to each other.

        See `lookalike.evaluation.evaluate.evaluate`.
        """
        from lookalike.evaluation.evaluate import evaluate

        return evaluate(
            self.table,
            spaces=spaces,
            split=split,
            rankings=rankings,
            fused=fused,
            seed=seed,
            resamples=resamples,
            progress=progress,
        )

    def evaluate_absent(self, **options: Any) -> AbsentScores:
        """Measure how often images of absent labels are answered, and images of the others.

        See `lookalike.evaluation.absent.evaluate_absent`.
        """
        from lookalike.evaluation.absent import evaluate_absent

        return evaluate_absent(self.table, **options)

    def evaluate_texts(self, **options: Any) -> TextEvaluation:
        """Measure how well the names of labels find their images.

        See `lookalike.evaluation.texts.evaluate_texts`.
        """
        from lookalike.evaluation.texts import evaluate_texts

        return evaluate_texts(self.table, **options)

    def calibrate(self, **options: Any) -> list[SpaceCalibration]:
        """Calibrate Spaces, so that each match of a search has a confidence.

        See `lookalike.maintenance.calibrate.calibrate`.
        """
        from lookalike.maintenance.calibrate import calibrate

        return calibrate(self.table, **options)

    def tag(self, **options: Any) -> TagReport:
        """Tag all images from their vectors; see `lookalike.indexing.tags.tag_images`."""
        from lookalike.indexing.tags import tag_images

        return tag_images(self.table, **options)

    def remove_tags(self) -> TagRemoval:
        """Remove the tags and their column; see `lookalike.indexing.tags.remove_tags`."""
        from lookalike.indexing.tags import remove_tags

        return remove_tags(self.table)

    def tune(self, purpose: Purpose, **options: Any) -> TuneReport:
        """Learn a Space from labels, and add it if it is better; see `lookalike.learning.tune`."""
        from lookalike.learning.tune import tune_space

        return tune_space(self.table, purpose, **options)

    def calibration(self, space: str | None = None) -> CalibrationState | None:
        """Return the calibration of a Space, and how many rows have changed since; or None."""
        from lookalike.retrieval.confidence import calibration_state

        name = self.table.space(space)
        return calibration_state(self.table, name)

    def map(
        self,
        *,
        space: str | None = None,
        method: Method = "tsne",
        seed: int = 0,
        perplexity: float | Literal["auto"] = "auto",
        rebuild: bool = False,
    ) -> Map:
        """Return the map of a Space; see `lookalike.projection.map.make_map`."""
        from lookalike.projection.map import make_map

        return make_map(
            self.table,
            space=space,
            method=method,
            seed=seed,
            perplexity=perplexity,
            rebuild=rebuild,
        )

    def duplicates(
        self, *, progress: OnProgress | None = None, **settings: Any
    ) -> Duplicates:
        """Return groups of images that show the same, each around the image to keep.

        The settings are those of `lookalike.duplicates.groups.DuplicateSettings`; see
        `lookalike.duplicates.find.find_duplicates`.
        """
        from lookalike.duplicates.search import search_duplicates

        return search_duplicates(self.table, progress, **settings)

    def review(self, **settings: Any) -> Review:
        """Find clusters, outliers, doubtful labels and diverse images.

        See `lookalike.review.run.review`.
        """
        from lookalike.review.run import review

        return review(self.table, **settings)

    def remove(self, uris: Sequence[str]) -> int:
        """Move images by uri or path, a folder with everything below it, into the trash.

        The files themselves are not touched.

        Returns
        -------
        count
            The number of removed rows.

        Raises
        ------
        InputError
            If a uri matches nothing in the collection; then nothing is removed.
        """
        return self.table.remove(uris)

    def trash(self, uris: Sequence[str] = ()) -> pa.Table:
        """Return the rows in the trash, by uri.

        Indexing a file that comes back restores its row. Rows are deleted for good by `optimize`,
        30 days after their removal, or as many as ``LOOKALIKE_TRASH_DAYS`` says.

        Parameters
        ----------
        uris
            Images by uri or path, folders with everything below them; none for all.

        Returns
        -------
        pyarrow.Table
            ``uri``, ``label``, ``removed_at`` and ``reason``: ``missing`` for a missing file,
            ``removed`` by `remove`, ``moved`` for a moved file whose new row has other metadata.
        """
        return self.table.trash.rows(uris)

    def restore_trash(self, uris: Sequence[str] = ()) -> RestoreReport:
        """Put rows from the trash back, with their metadata and vectors.

        Parameters
        ----------
        uris
            Images by uri or path, folders with everything below them; none for all.

        Raises
        ------
        InputError
            If a uri matches nothing in the trash; then nothing is restored.
        """
        return self.table.trash.restore(uris)

    def empty_trash(self, uris: Sequence[str] = ()) -> int:
        """Delete rows in the trash for good, and return their number; none for all.

        Raises
        ------
        InputError
            If a uri matches nothing in the trash; then nothing is deleted.
        """
        return self.table.trash.empty(uris)

    def move(
        self, old: str | os.PathLike[str], new: str | os.PathLike[str]
    ) -> MoveReport:
        """Carry the rows of a folder that was moved over to its new place.

        See `lookalike.maintenance.move.move`.
        """
        from lookalike.maintenance.move import move

        return move(self.table, old, new)

    def failures(self) -> pa.Table:
        """Return the files that could not be indexed: a table with the columns uri and error."""
        return self.table.failures()

    def optimize(self, **options: Any) -> OptimizeReport:
        """Make the collection faster to search, and merge its files.

        See `lookalike.maintenance.optimize.optimize`.
        """
        from lookalike.maintenance.optimize import optimize

        return optimize(self.table, **options)

    def remove_unfinished(self) -> int:
        """Remove the files that killed processes left behind, and return the bytes freed.

        In a folder, `optimize` does that too. In object storage it keeps such files for seven days,
        because a commit in progress may own them. No other process may write to the collection
        meanwhile: its commit would be damaged.
        """
        from lookalike.store.upkeep import remove_unfinished

        return remove_unfinished(self.table)

    def check(
        self, *, files: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> CheckReport:
        """Check the newest version, without changing anything.

        See `lookalike.maintenance.check.check`.
        """
        from lookalike.maintenance.check import check

        return check(self.table, files=files, progress=progress)

    def backup(
        self,
        target: str | os.PathLike[str],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> BackupReport:
        """Copy the newest version to a folder, or update an earlier backup there.

        See `lookalike.maintenance.backup.backup`.
        """
        from lookalike.maintenance.backup import backup

        return backup(self.table, target, progress=progress)
