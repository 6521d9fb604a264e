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
    entry = entry.resolve()
    joined: dict[Path, str] = {}
    _join(entry, entry.parent, joined, importers=[])
    functions = "\n".join(joined.values())
    return f'"use strict";\n(() => {{\nconst modules = {{}};\n{functions}\n}})();\n'


def _join(
    path: Path, root: Path, joined: dict[Path, str], importers: list[Path]
) -> None:
    """Add a module after everything that it imports."""
    if path in joined:
        return
    chain = [*importers, path]
    if path in importers:
        names = [module.name for module in chain]
        circle = " -> ".join(names)
        raise ValueError(f"Modules import each other in a circle: {circle}.")

    source = path.read_text(encoding="utf-8")
    for match in _IMPORT.finditer(source):
        imported = path.parent / match[3]
        _join(imported.resolve(), root, joined, chain)
    joined[path] = _as_function(path, source, root)


def _as_function(path: Path, source: str, root: Path) -> str:
    """Return a module as a function call whose result is stored under the module's name."""

    def import_line(match: re.Match[str]) -> str:
        names, namespace, address = match.groups()
        imported_path = path.parent / address
        key = _key(imported_path.resolve(), root)
        imported = f"modules[{key}]"
        if namespace:
            return f"const {namespace} = {imported};\n"
        # A renaming import is a renaming destructuring.
        targets = names.replace(" as ", ": ")
        return f"const {{{targets}}} = {imported};\n"

    # Turn imports into constants, and drop the word before exports.
    body = _IMPORT.sub(import_line, source)
    body = _EXPORT.sub(r"\1 \2", body)

    # Refuse everything that would break the joined script.
    other = _OTHER_FORM.search(body)
    if other is not None:
        line = other[0].strip()
        raise ValueError(f"{path.name} has a line that cannot be joined: {line}")
    if "</script" in body.lower():
        raise ValueError(f"{path.name} contains the end of a script element.")

    # Return the exported names.
    exported = []
    for match in _EXPORT.finditer(source):
        exported.append(match[2])
    returned = ", ".join(exported)
    key = _key(path, root)
    return f"modules[{key}] = (() => {{\n{body}return {{ {returned} }};\n}})();"


def _key(path: Path, root: Path) -> str:
    relative = os.path.relpath(path, root)
    address = Path(relative).as_posix()
    return f'"{address}"'
