"""Seams: the one place that knows each secret of the design."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

# Functions that make a path of their first argument, or open the file at it; os.path's as well.
PATH_FUNCTIONS = {
    "Path",
    "pathlib.Path",
    "PurePath",
    "open",
    "os.open",
    "os.fspath",
    "os.stat",
}


def modules_outside(package: str) -> Iterator[Path]:
    for file in sorted(SOURCE.rglob("*.py")):
        if file.relative_to(SOURCE).parts[0] != package:
            yield file


def names_a_uri(node: ast.AST) -> bool:
    """Return whether an expression is a variable, an attribute or a key called ``uri``."""
    if isinstance(node, ast.Name):
        return node.id.lower().split("_")[-1] == "uri"
    if isinstance(node, ast.Attribute):
        return node.attr.lower().split("_")[-1] == "uri"
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == "uri"
    return False


def makes_a_path(node: ast.AST) -> bool:
    """Return whether an expression turns a uri into a local path, or imports a function for it."""
    if isinstance(node, ast.Call):
        function = ast.unparse(node.func)
        takes_path = function in PATH_FUNCTIONS or function.startswith("os.path.")
        return takes_path and any(names_a_uri(argument) for argument in node.args)
    if isinstance(node, ast.ImportFrom):
        names = {alias.name for alias in node.names}
        if node.module == "lookalike.sources.uris":
            return True
        return bool(names & {"local_path", "unquote_to_bytes", "url2pathname"})
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.startswith("file://")
    return False


def paths_of_uris(code: str) -> list[str]:
    """Return the places in which code turns a uri into a local path."""
    return [
        ast.unparse(node) for node in ast.walk(ast.parse(code)) if makes_a_path(node)
    ]


def test_only_sources_turns_a_uri_into_a_path():
    places = {
        str(file.relative_to(SOURCE)): found
        for file in modules_outside("sources")
        if (found := paths_of_uris(file.read_text(encoding="utf-8")))
    }
    assert places == {}, (
        "use read_uri, open_uri, uri_exists or display_name of lookalike.sources"
    )


@pytest.mark.parametrize(
    "code",
    [
        "Path(uri).read_bytes()",
        "Path(match.uri).name",
        "os.path.lexists(row['uri'])",
        "open(image_uri)",
        "from lookalike.sources.uris import local_path",
        "from lookalike.sources import local_path",
        "uri.removeprefix('file://')",
    ],
)
def test_the_check_sees_a_path_made_of_a_uri(code):
    assert len(paths_of_uris(code)) == 1
