"""``scripts/torture --minutes N [--seed S]``: interrupt commands, and count the findings."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from local_server import local_server
from lookalike.io.processors import cores
from trust.torture.removal import REMOVALS, attempt_removal, run_removal_reference
from trust.torture.trial import Trial, attempt, choose_fault
from trust.torture.workspace import ACTIONS, Workspace

# A description of each kind of finding.
FINDING_KINDS = {
    "lost": "rows lost",
    "doubled": "rows doubled",
    "wrong": "wrong rows, vectors or maps",
    "hang": "hangs",
    "unusable": "unusable collections, files or reruns",
    "leftover": "leftovers",
    "unclear": "unclear errors",
}


def main() -> int:
    """Run trials until the time is over; return 1 if any of them has a finding."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        metavar="N",
        help="how long (default: 10)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="S", help="seed of the moments and the faults"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=cores(),
        metavar="N",
        help="parallel trials (default: one a core)",
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        help=f"one of: {'; '.join(action.name for action in [*ACTIONS, *REMOVALS])}",
    )
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    # A shell makes background processes ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end = time.monotonic() + 60 * arguments.minutes
    data = Path(
        os.environ.get("LOOKALIKE_TEST_DATA", "none"),
        "caltech101",
        "101_ObjectCategories",
    )
    print(
        f"Seed {seed}. Preparing {'photographs' if data.is_dir() else 'drawn images'}.",
        flush=True,
    )
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-torture-") as root,
        local_server() as server,
    ):

        def work(number: int) -> tuple[int, list[Trial]]:
            workspace = Workspace(Path(root, str(number)), server)
            bad = workspace.make(data if data.is_dir() else None, 600)
            return bad, _trials(
                workspace, random.Random(f"{seed}/{number}"), arguments.only, stop
            )

        with ThreadPoolExecutor(arguments.jobs) as pool:
            running = [pool.submit(work, number) for number in range(arguments.jobs)]
            try:
                wait(running, max(0.0, end - time.monotonic()), FIRST_EXCEPTION)
            finally:
                stop.set()
        done = [future.result() for future in running]
    return _print_summary(
        [trial for _, trials in done for trial in trials],
        sum(bad for bad, _ in done),
        seed,
    )


def _trials(
    workspace: Workspace,
    random_source: random.Random,
    only: str | None,
    stop: threading.Event,
) -> list[Trial]:
    """Run all actions again and again, in a new order each time."""
    every = [*ACTIONS, *REMOVALS]
    chosen = [action for action in every if only in {None, action.name}]
    known, removals, trials = {}, {}, []
    while not stop.is_set():
        for action in random_source.sample(chosen, len(chosen)):
            if stop.is_set():
                break
            if action in REMOVALS:
                if action.name not in removals:
                    removals[action.name] = run_removal_reference(workspace, action)
                reference = removals[action.name]
                trial = attempt_removal(workspace, action, reference, random_source)
            else:
                if action.name not in known:
                    known[action.name] = workspace.run_reference(action)
                trial = attempt(
                    workspace,
                    action,
                    known[action.name],
                    random_source,
                    choose_fault(random_source),
                )
            trials.append(trial)
            for finding in trial.findings[:5]:
                print(
                    f"{trial}: {FINDING_KINDS[finding.kind]}: {finding.what}",
                    flush=True,
                )
    return trials


def _print_summary(trials: list[Trial], bad: int, seed: int) -> int:
    was_interrupted = [trial for trial in trials if trial.was_interrupted]
    kills = Counter(
        trial.action.name for trial in was_interrupted if trial.fault == "SIGKILL"
    )
    found = Counter(finding.kind for trial in trials for finding in trial.findings)
    print(f"\n{'kills':42}{kills.total():>8,}")
    for name, count in sorted(kills.items()):
        print(f"  {name:40}{count:>8,}")
    for fault in sorted({trial.fault for trial in was_interrupted} - {"SIGKILL"}):
        print(f"{fault:42}{sum(trial.fault == fault for trial in was_interrupted):>8,}")
    print(f"{'finished before the fault':42}{len(trials) - len(was_interrupted):>8,}")
    print(f"{'damaged files among the images':42}{bad:>8,}")
    print(f"{'rows checked':42}{sum(trial.rows for trial in trials):>8,}")
    for kind, words in FINDING_KINDS.items():
        print(f"{words:42}{found[kind]:>8,}")
    if found:
        print(
            f"\nRepeat with the same faults, moments and order: scripts/torture --seed {seed}"
        )
    return int(found.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
