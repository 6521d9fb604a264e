"""One trial: start an action, interrupt it at a random moment, check, run it again, check again."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from os import killpg
from pathlib import Path

from trust.torture.checks import Finding, check_after_kill, check_after_rerun
from trust.torture.workspace import CLI, Action, Reference, Workspace

# The manifest of a version is named by the largest number less the version.
_LAST = 2**64 - 1
_INTERRUPTED = 130
# The probability of each fault.
_FAULTS = {"SIGKILL": 0.8, "SIGINT": 0.08, "SIGTERM": 0.04, "full disk": 0.08}


@dataclass(slots=True)
class Trial:
    """An interrupted action, and the findings."""

    action: Action
    fault: str
    delay: float
    was_interrupted: bool = False
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.action.name}, {self.fault} after {self.delay:.3f} s"


def choose_fault(random_source: random.Random) -> str:
    """Return a fault at random."""
    return random_source.choices(list(_FAULTS), list(_FAULTS.values()))[0]


def attempt(
    workspace: Workspace,
    action: Action,
    known: Reference,
    random_source: random.Random,
    fault: str = "SIGKILL",
) -> Trial:
    """Interrupt an action once, at a moment drawn evenly from its usual duration."""
    trial = Trial(
        action,
        fault,
        0.0 if fault == "full disk" else random_source.uniform(0, known.seconds),
    )
    workspace.reset(action.start)
    with _VersionWatcher(workspace.folder) as watch:
        if fault == "full disk":
            _limit_file_size(workspace, trial, known, random_source)
        else:
            _send_signal(workspace, trial)
    state, trial.findings = check_after_kill(
        workspace.folder, known.start, known.end, watch.newest
    )
    trial.rows = len(state.rows) if state is not None else 0
    _rerun(workspace, trial, known)
    trial.findings += check_after_rerun(workspace.folder, known.end)
    return trial


class _VersionWatcher:
    """Watches from outside which versions of the table a running command commits."""

    def __init__(self, folder: Path) -> None:
        self._place, self.newest = folder, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _VersionWatcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        versions = self._place / "collection" / "images.lance" / "_versions"
        while not self._stop.wait(0.01):
            names = (path.stem for path in versions.glob("*.manifest"))
            self.newest = max(
                [
                    self.newest,
                    *(_LAST - int(name) for name in names if name.isdecimal()),
                ]
            )


def _send_signal(workspace: Workspace, trial: Trial) -> None:
    """Start the command, and send a signal to its whole process group after the delay."""
    running = workspace.start(trial.action.command, new_session=True)
    with suppress(subprocess.TimeoutExpired):
        running.wait(trial.delay)
    trial.was_interrupted = running.poll() is None
    with suppress(ProcessLookupError):
        killpg(running.pid, getattr(signal, trial.fault))
    try:
        _, message = running.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        trial.findings.append(Finding("hang", f"{trial}: still running after a minute"))
        message = ""
    with suppress(ProcessLookupError), running:
        killpg(running.pid, signal.SIGKILL)
    if "panicked" in message:
        trial.findings.append(Finding("unclear", message[-500:]))


def _limit_file_size(
    workspace: Workspace, trial: Trial, known: Reference, random_source: random.Random
) -> None:
    """Let every write beyond a random file size fail; the command must report it with status 2."""
    kilobytes = int(known.largest ** random_source.random())
    command = trial.action.command
    with workspace.start(command, file_size=kilobytes * 1024) as done:
        _, errors = done.communicate(timeout=120)
    trial.was_interrupted = done.returncode != 0
    clear = (
        done.returncode == 2
        and errors.startswith("Error: ")
        and "Traceback" not in errors
    )
    if (
        trial.was_interrupted
        and list(trial.action.command[: len(CLI)]) == CLI
        and not clear
    ):
        message = (
            f"no file may have more than {kilobytes} KiB, "
            f"status {done.returncode}: {errors[-800:]}"
        )
        trial.findings.append(Finding("unclear", message))


def _rerun(workspace: Workspace, trial: Trial, known: Reference) -> None:
    limit = 60 + 10 * known.seconds
    with workspace.start(trial.action.command) as running:
        try:
            _, errors = running.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            running.kill()
            trial.findings.append(
                Finding("hang", f"{trial}: run again, it took more than {limit:.0f} s")
            )
            return
    if running.returncode not in trial.action.again:
        message = f"run again, status {running.returncode}: {errors[-800:]}"
        trial.findings.append(Finding("unusable", message))
