"""Time and memory of a search for duplicates among many images.

The images are bent photographs: each photograph is made into several images by random smooth
displacements. They have the points of photographs, and each has near relatives that are not
copies: no shift, rotation and scale lays one upon another. So more pairs are compared than among
as many photographs.
"""

from __future__ import annotations

import itertools
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import psutil
from PIL import Image

import lookalike
from lookalike.duplicates.find import find_duplicates
from lookalike.store.table import Table
from measuring import Report

__all__ = ["measure_cost"]

GIB = 2**30
JPEG_QUALITY = 90
# A displacement is drawn at the points of a grid, and is smooth between them.
GRID = 5
# The standard deviation of a displacement, as a share of the shorter side.
BEND = 0.07
IMAGES_PER_FOLDER = 1_000
SAMPLE_INTERVAL_S = 1.0


class ProcessTree:
    """Samples the memory of this process and its children inside a ``with`` block.

    Attributes
    ----------
    peak
        The most bytes that all of them had resident at once. Memory that they share counts once
        for each.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._root = psutil.Process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        # The first sample is taken here: the thread may start after the work has ended.
        self._take_sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cpu_seconds(self) -> float:
        """Return the processor time of all processes, the ended ones included."""
        seconds = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            own = times.user + times.system
            of_ended_children = times.children_user + times.children_system
            seconds += own + of_ended_children
        return seconds

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            self._take_sample()

    def _take_sample(self) -> None:
        total = 0
        for process in self._processes():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak = max(self.peak, total)

    def _processes(self) -> list[psutil.Process]:
        children = self._root.children(recursive=True)
        return [self._root, *children]


def measure_cost(
    report: Report, photographs: Sequence[Path], rows: int, work: Path, seed: int
) -> None:
    """Print the time, the processor time and the memory of a search among `rows` images."""
    images = work / "bent"
    _write_bent_images(photographs, rows, images, seed)
    lookalike.index(images, work / "c")
    # Pairs that an earlier run compared would take no time.
    shutil.rmtree(work / "c" / "duplicates", ignore_errors=True)
    table = Table.open(work / "c")

    # Note the clocks when a step begins.
    begins: list[tuple[str, float, float]] = []
    tree = ProcessTree()

    def note(step: str, *_: object) -> None:
        is_new = not begins or begins[-1][0] != step
        if is_new:
            begins.append((step, time.perf_counter(), tree.cpu_seconds()))

    with tree:
        found = find_duplicates(table, on_progress=note)
        begins.append(("", time.perf_counter(), tree.cpu_seconds()))

    _print_steps(report, begins, table.count(), tree.peak)
    copies = sum(len(group.copies) for group in found.groups)
    print(f"{len(found.groups):,} groups with {copies:,} copies")


def _print_steps(
    report: Report, begins: list[tuple[str, float, float]], rows: int, peak: int
) -> None:
    lines: list[list[object]] = []
    for (step, start, cpu), (_, end, cpu_end) in itertools.pairwise(begins):
        lines.append([step, end - start, cpu_end - cpu])
    _, first_start, first_cpu = begins[0]
    _, last_end, last_cpu = begins[-1]
    lines.append(["in all", last_end - first_start, last_cpu - first_cpu])
    title = f"{rows:,} images, {peak / GIB:.2f} GiB in all processes"
    report.print_table(title, ["step", "s", "processor s"], lines)
    report.figures["cost"] = lines
    report.figures["peak_bytes"] = peak


def _write_bent_images(
    photographs: Sequence[Path], rows: int, images: Path, seed: int
) -> None:
    """Write as many JPEG files; those that an earlier run wrote are kept."""
    for number in range(rows):
        folder = images / f"{number // IMAGES_PER_FOLDER:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number:06d}.jpg"
        if path.exists():
            continue
        photograph = photographs[number % len(photographs)]
        with Image.open(photograph) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        random = np.random.default_rng([seed, number])
        bent = Image.fromarray(_bend(pixels, random))
        bent.save(path, "JPEG", quality=JPEG_QUALITY)


def _bend(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return uint8 pixels ``[height, width, 3]`` moved by a random smooth displacement."""
    height, width = pixels.shape[:2]
    deviation = BEND * min(height, width)
    grid = random.normal(0, deviation, (GRID, GRID, 2)).astype(np.float32)
    moves = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    source_x = columns.astype(np.float32) + moves[..., 0]
    source_y = rows.astype(np.float32) + moves[..., 1]
    return cv2.remap(
        pixels, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
