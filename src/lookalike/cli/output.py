"""Output of the command line: text and tables for people, JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

__all__ = [
    "plural",
    "print_error",
    "print_json",
    "print_list",
    "print_table",
    "printable",
    "say",
    "show_warnings",
]

# How many entries of a long list are printed before "and N more".
MAX_LISTED = 20

_GAP = "  "


def _console(*, error: bool = False) -> Console:
    """Return a console that prints colors on a terminal only, and never wraps or cuts a line."""
    return Console(
        stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def say(text: Text | str = "", *, error: bool = False) -> None:
    """Print one line. It is never wrapped or cut, so that piped output is complete."""
    _console(error=error).print(text)


def print_json(value: Any) -> None:
    """Print data as one line of JSON."""
    line = json.dumps(value, allow_nan=False)
    sys.stdout.write(line + "\n")


def print_error(message: str) -> None:
    """Print an error to standard error, as one paragraph."""
    prefix = ("Error: ", "bold red")
    say(Text.assemble(prefix, printable(message)), error=True)


def show_warnings() -> None:
    """From now on, print the library's warnings to standard error."""
    logger = logging.getLogger("lookalike")
    logger.addHandler(_WarningPrinter(logging.WARNING))


class _WarningPrinter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = printable(record.getMessage())
        say(Text(message, "yellow"), error=True)


def printable(text: str) -> str:
    """Escape control characters: a file name must not control the terminal."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def plural(count: int, noun: str) -> str:
    """Return the count with its noun: ``1 image``, ``1,200 images``."""
    if count != 1:
        noun += "s"
    return f"{count:,} {noun}"


def print_list(
    lines: Sequence[str], *, total: int | None = None, most: int = MAX_LISTED
) -> None:
    """Print indented lines, and how many of the total were left out."""
    for line in lines[:most]:
        say(f"  {printable(line)}")

    left_out = (len(lines) if total is None else total) - most
    if left_out > 0:
        say(f"  and {left_out:,} more")


def print_table(
    rows: Iterable[Sequence[str]],
    *,
    styles: Sequence[str] = (),
    right: Collection[int] = (),
) -> None:
    """Print rows in aligned columns. The last column is neither padded nor cut.

    Parameters
    ----------
    rows
        The cells; all rows have the same length.
    styles
        The Rich style of each column. Columns beyond the list have none.
    right
        The indexes of the columns that are aligned to the right.
    """
    table = [[printable(cell) for cell in row] for row in rows]
    if not table:
        return

    widths = [
        max(cell_len(cell) for cell in column) for column in zip(*table, strict=True)
    ]
    last = len(widths) - 1
    console = _console()
    for row in table:
        line = Text()
        for index, cell in enumerate(row):
            padding = " " * (widths[index] - cell_len(cell))
            style = styles[index] if index < len(styles) else ""
            if index in right:
                line.append(padding + cell, style)
            elif index == last:
                line.append(cell, style)
            else:
                line.append(cell + padding, style)
            if index != last:
                line.append(_GAP)
        console.print(line)
