"""One trial: start an action, strike it at a random moment, look, run it again, look again."""

from __future__ import annotations

import random
import shlex
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from os import killpg
from pathlib import Path

from trust.torture.witness import Finding, after_the_blow, after_the_rerun
from trust.torture.world import CLI, Action, Undisturbed, World

# A version's manifest is named by what is left to the largest number.
_LAST = 2**64 - 1
_INTERRUPTED = 130
# How often a fault other than SIGKILL takes its place.
_FAULTS = {"SIGKILL": 0.8, "SIGINT": 0.08, "SIGTERM": 0.04, "full disk": 0.08}


@dataclass(slots=True)
class Trial:
    """What was done, and what was found."""

    action: Action
    fault: str
    moment: float
    struck: bool = False
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.action.name}, {self.fault} after {self.moment:.3f} s"


def choose_fault(chance: random.Random) -> str:
    """Draw a fault."""
    return chance.choices(list(_FAULTS), list(_FAULTS.values()))[0]


def attempt(
    world: World, action: Action, known: Undisturbed, chance: random.Random, fault: str = "SIGKILL"
) -> Trial:
    """Strike an action once; the moment is drawn evenly from the time that it takes undisturbed."""
    trial = Trial(action, fault, 0.0 if fault == "full disk" else chance.uniform(0, known.seconds))
    world.begin(action.start)
    with _Watch(world.place) as watch:
        if fault == "full disk":
            _fill_the_disk(world, trial, known, chance)
        else:
            _strike(world, trial)
    state, trial.findings = after_the_blow(world.place, known.start, known.end, watch.newest)
    trial.rows = len(state.rows) if state is not None else 0
    _run_again(world, trial, known)
    trial.findings += after_the_rerun(world.place, known.end)
    return trial


class _Watch:
    """Sees from outside which versions of the table are committed while a run is alive."""

    def __init__(self, place: Path) -> None:
        self._place, self.newest = place, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        versions = self._place / "collection" / "images.lance" / "_versions"
        while not self._over.wait(0.01):
            names = (path.stem for path in versions.glob("*.manifest"))
            self.newest = max(
                [self.newest, *(_LAST - int(name) for name in names if name.isdecimal())]
            )


def _strike(world: World, trial: Trial) -> None:
    """Start the command, and send its whole process group a signal at the moment."""
    running = subprocess.Popen(
        world.command(trial.action),
        env=world.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with suppress(subprocess.TimeoutExpired):
        running.wait(trial.moment)
    trial.struck = running.poll() is None
    with suppress(ProcessLookupError):
        killpg(running.pid, getattr(signal, trial.fault))
    try:
        _, told = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        trial.findings.append(Finding("hang", f"{trial}: still there after a minute"))
        told = ""
    with suppress(ProcessLookupError):
        killpg(running.pid, signal.SIGKILL)
    running.wait()
    if "panicked" in told:
        trial.findings.append(Finding("unclear", told[-500:]))


def _fill_the_disk(world: World, trial: Trial, known: Undisturbed, chance: random.Random) -> None:
    """Let every write beyond a random length fail: the command says so, in one paragraph, with status 2."""
    kilobytes = int(known.largest ** chance.random())
    command = f"ulimit -f {kilobytes}; exec {shlex.join(world.command(trial.action))}"
    done = subprocess.run(
        ["bash", "-c", command],
        env=world.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    trial.struck = done.returncode != 0
    clear = (
        done.returncode == 2
        and done.stderr.startswith("Error: ")
        and "Traceback" not in done.stderr
    )
    if trial.struck and list(trial.action.command[: len(CLI)]) == CLI and not clear:
        told = f"no file may have more than {kilobytes} KiB, status {done.returncode}: {done.stderr[-800:]}"
        trial.findings.append(Finding("unclear", told))


def _run_again(world: World, trial: Trial, known: Undisturbed) -> None:
    limit = 60 + 10 * known.seconds
    try:
        done = subprocess.run(
            world.command(trial.action),
            env=world.environment(),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        trial.findings.append(
            Finding("hang", f"{trial}: run again, it took more than {limit:.0f} s")
        )
        return
    if done.returncode not in trial.action.again:
        told = f"run again, status {done.returncode}: {done.stderr[-800:]}"
        trial.findings.append(Finding("unusable", told))
