"""Kill the removal of duplicates, and its undo: no content may be lost, and all of it comes back.

The images of these trials lie in the folder of the trial, because the commands move them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lookalike.store.table import Table
from trust.torture.checks import Finding
from trust.torture.trial import Trial
from trust.torture.workspace import CLI, Action, Workspace

_START = "duplicates"
_ORIGINALS = 24
_REMOVE = [*CLI, "duplicates", "--tier", "identical", "-c", "{c}", "--yes", "--apply"]
_UNDO = [*CLI, "duplicates", "undo", "-c", "{c}"]

REMOVALS = [
    Action("duplicates to the trash", _START, [*_REMOVE, "trash"]),
    Action("duplicates to links", _START, [*_REMOVE, "hardlink"]),
    Action("duplicates to a folder", _START, [*_REMOVE, "move", "--to", "{out}/moved"]),
    Action("undo of duplicates", f"{_START} removed", _UNDO),
]


@dataclass(frozen=True, slots=True)
class RemovalReference:
    """The images before and after an action that is not interrupted, and its duration."""

    start: dict[str, Image]
    end: dict[str, Image]
    seconds: float


# The content, the time and the permissions of a file.
Image = tuple[bytes, int, int]


def run_removal_reference(workspace: Workspace, action: Action) -> RemovalReference:
    """Run an action without interruption."""
    _reset(workspace, action)
    start = _images(workspace)
    seconds = workspace.run(action.command)
    return RemovalReference(start, _images(workspace), seconds)


def attempt_removal(
    workspace: Workspace,
    action: Action,
    known: RemovalReference,
    random_source: random.Random,
) -> Trial:
    """Kill an action at a random moment, complete or repeat it, then bring all images back."""
    _reset(workspace, action)
    trial = Trial(action, "SIGKILL", random_source.uniform(0, known.seconds))
    contents = {content for content, *_ in known.start.values()}
    rows = _rows(workspace)

    running = workspace.start(action.command, new_session=True)
    with running:
        with suppress(subprocess.TimeoutExpired):
            running.wait(trial.delay)
        trial.was_interrupted = running.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)

    kept = {file.read_bytes() for file in _files(workspace.folder)}
    for content in contents - kept:
        trial.findings.append(Finding("lost", f"an image of {len(content)} bytes"))
    # The command again, or an undo at once: both must lead to a known state.
    if random_source.random() < 0.5:
        _repeat(workspace, trial, known)
    _undo_all(workspace, trial)

    original = _originals(workspace, known, action)
    if _images(workspace) != original:
        trial.findings.append(Finding("wrong", "undo did not restore every image"))
    restored = _rows(workspace)
    trial.rows = len(restored)
    if not rows.keys() <= restored.keys():
        trial.findings.append(Finding("lost", "rows of images that came back"))
    for file in _files(workspace.folder / "collection" / ".Trash-lookalike"):
        trial.findings.append(Finding("leftover", str(file)))
    return trial


def _originals(
    workspace: Workspace, known: RemovalReference, action: Action
) -> dict[str, Image]:
    """Return the images before anything was removed."""
    return known.end if action.command == _UNDO else known.start


def _repeat(workspace: Workspace, trial: Trial, known: RemovalReference) -> None:
    done = _run(workspace, trial.action.command)
    # Undone images cannot be undone again.
    is_undo = trial.action.command == _UNDO
    if done not in ({0, 2} if is_undo else {0}):
        trial.findings.append(Finding("unusable", f"run again, status {done}"))
    if _images(workspace) != known.end:
        trial.findings.append(Finding("wrong", "run again, it leads to another end"))


def _undo_all(workspace: Workspace, trial: Trial) -> None:
    """Undo runs until there is none: a killed one and its repetition are two."""
    for _ in range(4):
        status = _run(workspace, _UNDO)
        if status == 2:
            return
        if status != 0:
            trial.findings.append(Finding("unusable", f"undo, status {status}"))
    trial.findings.append(Finding("hang", "undo finds more runs than there were"))


def _run(workspace: Workspace, command: Sequence[str]) -> int | None:
    with workspace.start(command) as running:
        running.communicate(timeout=120)
    return running.returncode


# ---- the state ----------------------------------------------------------------------------------


def _reset(workspace: Workspace, action: Action) -> None:
    """Put the images and their collection into the start state of an action."""
    kept = workspace.root / "starts" / action.start
    if not kept.exists():
        workspace.reset("nothing")
        _write_images(workspace)
        workspace.run(
            [*CLI, "index", "{out}/images", "-c", "{c}", "--model", "{small}"]
        )
        if action.start != _START:
            workspace.run(REMOVALS[0].command)
        shutil.copytree(workspace.folder, kept, copy_function=shutil.copy2)
    shutil.rmtree(workspace.folder)
    shutil.copytree(kept, workspace.folder, copy_function=shutil.copy2)


def _write_images(workspace: Workspace) -> None:
    """Write images, each with one to three copies in other folders."""
    folder = workspace.folder / "out" / "images"
    originals = sorted((workspace.root / "few").glob("[0-9]/*.jpg"))[:_ORIGINALS]
    for number, file in enumerate(originals):
        for copy in range(2 + number % 3):
            target = folder / str(copy) / f"{number}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)


def _images(workspace: Workspace) -> dict[str, Image]:
    """Return the images by their names."""
    folder = workspace.folder / "out" / "images"
    images = {}
    for file in _files(folder):
        status = file.stat()
        name = str(file.relative_to(folder))
        images[name] = (file.read_bytes(), status.st_mtime_ns, status.st_mode)
    return images


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def _rows(workspace: Workspace) -> dict[str, bytes]:
    table = Table.open(workspace.folder / "collection")
    ids = table.select("uri is not null")
    rows = table.take(ids, ["uri", "sha256"])
    return dict(zip(rows["uri"].to_pylist(), rows["sha256"].to_pylist(), strict=True))
