"""ES modules as one script, so that a page of a single file can carry them."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["join_modules"]

# The forms of import and export that the page's modules use; each starts a line.
_IMPORT = re.compile(
    r'^import (?:\{([^}]*)\}|\* as (\w+)) from "(\.[^"]+)";\n', re.MULTILINE
)
_EXPORT = re.compile(
    r"^export ((?:async )?function\*?|class|const|let) ([\w$]+)", re.MULTILINE
)
_OTHER_FORM = re.compile(r"^\s*(?:import|export)\b.*", re.MULTILINE)


def join_modules(entry: Path) -> str:
    """Return a classic script that runs an ES module and all modules that it imports.

    Each module becomes a function that returns its exports, so that names of different modules
    never meet. A module runs before those that import it.

    Parameters
    ----------
    entry
        The module to run. Its imports are relative paths to other modules.

    Raises
    ------
    ValueError
        If modules import each other in a circle, or in a form that cannot be joined.
    """
    root = entry.resolve().parent
    joined: dict[Path, str] = {}
    _join(entry.resolve(), root, joined, importers=[])
    functions = "\n".join(joined.values())
    return f'"use strict";\n(() => {{\nconst modules = {{}};\n{functions}\n}})();\n'


def _join(
    path: Path, root: Path, joined: dict[Path, str], importers: list[Path]
) -> None:
    """Add a module after everything that it imports."""
    if path in joined:
        return
    if path in importers:
        circle = " -> ".join(one.name for one in [*importers, path])
        raise ValueError(f"Modules import each other in a circle: {circle}.")
    source = path.read_text(encoding="utf-8")
    for match in _IMPORT.finditer(source):
        imported = (path.parent / match[3]).resolve()
        _join(imported, root, joined, [*importers, path])
    joined[path] = _as_function(path, source, root)


def _as_function(path: Path, source: str, root: Path) -> str:
    """Return a module as a function call whose result is kept under the module's name."""

    def import_line(match: re.Match[str]) -> str:
        names, namespace, address = match.groups()
        imported = f"modules[{_key((path.parent / address).resolve(), root)}]"
        if namespace:
            return f"const {namespace} = {imported};\n"
        # A renaming import is a renaming destructuring.
        return f"const {{{names.replace(' as ', ': ')}}} = {imported};\n"

    exported = [match[2] for match in _EXPORT.finditer(source)]
    body = _EXPORT.sub(r"\1 \2", _IMPORT.sub(import_line, source))
    if other := _OTHER_FORM.search(body):
        raise ValueError(
            f"{path.name} has a line that cannot be joined: {other[0].strip()}"
        )
    if "</script" in body.lower():
        raise ValueError(f"{path.name} contains the end of a script element.")
    returned = ", ".join(exported)
    return f"modules[{_key(path, root)}] = (() => {{\n{body}return {{ {returned} }};\n}})();"


def _key(path: Path, root: Path) -> str:
    relative = Path(os.path.relpath(path, root)).as_posix()
    return f'"{relative}"'
