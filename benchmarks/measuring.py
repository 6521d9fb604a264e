"""What the benchmarks share: timing in turns, tables, aims, the machine and its limits, and how figures grow."""

from __future__ import annotations

import argparse
import json
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import psutil

from lookalike.io.processors import cores

RESULTS = Path(__file__).parent / "results"


class Spread(NamedTuple):
    """The median of some figures, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    def told(self, digits: int = 1) -> str:
        """Return ``12.3 (11.9-13.0)``."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(figures: Sequence[float]) -> Spread:
    return Spread(float(np.median(figures)), min(figures), max(figures))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(
    contestants: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Return each contestant's seconds by round. In a round all have a turn, and each round another one is first."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(timed(contestants[name]))
    return seconds


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float | None:
    """Return b of the power law ``a * size ** b`` that fits best on logarithmic scales; None where none can be."""
    if len(set(sizes)) < 2 or min(*sizes, *figures) <= 0:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(figures), 1)
    return float(slope)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return lines of columns, the first ranged left and the others right; None is a dash."""
    cells = [list(headers), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Spread):
        return value.told()
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory, system."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
            model,
        )
    return {
        "cpu": model,
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the version of each package that is installed here."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def matrix_rate(side: int = 3072) -> float:
    """Return how fast NumPy multiplies float32 matrices on all cores, in GFLOP/s: the best of five."""
    square = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    return 2 * side**3 / min(timed(lambda: square @ square) for _ in range(5)) / 1e9


def read_rate(size: int = 1 << 29) -> float:
    """Return how fast all cores together read memory that no cache holds, in GB/s: the best of five."""
    parts = np.array_split(np.ones(size // 4, np.int32), 4 * cores())
    with ThreadPoolExecutor(cores()) as pool:
        return size / min(timed(lambda: list(pool.map(np.max, parts))) for _ in range(5)) / 1e9


def resident() -> int:
    """Return the bytes of memory that this process has resident now."""
    return int(psutil.Process().memory_info().rss)


class Watch:
    """Takes the process's resident memory every hundredth of a second, as long as it is entered.

    Attributes
    ----------
    mark
        What each sample is marked with; the watched work sets it.
    samples
        The mark and the bytes of each.
    """

    def __init__(self, mark: Any) -> None:
        self.mark = mark
        self.samples: list[tuple[Any, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._take)

    def __enter__(self) -> Self:
        # Here and not in the thread, which may first run when the work is well under way.
        self.samples.append((self.mark, resident()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _take(self) -> None:
        while not self._ended.wait(0.01):
            self.samples.append((self.mark, resident()))


class Report:
    """What a benchmark found: told as it is found, and kept as JSON.

    Parameters
    ----------
    name
        The benchmark's.
    arguments
        What `parser` gave.
    packages
        Those whose versions matter.
    """

    def __init__(self, name: str, arguments: argparse.Namespace, packages: Sequence[str]) -> None:
        self._file = arguments.json or RESULTS / f"{name}.json"
        self._strict = arguments.strict
        self.figures: dict[str, Any] = {}
        self._aims: list[dict[str, Any]] = []
        self._skipped: dict[str, str] = {}
        options = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in vars(arguments).items()
        }
        self._head = {
            "benchmark": name,
            "machine": machine(),
            "versions": versions(["lookalike", "numpy", *packages]),
            "options": options,
        }
        of = self._head["machine"]
        print(
            f"{of['cpu']}, {of['cores']} cores, {of['memory_gib']} GiB, {of['system']}, Python {of['python']}"
        )
        print(
            ", ".join(f"{package} {version}" for package, version in self._head["versions"].items())
        )

    def limits(self) -> None:
        """Measure and tell what the machine can do at most."""
        found = {"matrix_gflops": round(matrix_rate(), 1), "read_gb_per_s": round(read_rate(), 1)}
        self.figures["limits"] = found
        print(
            f"limits: float32 matrix product {found['matrix_gflops']} GFLOP/s, read {found['read_gb_per_s']} GB/s"
        )

    def tell(self, title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        print(f"\n{title}\n{table(headers, rows)}")

    def skip(self, what: str, reason: object) -> None:
        """Say that something was not measured, and why."""
        self._skipped[what] = str(reason)
        print(f"{what}: left out. {reason}")

    def aim(
        self, what: str, figure: float, *, most: float | None = None, least: float | None = None
    ) -> None:
        """Hold a figure to the most or the least that it should be."""
        bound, words = (most, "at most") if most is not None else (least, "at least")
        assert bound is not None
        met = figure <= bound if most is not None else figure >= bound
        self._aims.append(
            {"what": what, "figure": figure, "aim": f"{words} {bound:g}", "met": bool(met)}
        )

    def close(self) -> int:
        """Tell the aims, write the JSON, and return the exit status: 1 if an aim is missed under --strict."""
        if self._aims:
            rows = [
                (aim["what"], aim["figure"], aim["aim"], "met" if aim["met"] else "missed")
                for aim in self._aims
            ]
            self.tell("Aims", ["what", "figure", "aim", ""], rows)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        found = {
            **self._head,
            "figures": self.figures,
            "skipped": self._skipped,
            "aims": self._aims,
        }
        self._file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"\nThe figures are in {self._file}")
        return int(self._strict and not all(aim["met"] for aim in self._aims))


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    made = argparse.ArgumentParser(prog=f"scripts/bench {name}", description=description)
    made.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"write there (default: {RESULTS.name}/{name}.json)",
    )
    made.add_argument("--strict", action="store_true", help="exit with 1 if an aim is missed")
    made.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    return made
