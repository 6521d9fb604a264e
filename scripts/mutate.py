"""Mutation testing of some modules with Cosmic Ray's operators; see the script beside this file.

Each mutant is tried with the tests that execute its line, the fastest first, until one fails.
A mutant that survives is printed as a diff and written to ``build/mutants/MODULE.diff``.
"""

from __future__ import annotations

import argparse
import difflib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from queue import SimpleQueue

import coverage
import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

# One replacement for each kind of operator. The same tests detect others of the same kind.
OPERATORS = [
    *(f"core/ReplaceBinaryOperator_{swap}" for swap in (
        "Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul",
        "LShift_RShift", "RShift_LShift", "BitAnd_BitOr",
    )),
    *(f"core/ReplaceComparisonOperator_{swap}" for swap in (
        "Eq_NotEq", "NotEq_Eq", "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE",
        "GtE_Gt", "GtE_Lt",
        "Is_IsNot", "IsNot_Is",
    )),
    "core/ReplaceUnaryOperator_USub_UAdd", "core/ReplaceUnaryOperator_Delete_Invert",
    "core/ReplaceUnaryOperator_Delete_Not", "core/AddNot", "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak", "core/NumberReplacer", "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
]  # fmt: skip
TESTS = [
    "tests/store", "tests/indexing",
    "tests/maintenance/test_optimize.py", "tests/retrieval/test_search.py",
    "tests/trust/test_names.py",
]  # fmt: skip
# A mutant that runs longer than this many budgets never ends, and counts as detected.
TIMEOUT_BUDGETS = 3

# Each run of tests starts in a process that has imported the slow packages and used none.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["pytest", "lance", "numpy", "onnxruntime", "PIL.Image", "pyarrow.dataset"]
)


@dataclass(frozen=True)
class Mutant:
    """A module's source with one change, and the changed lines of the original, from 1."""

    source: str
    lines: list[int]
    diff: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield each mutant of a module once, by operator."""
    original = path.read_text("utf-8")
    seen = {original}
    for name in OPERATORS:
        operator = get_operator(name)()
        occurrence = 0
        while (source := mutate_code(original, operator, occurrence)) is not None:
            occurrence += 1
            if source not in seen:
                seen.add(source)
                before, after = original.splitlines(True), source.splitlines(True)
                changes = difflib.SequenceMatcher(
                    None, before, after, autojunk=False
                ).get_opcodes()
                lines = [
                    n + 1
                    for kind, first, end, *_ in changes
                    if kind != "equal"
                    for n in range(first, end)
                ]
                # Frozen dataclasses are a convention without behavior to test.
                if not any("frozen=" in before[line - 1] for line in lines):
                    diff = "".join(
                        difflib.unified_diff(before, after, str(path), name, n=1)
                    )
                    yield Mutant(source, lines, diff)


def within(budget: float, tests: set[str], took: dict[str, float]) -> list[str]:
    """Return tests, fastest first, within a budget of seconds; at least one."""
    ordered = sorted(tests, key=lambda test: took.get(test, 0.0))
    total = accumulate(took.get(test, 0.0) for test in ordered)
    return [
        test for test, so_far in zip(ordered, total, strict=True) if so_far <= budget
    ] or ordered[:1]


def tests_by_line(
    modules: list[Path], tests: list[str], place: Path, budget: float
) -> dict[Path, dict[int, list[str]]]:
    """Run the tests on the unchanged code; return those that execute each line, fastest first."""
    data = place / "coverage"
    command = [
        sys.executable,
        "-m",
        "pytest",
        *tests,
        "--cov=lookalike",
        "--cov-context=test",
        "--cov-report=",
    ]
    command += ["--durations=0", "--durations-min=0", "-vv", "-p", "no:cacheprovider"]
    environment = {**os.environ, "COVERAGE_FILE": str(data)}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        sys.exit(
            f"{result.stdout}\nThe tests fail on the unchanged code. Fix that first."
        )
    took: dict[str, float] = {}
    for seconds, test in re.findall(
        r"^([\d.]+)s (?:setup|call|teardown) +(\S.*)$", result.stdout, re.MULTILINE
    ):
        took[test] = took.get(test, 0.0) + float(seconds)
    measured = coverage.CoverageData(str(data))
    measured.read()
    found: dict[Path, dict[int, list[str]]] = {}
    for module in modules:
        contexts = measured.contexts_by_lineno(str(module.resolve()))
        named = {
            line: {name.rsplit("|", 1)[0] for name in names if name}
            for line, names in contexts.items()
        }
        anywhere = set().union(*named.values())
        # Lines that run at import concern every test of the module.
        found[module] = {
            line: within(budget, names or anywhere, took)
            for line, names in named.items()
        }
    return found


def copied(place: Path, number: int) -> Path:
    """Return a copy of the source and the tests."""
    copy = place / f"copy{number}"
    for name in ("src", "tests", "benchmarks", "pyproject.toml"):
        source = Path(name)
        if source.is_dir():
            shutil.copytree(
                source, copy / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(source, copy / name)
    return copy


def try_tests(copy: Path, tests: list[str]) -> None:
    """Run tests on a copy, in a separate process that ends with pytest's status."""
    os.setsid()
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.path.insert(0, str(copy / "src"))
    sys.dont_write_bytecode = True
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        sys.exit(pytest.main(["-x", "-p", "no:cacheprovider", *tests]))


