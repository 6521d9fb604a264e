"""``scripts/torture --minutes N [--seed S]``: kill every action again and again, and count what that did."""

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
from trust.torture.trial import Trial, attempt, choose_fault
from trust.torture.world import ACTIONS, World

# Each kind of finding, in words.
KINDS = {
    "lost": "rows lost",
    "doubled": "rows doubled",
    "wrong": "wrong rows, vectors or maps",
    "hang": "hangs",
    "unusable": "collections, files or reruns of no use",
    "leftover": "leftovers",
    "unclear": "errors that are not clear",
}


def main() -> int:
    """Run trials until the time is over; return 1 if any found something."""
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10.0, metavar="N", help="how long (default: 10)"
    )
    parser.add_argument("--seed", type=int, metavar="S", help="decides the moments and the faults")
    parser.add_argument(
        "--jobs",
        type=int,
        default=cores(),
        metavar="N",
        help="trials at a time (default: one a core)",
    )
    parser.add_argument(
        "--only", metavar="NAME", help=f"one of: {'; '.join(action.name for action in ACTIONS)}"
    )
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell makes what it starts in the background ignore it
    end = time.monotonic() + 60 * arguments.minutes
    data = Path(os.environ.get("LOOKALIKE_TEST_DATA", "none"), "caltech101", "101_ObjectCategories")
    print(
        f"Seed {seed}. Preparing, on {'photographs' if data.is_dir() else 'drawn pictures'}.",
        flush=True,
    )
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="lookalike-torture-") as root, local_server() as server:

        def work(number: int) -> tuple[int, list[Trial]]:
            world = World(Path(root, str(number)), server)
            bad = world.make(data if data.is_dir() else None, 600)
            return bad, _trials(world, random.Random(f"{seed}/{number}"), arguments.only, stop)

        with ThreadPoolExecutor(arguments.jobs) as pool:
            running = [pool.submit(work, number) for number in range(arguments.jobs)]
            try:
                wait(running, max(0.0, end - time.monotonic()), FIRST_EXCEPTION)
            finally:
                stop.set()
        done = [future.result() for future in running]
    return _tell(
        [trial for _, trials in done for trial in trials], sum(bad for bad, _ in done), seed
    )


def _trials(
    world: World, chance: random.Random, only: str | None, stop: threading.Event
) -> list[Trial]:
    """Go through the actions in turns, in another order each turn."""
    chosen = [action for action in ACTIONS if only in {None, action.name}]
    known, trials = {}, []
    while not stop.is_set():
        for action in chance.sample(chosen, len(chosen)):
            if stop.is_set():
                break
            if action.name not in known:
                known[action.name] = world.undisturbed(action)
            trial = attempt(world, action, known[action.name], chance, choose_fault(chance))
            trials.append(trial)
            for finding in trial.findings[:5]:
                print(f"{trial}: {KINDS[finding.kind]}: {finding.what}", flush=True)
    return trials


def _tell(trials: list[Trial], bad: int, seed: int) -> int:
    struck = [trial for trial in trials if trial.struck]
    kills = Counter(trial.action.name for trial in struck if trial.fault == "SIGKILL")
    found = Counter(finding.kind for trial in trials for finding in trial.findings)
    print(f"\n{'kills':42}{kills.total():>8,}")
    for name, count in sorted(kills.items()):
        print(f"  {name:40}{count:>8,}")
    for fault in sorted({trial.fault for trial in struck} - {"SIGKILL"}):
        print(f"{fault:42}{sum(trial.fault == fault for trial in struck):>8,}")
    print(f"{'over before the blow':42}{len(trials) - len(struck):>8,}")
    print(f"{'bad inputs among the pictures':42}{bad:>8,}")
    print(f"{'rows checked':42}{sum(trial.rows for trial in trials):>8,}")
    for kind, words in KINDS.items():
        print(f"{words:42}{found[kind]:>8,}")
    if found:
        print(
            f"\nFound something. The same faults, moments and order: scripts/torture --seed {seed}"
        )
    return int(found.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
