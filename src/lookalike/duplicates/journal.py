"""The journal of a run that removes duplicates: every step, before and after it is taken.

A journal is a file of JSON lines that only grows, and each line lasts on the disk before the next
step. It lies in the run's folder of the collection's file trash, so ``undo`` finds it there. What a
killed process left is decided by the disk: the journal says which names to look at.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from lookalike.io.file_moves import FileStamp, make_folders, sync_folder
from lookalike.io.files import FileOwner

__all__ = [
    "Action",
    "Entry",
    "Journal",
    "JournalWriter",
    "State",
    "journals",
    "new_run",
    "read_journal",
]

Action = Literal["trash", "hardlink", "move"]

_JOURNAL = "journal.jsonl"
# The version of the lines.
_JOURNAL_FORMAT = 1


class State(StrEnum):
    """How far the removal of one copy has come."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Entry:
    """The removal of one copy.

    Attributes
    ----------
    run
        The name of the run.
    number
        Its place in the run, from 0.
    action
        What happens to the file.
    uri, keeper
        The copy, and the image that is kept instead of it.
    path
        The file of the copy.
    target
        Its new name: in the trash, or in the folder that was named. With ``hardlink`` it is the
        name of the file until the link is in place.
    sha256
        The content, as hexadecimal digits.
    stamp
        The file before.
    state
        How far the removal has come.
    """

    run: str
    number: int
    action: Action
    uri: str
    keeper: str
    path: Path
    target: Path
    sha256: str
    stamp: FileStamp
    state: State = State.BEGUN


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one run, as it was read.

    Attributes
    ----------
    run
        The name of the run: the time at which it began.
    folder
        The run's folder in the collection's file trash.
    action
        What happened to the files.
    entries
        The removals, in order.
    is_ended
        Whether the run came to its end, with the rows of the collection in accord with the files.
    """

    run: str
    folder: Path
    action: Action
    entries: tuple[Entry, ...]
    is_ended: bool

    @property
    def removed(self) -> list[Entry]:
        """The copies that were removed, or may have been when the process was killed."""
        states = {State.BEGUN, State.DONE}
        return [entry for entry in self.entries if entry.state in states]

    @property
    def bytes(self) -> int:
        """The size of their files."""
        total = 0
        for entry in self.removed:
            total += entry.stamp.size
        return total

    def remove(self) -> bool:
        """Remove the journal and the run's folder, unless something else is in the folder.

        Returns
        -------
        is_removed
            Whether the folder held nothing else.
        """
        others = [path for path in self.folder.iterdir() if path.name != _JOURNAL]
        if others:
            return False
        journal = self.folder / _JOURNAL
        journal.unlink()
        self.folder.rmdir()
        # Fails if there are other runs.
        all_runs = self.folder.parent
        with suppress(OSError):
            all_runs.rmdir()
        return True


class JournalWriter(FileOwner):
    """Appends to a journal; each line is on the disk when its method returns.

    Methods raise OSError if the disk is full or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / _JOURNAL
        file = path.open("ab", buffering=0)
        super().__init__(file)
        # A process that was killed may have left half a line.
        self._file.write(b"\n")

    def start(self, action: Action) -> None:
        """Record what the run does."""
        line: dict[str, Any] = {"event": "start"}
        line["action"] = action
        line["format"] = _JOURNAL_FORMAT
        self._append(line)

    def begin(self, entry: Entry) -> None:
        """Record a removal before it happens."""
        line: dict[str, Any] = {"event": "copy"}
        values = asdict(entry)
        line |= values
        del line["state"]
        path = str(entry.path)
        line["path"] = path
        target = self._relative(entry.target)
        line["target"] = target
        self._append(line)

    def mark(self, entry: Entry, state: State, reason: str | None = None) -> None:
        """Record the outcome of a removal."""
        number = entry.number
        line: dict[str, Any] = {"event": state}
        line["number"] = number
        if reason is not None:
            line["reason"] = reason
        self._append(line)

    def end(self) -> None:
        """Record that the rows of the collection are in accord with the files."""
        line = {"event": "end"}
        self._append(line)

    def _relative(self, target: Path) -> str:
        """Return a path in the run's folder without it: the collection may be moved."""
        folder = self.folder
        is_below = target.is_relative_to(folder)
        if is_below:
            target = target.relative_to(folder)
        return str(target)

    def _append(self, values: dict[str, Any]) -> None:
        line = json.dumps(values) + "\n"
        content = line.encode()
        written = self._file.write(content)
        if written != len(content):
            raise OSError(errno.ENOSPC, "No space left on device", self._file.name)
        os.fsync(self._file.fileno())


def new_run(trash: Path, action: Action) -> Path:
    """Make the folder and the journal of a new run, and return the folder.

    Raises
    ------
    OSError
        If the trash cannot be written.
    """
    now = datetime.now().astimezone()
    # Seconds are for people; the rest lets two runs of one second differ.
    name = f"{now:%Y%m%d-%H%M%S}-{token_hex(2)}"
    folder = trash / name
    make_folders(trash)
    folder.mkdir()
    sync_folder(trash)
    with JournalWriter(folder) as writer:
        writer.start(action)
    sync_folder(folder)
    return folder


def journals(trash: Path) -> list[Journal]:
    """Return the journals of a collection's file trash, the oldest first."""
    if not trash.is_dir():
        return []
    found = []
    for folder in sorted(trash.iterdir()):
        path = folder / _JOURNAL
        if path.is_file():
            journal = read_journal(folder)
            found.append(journal)
    return found


def read_journal(folder: Path) -> Journal:
    """Return the journal of a run."""
    action: Action = "trash"
    entries: dict[int, Entry] = {}
    is_ended = False
    for line in _journal_lines(folder / _JOURNAL):
        event = line["event"]
        if event == "start":
            action = line["action"]
        elif event == "copy":
            entry = _entry(line, folder)
            entries[entry.number] = entry
        elif event == "end":
            is_ended = True
        else:
            number = line["number"]
            entries[number] = replace(entries[number], state=State(event))
        if event != "end":
            is_ended = False
    return Journal(folder.name, folder, action, tuple(entries.values()), is_ended)


def _journal_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines; a killed process may have left half of one."""
    for line in path.read_bytes().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _entry(line: dict[str, Any], folder: Path) -> Entry:
    values = dict(line)
    del values["event"]
    values["path"] = Path(line["path"])
    values["target"] = folder / line["target"]
    values["stamp"] = FileStamp(**line["stamp"])
    return Entry(**values)
