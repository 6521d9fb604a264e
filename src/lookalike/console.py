"""What the command line shows: text for people, JSON for programs, progress on standard error."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from lookalike.indexing import Report
    from lookalike.sources import Scan
    from lookalike.types import Matches

__all__ = [
    "columns",
    "counting",
    "print_error",
    "print_json",
    "print_matches",
    "print_report",
    "printable",
    "say",
]

_MANY = 20


def say(text: Text | str = "", *, error: bool = False) -> None:
    """Print one line, never wrapped or cut: what is piped on is whole."""
    Console(stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False).print(text)


def print_json(value: Any) -> None:
    """Print data as JSON, and nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def print_error(message: str) -> None:
    """Print an error's one paragraph to standard error."""
    say(Text.assemble(("Error: ", "bold red"), printable(message)), error=True)


def printable(text: str) -> str:
    """Return the text with control characters spelled out: a file's name must not steer the terminal."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def columns(rows: Iterable[Sequence[str]], *, styles: Sequence[str] = (), right: Sequence[int] = ()) -> None:
    """Print rows in columns as wide as their content; the last one is never cut."""
    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = Text()
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            last = index == len(row) - 1
            padded = cell.rjust(width) if index in right else cell if last else cell.ljust(width)
            line.append(padded if last else padded + "  ", styles[index] if index < len(styles) else "")
        say(line)


def print_matches(matches: Matches) -> None:
    """Print an answer, one match a line."""
    rows = [[str(m.rank), f"{m.distance:.4f}", m.label or "-", m.uri] for m in matches]
    columns(rows, styles=("dim", "bold", "cyan", ""), right=(0, 1))


def print_report(report: Report, collection: str) -> None:
    """Print what an index run did, the failures included."""
    counts = report.to_dict()
    names = ("added", "updated", "moved", "removed", "unchanged", "failed")
    told = ", ".join(f"{counts[name]:,} {name}" for name in names if counts[name]) or "nothing to do"
    done = report.added + report.updated + report.moved
    rate = f" ({done / report.seconds:,.0f} images a second)" if done else ""
    say(Text.assemble((f"{report.images:,} images", "bold"), f" in {printable(collection)}: {told}."))
    say(f"Took {report.seconds:.1f} s{rate}.")
    if report.failed:
        say(Text(f"{report.failed:,} files could not be indexed:", "yellow"))
        for uri, reason in report.failures[:_MANY]:
            say(f"  {printable(uri)}: {printable(reason)}")
        known = report.failed - len(report.failures)
        if known:
            say(f"  {known:,} failed before and have not changed; --retry-failures tries them again.")
        if len(report.failures) > _MANY:
            say(f"  and {len(report.failures) - _MANY:,} more")
        say("All of them, with reasons: lookalike info --failures")


@contextmanager
def counting(scan: Scan, what: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal: images done, rate and time left.

    The total is counted beside the work, by a scan of its own, so that nothing waits for it.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    from rich import progress

    bar = progress.Progress(
        progress.TextColumn(what),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
    )
    task = bar.add_task(what, total=None, rate="")
    threading.Thread(target=lambda: bar.update(task, total=scan.count()), daemon=True).start()

    def advance(count: int) -> None:
        speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
        bar.update(task, advance=count, rate=f"{speed:,.0f}/s" if speed else "")

    with bar:
        yield advance
