"""The job kinds that every server has."""

from __future__ import annotations

from lookalike.server.jobs.calibrate import CalibrateJob
from lookalike.server.jobs.duplicates import DuplicatesJob
from lookalike.server.jobs.evaluate import EvaluateJob
from lookalike.server.jobs.index import IndexJob
from lookalike.server.jobs.kinds import JobKind
from lookalike.server.jobs.map import MapJob
from lookalike.server.jobs.review import ReviewJob
from lookalike.server.jobs.tag import TagJob
from lookalike.server.jobs.tune import TuneJob

__all__ = ["BUILTIN_JOBS"]

BUILTIN_JOBS: tuple[JobKind, ...] = (
    CalibrateJob(),
    DuplicatesJob(),
    EvaluateJob(),
    IndexJob(),
    MapJob(),
    ReviewJob(),
    TagJob(),
    TuneJob(),
)
