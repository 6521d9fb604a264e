"""Index: bring a collection up to date with the images under some paths.

One pass: scan, ask the collection what is missing, read and hash, decode once, embed by batches, commit many rows
at once, and, where a folder was scanned to its end, sweep what is gone.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike import imaging
from lookalike.errors import CollectionError, SourceError
from lookalike.indexing.metadata import Described, Metadata
from lookalike.indexing.worker import Work, Worker, in_order
from lookalike.io.processors import cores
from lookalike.maintenance import optimize as optimizing
from lookalike.models import registry
from lookalike.models.cache import EmbedderCache
from lookalike.sources import Labels, LocalSource, Source
from lookalike.store import ann
from lookalike.store.diff import is_up_to_date
from lookalike.store.table import Table
from lookalike.tracing import span
from lookalike.types import Model

__all__ = ["Report", "Settings", "index"]

# Items asked about at once: one look-up in the table for all of them.
_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """How `index` works through images; only the first two attributes can change what is stored.

    Attributes
    ----------
    max_pixels
        Images of more pixels are recorded as failures before they are decoded.
    retry_failures
        Whether files that failed before and have not changed are tried again.
    batch, threads
        Images that a thread takes at most at once; how many threads, 0 for one a core.
    commit_rows, commit_seconds
        A commit is made when so many rows are ready, or so much time has gone by.
    min_rows
        Spaces of so many rows get an index at the end of the run; see `lookalike.optimize`.
    """

    max_pixels: int = imaging.MAX_PIXELS
    retry_failures: bool = False
    batch: int = 16
    threads: int = 0
    commit_rows: int = 512
    commit_seconds: float = 10.0
    min_rows: int = ann.MIN_ROWS


@dataclass(slots=True)
class Report:
    """What a run did.

    Attributes
    ----------
    added, updated, unchanged, moved, removed
        Images that are new; whose file, label or Spaces changed; that were as before; whose file has a new name;
        whose file is gone.
    failed
        Files of this scan that cannot be indexed, those known from before included.
    images, seconds
        How many images the collection holds now, and how long it took.
    metadata
        What a file of metadata did, if one was given.
    failures
        The uri and the reason of each file that failed in this run.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    failed: int = 0
    images: int = 0
    seconds: float = 0.0
    metadata: Described | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data: what ``lookalike index --json`` prints."""
        names = ("added", "updated", "unchanged", "moved", "removed", "failed", "images")
        described = {} if self.metadata is None else {"metadata": self.metadata.to_dict()}
        return {
            **{name: getattr(self, name) for name in names},
            "seconds": round(self.seconds, 3),
            **described,
        }


def index(
    paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    collection: Table | str | os.PathLike[str],
    *,
    models: Sequence[str | Path | Model] = (),
    labels: Labels = "folder",
    hidden: bool = False,
    metadata: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Bring a collection up to date with the images under some paths.

    Unchanged files (same size and time) are skipped, changed ones embedded anew, moved or copied ones recognised by
    their content and not decoded again. Images that vanished from a folder are removed once it was scanned to its
    end. An interrupted run loses at most the rows of its open commit; the next run goes on from there.

    Parameters
    ----------
    paths
        Folders, files, ``@list.txt``; see `lookalike.sources.LocalSource`, as for `labels` and `hidden`. Or a Source.
    collection
        A Table, or a path where one is opened or created.
    models
        Models whose Spaces the collection shall have, besides those it has; a new one gets ``auto`` if none is named.
    metadata
        A ``.csv`` or ``.parquet`` file whose columns are joined to the images; see `lookalike.indexing.metadata`.
    settings
        How the work is done.
    progress
        Called with the number of images dealt with since its last call.

    Raises
    ------
    InputError
        If the file of metadata cannot be used; then nothing is written.
    SourceError
        If a path does not exist, there is no image under any, or a folder that had images holds none now.
    SpaceError
        If a Space is filled by another Model than the one asked for.
    ModelError, WeightsError, CollectionError
        If a model cannot be run, or the collection cannot be used.
    """
    start = time.perf_counter()
    scan = _source(paths, labels, hidden)
    described = None if metadata is None else Metadata.read(metadata)
    networks = EmbedderCache()
    table = _open(
        scan, collection, [registry.resolve(model) for model in models], described, networks
    )
    settings = settings or Settings()
    run = _Run(table, settings, networks, progress or (lambda _: None))
    run.work_through(scan)
    run.report.metadata = None if described is None else described.join(table)
    optimizing.maintain(table, min_rows=settings.min_rows)
    run.report.images = table.count()
    run.report.seconds = time.perf_counter() - start
    return run.report


def _source(
    paths: Source | Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    labels: Labels,
    hidden: bool,
) -> Source:
    if isinstance(paths, str | os.PathLike):
        return LocalSource([paths], labels=labels, hidden=hidden)
    if isinstance(paths, Sequence):
        return LocalSource(paths, labels=labels, hidden=hidden)
    return paths


