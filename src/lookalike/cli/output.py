"""Output of the command line: text and tables for people, JSON for programs."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

__all__ = [
    "confidence",
    "outlive_readers",
    "plural",
    "print_contents",
    "print_device_note",
    "print_error",
    "print_json",
    "print_list",
    "print_saved",
    "print_table",
    "printable",
    "say",
    "say_with_heading",
    "show_warnings",
]

# How many entries of a long list are printed before "and N more".
MAX_LISTED = 20

_GAP = "  "
_NO_DIVIDERS: Mapping[int, str] = MappingProxyType({})


def _console(*, error: bool = False) -> Console:
    """Return a console that prints colors on a terminal only, and never wraps or cuts a line."""
    return Console(
        stderr=error, soft_wrap=True, highlight=False, markup=False, emoji=False
    )


def say(text: Text | str = "", *, error: bool = False) -> None:
    """Print one line. It is never wrapped or cut, so that piped output is complete."""
    console = _console(error=error)
    console.print(text)


def print_device_note(device: Literal["auto", "cpu", "cuda"] | None) -> None:
    """Print to standard error why ``auto`` does not use the GPU package that is installed."""
    from lookalike.models import devices

    requested = devices.requested(device)
    note = devices.fallback_note(requested)
    if note is not None:
        say(Text(note, "yellow"), error=True)


def say_with_heading(
    heading: str, text: str, *, style: str = "bold", error: bool = False
) -> None:
    """Print one line that starts with a heading in a style."""
    line = Text.assemble((heading, style), text)
    say(line, error=error)


def outlive_readers() -> None:
    """From now on, let a reader of a pipe leave early, as ``head`` does.

    The rest of the output is dropped, and the command ends with its own exit status.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        # With PYTHONUNBUFFERED, the buffer is the file itself.
        raw = getattr(buffer, "raw", buffer)
        if not isinstance(raw, io.FileIO) or raw.isatty():
            continue
        descriptor = raw.fileno()
        pipe = _Pipe(descriptor, "wb", closefd=False)
        is_buffered = raw is not buffer
        target: Any = io.BufferedWriter(pipe) if is_buffered else pipe
        replacement = io.TextIOWrapper(
            target,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, replacement)


class _Pipe(io.FileIO):
    """A file whose writes succeed also when nobody reads them."""

    def write(self, data: Any) -> int:
        try:
            written = super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)
        # A pipe that does not wait may take nothing.
        return written or 0


def print_json(value: Any) -> None:
    """Print data as one line of JSON."""
    line = json.dumps(value, allow_nan=False)
    sys.stdout.write(line + "\n")


def print_error(message: str) -> None:
    """Print an error to standard error, as one paragraph."""
    text = printable(message)
    say_with_heading("Error: ", text, style="bold red", error=True)


def print_contents(images: int, collection: str, summary: str) -> None:
    """Print the number of images of a collection, and what a command did to it."""
    name = printable(collection)
    heading = plural(images, "image")
    say_with_heading(heading, f" in {name}: {summary}.")


def print_saved(file: Path) -> None:
    """Print the name of an output file."""
    name = printable(str(file))
    say(f"Saved to {name}")


def show_warnings() -> None:
    """From now on, print the library's warnings to standard error."""
    logger = logging.getLogger("lookalike")
    printer = _WarningPrinter(logging.WARNING)
    logger.addHandler(printer)


class _WarningPrinter(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = printable(record.getMessage())
        say(Text(message, "yellow"), error=True)


def printable(text: str) -> str:
    """Escape control characters: a file name must not control the terminal."""
    if text.isprintable():
        return text
    letters = []
    for letter in text:
        if letter.isprintable():
            letters.append(letter)
        else:
            escaped = letter.encode("unicode_escape")
            letters.append(escaped.decode())
    return "".join(letters)


def plural(count: int, noun: str) -> str:
    """Return the count with its noun: ``1 image``, ``1,200 images``."""
    if count != 1:
        noun += "s"
    return f"{count:,} {noun}"


def confidence(value: float) -> str:
    """Return a confidence with more digits the smaller it is: ``0.61``, ``0.030``, ``0.0004``."""
    digits = 2
    if value < 0.1:
        digits = 3
    if value < 0.001:
        digits = 4
    return f"{value:.{digits}f}"


def print_list(
    lines: Sequence[str], *, total: int | None = None, most: int = MAX_LISTED
) -> None:
    """Print indented lines, and how many of the total were left out."""
    for line in lines[:most]:
        text = printable(line)
        say(f"  {text}")

    if total is None:
        total = len(lines)
    left_out = total - most
    if left_out > 0:
        say(f"  and {left_out:,} more")


def print_table(
    rows: Iterable[Sequence[str]],
    *,
    styles: Sequence[str] = (),
    right: Collection[int] = (),
    dividers: Mapping[int, str] = _NO_DIVIDERS,
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
    dividers
        Lines of text, each by the index of the row that follows it.
    """
    table = [[printable(cell) for cell in row] for row in rows]
    if not table:
        return

    widths = _column_widths(table)
    last = len(widths) - 1
    console = _console()
    for number, row in enumerate(table):
        if number in dividers:
            say(Text(dividers[number], "yellow"))
        line = Text()
        for index, cell in enumerate(row):
            # A terminal shows some letters two columns wide.
            missing = widths[index] - cell_len(cell)
            padding = " " * missing
            text = cell
            if index in right:
                text = padding + cell
            elif index != last:
                text = cell + padding

            style = styles[index] if index < len(styles) else ""
            line.append(text, style)
            if index != last:
                line.append(_GAP)
        console.print(line)


def _column_widths(table: Sequence[Sequence[str]]) -> list[int]:
    widths = []
    columns = zip(*table, strict=True)
    for column in columns:
        cell_widths = [cell_len(cell) for cell in column]
        width = max(cell_widths)
        widths.append(width)
    return widths
