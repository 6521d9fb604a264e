"""Shared parts of the benchmarks: timing in turns, tables, aims, the machine and its limits."""

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

SAMPLE_INTERVAL_S = 0.01
REPEATS = 5


class Spread(NamedTuple):
    """The median, minimum and maximum of some measurements."""

    median: float
    low: float
    high: float

    def format(self, digits: int = 1) -> str:
        """Return ``12.3 (11.9-13.0)``."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(figures: Sequence[float]) -> Spread:
    median = float(np.median(figures))
    return Spread(median, min(figures), max(figures))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(
    contestants: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Run all contestants once per round and return the seconds of each, by round.

    Each round starts with another contestant, so that a machine that slows down treats all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        order = names[first:] + names[:first]
        for name in order:
            seconds[name].append(timed(contestants[name]))
    return seconds


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float | None:
    """Return b of the power law ``a * size ** b`` that fits best on logarithmic scales.

    Returns None for a single size or for figures that are not positive.
    """
    if len(set(sizes)) < 2 or min(*sizes, *figures) <= 0:
        return None
    slope, _ = np.polyfit(np.log(sizes), np.log(figures), 1)
    return float(slope)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a table: the first column is aligned left, the others right. None becomes a dash."""
    formatted = [[_format_cell(value) for value in row] for row in rows]
    cells = [list(headers), *formatted]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]

    lines = []
    for first, *others in cells:
        aligned = [first.ljust(widths[0])]
        for cell, width in zip(others, widths[1:], strict=True):
            aligned.append(cell.rjust(width))
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def _format_cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Spread):
        return value.format()
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, memory, system."""
    memory = psutil.virtual_memory().total
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def matrix_rate(side: int = 3072) -> float:
    """Return the GFLOP/s of NumPy's float32 matrix product on all cores: the best of five."""
    square = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    seconds = min(timed(lambda: square @ square) for _ in range(REPEATS))
    operations = 2 * side**3
    return operations / seconds / 1e9


def read_rate(size: int = 1 << 29) -> float:
    """Return the GB/s at which all cores read memory that fits in no cache: the best of five."""
    numbers = np.ones(size // 4, np.int32)
    parts = np.array_split(numbers, 4 * cores())
    with ThreadPoolExecutor(cores()) as pool:
        seconds = min(
            timed(lambda: list(pool.map(np.max, parts))) for _ in range(REPEATS)
        )
    return size / seconds / 1e9


def resident() -> int:
    """Return the bytes of memory that this process has resident now."""
    return int(psutil.Process().memory_info().rss)


class Watch:
    """Samples the process's resident memory every 10 ms inside a ``with`` block.

    Attributes
    ----------
    mark
        The mark of the next samples; the measured work sets it.
    samples
        The mark and the resident bytes of each sample.
    """

    def __init__(self, mark: Any) -> None:
        self.mark = mark
        self.samples: list[tuple[Any, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        # The first sample is taken here: the thread may start after the work has begun.
        self.samples.append((self.mark, resident()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_INTERVAL_S):
            self.samples.append((self.mark, resident()))


class Report:
    """Prints a benchmark's results as they come, and writes them as JSON at the end.

    Parameters
    ----------
    name
        The benchmark's name.
    arguments
        The result of `parser`.
    packages
        The packages whose versions matter.
    """

    def __init__(
        self, name: str, arguments: argparse.Namespace, packages: Sequence[str]
    ) -> None:
        self._file = arguments.json or RESULTS / f"{name}.json"
        self._strict = arguments.strict
        self.figures: dict[str, Any] = {}
        self._aims: list[dict[str, Any]] = []
        self._skipped: dict[str, str] = {}

        options = {}
        for key, value in vars(arguments).items():
            options[key] = str(value) if isinstance(value, Path) else value
        used_machine = machine()
        used_versions = versions(["lookalike", "numpy", *packages])
        self._head = {
            "benchmark": name,
            "machine": used_machine,
            "versions": used_versions,
            "options": options,
        }
        print(
            f"{used_machine['cpu']}, {used_machine['cores']} cores, "
            f"{used_machine['memory_gib']} GiB, {used_machine['system']}, "
            f"Python {used_machine['python']}"
        )
        print(
            ", ".join(
                f"{package} {version}" for package, version in used_versions.items()
            )
        )

    def measure_limits(self) -> None:
        """Measure and print the machine's limits."""
        gflops, read = round(matrix_rate(), 1), round(read_rate(), 1)
        self.figures["limits"] = {"matrix_gflops": gflops, "read_gb_per_s": read}
        print(
            f"limits: float32 matrix product {gflops} GFLOP/s, memory read {read} GB/s"
        )

    def print_table(
        self, title: str, headers: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        print(f"\n{title}\n{table(headers, rows)}")

    def skip(self, what: str, reason: object) -> None:
        """Record and print that something was not measured."""
        self._skipped[what] = str(reason)
        print(f"{what}: skipped. {reason}")

    def aim(
        self,
        what: str,
        figure: float,
        *,
        most: float | None = None,
        least: float | None = None,
    ) -> None:
        """Compare a figure with its upper or lower bound."""
        if most is not None:
            aim, is_met = f"at most {most:g}", figure <= most
        else:
            assert least is not None
            aim, is_met = f"at least {least:g}", figure >= least
        self._aims.append(
            {"what": what, "figure": figure, "aim": aim, "met": bool(is_met)}
        )

    def close(self) -> int:
        """Print the aims, write the JSON file, and return the exit status.

        The status is 1 if an aim is missed under ``--strict``.
        """
        if self._aims:
            rows = []
            for aim in self._aims:
                result = "met" if aim["met"] else "missed"
                rows.append((aim["what"], aim["figure"], aim["aim"], result))
            self.print_table("Aims", ["what", "figure", "aim", ""], rows)

        results = {
            **self._head,
            "figures": self.figures,
            "skipped": self._skipped,
            "aims": self._aims,
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"\nResults written to {self._file}")
        is_missed = not all(aim["met"] for aim in self._aims)
        return int(self._strict and is_missed)


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    options = argparse.ArgumentParser(
        prog=f"scripts/bench {name}", description=description
    )
    options.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"the file to write (default: {RESULTS.name}/{name}.json)",
    )
    options.add_argument(
        "--strict", action="store_true", help="exit with 1 if an aim is missed"
    )
    options.add_argument(
        "--seed", type=int, default=0, help="the random seed (default: 0)"
    )
    return options


def add_merge_option(options: argparse.ArgumentParser) -> None:
    """Add the option ``--merge LABEL=LABEL``, for labels that mean the same."""
    options.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="LABEL=LABEL",
        help="count the images of the first label as the second; may be repeated",
    )


def label_merges(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the label that each label of ``--merge`` counts as."""
    merges = {}
    for pair in arguments.merge:
        old, _, new = pair.partition("=")
        if not new:
            raise SystemExit(
                f"--merge takes LABEL=LABEL, such as Faces_easy=Faces, not {pair!r}."
            )
        merges[old] = new
    return merges