def is_detected(
    mutant: Mutant, module: Path, tests: list[str], copy: Path, limit: float | None
) -> bool:
    """Return whether a test fails on a mutant or does not end within `limit` seconds."""
    if not tests:
        return False
    target = copy / module
    original = target.read_text("utf-8")
    target.write_text(mutant.source, "utf-8")
    process = FORKSERVER.Process(target=try_tests, args=(copy, tests))
    process.start()
    process.join(limit)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    target.write_text(original, "utf-8")
    return process.exitcode != 0


def range_of(text: str) -> range:
    """Return the range of lines of text such as ``12-40``."""
    first, last = map(int, text.split("-"))
    return range(first, last + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+", type=Path)
    parser.add_argument("--tests", nargs="+", default=TESTS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds of tests for one line"
    )
    parser.add_argument(
        "--lines", type=range_of, metavar="FIRST-LAST", help="mutate only these lines"
    )
    given = parser.parse_args()
    results = Path("build/mutants")
    results.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ThreadPoolExecutor(given.jobs) as pool,
    ):
        place = Path(folder)
        tests = tests_by_line(given.modules, given.tests, place, given.budget)
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(given.jobs):
            copies.put(copied(place, number))

        def detected(
            module: Path,
            mutant: Mutant,
            limit: float | None = TIMEOUT_BUDGETS * given.budget,
        ) -> bool:
            met = [
                test for line in mutant.lines for test in tests[module].get(line, [])
            ]
            copy = copies.get()
            try:
                return is_detected(
                    mutant, module, list(dict.fromkeys(met)), copy, limit
                )
            finally:
                copies.put(copy)

        for module in given.modules:
            untouched = Mutant(module.read_text("utf-8"), list(tests[module]), "")
            if detected(module, untouched, None):
                sys.exit(
                    f"The tests of {module} fail on the unchanged code when run one by one."
                )
            made = [
                one
                for one in mutants(module)
                if given.lines is None or set(given.lines) & set(one.lines)
            ]
            verdicts = pool.map(partial(detected, module), made)
            left = []
            for number, (mutant, verdict) in enumerate(
                zip(made, verdicts, strict=True), 1
            ):
                if not verdict:
                    left.append(mutant.diff)
                    print(mutant.diff, flush=True)
                    (results / f"{module.stem}.diff").write_text(
                        "\n".join(left), "utf-8"
                    )
                print(
                    f"\r{module}: {number} of {len(made)}",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
            print(f"{module}: {len(made)} mutants, {len(left)} survived", flush=True)


if __name__ == "__main__":
    main()
