"""Progress bars, shown on standard error when that is a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

__all__ = ["ProgressBar", "progress_bar"]

Unit = Literal["items", "bytes"]


class ProgressBar:
    """One bar. Its methods are the callbacks that the library's functions take.

    Parameters
    ----------
    progress
        The display, or None where nothing is shown.
    description
        The text before the bar.
    finishing
        The text once the total is reached while the work continues.
    total
        The total, if it is known from the start.
    visible
        Whether the bar appears at the start, or at the first report.
    """

    def __init__(
        self,
        progress: Progress | None,
        description: str,
        *,
        finishing: str | None,
        total: int | None,
        visible: bool,
    ) -> None:
        self._progress = progress
        self._finishing = finishing
        if progress is not None:
            self._task = progress.add_task(
                description, total=total, start=visible, visible=visible, rate=""
            )

    def advance(self, count: int) -> None:
        """Add `count` to the work done."""
        progress = self._progress
        if progress is None:
            return
        speed = progress.tasks[0].speed
        rate = ""
        if speed:
            rate = f"{speed:,.0f}/s"
        progress.update(self._task, advance=count, rate=rate)
        self._show_finishing()

    def update(self, done: int, total: int | None) -> None:
        """Set the work done, and the total if it is known."""
        progress = self._progress
        if progress is None:
            return
        progress.start_task(self._task)
        progress.update(self._task, completed=done, total=total, visible=True)
        self._show_finishing()

    def describe(self, step: str) -> None:
        """Name the step that runs now."""
        if self._progress is not None:
            self._progress.update(self._task, description=step)

    def count_total(self, count: Callable[[], int]) -> None:
        """Find the total in a thread, so that the work does not wait for it."""
        progress = self._progress
        if progress is None:
            return
        task = self._task

        def set_total() -> None:
            total = count()
            progress.update(task, total=total)

        thread = threading.Thread(target=set_total, daemon=True)
        thread.start()

    def _show_finishing(self) -> None:
        progress = self._progress
        if progress is None or self._finishing is None:
            return
        task = progress.tasks[0]
        if task.finished:
            self.describe(self._finishing)


@contextmanager
def progress_bar(
    description: str,
    *,
    unit: Unit | None = None,
    total: int | None = None,
    finishing: str | None = None,
    visible: bool = True,
) -> Iterator[ProgressBar]:
    """Show a bar on standard error while the block runs, if that is a terminal.

    Parameters
    ----------
    description
        The text before the bar.
    unit
        ``items`` shows counts and a rate, ``bytes`` shows sizes and a speed. None shows neither.
    total
        The total, if it is known from the start.
    finishing
        The text once the total is reached while the work continues.
    visible
        False hides the bar until its first report.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressBar(
            None, description, finishing=finishing, total=total, visible=visible
        )
        return

    from rich import progress

    columns: list[ProgressColumn] = [
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
    ]
    if unit == "items":
        columns += [
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
        ]
    elif unit == "bytes":
        columns += [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    columns.append(progress.TimeRemainingColumn(compact=True))

    with progress.Progress(*columns, console=console, transient=True) as display:
        yield ProgressBar(
            display, description, finishing=finishing, total=total, visible=visible
        )
