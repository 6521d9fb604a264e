"""Index images: bring a table up to date with a source.

A run compares the source with the table (`Plan`), embeds the images that need work (`Worker`, run
by an `Executor`), commits the results (`Writer`), and removes the rows of missing files.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from lookalike import imaging
from lookalike.errors import ClusterError, CollectionError, InputError
from lookalike.indexing.executor import (
    ClusterExecutor,
    ClusterReport,
    Executor,
    ThreadExecutor,
)
from lookalike.indexing.loaders import LoaderExecutor
from lookalike.indexing.metadata import MetadataFile, MetadataReport
from lookalike.indexing.network_calibration import CalibratedNetwork, Calibrator
from lookalike.indexing.new_spaces import SpaceMaker
from lookalike.indexing.plan import Plan
from lookalike.indexing.relocation import Relocation, find_relocations
from lookalike.indexing.sweep import Withheld
from lookalike.indexing.worker import (
    Failed,
    Moved,
    Restored,
    Result,
    Stale,
    Task,
    Worker,
)
from lookalike.indexing.writer import Writer
from lookalike.maintenance import optimize
from lookalike.models import devices, registry
from lookalike.models.cache import EmbedderCache
from lookalike.sources import SkippedFiles, Source, SourceOptions, open_source
from lookalike.store import ann
from lookalike.store.engine import TableEngine
from lookalike.store.schema import tag_column
from lookalike.store.table import Table
from lookalike.types import Kind, Model

if TYPE_CHECKING:
    from lookalike.indexing.tags import TagReport

__all__ = ["IndexReport", "IndexSettings", "index"]


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """How `index` does its work.

    Only `tags` and the first three attributes can change the stored rows.

    Attributes
    ----------
    max_pixels
        Images with more pixels become failures without being decoded.
    retry_failures
        Whether to retry unchanged files that failed before.
    prune
        Whether to remove the rows of all missing files, even if a drive may not be mounted; see
        `lookalike.indexing.sweep.decide`.
    batch, threads
        The most images that a thread takes at once, and the number of threads; 0 for one per core.
    executor
        What runs the work instead of threads, such as `lookalike.cluster.RayExecutor`; `batch` and
        `threads` have no effect then.
    commit_rows, commit_seconds
        A commit is made when this number of rows is ready, or after this time. A run on a cluster
        needs larger numbers: `lookalike.cluster.COMMIT_ROWS` and `COMMIT_SECONDS`.
    min_rows
        Spaces with at least this number of rows get an index at the end of the run; see
        `lookalike.optimize`.
    device
        What computes the networks: ``cpu``, ``cuda`` for an NVIDIA GPU, or ``auto`` for a GPU where
        one can be used; None for ``LOOKALIKE_DEVICE``, or ``auto``. It does not change the vectors
        beyond the precision of float16.
    engine
        What builds the indices and merges fragments at the end of the run instead of this process,
        such as `lookalike.cluster.RayEngine`.
    tags
        Whether to tag the images; see `lookalike.indexing.tags`. A collection that has tags gets
        those of new images in any case.
    """

    max_pixels: int = imaging.MAX_PIXELS
    retry_failures: bool = False
    prune: bool = False
    batch: int = 16
    threads: int = 0
    executor: Executor | None = None
    commit_rows: int = 512
    commit_seconds: float = 10.0
    min_rows: int = ann.MIN_ROWS
    device: devices.Device | None = None
    engine: TableEngine | None = None
    tags: bool = False


@dataclass(slots=True)
class IndexReport:
    """The outcome of an index run.

    Attributes
    ----------
    added, updated, unchanged, moved, restored, removed
        Numbers of images: new ones; those with another content, label or set of Spaces; those as
        before; those whose file has a new name; those whose row came back from the trash; those
        whose file is missing, and whose row is now in the trash.
    failed
        The number of files of this scan that cannot be indexed, earlier failures included.
    images, seconds
        The number of images in the table, and the duration of the run.
    skipped
        The files and folders that the scan left out.
    metadata
        The report on the metadata file, if one was given.
    tags
        The report on the tags of new images, if the collection has tags.
    calibrated
        The 8-bit networks that this run has calibrated on some of the images.
    failures
        The uri and the reason for each file that failed in this run.
    withheld
        The folders whose rows were kept although their files are missing.
    incomplete
        The roots that could not be read to the end. No image was removed below them.
    relocations
        The folders outside the scanned ones whose images were found in another folder.
    cluster
        The work of the nodes, if a cluster did the work.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    restored: int = 0
    removed: int = 0
    failed: int = 0
    images: int = 0
    seconds: float = 0.0
    skipped: SkippedFiles = field(default_factory=SkippedFiles)
    metadata: MetadataReport | None = None
    tags: TagReport | None = None
    calibrated: list[CalibratedNetwork] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    relocations: list[Relocation] = field(default_factory=list)
    cluster: ClusterReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data, as ``lookalike index --json`` prints them."""
        counts: dict[str, Any] = {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "moved": self.moved,
            "restored": self.restored,
            "removed": self.removed,
            "failed": self.failed,
            "other_kinds": dict(self.skipped.other_kinds.most_common()),
            "excluded_files": self.skipped.excluded_files,
            "excluded_folders": self.skipped.excluded_folders,
            "null_images": self.skipped.null_images,
            "images": self.images,
            "seconds": round(self.seconds, 3),
            "withheld": [withheld.to_dict() for withheld in self.withheld],
            "incomplete": self.incomplete,
            "relocations": [moved.to_dict() for moved in self.relocations],
        }
        if self.metadata is not None:
            counts["metadata"] = self.metadata.to_dict()
        if self.tags is not None:
            counts["tags"] = self.tags.to_dict()
        if self.calibrated:
            counts["calibrated"] = [asdict(measured) for measured in self.calibrated]
        if self.cluster is not None:
            counts["cluster"] = self.cluster.to_dict()
        return counts


def index(
    paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    collection: Table | str | os.PathLike[str],
    *,
    models: Sequence[str | Path | Model] = (),
    metadata: str | os.PathLike[str] | None = None,
    settings: IndexSettings | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Unpack[SourceOptions],
) -> IndexReport:
    """Bring a collection up to date with the images of a source.

    Unchanged files (same size and time) are skipped. Moved and copied files are recognized by their
    content and not decoded again. Images missing from a folder are moved into the trash after the
    folder was read to its end, unless their drive may not be mounted. An interrupted run loses at
    most the rows of its open commit, and the next run continues from there.

    Parameters
    ----------
    paths
        Folders, files, addresses (``https://...``), ``@list.txt``, or a Source.
    collection
        A Table, or a path where one is opened or created.
    models
        Models whose Spaces to add to the collection. A new collection gets ``auto`` by default.
    metadata
        A ``.csv`` or ``.parquet`` file with columns to join to the images; see
        `lookalike.indexing.metadata`.
    settings
        How to do the work.
    progress
        Called with the number of images done since its last call.
    options
        Those of `lookalike.sources.open_source`.

    Raises
    ------
    InputError
        If the metadata file cannot be used, or a Source comes with options. Nothing is written
        then.
    SourceError
        If a path does not exist, or holds no images and the collection has none from there.
    SpaceError
        If a Space is filled by another Model than the given one.
    ModelError, WeightsError, CollectionError, ClusterError
        If a model cannot be run, the collection cannot be used, or a cluster cannot do the work.
    """
    start = time.perf_counter()
    source = _as_source(paths, options)
    settings = settings or IndexSettings()
    progress = progress or _ignore_progress
    metadata_file = _read_metadata(metadata)
    # The models, the source and the metadata are checked before the table is created.
    resolved = [registry.resolve(model) for model in models]
    embedders = _embedders(settings)
    maker = SpaceMaker(embedders, Calibrator(source, settings.max_pixels))
    table = _open_or_create(
        source, collection, resolved, metadata_file, maker, tags=settings.tags
    )

    report = _update_images(table, source, settings, embedders, progress)
    report.calibrated = maker.calibrated
    if metadata_file is not None:
        report.metadata = metadata_file.join(table)
    report.tags = _tag_new(table, settings)
    optimize.maintain(table, min_rows=settings.min_rows, engine=settings.engine)

    report.images = table.count()
    report.seconds = time.perf_counter() - start
    return report


def _as_source(
    paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    options: SourceOptions,
) -> Source:
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    if isinstance(paths, Sequence):
        return open_source(paths, **options)
    if options:
        names = ", ".join(options)
        raise InputError(f"A Source has its own options; leave out {names}.")
    return paths


def _read_metadata(path: str | os.PathLike[str] | None) -> MetadataFile | None:
    if path is None:
        return None
    return MetadataFile.read(path)


def _embedders(settings: IndexSettings) -> EmbedderCache:
    """Return embedders on the device that is asked for; a cluster uses its processors."""
    if settings.executor is None:
        device = devices.requested(settings.device)
        return EmbedderCache(device, devices.INDEX_BATCH)
    if settings.device == "cuda":
        raise InputError(
            "The device is 'cuda', but the workers of a cluster compute on their processors. "
            "Leave out the device, or index without a cluster."
        )
    return EmbedderCache()


def _make_threads(settings: IndexSettings, models: Iterable[Model]) -> ThreadExecutor:
    """Return the threads of a run. For a GPU, processes decode whole batches ahead of it."""
    threads = settings.threads
    batch = settings.batch
    device_name = settings.device
    device = devices.requested(device_name)
    for model in models:
        chosen = devices.choose(model, device)
        uses_cuda = chosen == "cuda"
        if uses_cuda:
            large_batch = max(batch, devices.INDEX_BATCH)
            return LoaderExecutor(threads, large_batch)
    return ThreadExecutor(threads, batch)


def _ignore_progress(_count: int) -> None:
    pass


def _open_or_create(
    source: Source,
    collection: Table | str | os.PathLike[str],
    models: list[Model],
    metadata_file: MetadataFile | None,
    maker: SpaceMaker,
    *,
    tags: bool,
) -> Table:
    """Open or create the table, after checking the source, the models and the metadata."""
    table = _open_existing(collection)
    existing_models: Mapping[str, Model] = {}
    kinds: Mapping[str, Kind] = {}
    has_rows = False
    if table is not None:
        existing_models = table.models
        kinds = table.metadata
        has_rows = _has_rows(table, source)
    finds_nothing = not has_rows and _is_empty(source)
    if finds_nothing:
        raise source.empty_error()

    needs_default = table is None and not models
    if needs_default:
        default = registry.resolve("auto")
        models = [default]
    ready_models = maker.load_new(models, existing_models)
    if metadata_file is not None:
        new_spaces = [model.name for model in ready_models]
        spaces = [*existing_models, *new_spaces]
        metadata_file.fit(kinds, spaces)

    if tags:
        new_models = {model.name: model for model in ready_models}
        all_models = {**existing_models, **new_models}
        _check_taggable(kinds, all_models, metadata_file)

    if table is None:
        assert not isinstance(collection, Table)  # noqa: S101 (for the type checker)
        try:
            return Table.create(collection, ready_models)
        except CollectionError:
            exists_now = Table.exists(collection)
            if not exists_now:
                raise
            # Another process has created it since the check.
            table = Table.open(collection)
    maker.add(table, models, ready_models)
    return table


def _check_taggable(
    kinds: Mapping[str, Kind],
    models: Mapping[str, Model],
    metadata_file: MetadataFile | None,
) -> None:
    """Refuse tags that no Space has, or that would go to a column of other metadata."""
    from lookalike.indexing.tags import check_taggable

    new_columns: Iterable[str] = ()
    if metadata_file is not None:
        new_columns = metadata_file.columns
    check_taggable(kinds, models, new_columns=new_columns)


def _tag_new(table: Table, settings: IndexSettings) -> TagReport | None:
    """Tag the images without tags, if that is asked for or the collection has tags."""
    column = tag_column(table.metadata)
    has_column = column is not None
    if not settings.tags and not has_column:
        return None
    # An index run without tags loads nothing of them.
    from lookalike.indexing.tags import tag_new_images

    return tag_new_images(table, make=settings.tags)


def _is_empty(source: Source) -> bool:
    items = iter(source)
    first_item = next(items, None)
    return first_item is None


def _open_existing(collection: Table | str | os.PathLike[str]) -> Table | None:
    if isinstance(collection, Table):
        collection.refresh()
        return collection
    if Table.exists(collection):
        return Table.open(collection)
    return None


def _has_rows(table: Table, source: Source) -> bool:
    """Return whether the table has rows below one of the roots."""
    for root in source.roots:
        prefixes = source.prefixes(root)
        if len(table.ids_under(prefixes)):
            return True
    return False


def _update_images(
    table: Table,
    source: Source,
    settings: IndexSettings,
    embedders: EmbedderCache,
    progress: Callable[[int], None],
) -> IndexReport:
    """Plan, work, write and sweep."""
    # Another process may add Spaces during this run. It also fills them.
    models = table.models
    retry = settings.retry_failures
    plan = Plan(table, source, models, retry_failures=retry, progress=progress)
    counts = _Counts(plan.restored)
    chunks = plan.chunks()
    if settings.executor is None:
        executor = _make_threads(settings, models.values())
        settings = replace(settings, executor=executor)

    # A run without work does not read the contents of the table, which takes time if it is large.
    first_chunk = next(chunks, None)
    if first_chunk is not None:
        chunks = chain([first_chunk], chunks)
        _work(chunks, table, models, settings, embedders, counts, progress)
    sweep = plan.sweep(counts.new_contents, prune=settings.prune)
    table.trash.settle([*plan.restored, *counts.uris])

    report = counts.report
    report.unchanged = plan.unchanged
    report.restored += len(plan.restored)
    report.failed += plan.failed
    report.added -= sweep.moved
    report.moved = sweep.moved
    report.removed = sweep.removed
    report.skipped = source.skipped()
    report.withheld = sweep.withheld
    completed = source.completed()
    report.incomplete = [root for root in source.roots if root not in completed]
    report.relocations = find_relocations(table, counts.moves)
    return report


def _work(
    chunks: Iterable[Sequence[Task]],
    table: Table,
    models: Mapping[str, Model],
    settings: IndexSettings,
    embedders: EmbedderCache,
    counts: _Counts,
    progress: Callable[[int], None],
) -> None:
    """Work through the tasks and write their results."""
    before = table.reopen()
    worker = Worker(
        models,
        before.content_index(),
        settings.max_pixels,
        embedders,
        table.trash.contents(),
    )
    writer = Writer(
        table,
        before,
        models,
        commit_rows=settings.commit_rows,
        commit_seconds=settings.commit_seconds,
    )
    executor = settings.executor
    assert executor is not None  # noqa: S101 (for the type checker)
    try:
        for results in executor.run(worker, chunks):
            counts.add(results)
            writer.add(results)
            progress(len(results))
    except BaseException as error:
        finished = executor.stop()
        # An interrupted run keeps all that was finished, and so does one whose cluster fails.
        if isinstance(error, KeyboardInterrupt | ClusterError):
            writer.add(finished)
            writer.finish()
        raise
    writer.finish()
    if isinstance(executor, ClusterExecutor):
        counts.report.cluster = executor.report()


class _Counts:
    """Counts results.

    Parameters
    ----------
    restored
        The uris of images that the plan restored; they are counted there.

    Attributes
    ----------
    report
        The counts.
    new_contents
        The number of added images by the hash of their content.
    uris
        The uris of all results that are images.
    moves
        The id of the row and the new uri of each image that was recognized by its content.
    """

    def __init__(self, restored: Container[str]) -> None:
        self._restored = restored
        self.report = IndexReport()
        self.new_contents: Counter[bytes] = Counter()
        self.uris: list[str] = []
        self.moves: list[tuple[int, str]] = []

    def add(self, results: Sequence[Result]) -> None:
        report = self.report
        for result in results:
            uri = result.item.uri
            existing = result.existing
            had_image = existing is not None and existing.sha256 is not None
            if isinstance(result, Failed | Stale):
                failure = (uri, result.reason)
                report.failures.append(failure)
                report.failed += 1
                continue
            self.uris.append(uri)
            if uri in self._restored:
                continue
            if had_image:
                report.updated += 1
                continue
            self.new_contents[result.sha256] += 1
            if isinstance(result, Moved):
                self.moves.append((result.source_id, uri))
            if isinstance(result, Restored):
                report.restored += 1
            else:
                report.added += 1