def _open(
    scan: Source,
    path: Table | str | os.PathLike[str],
    models: list[Model],
    described: Metadata | None,
    networks: EmbedderCache,
) -> Table:
    """Open or make the collection, once it is sure that there are images and that models and metadata can be used."""
    if isinstance(path, Table):
        path.refresh()
    table = path if isinstance(path, Table) else Table.open(path) if Table.exists(path) else None
    holds = table is not None and any(
        len(table.ids_under(scan.prefixes(root))) for root in scan.roots
    )
    if not holds and next(iter(scan), None) is None:
        raise scan.empty_error()
    models = models or ([registry.resolve("auto")] if table is None else [])
    there = table.models if table is not None else {}
    models = [model if model.name in there else networks.get(model).model for model in models]
    if described is not None:
        described.fit(table.metadata if table else {}, [*there, *(model.name for model in models)])
    if table is None:
        assert not isinstance(path, Table)  # noqa: S101 (for the type checker)
        try:
            return Table.create(path, models)
        except CollectionError:
            if not Table.exists(path):
                raise
            # Another process has made it since.
            table = Table.open(path)
    for model in models:
        table.add_space(model)
    return table


class _Run:
    """One call of `index`: the rows on their way to the next commit, and the counts."""

    def __init__(
        self,
        collection: Table,
        settings: Settings,
        networks: EmbedderCache,
        progress: Callable[[int], None],
    ) -> None:
        self.report = Report()
        self._collection = collection
        # Vectors are reused from the table as it was before the first commit: by the time of a later one, their row
        # may hold another content.
        self._before = collection
        # Others may add Spaces meanwhile: those are theirs to fill.
        self._models = collection.models
        self._settings = settings
        self._threads = settings.threads or cores()
        self._networks = networks
        self._progress = progress
        self._worker: Worker | None = None
        self._waiting: deque[Future[list[Work]]] = deque()
        self._open: list[Work] = []
        self._committed = time.monotonic()
        self._seen: list[npt.NDArray[np.int64]] = []
        self._new: Counter[bytes] = Counter()

    def work_through(self, scan: Source) -> None:
        """Do everything that the scan asks for, then sweep."""
        before = {root: self._collection.ids_under(scan.prefixes(root)) for root in scan.roots}
        with ThreadPoolExecutor(self._threads, "index") as pool:
            try:
                for works in in_order(pool, self._missing(scan), self._waiting, 2 * self._threads):
                    self._take_in(works)
                    self._progress(len(works))
            except BaseException as error:
                self._stop(pool)
                if isinstance(error, KeyboardInterrupt):
                    self._commit()
                raise
        self._commit()
        self._sweep(scan, before)

    def _missing(self, scan: Source) -> Iterator[tuple[Worker, list[Work]]]:
        items = iter(scan)
        spaces = tuple(self._models)
        while chunk := list(islice(items, _CHUNK)):
            with span("ask what is missing"):
                self._collection.refresh()
                missing = self._collection.diff(
                    chunk, spaces=self._models, retry_failures=self._settings.retry_failures
                )
            self._seen.append(missing.seen_ids)
            self.report.unchanged += missing.unchanged
            self.report.failed += missing.failed
            self._progress(len(chunk) - len(missing.work))
            if missing.work:
                worker = self._worker = self._worker or self._begin()
                works = [Work(item, known, spaces) for item, known in missing.work]
                yield from ((worker, share) for share in self._shares(works))

    def _shares(self, works: list[Work]) -> Iterator[list[Work]]:
        """Cut works up for the threads; smaller towards their end, so that no thread works alone for long."""
        first, rounds = 0, 2 * self._threads
        while first < len(works):
            size = max(1, min(self._settings.batch, (len(works) - first) // rounds))
            yield works[first : first + size]
            first += size

    def _begin(self) -> Worker:
        """Return what works, now that there is work."""
        self._before = self._collection.reopen()
        return Worker(
            self._models, self._before.content_index(), self._settings.max_pixels, self._networks
        )

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        """Let what was begun come to its end, and nothing else be begun."""
        if self._worker is not None:
            self._worker.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        finished = [
            future
            for future in self._waiting
            if not future.cancelled() and future.exception() is None
        ]
        self._open += [work for future in finished for work in future.result()]

    def _take_in(self, works: list[Work]) -> None:
        """Count finished images, and commit when there is enough of them."""
        self._open += works
        for work in works:
            self._count(work)
        waited = time.monotonic() - self._committed
        if len(self._open) >= self._settings.commit_rows or waited >= self._settings.commit_seconds:
            self._commit()

    def _count(self, work: Work) -> None:
        if work.error is not None:
            self.report.failed += 1
            self.report.failures.append((work.item.uri, work.error))
        elif work.known is not None and work.known.sha256 is not None:
            self.report.updated += 1
        else:
            self.report.added += 1
            if work.sha256 is not None:
                self._new[work.sha256] += 1

    def _commit(self) -> None:
        """Write every open row: one commit for each kind, which is one in all unless files were changed or moved."""
        if self._open:
            with span("commit"), self._collection.write_lock():
                ordered = sorted(self._still_to_do(), key=lambda work: work.kind)
                for (kind, spaces), works in groupby(ordered, key=lambda work: work.kind):
                    self._write(kind, spaces, list(works))
            self._open.clear()
        self._committed = time.monotonic()

    def _still_to_do(self) -> list[Work]:
        """Return the open works, without those that another process has done or undone since they were asked for.

        Where it gave a row other content than was read here, one of the two is older: the next run sees which. Where it
        found the same, what was done here is added to what it knows.
        """
        known = self._collection.existing_rows([work.item.uri for work in self._open])
        works = []
        for work in self._open:
            now = known.get(work.item.uri)
            if now != work.known:
                if now is None or work.error is not None or now.sha256 != work.sha256:
                    continue
                if is_up_to_date(work.item, now, frozenset(self._models)):
                    continue
                work.known = now
            works.append(work)
        return works

    def _write(self, kind: str, spaces: tuple[str, ...], works: list[Work]) -> None:
        columns: dict[str, Any] = {
            "uri": [work.item.uri for work in works],
            "error": [work.error for work in works],
        }
        if kind != "stale":
            # What could not even be read has no stamp worth keeping: it is asked for again each time.
            unread = [kind == "failed" and work.sha256 is None for work in works]
            for name in ("size", "mtime_ns"):
                columns[name] = [
                    -1 if no else getattr(w.item, name) for no, w in zip(unread, works, strict=True)
                ]
            columns["label"] = [work.item.label for work in works]
        if kind in {"fresh", "reused", "replaced"}:
            columns["sha256"] = [work.sha256 for work in works]
        if kind == "fresh":
            columns["width"], columns["height"] = zip(*(work.size for work in works), strict=True)
            columns["thumbnail"] = [work.thumbnail for work in works]
        if kind in {"reused", "replaced"}:
            names = ["width", "height", "thumbnail", "spaces", *self._before.models]
            names += self._before.metadata if kind == "reused" else ()
            rows = self._before.take(
                [work.reused for work in works if work.reused is not None], names
            )
            columns |= {name: rows[name] for name in names}
        if spaces:
            filled = [
                {*spaces, *(work.known.spaces if work.known and kind == "same" else ())}
                for work in works
            ]
            known = list(self._collection.models)
            columns["spaces"] = [[name for name in known if name in names] for names in filled]
            columns |= {name: np.stack([work.vectors[name] for work in works]) for name in spaces}
        self._collection.upsert(columns, replace=kind not in {"same", "stale"})

    def _sweep(self, scan: Source, before: dict[str, npt.NDArray[np.int64]]) -> None:
        """Remove the rows of every fully scanned folder that the scan did not meet; what came back is a move."""
        links = [self._collection.ids_under(scan.prefixes(link)) for link in scan.unreachable()]
        seen = np.concatenate([np.empty(0, np.int64), *self._seen, *links])
        completed = scan.completed()
        emptied = [root for root, ids in before.items() if len(ids) and completed.get(root) == 0]
        for root, ids in before.items():
            if root in completed and root not in emptied:
                self._forget(scan, root, np.setdiff1d(ids, seen))
        if emptied:
            root = emptied[0]
            raise SourceError(
                f"{root} holds no images now, but the collection has {len(before[root])} from it; none was removed. "
                "If its drive is not mounted, mount it. If they are really gone: "
                f"lookalike remove {root} -c {self._collection.path}"
            )

    def _forget(self, scan: Source, root: str, gone: npt.NDArray[np.int64]) -> None:
        """Remove rows whose file has vanished; one that a walk does not meet (hidden, say) may well be there."""
        if not len(gone):
            return
        with self._collection.write_lock():
            # Another process may have removed some by now.
            gone = np.intersect1d(gone, self._collection.ids_under(scan.prefixes(root)))
            rows = self._collection.take(gone, ["uri", "sha256"])
            there = []
            for uri, sha256 in zip(
                rows["uri"].to_pylist(), rows["sha256"].to_pylist(), strict=True
            ):
                there.append(sha256 is not None and scan.exists(uri))
                if sha256 is None or there[-1]:
                    continue
                if self._new[sha256] > 0:
                    self._new[sha256] -= 1
                    self.report.added -= 1
                    self.report.moved += 1
                else:
                    self.report.removed += 1
            self._collection.delete(gone[~np.array(there, bool)])
