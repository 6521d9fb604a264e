"""Rankings that compare all images once, computed beside the requests.

In a large collection that takes minutes. Requests that waited for it would hold all of the few
threads that embed images.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass

from lookalike.retrieval.ranking import Ranking, resolve_ranking
from lookalike.retrieval.search import Searcher
from lookalike.server.problems import Problem
from lookalike.server.registry import CollectionView

__all__ = ["BackgroundFits"]

# A request waits this long. The ranking of a small collection is ready by then.
_WAIT_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 5
# The log states the progress after each tenth of the work.
_LOGGED_SHARE = 0.1

# The names of a collection, a Space and a ranking.
_FitKey = tuple[str, str, str]


class _Stopped(Exception):  # noqa: N818 (the server ends; nothing failed)
    """The server is shutting down."""


@dataclass(slots=True)
class _Fit:
    """A ranking that is computed for a Space, or waits for its turn."""

    searcher: Searcher
    ranking: Ranking
    title: str
    share: float = 0.0


class BackgroundFits:
    """Computes rankings in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "fit")
        self._lock = threading.Lock()
        # The latest of each collection, Space and ranking.
        self._fits: dict[_FitKey, tuple[_Fit, Future[None]]] = {}
        self._is_closed = False

    def require(self, view: CollectionView, searcher: Searcher, ranking: str) -> None:
        """Begin to compute a ranking if a search by it would have to; wait for it a moment.

        Raises
        ------
        Problem
            503, if it is not ready yet.
        """
        resolved = resolve_ranking(ranking)
        if not resolved.keeps_fit or searcher.has_fit(resolved):
            return
        fit, future = self._begin(view, searcher, resolved)
        wait_for([future], _WAIT_SECONDS)
        if not future.done():
            raise Problem(
                503,
                "Ranking not ready",
                f"The ranking {ranking!r} compares all images with each other once, and "
                f"{fit.share:.0%} of that is done. Search again in a moment, or by another "
                "ranking.",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        # A fit that was cancelled belongs to an older version; the search computes its own.
        if not future.cancelled():
            future.result()

    def close(self) -> None:
        """End the computation and accept no more."""
        self._is_closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(
        self, view: CollectionView, searcher: Searcher, ranking: Ranking
    ) -> tuple[_Fit, Future[None]]:
        """Return the computation of a ranking, which may have begun before."""
        key = view.name, searcher.space, ranking.name
        with self._lock:
            latest = self._fits.get(key)
            if latest is not None:
                fit, future = latest
                if fit.searcher is searcher:
                    return latest
                # This version of the collection takes the place of an older one that waits.
                future.cancel()
            title = f"ranking {ranking.name} of {view.name} ({searcher.space})"
            fit = _Fit(searcher, ranking, title)
            future = self._thread.submit(self._run, key, fit)
            self._fits[key] = fit, future
        return fit, future

    def _run(self, key: _FitKey, fit: _Fit) -> None:
        log = logging.getLogger("lookalike.server")
        start = time.perf_counter()
        logged_share = 0.0

        def report(done: int, total: int) -> None:
            nonlocal logged_share
            if self._is_closed:
                raise _Stopped
            fit.share = done / total
            next_logged = logged_share + _LOGGED_SHARE
            if fit.share >= next_logged:
                logged_share = fit.share
                percent = 100 * fit.share
                log.info("Computing the %s: %.0f %%", fit.title, percent)

        try:
            fit.searcher.fit(fit.ranking, report)
        finally:
            with self._lock:
                latest, _ = self._fits[key]
                if latest is fit:
                    del self._fits[key]
        end = time.perf_counter()
        seconds = end - start
        log.info("Computed the %s in %.1f s", fit.title, seconds)
