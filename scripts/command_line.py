"""Write docs/command-line.md from the commands themselves."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from lookalike.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"
HEAD = """\
# Command line

This page is generated from the commands by `scripts/docs`. `lookalike COMMAND --help` prints the
same text.

Every command takes `-c PATH`, the collection's folder. Without it the command uses
`LOOKALIKE_COLLECTION`, or a folder in your user data directory. `--json` prints JSON and nothing
else on standard output.

| exit status | meaning |
|---|---|
| 0 | The command finished. |
| 1 | `index` kept images without files, could not list a folder to its end or, with `--strict`, \
met bad files; `check` found faults; `duplicates` left copies whose files are missing or \
changed; `tune` stored no Space. |
| 2 | An error. Standard error says what was given, what was expected, and what to do. |
| 130 | Ctrl-C. Everything that was committed is kept. |

| variable | meaning |
|---|---|
| `LOOKALIKE_COLLECTION` | The collection that commands use without `-c`. |
| `LOOKALIKE_WEIGHTS` | Folders with weight files that are already on this machine. |
| `LOOKALIKE_LOCK_TIMEOUT` | Seconds to wait for another process that writes (default: 600). |
| `LOOKALIKE_TRASH_DAYS` | Days that removed images stay in the trash (default: 30). |
| `LOOKALIKE_DEVICE` | What computes networks: `auto` (default), `cpu` or `cuda`. |
| `LOOKALIKE_TOKEN` | The token that `serve` asks for. |
| `LOOKALIKE_TRACE` | `1` prints where the time was spent. |
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/command_line.py", description=__doc__
    )
    parser.add_argument(
        "--check", action="store_true", help="compare only; exit 1 if it differs"
    )
    arguments = parser.parse_args()
    page = render()
    if arguments.check:
        return 0 if PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


def render() -> str:
    """Return the whole page as Markdown."""
    group: Any = typer.main.get_command(app)
    sections = [HEAD]
    for name, command in commands(group, "lookalike"):
        sections.append("\n".join(section(command, name)) + "\n")
    return "\n".join(sections)


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield each command with its whole name; those below a command come after it."""
    for command in group.commands.values():
        name = f"{prefix} {command.name}"
        yield name, command
        if hasattr(command, "commands"):
            yield from commands(command, name)


def section(command: Any, name: str) -> Iterator[str]:
    """Yield the lines that describe one command."""
    yield f"## {name}"
    yield ""
    yield inspect.cleandoc(command.help)
    yield ""
    yield "```text"
    yield usage(command, name)
    yield "```"
    yield ""
    yield "| argument or option | meaning | default |"
    yield "|---|---|---|"
    for parameter in command.params:
        yield f"| {names(parameter)} | {cell(parameter.help)} | {default(parameter)} |"
    yield ""
    yield "```text"
    for line in command.epilog.splitlines():
        if line.startswith("- "):
            yield f"$ {line.removeprefix('- ')}"
    yield "```"


def usage(command: Any, name: str) -> str:
    """Return the line that shows how the command is called."""
    words = [name, "[OPTIONS]"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = parameter.metavar or parameter.name.upper()
            words.append(word if parameter.required else f"[{word}]")
    return " ".join(words)


def names(parameter: Any) -> str:
    """Return the spellings of a parameter and the word that stands for its value."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    options = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    spelled = ", ".join(f"`{option}`" for option in options)
    if getattr(parameter, "is_flag", False):
        return spelled
    return f"{spelled} {cell(parameter.metavar or choices(parameter))}".strip()


def choices(parameter: Any) -> str:
    """Return the word for a value without a metavar: its choices, or its type."""
    annotation = parameter.type_descriptor.annotation
    values = getattr(annotation, "__args__", None)
    if values and all(isinstance(value, str) for value in values):
        return "|".join(values)
    return getattr(annotation, "__name__", "").upper().replace("STR", "TEXT")


def default(parameter: Any) -> str:
    """Return the default in words, or nothing where there is none worth a word."""
    if isinstance(parameter.show_default, str):
        return cell(parameter.show_default)
    if getattr(parameter, "is_flag", False) or parameter.default in (None, [], ()):
        return ""
    return f"`{parameter.default}`"


def cell(text: str | None) -> str:
    """Return text that fits into a cell of a Markdown table."""
    return " ".join((text or "").split()).replace("|", r"\|")


if __name__ == "__main__":
    sys.exit(main())
