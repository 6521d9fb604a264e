"""Seams: knowledge that one place of the source keeps to itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lookalike"

# What only the locations of the store may name: the table's folder, and ways to lock, move and link
# files.
LOCATIONS = {"store/location.py", "store/local_location.py"}
TABLE_FOLDER = "images.lance"
FILE_OPERATIONS = {"flock", "rename", "hardlink_to", "link", "symlink_to"}
# General file operations that are not about a table: temporary files, downloads, unpacked archives.
WITHOUT_TABLES = {"io", "datasets", "models"}


def table_knowledge(source: str) -> list[str]:
    """Return the places where a module names the table's folder, or locks or moves a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if TABLE_FOLDER in node.value:
                found.append(f"line {node.lineno}: {TABLE_FOLDER}")
        elif isinstance(node, ast.Attribute) and node.attr in FILE_OPERATIONS:
            found.append(f"line {node.lineno}: {node.attr}")
    return found


def lance_objects(source: str) -> list[str]:
    """Return the places where a module uses Lance or the Lance dataset of a table."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in {
            "lance_dataset",
            "_dataset",
        }:
            found.append(f"line {node.lineno}: {node.attr}")
        elif isinstance(node, ast.Import):
            found += [
                f"line {node.lineno}: {name.name}"
                for name in node.names
                if is_lance(name.name)
            ]
        elif isinstance(node, ast.ImportFrom) and is_lance(node.module or ""):
            found.append(f"line {node.lineno}: {node.module}")
    return found


def is_lance(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] == "lance"


def modules_outside(*places: str) -> list[Path]:
    """Return the source files that lie in none of some packages and are none of some modules."""
    outside = []
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        if name not in places and name.split("/")[0] not in places:
            outside.append(file)
    return outside


@pytest.mark.slow
def test_only_the_locations_name_the_table_folder_and_move_or_lock_files():
    found = {}
    for file in modules_outside(*LOCATIONS, *WITHOUT_TABLES):
        places = table_knowledge(file.read_text(encoding="utf-8"))
        if places:
            found[str(file)] = places
    assert found == {}


@pytest.mark.slow
def test_lance_objects_do_not_leave_the_store():
    found = {}
    for file in modules_outside("store"):
        places = lance_objects(file.read_text(encoding="utf-8"))
        if places:
            found[str(file)] = places
    assert found == {}


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (table_knowledge, 'path = folder / "images.lance"'),
        (table_knowledge, 'path = f"{folder}/images.lance/data"'),
        (table_knowledge, "fcntl.flock(file, fcntl.LOCK_EX)"),
        (table_knowledge, "staging.rename(folder)"),
        (table_knowledge, "copy.hardlink_to(file)"),
        (lance_objects, "import lance"),
        (lance_objects, "from lance.optimize import Compaction"),
        (lance_objects, "rows = table.lance_dataset.to_table()"),
    ],
)
def test_the_checks_see_a_violation(check, source):
    assert len(check(source)) == 1
